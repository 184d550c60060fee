"""The routing plugin on a table of its own: no sockets, a clock that stands still until it is moved."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router.builtin.requested import Requested
from router.builtin.routing import Routing
from router.call import Attempt, Call, Candidate
from router.dialects.openai_chat import OpenAIChat
from router.errors import UpstreamError
from router.head import Head, Preferences
from router.identity import Identity
from router.planning import Planner
from router.plugins import each
from router.prices import Usage
from router.server import Server
from router.settings import EndpointSettings, ModelSettings, PriceSettings, RoutingSettings, Settings

DIALECT = OpenAIChat()


class Clock:
    """Time that is told what it is."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    wall = monotonic


def endpoint(provider: str, price: str | None = "0.000001", **facts: Any) -> EndpointSettings:
    """An endpoint of the model under test."""
    pricing = None if price is None else PriceSettings(prompt=price, completion=price, **facts.pop("prices", {}))
    return EndpointSettings(provider=provider, model="m", pricing=pricing, **facts)


class Desk:
    """Plans calls for models made of `endpoints`."""

    def __init__(self, models: Mapping[str, Sequence[EndpointSettings]], **routing: Any) -> None:
        facts = {"context_length": 8000, "supported_parameters": ["tools", "temperature"]}
        own = {id: ModelSettings(endpoints=list(endpoints), **facts) for id, endpoints in models.items()}
        slugs = {each.provider for endpoints in models.values() for each in endpoints}
        self.settings = Settings(
            providers={
                slug: {"plugin": "openai-compatible", "base_url": "http://x", "api_keys": ["k"]} for slug in slugs
            },
            models=own,
            routing=RoutingSettings(**routing),
        )
        self.server = Server(self.settings, {})
        self.clock = self.server.clock = Clock()  # type: ignore[assignment]
        self.server.health.__init__(self.clock.monotonic)  # type: ignore[misc]
        self.server.rng = random.Random(5)

    async def open(self) -> Desk:
        """Make the providers."""
        plugins = self.server.plugins
        plugins.load(self.settings)
        self.routing = Routing(self.server)
        plugins.register(self.routing, "routing", state="builtin")
        plugins.register(Requested(self.server), "requested", state="builtin")
        await self.server._configure(self.settings)
        self._planner = Planner(plugins.hook)
        return self

    async def plan(self, model: str = "test/m", *, headers: Mapping[str, str] | None = None, **members: Any) -> Call:
        """A call with its plan. Raises what refuses it."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **members}
        call = Call(
            dialect=DIALECT, body=b"", headers=headers or {}, path={}, presented=None, started_s=self.clock.now_s
        )
        call.identity = members.pop("identity", None)
        body.pop("identity", None)
        call.head = DIALECT.peek(msgspec.json.encode(body), {}, "chat")
        await each(self.server.plugins.hook.router_admit(call=call))
        await self._planner.plan(call)
        return call

    async def order(self, model: str = "test/m", **members: Any) -> list[str]:
        """The providers of a plan, in its order."""
        return providers((await self.plan(model, **members)).plan.candidates)

    def happened(
        self,
        call: Call,
        candidate: Candidate,
        *,
        error: UpstreamError | None = None,
        latency_s: float = 0.1,
        **more: Any,
    ) -> None:
        """Tell health and routing of an attempt."""
        usage = more.pop("usage", Usage(input=10, output=10))
        attempt = Attempt(
            candidate=candidate, started_s=self.clock.now_s, error=error, latency_s=latency_s, duration_s=1.1, **more
        )
        call.usage = usage
        self.server.health.attempted(attempt)
        self.server.plugins.hook.router_attempted(call=call, attempt=attempt)


def providers(candidates: Sequence[Candidate]) -> list[str]:
    """Their names."""
    return [each.provider.slug for each in candidates]


__all__ = ["Desk", "Head", "Identity", "Preferences", "endpoint", "providers"]
