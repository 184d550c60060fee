"""Whatever happens, in whatever order: the sums are right, nothing is negative, and each call is booked at most once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.call import Call
from router.errors import InsufficientCredits, UpstreamUnavailable
from router.prices import Usage
from router.store.entries import Booking, Type

from .desk import PRICE, Desk, opened

LIMIT = 5000 * 10**6
counts = st.one_of(st.integers(0, 3000), st.sampled_from([-1, 10**9, 10**10, 2**70]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 500), st.integers(0, 500)),
        st.tuples(st.just("finish"), st.integers(0, 9), st.tuples(counts, counts)),
        st.tuples(st.just("fail"), st.integers(0, 9), counts),
        st.tuples(st.just("leave"), st.integers(0, 9), st.integers(0, 5000)),
        st.tuples(st.just("settle again"), st.integers(0, 9), st.none()),
        st.tuples(st.just("commit"), st.integers(0, 9), st.none()),
        st.tuples(st.just("grant"), st.integers(1, 10**12), st.none()),
        st.tuples(st.just("adjust"), st.integers(-(10**12), -1), st.none()),
        st.tuples(st.just("refund"), st.integers(0, 9), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
        st.tuples(st.just("crash"), st.none(), st.none()),
    ),
    max_size=40,
)


class Story:
    """Calls, and what they should have led to by an arithmetic of its own."""

    def __init__(self) -> None:
        self.open: list[Call] = []
        self.settled: dict[str, tuple[str, int]] = {}
        self.over: list[Call] = []
        self.booked = 0
        self.refunded: set[str] = set()

    def step(self, desk: Desk, identity: Any, name: str, first: Any, second: Any) -> None:
        """One thing happens."""
        if name == "start":
            self._start(desk, identity, first, second)
        elif name == "settle again" and self.over:
            desk.ledger.settle(self.over[first % len(self.over)])
        elif name in ("finish", "fail", "leave") and self.open:
            call = self.open.pop(first % len(self.open))
            getattr(self, name)(desk, call, second)
            self.over.append(call)

    def finish(self, desk: Desk, call: Call, counted: tuple[int, int]) -> None:
        """The answer came whole."""
        row = desk.finish(call, Usage(input=counted[0], output=counted[1]))
        believed = sum(count if 0 <= count <= 10**9 else 0 for count in counted)
        self.settled[call.id] = ("ok", believed * 10**6)
        assert row.cost == believed * 10**6

    def fail(self, desk: Desk, call: Call, said: int) -> None:
        """It broke."""
        call.outcome.usage = Usage(input=said, output=said)
        desk.fail(call, UpstreamUnavailable("gone"))
        self.settled[call.id] = ("error", 0)

    def leave(self, desk: Desk, call: Call, chars: int) -> None:
        """The client left."""
        call.outcome.output_chars = chars
        desk.leave(call)
        tokens = call.head.prompt_tokens + (chars + 3) // 4 if chars else 0
        self.settled[call.id] = ("cancelled", tokens * 10**6)

    async def book(self, desk: Desk, name: str, number: int) -> None:
        """Somebody changes the balance by hand."""
        entries = desk.server.entries
        if name == "refund":
            rows = await desk.server.database.all("SELECT id, charge FROM generation WHERE charge > 0 ORDER BY seq")
            if not rows:
                return
            id, charge = rows[number % len(rows)]
            booking = await entries.refund(id)
            assert booking is not None
            self.booked += 0 if id in self.refunded else charge
            self.refunded.add(id)
        else:
            type: Type = "credit" if number > 0 else "adjustment"
            booking = Booking(type=type, amount=number, counter_account="by hand")
            self.booked += number
        await entries.book(booking)
        await desk.ledger.balance.reload()

    def crash(self) -> set[str]:
        """What is on disk for certain: all but the calls of late that nobody has been told are."""
        late = {call.id for call in self.over if call.settled is not None and not call.settled.done()}
        return self.settled.keys() - late

    def charged(self) -> int:
        """All of it."""
        return sum(charge for _, charge in self.settled.values())

    def _start(self, desk: Desk, identity: Any, prompt: int, max_tokens: int) -> None:
        call = desk.call(identity, prompt=prompt, max_tokens=max_tokens)
        left = LIMIT - self.charged() - sum(each.reserved for each in self.open)
        try:
            desk.start(call)
        except InsufficientCredits:
            assert left <= 0
        else:
            assert left > 0
            assert call.reserved == (prompt + max_tokens) * PRICE.prompt
            self.open.append(call)


async def tell(folder: Path, story: Story, todo: list[tuple[str, Any, Any]]) -> None:
    """Run the steps, with a new server after each restart and crash, and compare."""
    certain: set[str] = set()
    while True:
        async with opened(folder) as desk:
            await compare(desk, story, certain)
            known = await desk.server.keys.list()
            identity = known[0] if known else await desk.key(limit=LIMIT)
            story.open.clear()
            story.over.clear()
            name = await run(desk, story, identity, todo)
            certain = story.settled.keys() if name != "crash" else story.crash()
            if name == "crash":
                # What a process that is killed now leaves behind. Nothing moves rows from the log to the file so early.
                copy = folder.with_name(f"{folder.name}_")
                folder = Path(shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm")))
        if name is None:
            break
    async with opened(folder) as desk:
        await compare(desk, story, certain)


async def run(desk: Desk, story: Story, identity: Any, todo: list[tuple[str, Any, Any]]) -> str | None:
    """Do the steps up to the end of this server; how it ends."""
    while todo:
        name, first, second = todo.pop(0)
        if name in ("restart", "crash"):
            return name
        if name in ("grant", "adjust", "refund"):
            await story.book(desk, name, first)
        elif name == "commit" and story.over:
            await desk.ledger.commit(story.over[first % len(story.over)])
        else:
            story.step(desk, identity, name, first, second)
        reserved = sum(each.reserved for each in story.open)
        account, balance = desk.ledger.account(identity), desk.ledger.balance
        assert (account.charged_total, account.reserved) == (story.charged(), reserved)
        assert (balance.amount, balance.total.reserved) == (story.booked - story.charged(), reserved)
    return None


async def compare(desk: Desk, story: Story, certain: Iterable[str]) -> None:
    """The file says what the story says, but for calls that a crash took before anybody was told of them."""
    rows = await desk.server.database.all("SELECT id, status, charge FROM generation WHERE status <> 'interrupted'")
    there = {id: (status, charge) for id, status, charge in rows}
    assert len(rows) == len(there)
    assert set(certain) <= there.keys() <= story.settled.keys()
    story.settled = {id: told for id, told in story.settled.items() if id in there}
    assert there == story.settled
    (account,) = desk.ledger._accounts.values() or [None]
    if account is not None:
        assert account.charged_total == story.charged()
        assert account.reserved == 0
        assert all(charge >= 0 for charge in account.charged_by_day.values())
    assert await desk.server.database.all("SELECT * FROM reservation") == []
    assert await desk.server.entries.check() == []
    assert await desk.server.entries.balance() == desk.ledger.balance.amount == story.booked - story.charged()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_the_sums_are_right(todo: list[tuple[str, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "ledger"
        folder.mkdir()
        asyncio.run(tell(folder, Story(), list(todo)))
