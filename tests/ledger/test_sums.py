"""Whatever happens, in whatever order: the sums are right, nothing is negative, and each call is booked at most once."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.call import Call
from router.errors import InsufficientCredits, UpstreamUnavailable
from router.prices import Usage

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
        st.tuples(st.just("restart"), st.none(), st.none()),
    ),
    max_size=40,
)


class Story:
    """Calls, and what they should have led to by an arithmetic of its own."""

    def __init__(self) -> None:
        self.open: list[Call] = []
        self.settled: dict[str, tuple[str, int]] = {}
        self.over: list[Call] = []

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
    """Run the steps, with a new server after each restart, and compare."""
    while True:
        async with opened(folder) as desk:
            known = await desk.server.keys.list()
            identity = known[0] if known else await desk.key(limit=LIMIT)
            story.open.clear()
            while todo and (step := todo.pop(0))[0] != "restart":
                if step[0] == "commit" and story.over:
                    await desk.ledger.commit(story.over[step[1] % len(story.over)])
                else:
                    story.step(desk, identity, *step)
                reserved = sum(each.reserved for each in story.open)
                account = desk.ledger.account(identity)
                assert (account.charged_total, account.reserved) == (story.charged(), reserved)
            if not todo:
                break
            story.over.clear()
    async with opened(folder) as desk:
        await compare(desk, story)


async def compare(desk: Desk, story: Story) -> None:
    """The file says what the story says."""
    rows = await desk.server.database.all("SELECT id, status, charge FROM generation WHERE status <> 'interrupted'")
    assert {id: (status, charge) for id, status, charge in rows} == story.settled
    assert len(rows) == len(story.settled)
    (account,) = desk.ledger._accounts.values() or [None]
    if account is not None:
        assert account.charged_total == story.charged()
        assert account.reserved == 0
        assert all(charge >= 0 for charge in account.charged_by_day.values())
    assert await desk.server.database.all("SELECT * FROM reservation") == []
    assert await desk.server.entries.check() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_the_sums_are_right(todo: list[tuple[str, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(tell(Path(folder), Story(), list(todo)))
