"""A server without sockets, with a clock that only the test moves, and calls made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from router.call import Attempt, Call, Candidate, Credential, Endpoint, Plan
from router.errors import RouterError
from router.generation import Generation
from router.head import Head
from router.identity import Identity
from router.model import Model
from router.plugins import each
from router.prices import Price, Usage
from router.provider import Provider, ProviderSettings, Timeouts
from router.server import Server
from router.settings import LimitSettings, ServerSettings, Settings
from router.testing.clock import StillClock

DAY = 86400
#: a token of either kind costs 1 micro-USD
PRICE = Price(prompt=10**6, completion=10**6)


class Nowhere(Provider):
    """A provider that nobody asks."""

    name = "nowhere"


class Honest(Nowhere):
    """One that tells what it charges."""

    name = "honest"
    reports_cost = True


class Desk:
    """The server, and the steps of a call one by one."""

    def __init__(self, server: Server, clock: StillClock) -> None:
        self.server = server
        self.ledger = server.ledger
        self.hook = server.plugins.hook
        self.clock = clock

    async def key(self, name: str = "one", **settings: Any) -> Identity:
        """A key; `limit` in picodollars."""
        return (await self.server.keys.create(name, **settings))[1]

    def call(
        self, identity: Identity | None, *, price: Price | None = PRICE, presented: str | None = None, **options: Any
    ) -> Call:
        """A call that has been authenticated and planned.

        Options: prompt, max_tokens, n, stream, headers, tags, modalities; provider (its class) and its fee_percent, model, endpoint
        (further members), byok.
        """
        call = Call(
            dialect=self.server.dialects[0],
            body=b"",
            headers=options.get("headers", {}),
            path={},
            presented=presented,
            started_s=self.clock.now_s,
        )
        call.created_unix = self.clock.unix
        call.identity = identity
        call.head = Head(
            model="nowhere/m",
            prompt_tokens=options.get("prompt", 100),
            max_tokens=options.get("max_tokens", 100),
            n=options.get("n", 1),
            stream=options.get("stream", False),
            tags=options.get("tags", []),
            modalities=options.get("modalities", frozenset()),
        )
        kind, fee = options.get("provider", Nowhere), options.get("fee_percent", 0)
        provider = kind("nowhere", ProviderSettings(plugin="nowhere", api_key="none", fee_percent=fee), Timeouts())
        model = options.get("model", Model(id="m"))
        endpoint = Endpoint(
            provider=provider, model_id="nowhere/m", model=model, price=price, **options.get("endpoint", {})
        )
        credential = Credential(secret="none", byok=options.get("byok", False))
        call.plan = Plan(candidates=[Candidate(endpoint=endpoint, credential=credential)])
        return call

    async def admit(self, call: Call) -> Call:
        """Ask the builtins whether the call may go."""
        await each(self.hook.router_admit(call=call))
        return call

    def start(self, call: Call) -> Call:
        """Reserve, and begin the first attempt."""
        self.ledger.reserve(call)
        self.ledger.started(call)
        call.candidate = call.plan.candidates[0]
        call.attempts.append(Attempt(candidate=call.candidate, started_s=self.clock.now_s))
        return call

    def finish(self, call: Call, usage: Usage | None = None) -> Generation:
        """The upstream has answered in full; what is written is returned."""
        call.outcome.usage, call.outcome.finish_reason = usage, "stop"
        call.attempts[-1].status = 200
        self.ledger.price(call, usage)
        return self.settle(call)

    def fail(self, call: Call, error: RouterError) -> Generation:
        """The call ends with an error."""
        call.fail(error)
        return self.settle(call)

    def leave(self, call: Call) -> Generation:
        """The client leaves."""
        call.cancel()
        return self.settle(call)

    def settle(self, call: Call) -> Generation:
        """As the lifecycle does in the end, however it came."""
        self.ledger.settle(call)
        row: Generation = call.state["generation"]
        return row

    def left(self, identity: Identity) -> int | None:
        """What is left of the key's limit now."""
        return self.ledger.account(identity).left(identity, self.clock.unix)


@asynccontextmanager
async def opened(folder: Path, *, clock: StillClock | None = None, **limits: Any) -> AsyncIterator[Desk]:
    """A desk whose database lies in this folder."""
    settings = Settings(
        server=ServerSettings(database=str(folder / "router.db")), limits=LimitSettings(**limits), providers={}
    )
    server = Server(settings, {})
    server.clock = clock = clock or StillClock()
    try:
        await server.start()
        yield Desk(server, clock)
    finally:
        await server.stop()
