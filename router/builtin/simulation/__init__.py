"""The logged traffic of a period, routed and priced again under another policy (api.md 17). No upstream is asked.

Our own routing plans each kind of call as it would plan a request; chance is counted with as its mean. What a row does not tell is
not guessed: a call wanted what it used, all endpoints are well, the first one serves, and caches are hit as they were.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ...call import Call, Credential, Endpoint
from ...clock import Clock
from ...dialects.base import Dialect
from ...errors import RouterError
from ...head import Head
from ...health import Health
from ...identity import Identity
from ...planning import Table
from ...prices import Price
from ...settings import Settings
from ...store.keys import Keys
from ...store.traffic import Alike, Bounds, Progress, Traffic
from ..routing import Routing
from .figures import Logged
from .policy import Policy, policy_of
from .report import Report

#: kinds of calls that are planned without a pause
AT_ONCE = 50


class World(Struct):
    """What routing looks at: the router's models under other settings, with endpoints that do as they did in the period."""

    settings: Settings
    table: Table
    health: Health
    clock: Clock
    rng: random.Random

    def credentials(self, endpoint: Endpoint) -> Sequence[Credential]:
        """Whose keys were used does not matter."""
        return ()


class Simulation(Struct, kw_only=True):
    """What a simulation needs of a router, running or not. `progress` is told how many rows of how many were read."""

    settings: Settings
    table: Table
    dialects: Sequence[Dialect]
    keys: Keys
    policy: Policy
    traffic: Traffic
    progress: Progress = field(default_factory=lambda: lambda done, of: None)

    async def run(self) -> Report:
        """Read the period, and say what it would have been like."""
        await self.traffic.find()
        seen, failed = await self.traffic.seen(self.progress)
        logged = Logged(seen)
        world = self._world(logged)
        routing = Routing(world)
        asked = {each.requested for each in seen}
        bounds = _bounds(endpoint for name in asked for endpoint in self._endpoints(world.table, name))
        kinds = await self.traffic.alike(bounds, by_key=await self._by_key(), progress=self.progress)
        report = Report(logged, failed=failed)
        dialects = {each.api_type: each for each in reversed(self.dialects)}
        for number, kind in enumerate(kinds):
            if not number % AT_ONCE:
                await asyncio.sleep(0)
            call = self._call(kind, dialects.get(kind.api_type, self.dialects[0]))
            report.actual(kind)
            try:
                expected = routing.expected(call)
            except RouterError as error:
                expected, call.plan.refusal = [], error
            if expected:
                report.served(kind, [(endpoint, chance, cost(endpoint.price, kind)) for endpoint, chance in expected])
            else:
                report.unserved(kind, call.plan.refusal)
        return report

    def _world(self, logged: Logged) -> World:
        clock = Clock()
        health = Health(clock.monotonic)
        health.statistics = logged
        settings = replace(self.settings, routing=self.policy.settings(self.settings.routing))
        return World(settings, self.table.with_aliases(self.policy.aliases), health, clock, random.Random(0))

    def _names(self, requested: str) -> list[str]:
        return self.policy.models.get(requested) or [requested]

    def _endpoints(self, table: Table, requested: str) -> Iterable[Endpoint]:
        """All that a name could come to, as far as it can be told without a request."""
        routing = self.policy.settings(self.settings.routing)
        for name in (*self._names(requested), routing.default_model or "", *routing.auto_models):
            try:
                found = table.find(name) if name else []
            except RouterError:
                continue
            for named in found:
                yield from named.entry.endpoints

    async def _by_key(self) -> bool:
        """Is there a key that is not served as the others are?"""
        return any(_own_ways(each) for each in await self.keys.list())

    def _call(self, kind: Alike, dialect: Dialect) -> Call:
        """A call like these. It wants the answer that it got: what it allowed is not known."""
        call = Call(dialect=dialect, body=b"", headers={}, path={}, presented=None, started_s=0.0)
        names = self._names(kind.requested)
        identity = self.keys.get(kind.key_hash) if kind.key_hash else None
        call.identity = identity if identity is not None and _own_ways(identity) else None
        call.head = Head(
            model=names[0],
            models=names[1:],
            preferences=self.policy.preferences,
            prompt_tokens=kind.longest - kind.most_output,
            max_tokens=kind.most_output or None,
            needs=frozenset({"tools"} if kind.tools else ()),
            modalities=_modalities(kind),
        )
        return call


def cost(price: Price | None, kind: Alike) -> int | None:
    """What all calls of a kind would cost together, in picodollars; None where the price is not known."""
    if price is None:
        return None
    # All calls of a kind lie on the same side of each of the price's bounds, so that their sum costs what they do.
    rate = replace(price.at(kind.most_input, kind.at_unix), overrides=[])
    return rate.cost(kind.usage, kind.at_unix).total + (kind.requests - 1) * rate.request


def _own_ways(identity: Identity) -> bool:
    return bool(identity.allowed) or identity.default_model is not None


def _modalities(kind: Alike) -> frozenset[str]:
    counted: Mapping[str, int] = {"audio": kind.usage.audio_input, "image": kind.usage.image_input}
    return frozenset(name for name, tokens in counted.items() if tokens)


def _bounds(endpoints: Iterable[Endpoint]) -> Bounds:
    """Where these models end, and where their prices change."""
    total: set[int] = set()
    most_input: set[int] = set()
    output: set[int] = set()
    minute: set[int] = set()
    for endpoint in endpoints:
        total.add(endpoint.model.context_length + 1)
        output.add(endpoint.model.max_output + 1)
        for each in endpoint.price.overrides if endpoint.price is not None else ():
            most_input.add(each.min_prompt_tokens)
            minute.update(_minute(time) for time in (each.utc_start, each.utc_end) if time)
    return Bounds(total=sorted(total), input=sorted(most_input), output=sorted(output), minute=sorted(minute))


def _minute(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


__all__ = ["Policy", "Report", "Simulation", "cost", "policy_of"]
