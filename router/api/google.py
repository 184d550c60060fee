"""Models in the form of Google's clients (api.md 8), on their own paths and on those that all surfaces share."""

from __future__ import annotations

import re
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from typing import Any

from aiohttp import web

from ..dialects.gemini_embeddings import ALL_METHODS
from ..errors import BadRequest, MethodNotAllowed
from ..planning import Entry
from . import Request, Route, shapes

MAX_PAGE = 1000
GEMINI_PREFIXES = ("/v1beta", "/api/v1beta")
#: the paths that clients of all surfaces ask
SHARED = re.compile(r"(?:/api)?/v1/models(?:/|$)")


def of_gemini(request: web.BaseRequest) -> bool:
    """True for clients of the Gemini surface on the paths that all share: the way in which their credential came tells."""
    headers = request.headers
    if not SHARED.match(request.path) or "Authorization" in headers or "x-api-key" in headers:
        return False
    return "x-goog-api-key" in headers or "key" in request.query


async def listed(request: Request) -> dict[str, Any]:
    """The models that generate or embed, a page of `pageSize` behind the one that `pageToken` names; all where no size is given."""
    query = request.http.query
    size, after = _page_size(query.get("pageSize")), _page_token(query.get("pageToken"))
    rows = await request.server.listing.rows()
    entries = [row.entry for row in rows if row.id > after and _methods(row.outputs)]
    told: dict[str, Any] = {"models": [entry(each) for each in entries[:size]]}
    if len(entries) > size:
        told["nextPageToken"] = urlsafe_b64encode(entries[size - 1].id.encode()).decode()
    return told


async def one(request: Request) -> dict[str, Any]:
    """One model. Raises NotFound."""
    id = id_of(request).removeprefix("models/")
    for found in request.server.table.find(id):
        return entry(found.entry)
    raise request.server.table.why_not(id)


def entry(each: Entry) -> dict[str, Any]:
    """A model as Google lists it. Lengths that nobody knows are left out."""
    model = each.model
    told: dict[str, Any] = {
        "name": f"models/{each.id}",
        "version": model.id,
        "displayName": model.name or each.id,
        "description": model.description,
    }
    if model.context_length:
        told["inputTokenLimit"] = model.context_length
    if model.max_output:
        told["outputTokenLimit"] = model.max_output
    told["supportedGenerationMethods"] = _methods(model.output_modalities)
    if model.reasoning:
        told["thinking"] = True
    return told


def id_of(request: Request) -> str:
    """The model that the path names. Raises MethodNotAllowed for the paths of calls."""
    id = request.http.match_info["id"].rstrip("/")
    if id.rpartition(":")[2] in ALL_METHODS:
        raise MethodNotAllowed("GET is not possible here; use POST", metadata={"allow": "POST"})
    return id


def _methods(outputs: Collection[str]) -> list[str]:
    """What Google's clients can ask of a model that gives this."""
    chats = ["generateContent", "countTokens"] if "text" in outputs else []
    return chats + (["embedContent"] if "embeddings" in outputs else [])


def _page_size(given: str | None) -> int:
    if given is None:
        return sys.maxsize
    if not given.isdecimal() or not (size := int(given[:9])):
        raise BadRequest(f"pageSize must be an integer from 1 up; got {given[:20]!r}", param="pageSize")
    return min(size, MAX_PAGE)


def _page_token(given: str | None) -> str:
    if not given:
        return ""
    try:
        return urlsafe_b64decode(given).decode()
    except ValueError:
        raise BadRequest("pageToken is none that was given out here", param="pageToken") from None


ROUTES = [
    Route(
        method="GET", path=path, handler=handler, scope="models:read", prefixes=GEMINI_PREFIXES, answers={200: answer}
    )
    for path, handler, answer in (
        ("/models", listed, shapes.GoogleModelList),
        ("/models/{id:.+}", one, shapes.GoogleModel),
    )
]
