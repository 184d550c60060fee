"""Whatever happens, in whatever order: the sums are right, nothing is negative, and each call is booked at most once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.call import Call
from router.errors import InsufficientCredits, UpstreamUnavailable
from router.identity import Identity
from router.prices import Usage
from router.store.audit import Change
from router.store.charges import Charged
from router.store.entries import Booking, Type
from router.store.statistics import Statistics
from router.store.sums import faults
from router.store.workspaces import Workspace
from router.testing.clock import StillClock

from .desk import DAY, PRICE, Desk, opened

LIMIT = 5000 * 10**6
#: of the list price, for calls with the client's own key
FEE = 7
WORKSPACES = ("default", "a", "b")
counts = st.one_of(st.integers(0, 3000), st.sampled_from([-1, 10**9, 10**10, 2**70]))
numbers = st.integers(0, 9)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["start", "start", "start own"]), st.integers(0, 500), st.integers(0, 500)),
        st.tuples(st.just("finish"), numbers, st.tuples(counts, counts)),
        st.tuples(st.just("fail"), numbers, counts),
        st.tuples(st.just("leave"), numbers, st.integers(0, 5000)),
        st.tuples(st.sampled_from(["settle again", "commit", "refund", "pay"]), numbers, st.none()),
        st.tuples(st.sampled_from(["grant", "charge"]), st.integers(1, 10**12), st.none()),
        st.tuples(st.just("adjust"), st.integers(-(10**12), -1), st.none()),
        st.tuples(st.just("days"), st.sampled_from([-3, -1, 1, 1, 7, 31]), st.none()),
        st.tuples(st.just("rotate"), st.none(), st.none()),
        st.tuples(st.just("another key"), st.sampled_from([None, "daily", "weekly", "monthly"]), st.booleans()),
        st.tuples(st.just("move"), st.sampled_from(WORKSPACES), st.none()),
        st.tuples(st.sampled_from(["restart", "crash"]), st.none(), st.none()),
    ),
    min_size=10,
    max_size=40,
)


class Settled(NamedTuple):
    """A call that has ended: what should be in the ledger. `own`: the list price, where it went by the client's own key."""

    status: str
    charge: int
    own: int
    key: str | None
    at_unix: float


class Story:
    """Calls, keys and bookings, and what they should have led to by an arithmetic of its own."""

    def __init__(self, *, patient: bool) -> None:
        #: else reservations are on disk at once, as they are of calls that take longer
        self.patient = patient
        self.clock = StillClock()
        self.identity: Identity
        self.open: list[Call] = []
        self.settled: dict[str, Settled] = {}
        self.over: list[Call] = []
        self.booked = 0
        self.refunded: set[str] = set()
        self.charges: list[Charged] = []
        self.paid: set[str] = set()
        #: where each key is
        self.workspaces: dict[str | None, str] = {}

    # --- what happens ---

    async def step(self, desk: Desk, name: str, first: Any, second: Any) -> None:
        """One thing happens."""
        match name:
            case "start" | "start own":
                self._start(desk, first, second, own=name == "start own")
            case "finish" | "fail" | "leave" if self.open:
                call = self.open.pop(first % len(self.open))
                getattr(self, f"_{name}")(desk, call, second)
                self.over.append(call)
            case "settle again" if self.over:
                desk.ledger.settle(self.over[first % len(self.over)])
            case "commit" if self.over:
                await desk.ledger.commit(self.over[first % len(self.over)])
            case "days":
                self.clock.unix += first * DAY
            case "rotate" | "another key" | "move":
                await self._change_key(desk, name, first, second)
            case "refund" | "grant" | "adjust" | "charge" | "pay":
                await self._book(desk, name, first)
                await desk.ledger.balance.reload()

    async def begin(self, desk: Desk) -> None:
        """A server has started: its calls are new, its keys are not."""
        self.open.clear()
        self.over.clear()
        if not self.patient:
            desk.server.generations._reservations.hurry()
        known = await desk.server.keys.list()
        if known:
            self.identity = known[0]
        else:
            for name in WORKSPACES[1:]:
                workspace = Workspace(id=name, slug=name, name=name, created_unix=0)
                await desk.server.workspaces.put(workspace, Change(action="workspace.create", target=name))
            await self._another_key(desk, limit_reset="weekly", include_byok_in_limit=True)

    def _start(self, desk: Desk, prompt: int, max_tokens: int, *, own: bool) -> None:
        call = desk.call(self.identity, prompt=prompt, max_tokens=max_tokens, byok=own, fee_percent=FEE)
        left, most = self.left(), (prompt + max_tokens) * PRICE.prompt
        try:
            desk.start(call)
        except InsufficientCredits:
            assert left <= 0
        else:
            assert left > 0
            assert (call.reserved, call.reserved_byok) == ((fee(most), most) if own else (most, 0))
            self.open.append(call)

    def _finish(self, desk: Desk, call: Call, counted: tuple[int, int]) -> None:
        """The answer came whole."""
        row = desk.finish(call, Usage(input=counted[0], output=counted[1]))
        believed = sum(count if 0 <= count <= 10**9 else 0 for count in counted)
        self._settle(call, "ok", believed)
        assert (row.cost, row.list_cost) == (self.settled[call.id].charge, believed * 10**6)

    def _fail(self, desk: Desk, call: Call, said: int) -> None:
        """It broke."""
        call.outcome.usage = Usage(input=said, output=said)
        desk.fail(call, UpstreamUnavailable("gone"))
        self._settle(call, "error", 0)

    def _leave(self, desk: Desk, call: Call, chars: int) -> None:
        """The client left."""
        call.outcome.output_chars = chars
        desk.leave(call)
        self._settle(call, "cancelled", call.head.prompt_tokens + (chars + 3) // 4 if chars else 0)

    def _settle(self, call: Call, status: str, tokens: int) -> None:
        listed, own = tokens * 10**6, call.plan.candidates[0].credential.byok
        assert call.identity is not None
        charge = fee(listed) if own else listed
        self.settled[call.id] = Settled(status, charge, listed if own else 0, call.identity.id, call.created_unix)

    async def _change_key(self, desk: Desk, name: str, first: Any, second: Any) -> None:
        """Calls of the old one may be under way."""
        keys, id = desk.server.keys, self.identity.id
        if name == "rotate":
            _, self.identity = await keys.rotate(id)
        elif name == "move":
            self.identity = await keys.update(id, workspace_id=first)
            self.workspaces[id] = first
        else:
            await keys.delete(id)
            await self._another_key(desk, limit_reset=first, include_byok_in_limit=second)

    async def _another_key(self, desk: Desk, **settings: Any) -> None:
        self.identity = await desk.key(limit=LIMIT, **settings)
        self.workspaces[self.identity.id] = WORKSPACES[0]

    async def _book(self, desk: Desk, name: str, number: int) -> None:
        """Somebody changes the balance by hand, or pays."""
        entries, charges = desk.server.entries, desk.server.charges
        if name == "charge":
            id = f"c{len(self.charges)}"
            charge = Charged(service="coinbase", id=id, code="", amount=number, made_by="", created_unix=1.0)
            await charges.add(charge, Change(action="credits.charge", target=id))
            self.charges.append(charge)
        elif name == "pay" and self.charges:
            charge = self.charges[number % len(self.charges)]
            await entries.book(charges.booking(charge, self.clock.unix), charges.now(charge, "paid"))
            self.booked += 0 if charge.id in self.paid else charge.amount
            self.paid.add(charge.id)
        elif name == "refund":
            await self._refund(desk, number)
        elif name in ("grant", "adjust"):
            type: Type = "credit" if number > 0 else "adjustment"
            await entries.book(Booking(type=type, amount=number, counter_account="by hand"))
            self.booked += number

    async def _refund(self, desk: Desk, number: int) -> None:
        rows = await desk.server.database.all("SELECT id, charge FROM generation WHERE charge > 0 ORDER BY seq")
        if not rows:
            return
        id, charge = rows[number % len(rows)]
        booking = await desk.server.entries.refund(id)
        assert booking is not None
        await desk.server.entries.book(booking)
        self.booked += 0 if id in self.refunded else charge
        self.refunded.add(id)

    # --- what it should have led to ---

    def crash(self) -> set[str]:
        """What is on disk for certain: all but the calls of late that nobody has been told are."""
        late = {call.id for call in self.over if call.settled is not None and not call.settled.done()}
        return self.settled.keys() - late

    def charged(self, which: Callable[[Settled], bool] = lambda _: True) -> int:
        """All that these calls were charged."""
        return sum(each.charge for each in self.settled.values() if which(each))

    def reserved(self, which: Callable[[Call], bool] = lambda _: True) -> int:
        """All that is held for these calls."""
        return sum(each.reserved for each in self.open if which(each))

    def left(self) -> int:
        """What is left of the limit of the key."""
        identity = self.identity
        window = window_of(identity.limit_reset, self.clock.unix)
        used = 0
        for each in self.settled.values():
            if each.key == identity.id and window_of(identity.limit_reset, each.at_unix) == window:
                used += each.charge + (each.own if identity.include_byok_in_limit else 0)
        for call in self.open:
            if call.identity is not None and call.identity.id == identity.id:
                used += call.reserved + (call.reserved_byok if identity.include_byok_in_limit else 0)
        return LIMIT - used

    def compare(self, desk: Desk) -> None:
        """The counters in memory say what the story says."""
        identity, ledger, groups = self.identity, desk.ledger, desk.server.groups
        account, balance = ledger.account(identity), ledger.balance
        assert desk.left(identity) == self.left()
        assert account.charged_total == self.charged(lambda each: each.key == identity.id)
        assert (balance.amount, balance.total.reserved) == (self.booked - self.charged(), self.reserved())
        assert groups.members.account(identity).charged_total == self.charged()
        assert groups.members.account(identity).reserved == self.reserved()
        groups.workspaces.account(identity)
        for name in WORKSPACES:
            together = groups.workspaces._account(name)
            assert together.charged_total == self.charged(lambda each, name=name: self.workspaces[each.key] == name)  # type: ignore[misc]
            assert together.reserved == self.reserved(lambda call, name=name: _workspace(call) == name)  # type: ignore[misc]


def fee(listed: int) -> int:
    """What is charged of a list price."""
    return ceil(listed * FEE / 100)


def _workspace(call: Call) -> str:
    """Where the key was when the call began."""
    return (call.identity and call.identity.workspace_id) or WORKSPACES[0]


def window_of(reset: str | None, unix: float) -> Any:
    """What two moments of one window have in common."""
    day = datetime.fromtimestamp(unix, UTC).date()
    match reset:
        case "daily":
            return day
        case "weekly":
            return day.isocalendar()[:2]
        case "monthly":
            return day.year, day.month
    return None


async def tell(folder: Path, story: Story, todo: list[tuple[str, Any, Any]]) -> None:
    """Run the steps, with a new server after each restart and crash, and compare."""
    certain: Iterable[str] = set()
    while True:
        async with opened(folder, clock=story.clock) as desk:
            await compare(desk, story, certain)
            await story.begin(desk)
            name = await run(desk, story, todo)
            certain = story.settled.keys() if name != "crash" else story.crash()
            if name == "crash":
                # What a process that is killed now leaves behind. Nothing moves rows from the log to the file so early.
                copy = folder.with_name(f"{folder.name}_")
                folder = Path(shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm")))
        if name is None:
            break
    async with opened(folder, clock=story.clock) as desk:
        await compare(desk, story, certain)


async def run(desk: Desk, story: Story, todo: list[tuple[str, Any, Any]]) -> str | None:
    """Do the steps up to the end of this server; how it ends."""
    while todo:
        name, first, second = todo.pop(0)
        if name in ("restart", "crash"):
            return name
        await story.step(desk, name, first, second)
        story.compare(desk)
    return None


async def compare(desk: Desk, story: Story, certain: Iterable[str]) -> None:
    """The file says what the story says, but for calls that a crash took before anybody was told of them."""
    rows = await desk.server.database.all("SELECT id, status, charge FROM generation")
    assert len({id for id, *_ in rows}) == len(rows)
    assert {charge for _, status, charge in rows if status == "interrupted"} <= {0}
    there = {id: (status, charge) for id, status, charge in rows if status != "interrupted"}
    assert set(certain) <= there.keys() <= story.settled.keys()
    story.settled = {id: told for id, told in story.settled.items() if id in there}
    assert there == {id: (told.status, told.charge) for id, told in story.settled.items()}
    for id, account in desk.ledger.accounts.items():
        assert account.charged_total == story.charged(lambda each, id=id: each.key == id)  # type: ignore[misc]
        assert account.byok_total == sum(each.own for each in story.settled.values() if each.key == id)
        assert account.reserved == account.reserved_byok == 0
        assert all(charge >= 0 for charge in account.charged_by_day.values())
    assert await desk.server.database.all("SELECT * FROM reservation") == []
    assert await desk.server.entries.check() == []
    await Statistics(desk.server.database).add_up()
    assert await faults(desk.server.database) == []
    assert await desk.server.entries.balance() == desk.ledger.balance.amount == story.booked - story.charged()


@settings(max_examples=5)
@given(steps, st.booleans())
def test_the_sums_are_right(todo: list[tuple[str, Any, Any]], patient: bool) -> None:
    assert_right(todo, patient)


@pytest.mark.long
@pytest.mark.timeout(300)
@settings(max_examples=100)
@given(steps, st.booleans())
def test_the_sums_are_right_in_a_hundred_stories(todo: list[tuple[str, Any, Any]], patient: bool) -> None:
    assert_right(todo, patient)


def assert_right(todo: list[tuple[str, Any, Any]], patient: bool) -> None:
    """Tell the story and look at the sums again and again."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "ledger"
        folder.mkdir()
        asyncio.run(tell(folder, Story(patient=patient), list(todo)))
