"""A router between one client and some upstreams, and what must be true of its ledger whatever happened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from router.call import Candidate
from router.health import Circuit
from router.settings import (
    EndpointSettings,
    ModelSettings,
    PriceSettings,
    RoutingSettings,
    ServerSettings,
    Settings,
)
from router.testing import FakeUpstream, Running, running
from router.testing.upstream import Handler

from .books import Books, Row
from .lanes import Lane

#: picodollars per token
PROMPT, COMPLETION = 1_000_000, 2_000_000
PRICE = PriceSettings(prompt="0.000001", completion="0.000002")
#: with this seed the first pause before a second try is the shortest there is, a quarter of a second
QUICK = 1651


class Stage:
    """A running router whose model `test/m` is served by `upstreams`, in this order."""

    def __init__(self, router: Running, upstreams: Sequence[FakeUpstream], books: Books) -> None:
        self.router = router
        self.upstreams = upstreams
        self.books = books

    @property
    def asked(self) -> list[int]:
        """How many requests each upstream got."""
        return [len(upstream.asked) for upstream in self.upstreams]

    @property
    def left(self) -> int:
        """How many requests to upstreams were given up."""
        return sum(upstream.left for upstream in self.upstreams)

    @property
    def held(self) -> int:
        """What is held back for calls under way, in picodollars."""
        identity = self.router.server.keys.find(self.router.key)
        assert identity is not None
        return self.router.server.ledger.account(identity).reserved

    def circuit(self, number: int = 0) -> Circuit:
        """The health of an upstream with its first credential."""
        return self.router.server.health.circuit(self.candidate(number))

    def candidate(self, number: int = 0) -> Candidate:
        """An upstream as the attempts see it."""
        endpoint = self.router.server.table.find("test/m")[0].entry.endpoints[number]
        return Candidate(endpoint=endpoint, credential=endpoint.provider.credentials[0])


@asynccontextmanager
async def stage(
    folder: Path,
    lane: Lane | Sequence[Lane],
    *answers: Sequence[Handler],
    timeouts: Mapping[str, float] | None = None,
    providers: Mapping[str, Any] | None = None,
    models: Mapping[str, ModelSettings] | None = None,
    plugins: Mapping[str, object] | None = None,
    drain_s: float = 0.0,
    **tables: Any,
) -> AsyncIterator[Stage]:
    """Start an upstream for each list of answers, and a router. When it has stopped its books are looked through.

    `lane` is that of all upstreams, or one for each. `timeouts` and `providers` are members of the table of each upstream.
    """
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(FakeUpstream().listening()) for _ in answers]
        for upstream, each in zip(upstreams, answers, strict=True):
            upstream.will(*each)
        lanes = [lane] * len(upstreams) if isinstance(lane, Lane) else lane
        names = [f"p{number}" for number in range(len(upstreams))]
        own = {"timeouts": dict(timeouts or {}), **(providers or {})}
        settings = Settings(
            server=ServerSettings(drain_seconds=drain_s),
            providers={
                name: {**lane.provider(upstream.url), **own}
                for name, lane, upstream in zip(names, lanes, upstreams, strict=True)
            },
            models={
                "test/m": served(*((name, lane.model) for name, lane in zip(names, lanes, strict=True))),
                **(models or {}),
            },
            routing=tables.pop("routing", RoutingSettings(deterministic=True)),
            **tables,
        )
        async with running(settings, folder, plugins=plugins) as router:
            router.server.rng.seed(QUICK)
            books = Books(Path(settings.server.database))
            yield Stage(router, upstreams, books)
        balanced(books)


def served(*endpoints: tuple[str, str]) -> ModelSettings:
    """A model served by these providers under these names, first to last."""
    return ModelSettings(
        endpoints=[
            EndpointSettings(provider=provider, model=model, pricing=PRICE, priority=number)
            for number, (provider, model) in enumerate(endpoints)
        ]
    )


def balanced(books: Books) -> list[Row]:
    """The rows, when it is made sure that nothing is left over and all sums agree."""
    books.sound()
    assert books.reservations() == []
    return books.rows()
