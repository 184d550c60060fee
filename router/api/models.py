"""GET /models, /models/count, /models/user, /embeddings/models, /models/{id} and /model/{id} (api.md 10)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import PREFIXES, Request, Route, feed, google, shapes
from .endpoints import DEGRADED, OK, found, status
from .entries import entry
from .listing import MEANT, Row, paged, selected, truth

#: clients of Anthropic list models too
SHARED_PREFIXES = (*PREFIXES, "/anthropic/v1")


async def listed(request: Request) -> Any:
    """Every model there is, or those that the query asks for; as a feed where it says so."""
    http = request.http
    if google.of_gemini(http):
        return await google.listed(request)
    if MEANT.isdisjoint(http.query):
        return web.Response(body=await request.server.listing.whole(), content_type="application/json")
    page = paged(await selected(request.server, http.query), http.query, http.path)
    if truth("use_rss", http.query.get("use_rss") or "false"):
        return web.Response(body=feed.rss(page, request.origin), content_type="application/rss+xml")
    return page.body()


async def embedding(request: Request) -> dict[str, Any]:
    """The models that give vectors."""
    http = request.http
    return paged(await selected(request.server, http.query, outputs="embeddings"), http.query, http.path).body()


async def count(request: Request) -> dict[str, Any]:
    """How many the list would have."""
    number = len(await selected(request.server, request.http.query))
    return {"count": number, "data": {"count": number}}


async def of_user(request: Request) -> dict[str, Any]:
    """The models that this key may ask now: its restrictions allow an endpoint that is not down."""
    server, http, caller, call = request.server, request.http, request.caller, request.call

    restrictions = server.plugins.hook.router_restrict(identity=caller)

    def usable(row: Row) -> bool:
        return any(
            caller.excludes(endpoint) is None
            and all(each.excludes(endpoint) is None for each in restrictions)
            and status(server, endpoint, call) in (OK, DEGRADED)
            for endpoint in row.entry.endpoints
        )

    return paged([row for row in await selected(server, http.query) if usable(row)], http.query, http.path).body()


async def wrapped(request: Request) -> dict[str, Any]:
    """One model, as clients of OpenRouter ask for it. Raises NotFound."""
    return {"data": entry(found(request, google.id_of(request)))}


async def one(request: Request) -> dict[str, Any]:
    """The same as a bare object. Raises NotFound."""
    if google.of_gemini(request.http):
        return await google.one(request)
    return entry(found(request, google.id_of(request)))


def _get(path: str, handler: Any, answer: Any, prefixes: tuple[str, ...] = PREFIXES) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        scope="models:read",
        keep_s=60,
        prefixes=prefixes,
        answers={200: answer},
    )


ROUTES = [
    _get("/models", listed, shapes.ModelList | shapes.GoogleModelList, SHARED_PREFIXES),
    _get("/embeddings/models", embedding, shapes.ModelList),
    _get("/models/count", count, shapes.Count),
    Route(
        method="GET",
        path="/models/user",
        handler=of_user,
        scope="models:read",
        personal=True,
        answers={200: shapes.ModelList},
    ),
    _get("/model/{id:.+}", wrapped, shapes.ModelFound),
    _get("/models/{id:.+}", one, shapes.Model | shapes.GoogleModel, SHARED_PREFIXES),
]
