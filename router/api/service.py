"""GET /healthz and /health (api.md 17): public, cheap, and without a word about secrets."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .. import __version__
from ..health import Circuit
from ..provider import Provider
from . import Request, Route, json_response, shapes
from .providers import status


async def alive(request: Request) -> dict[str, str]:
    """The loop runs."""
    return {"status": "ok"}


async def health(request: Request) -> web.Response:
    """How the providers and the database do; 503 only when nothing can serve."""
    server = request.server
    providers = [_provider(request, provider) for _, provider in sorted(server.providers.items())]
    usable = [each for each in providers if each["status"] in ("ok", "degraded")]
    database = server.database.status()
    if not usable or database != "ok":
        overall = "down"
    else:
        overall = "ok" if all(each["status"] != "down" for each in providers) and not server.broken else "degraded"
    body = {
        "status": overall,
        "version": __version__,
        "uptime_seconds": int(server.clock.monotonic() - server.started_s),
        "providers": providers,
        "database": database,
    }
    return json_response(body, status=503 if overall == "down" else 200)


def _provider(request: Request, provider: Provider) -> dict[str, Any]:
    now = request.server.clock.monotonic()
    circuits = request.server.health.provider(provider.slug)
    worst: Circuit | None = max(circuits, key=lambda each: each.open_until, default=None)
    latencies = [
        latency
        for entry in request.server.table.entries.values()
        for endpoint in entry.endpoints
        if endpoint.provider is provider and (latency := request.server.health.statistics.latency(endpoint)) is not None
    ]
    cooling = worst is not None and worst.open_until > now
    return {
        "slug": provider.slug,
        "status": status(request, provider),
        "latency_ms": round(min(latencies) * 1000, 1) if latencies else None,
        "last_error": next((each.last_error for each in circuits if each.last_error), None),
        "cooldown_until": int(request.server.clock.wall() + worst.open_until - now) if cooling and worst else None,
    }


ROUTES = [
    Route(method="GET", path="/healthz", handler=alive, scope="public", prefixes=("",), answers={200: shapes.Alive}),
    Route(
        method="GET",
        path="/health",
        handler=health,
        scope="any",
        prefixes=("", "/v1", "/api/v1"),
        answers={200: shapes.Health, 503: shapes.Health},
    ),
]
