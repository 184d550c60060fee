"""GET /providers: the configured upstreams and how they do (api.md 10)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..call import Credential
from ..provider import Provider
from . import Request, Route, shapes


async def listed(request: Request) -> dict[str, Any]:
    """All of them, those whose plugin cannot load too."""
    server = request.server
    models = Counter(
        slug for row in await server.listing.rows() for slug in {each.provider.slug for each in row.entry.endpoints}
    )
    rows = [_row(request, provider, models[slug]) for slug, provider in sorted(server.providers.items())]
    rows.extend(_broken(slug, why) for slug, why in sorted(server.broken.items()))
    return {"data": rows}


def status(request: Request, provider: Provider) -> str:
    """ok, degraded (a circuit is open), down (all are), no_credentials: with what whoever asks could be served with."""
    server = request.server
    credentials = provider.credentials or _brought(request, provider)
    if not credentials:
        return "no_credentials"
    now = server.clock.monotonic()
    circuits = server.health.provider(provider.slug, credentials)
    shut = [circuit for circuit in circuits if not circuit.allows(now)]
    if not shut:
        return "ok"
    return "down" if len(shut) == len(circuits) else "degraded"


def _brought(request: Request, provider: Provider) -> list[Credential]:
    """The credentials that plugins bring for whoever asks, at the first model for which there are some."""
    server, call = request.server, request.call
    endpoints = (
        each for entry in server.table.entries.values() for each in entry.endpoints if each.provider is provider
    )
    return next((found for each in endpoints if (found := server.usable(each, call))), [])


def _row(request: Request, provider: Provider, models: int) -> dict[str, Any]:
    settings = provider.settings
    listed = request.server.plugins.listed.get(provider.name)
    return {
        "slug": provider.slug,
        "name": provider.slug,
        "status": status(request, provider),
        "plugin": provider.name,
        "plugin_version": listed.version if listed else None,
        "dialect": next(iter(provider.speaks), None),
        "models": models,
        "base_url": settings.base_url or None,
        "privacy_policy_url": settings.privacy_policy_url,
        "terms_of_service_url": settings.terms_of_service_url,
        "status_page_url": settings.status_page_url,
        "data_policy": {"zdr": settings.zdr, "training": settings.training},
    }


def _broken(slug: str, why: str) -> dict[str, Any]:
    return {
        "slug": slug,
        "name": slug,
        "status": "down",
        "plugin": None,
        "plugin_version": None,
        "dialect": None,
        "models": 0,
        "base_url": None,
        "privacy_policy_url": None,
        "terms_of_service_url": None,
        "status_page_url": None,
        "data_policy": {"zdr": False, "training": False},
        "problem": why,
    }


ROUTES = [
    Route(method="GET", path="/providers", handler=listed, scope="models:read", answers={200: shapes.ProviderList})
]
