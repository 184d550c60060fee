"""Who serves each model, and how that is going: /models/{id}/endpoints, /endpoints and /endpoints/zdr (api.md 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..call import Call, Endpoint
from ..planning import Entry
from ..prices import Price
from ..statistics import DAY_S, PERCENTILES, SHOWN_S
from . import Request, Route, shapes
from .entries import architecture, pricing

if TYPE_CHECKING:
    from ..server import Server

OK, DEGRADED, COOLING, DISABLED, NO_CREDENTIAL, REMOVED = 0, -1, -2, -3, -5, -10
#: an endpoint that answered fewer of the calls of the last five minutes is degraded
GOOD_UPTIME = 0.9
#: endpoints that are described without a pause
AT_ONCE = 100


async def of_model(request: Request) -> dict[str, Any]:
    """One model and its endpoints. Raises NotFound."""
    entry = found(request, request.http.match_info["id"])
    model = entry.model
    return {
        "data": {
            "id": entry.id,
            "name": model.name or entry.id,
            "created": model.created,
            "description": model.description,
            "architecture": architecture(model),
            "endpoints": await _described(request, [entry], lambda endpoint: True),
        }
    }


def found(request: Request, id: str) -> Entry:
    """The model that the path of the request names. Raises NotFound."""
    table = request.server.table
    for named in table.find(id):
        return named.entry
    error = table.why_not(id)
    error.param = None  # no member of the request is at fault: what is not there is the path
    raise error


async def every(request: Request) -> dict[str, Any]:
    """All endpoints of all models."""
    return {"data": await _described(request, await _entries(request), lambda endpoint: True)}


async def private(request: Request) -> dict[str, Any]:
    """Those of providers that keep nothing."""
    return {"data": await _described(request, await _entries(request), lambda endpoint: endpoint.zdr)}


async def _entries(request: Request) -> list[Entry]:
    return [row.entry for row in await request.server.listing.rows()]


async def _described(
    request: Request, entries: Iterable[Entry], wanted: Callable[[Endpoint], bool]
) -> list[dict[str, Any]]:
    server, call = request.server, request.call
    described: list[dict[str, Any]] = []
    for entry in entries:
        for endpoint in entry.endpoints:
            if wanted(endpoint):
                described.append(described_endpoint(server, entry, endpoint, call))
                if not len(described) % AT_ONCE:
                    await asyncio.sleep(0)
    return described


def described_endpoint(server: Server, entry: Entry, endpoint: Endpoint, call: Call) -> dict[str, Any]:
    """The public form of an endpoint: facts, and what was measured. Latencies are milliseconds, uptimes percent."""
    model, name = endpoint.model, entry.model.name or entry.id
    statistics = server.health.statistics

    def uptime(seconds: float) -> float | None:
        share = statistics.uptime(endpoint, seconds)
        return None if share is None else round(share * 100, 2)

    return {
        "name": f"{endpoint.provider.slug}: {name}",
        "model_id": entry.id,
        "model_name": name,
        "provider_name": endpoint.provider.slug,
        "tag": endpoint.tag,
        "context_length": model.context_length,
        "max_completion_tokens": model.max_output or None,
        "max_prompt_tokens": model.context_length or None,
        "quantization": endpoint.quantization,
        "status": status(server, endpoint, call),
        "pricing": pricing(endpoint.price),
        "supported_parameters": model.parameters,
        "supports_tool_choice": _tool_choice(model.parameters),
        "supports_implicit_caching": _caches_by_itself(endpoint.price),
        # What strict clients insist on, and no endpoint here has.
        "native_tools": {},
        "service_tier": None,
        "supports_diarization": False,
        "uptime_last_5m": uptime(300),
        "uptime_last_30m": uptime(SHOWN_S),
        "uptime_last_1d": uptime(DAY_S),
        "latency_last_30m": _percentiles(statistics.latency, endpoint, 1000),
        "throughput_last_30m": _percentiles(statistics.throughput, endpoint, 1),
    }


def status(server: Server, endpoint: Endpoint, call: Call) -> int:
    """How an endpoint does, over all credentials that this call could be asked with there; those never used are taken for good."""
    credentials = server.usable(endpoint, call)
    if server.table.gone(endpoint):
        return REMOVED
    if not credentials:
        return NO_CREDENTIAL
    now = server.clock.monotonic()
    circuits = server.health.circuits(endpoint, credentials)
    usable = len(credentials) - sum(not circuit.allows(now) for circuit in circuits)
    if usable <= 0:
        return DISABLED if all(circuit.disabled for circuit in circuits) else COOLING
    uptime = server.health.statistics.uptime(endpoint, 300)
    failing = uptime is not None and uptime < GOOD_UPTIME
    on_trial = any(circuit.open_until or circuit.shaky(now) for circuit in circuits)
    return DEGRADED if usable < len(credentials) or on_trial or failing else OK


def _percentiles(
    read: Callable[[Endpoint, int, float], float | None], endpoint: Endpoint, factor: float
) -> dict[str, float] | None:
    found = {}
    for percentile in PERCENTILES:
        value = read(endpoint, percentile, SHOWN_S)
        if value is None:
            return None
        found[f"p{percentile}"] = round(value * factor, 2)
    return found


def _tool_choice(parameters: list[str]) -> dict[str, bool]:
    """Who takes tools without `tool_choice` leaves the choice to the model."""
    chosen = "tool_choice" in parameters
    return {"auto": chosen or "tools" in parameters, "none": chosen, "required": chosen, "function": chosen}


def _caches_by_itself(price: Price | None) -> bool:
    """Reading what was cached is cheaper, and writing it costs nothing: then nobody needs to ask for it."""
    return price is not None and price.input_cache_read is not None and price.input_cache_write is None


ROUTES = [
    Route(method="GET", path=path, handler=handler, scope="models:read", answers={200: answer})
    for path, handler, answer in (
        ("/models/{id:.+}/endpoints", of_model, shapes.ServedModelFound),
        ("/endpoints", every, shapes.EndpointList),
        ("/endpoints/zdr", private, shapes.EndpointList),
    )
]
