"""`kill -9` at random moments, and restart.

No answer that a client has got whole is lost, none is booked twice, nothing else is charged. What is changed by hand under an
idempotency key is changed once, a charge is credited once, and who is told of calls by webhooks hears of every one in the ledger and of
no other.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from router.testing import FakeUpstream

from .books import Row
from .changes import SECRET, Changes
from .lanes import INPUT, OUTPUT, RELAYED, TEXT
from .listener import Listener
from .program import Program
from .stage import COMPLETION, PROMPT, balanced
from .talk import Broken, Talk, talk

CLIENTS, CHANGERS = 12, 3
#: rounds in which everything has happened that chance can bring
MANY = 50
TABLES = """
[fetch]
allow_private = true

[plugins.coinbase]
api_key = "none"
webhook_secret = "{secret}"
base_url = "{url}"
"""
WHOLE_COST = INPUT * PROMPT + OUTPUT * COMPLETION


class Crashes:
    """A router that is killed again and again, clients that never get tired, and what each of the three has seen.

    Every call has a name, which goes to the upstream as `user` and into the ledger as the client's own id of it.
    """

    def __init__(
        self, folder: Path, upstream: FakeUpstream, coinbase: FakeUpstream, endpoint: FakeUpstream, seed: int
    ) -> None:
        self.program = Program(folder, upstream.url, tables=TABLES.format(secret=SECRET, url=coinbase.url))
        self.upstream = upstream
        self.chance = random.Random(seed)
        self.changes = Changes(self.program, coinbase, self.chance)
        self.listener = Listener(endpoint, self.chance)
        self.calls = 0
        #: names of calls whose answer the upstream has written to its end
        self.answered: set[str] = set()
        #: id -> name of answers that a client has got whole
        self.whole: dict[str, str] = {}
        #: names of calls that a client has left
        self.left: set[str] = set()
        #: names of calls that a crash broke off
        self.broken: set[str] = set()
        upstream.will(self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The upstream: a whole answer, sooner or later; some take so long that their reservation is on disk."""
        asked = await request.json()
        response = await RELAYED.whole(bool(asked.get("stream")), pause_s=self.chance.uniform(0, 0.1))(request)
        self.answered.add(asked["user"])
        return response

    async def round(self, number: int) -> None:
        """Start, compare, let all clients ask, kill, and wait until everybody has noticed."""
        await self.program.start()
        self.compare()
        if not number:
            await self.listener.subscribe(self.program)
        killed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self.client(number, killed))
            for _ in range(CHANGERS):
                group.create_task(self.changes.client(killed))
            await asyncio.sleep(self.chance.uniform(0.02, 0.6))
            killed.set()
            await self.program.kill()

    async def client(self, number: int, killed: asyncio.Event) -> None:
        """Ask for one answer after the other."""
        while not killed.is_set():
            self.calls += 1
            name = f"{number}-{self.calls}"
            body = {"stream": self.chance.random() < 0.5, "user": name}
            try:
                async with talk(self.program.url, self.program.key, body, {"X-Request-Id": name}) as conversation:
                    await self.converse(name, conversation)
            except (Broken, ConnectionError):
                self.broken.add(name)

    async def converse(self, name: str, conversation: Talk) -> None:
        """Read the whole answer, or go away at some point."""
        if self.chance.random() < 0.1:
            await asyncio.sleep(self.chance.uniform(0, 0.2))
            self.left.add(name)
            conversation.leave()
            return
        await conversation.end()
        assert (conversation.status, conversation.text) == (200, TEXT)
        self.whole[conversation.headers["x-generation-id"]] = name

    def compare(self) -> list[Row]:
        """Hold the ledger of a router that has started again against what everybody else has seen."""
        rows = balanced(self.program.books)
        by_id = {row.id: row for row in rows}
        for id, name in self.whole.items():
            row = by_id.get(id)
            assert row is not None, f"{name} was answered and is not in the ledger"
            assert (row.trace_id, row.status, row.charge) == (name, "ok", WHOLE_COST)
        named = Counter(row.trace_id for row in rows if row.trace_id is not None)
        assert set(named.values()) <= {1}
        for row in rows:
            self.assert_right(row)
        self.changes.compare()
        self.listener.compare(rows)
        assert set(Counter(asked.body["user"] for asked in self.upstream.asked).values()) <= {1}
        return rows

    def assert_right(self, row: Row) -> None:
        """This row is of a call that was made, and costs what it should."""
        if row.status == "interrupted":
            assert (row.charge, row.trace_id) == (0, None)
            assert row.id not in self.whole
            return
        name = row.trace_id
        assert name in self.left | self.broken | set(self.whole.values())
        assert len(row.attempts) == 1
        if row.status == "ok":
            # committed, though perhaps the last byte did not get through before the crash
            assert row.charge == WHOLE_COST
            assert name in self.answered
        else:
            assert row.status == "cancelled"
            assert name in self.left | self.broken
            assert row.charge == row.input * PROMPT + row.output * COMPLETION if row.output else row.charge == 0


@asynccontextmanager
async def crashing(folder: Path) -> AsyncIterator[Crashes]:
    """The stage. The seed is printed for whoever wants to see a failure again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    others = [FakeUpstream() for _ in range(3)]
    async with others[0].listening() as upstream, others[1].listening() as coinbase, others[2].listening() as endpoint:
        crashes = Crashes(folder, upstream, coinbase, endpoint, seed)
        try:
            yield crashes
        finally:
            await crashes.program.kill()


async def crash(crashes: Crashes, rounds: int) -> None:
    """So many rounds, and a last start in peace."""
    for number in range(rounds):
        await crashes.round(number)
        if number % 20 == 19:
            print(f"{number + 1} rounds, {len(crashes.whole)} answers whole", flush=True)
        if number % 5 == 2:
            # a crash in the middle of tidying up after a crash
            await crashes.program.spawn()
            await asyncio.sleep(crashes.chance.uniform(0.2, 0.8))
            await crashes.program.kill()
    await crashes.program.start()
    await crashes.changes.finish()
    await crashes.listener.hear_all(crashes.program.books)
    rows = crashes.compare()
    status, said = await crashes.program.run("check")
    assert (status, "the sums of the ledger agree" in said) == (0, True), said

    found = Counter(row.status for row in rows)
    print(f"{crashes.calls} calls, {len(crashes.whole)} answered whole, in the ledger: {dict(found)}")
    changes, listener = crashes.changes, crashes.listener
    assert len(changes.answered) + len(changes.lost) == len(changes.asked)
    print(
        f"{len(changes.asked)} changes, {len(changes.lost)} with a lost answer, {len(changes.paid)} charges paid by {changes.notices} "
        f"notices; {len(listener.heard)} calls told in {listener.times} events"
    )
    assert crashes.whole
    if rounds >= MANY:
        assert found["interrupted"]
        assert found["cancelled"]
        assert len(crashes.whole) > rounds
    unheard = {row.trace_id for row in rows if row.status == "ok"} - set(crashes.whole.values())
    assert len(unheard) <= rounds * CLIENTS


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    async with crashing(tmp_path) as crashes:
        await crash(crashes, 4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_kill_9_by_the_hundred(tmp_path: Path) -> None:
    async with crashing(tmp_path) as crashes:
        await crash(crashes, 200)
