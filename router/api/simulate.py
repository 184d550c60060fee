"""POST /simulate: what the calls of a period would have cost under another policy (api.md 17)."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct, field

from ..builtin.simulation import Simulation, policy_of
from ..errors import BadRequest, Overloaded
from ..store.traffic import Traffic
from . import Request, Route, moments, shapes


class Asked(Struct, forbid_unknown_fields=True):
    """Calls made from `start` to before `end` (RFC 3339, or unix seconds), and what is tried on them."""

    start: str | float
    end: str | float
    policy: dict[str, Any] = field(default_factory=dict)


async def simulate(request: Request, body: Asked) -> dict[str, Any]:
    """The sums of both, and their difference; an inference key sees its own calls. Raises BadRequest, Overloaded."""
    server, caller = request.server, request.caller
    start, end = unix_of(body.start, "start"), unix_of(body.end, "end")
    if start >= end:
        raise BadRequest("end must be later than start", param="end")
    policy = policy_of(body.policy, server.table)
    if server.simulating.locked():
        raise Overloaded("a simulation is under way, and one is made at a time; try again", retry_after_s=5)
    async with server.simulating:
        report = await Simulation(
            settings=server.settings,
            table=server.table,
            dialects=server.dialects,
            keys=server.keys,
            policy=policy,
            traffic=Traffic(server.database, start, end, None if caller.management else caller.id),
        ).run()
    return {
        "object": "simulation",
        "start": moments.moment(start),
        "end": moments.moment(end),
        "policy": body.policy,
        **report.printed(),
    }


def unix_of(given: str | float, name: str) -> float:
    """A time: RFC 3339 (a date alone is its midnight, UTC), or unix seconds. Raises BadRequest."""
    try:
        if isinstance(given, str):
            return moments.unix_of(given)
        if math.isfinite(given) and 0 <= given < 1e11:
            return given
    except ValueError:
        pass
    raise BadRequest(f"{name} must be a time like 2026-11-01 or 2026-11-01T12:00:00Z", param=name)


ROUTES = [Route(method="POST", path="/simulate", handler=simulate, scope="logs:read", answers={200: shapes.Simulation})]
