"""A world without sockets and without waiting: upstreams that fail, hang and recover by plan, on a clock that jumps to what comes next.

Real are the table, the planner, the routing plugin, health and the attempt loop; only the exchange with an upstream is played.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, field

from router.alarms import Alarms
from router.attempts import Attempts
from router.builtin.routing import Routing
from router.call import Call, Candidate, Sink
from router.dialects.openai_chat import OpenAIChat
from router.errors import RouterError, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable
from router.head import Head
from router.hookspecs import hookimpl
from router.planning import Planner
from router.prices import Usage
from router.provider import Outgoing, Upstream
from router.server import Server
from router.settings import EndpointSettings, ModelSettings, PriceSettings, RoutingSettings, Settings, Timeouts

DIALECT = OpenAIChat()


class _Selector(selectors.DefaultSelector):
    """Never waits: the time that it was to wait for is over."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.now_s += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock goes as fast as there is nothing to do."""

    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class Clock:
    """The loop's time, as the router's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.monotonic = loop.time
        self.wall = loop.time


class Phase(Struct):
    """What a provider does from `start_s` on (seconds since the beginning). `kind`: well, fails, hangs, refuses (no connection) or busy
    (takes `a_second` requests a second and answers 429 to the others). `failing` is the share of requests that fail."""

    start_s: float
    kind: str = "well"
    latency_s: float = 0.2
    a_second: float = 0.0
    failing: float = 1.0


class Player(Struct):
    """A provider: its price for a token (USD) and its phases."""

    name: str
    price: str
    phases: list[Phase]

    def at(self, elapsed_s: float) -> Phase:
        """The phase that it is in."""
        return [each for each in self.phases if each.start_s <= elapsed_s][-1]


class Seen(Struct):
    """What happened: who served at which second, every attempt, and calls that failed."""

    served: list[tuple[float, str]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    attempts: dict[str, list[tuple[float, bool]]] = field(default_factory=lambda: defaultdict(list))
    repeats: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class World:
    """Runs calls for the model `test/m`, which all players serve."""

    def __init__(self, players: list[Player], seed: int) -> None:
        self.players = {player.name: player for player in players}
        self.seen = Seen()
        self._rng = random.Random(seed)
        self._taken: Counter[tuple[str, int]] = Counter()

    async def open(self) -> None:
        """Build the router's parts."""
        loop = asyncio.get_running_loop()
        self.start_s = loop.time()
        endpoints = [
            EndpointSettings(provider=name, model="m", pricing=PriceSettings(prompt=each.price, completion=each.price))
            for name, each in self.players.items()
        ]
        tables = {
            name: {"plugin": "openai-compatible", "base_url": "http://x", "api_key": "k"} for name in self.players
        }
        settings = Settings(
            providers=tables,
            models={"test/m": ModelSettings(endpoints=endpoints)},
            routing=RoutingSettings(),
            timeouts=Timeouts(first_token_seconds=20),
        )
        server = self.server = Server(settings, {})
        server.clock = Clock(loop)  # type: ignore[assignment]
        server.health.__init__(loop.time)  # type: ignore[misc]
        server.rng = random.Random(self._rng.random())
        server.plugins.load(settings)
        server.plugins.register(Routing(server), "routing", state="builtin")
        server.plugins.register(self, "world", state="loaded")
        await server._configure(settings)
        hook = server.plugins.hook
        self._planner = Planner(hook)
        self._attempts = Attempts(
            hook,
            _Relay(),  # type: ignore[arg-type]
            _Ledger(),  # type: ignore[arg-type]
            server.health,
            Alarms(),
            max_attempts=lambda: 8,
            rng=random.Random(self._rng.random()),
        )

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return asyncio.get_running_loop().time() - self.start_s

    async def call(self) -> None:
        """One request, from its plan to its end."""
        begun_s = self.elapsed()
        call = Call(dialect=DIALECT, body=b"", headers={}, path={}, presented=None, started_s=0.0)
        call.head = Head(model="test/m", prompt_tokens=10)
        try:
            call.plan = await self._planner.plan(call)
            await self._attempts.run(call, _Nowhere())
        except RouterError as error:
            self.seen.failed.append((begun_s, error.message))
        else:
            assert call.candidate is not None
            self.seen.served.append((begun_s, call.candidate.provider.slug))

    # --- what the world plays ---

    @hookimpl
    def router_attempt(self, call: Call, candidate: Candidate) -> Any:
        return self._exchange(call, candidate)

    @asynccontextmanager
    async def _exchange(self, call: Call, candidate: Candidate) -> Any:
        slug, now_s = candidate.provider.slug, self.elapsed()
        if len(call.attempts) > 1 and call.attempts[-2].candidate is candidate:
            self.seen.repeats[slug].append(now_s)
        phase = self.players[slug].at(now_s)
        try:
            await self._answer(slug, phase, now_s)
        except BaseException:
            self.seen.attempts[slug].append((now_s, False))
            raise
        self.seen.attempts[slug].append((now_s, True))
        yield Upstream()

    async def _answer(self, slug: str, phase: Phase, now_s: float) -> None:
        if phase.kind == "refuses":
            raise UpstreamUnavailable("connection refused")
        if phase.kind == "busy":
            self._taken[slug, int(now_s)] += 1
            if self._taken[slug, int(now_s)] > phase.a_second:
                raise UpstreamBusy("slow down", upstream_status=429, retry_after_s=1.0 - now_s % 1.0)
        await asyncio.sleep(self._rng.uniform(0.5, 1.5) * phase.latency_s)
        if phase.kind == "fails" and self._rng.random() < phase.failing:
            raise UpstreamUnavailable("internal error", upstream_status=500)
        if phase.kind == "hangs":
            await asyncio.sleep(20)
            raise UpstreamTimeout("nothing came")


class _Relay:
    """Everything has been said when the exchange has succeeded."""

    async def recall(self, call: Call, sink: Sink) -> bytes:
        return b""

    async def outgoing(self, call: Call, candidate: Candidate) -> Outgoing:
        return Outgoing(path="/")

    async def answer(self, call: Call, upstream: Upstream, sink: Sink, patience: Any) -> bytes:
        call.usage = Usage(input=10, output=10)
        call.first_content_s = patience.now()
        return b""


class _Ledger:
    def started(self, call: Call) -> None: ...

    async def commit(self, call: Call) -> None: ...


class _Nowhere(Sink):
    async def finish(self, data: bytes) -> None: ...


def play(players: list[Player], *, requests: int, a_second: float, seed: int) -> World:
    """Send so many requests at this mean rate, at random moments, and wait until all have ended."""

    async def run() -> World:
        world = World(players, seed)
        await world.open()
        rng = random.Random(seed)
        running: set[asyncio.Task[None]] = set()
        for _ in range(requests):
            await asyncio.sleep(rng.expovariate(a_second))
            task = asyncio.get_running_loop().create_task(world.call())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return world

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run())
