"""GET /models, /models/{id}, /models/count: entries that clients of all services understand (api.md 10), and Google's form (8)."""

from __future__ import annotations

import re
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from aiohttp import web

from ..dialects.gemini_generate import METHODS
from ..errors import BadRequest, MethodNotAllowed
from ..model import Model
from ..planning import Entry
from ..prices import Price, usd_text
from . import Request, Route


async def listed(request: Request) -> dict[str, Any]:
    """Every model there is, as one page; in Google's form to its clients."""
    if of_gemini(request.http):
        return await gemini_listed(request)
    entries = [entry(each) for each in _sorted(request)]
    return {
        "object": "list",
        "success": True,
        "data": entries,
        "total_count": len(entries),
        "links": {"next": None},
        "has_more": False,
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
    }


async def embedding(request: Request) -> dict[str, Any]:
    """The models that give vectors."""
    entries = [entry(each) for each in _sorted(request) if "embeddings" in each.model.output_modalities]
    return {"object": "list", "data": entries, "total_count": len(entries)}


async def count(request: Request) -> dict[str, Any]:
    """How many there are."""
    number = len(_sorted(request))
    return {"count": number, "data": {"count": number}}


async def one(request: Request) -> dict[str, Any]:
    """One model. Raises NotFound."""
    if of_gemini(request.http):
        return await gemini_one(request)
    id = _id(request)
    for found in request.server.table.find(id):
        return entry(found.entry)
    raise request.server.table.why_not(id)


def _id(request: Request) -> str:
    """The model that the path names. Raises MethodNotAllowed for the paths of calls."""
    id = request.http.match_info["id"].rstrip("/")
    if id.rpartition(":")[2] in METHODS:
        raise MethodNotAllowed("GET is not possible here; use POST", metadata={"allow": "POST"})
    return id


def _sorted(request: Request) -> list[Entry]:
    entries = {entry.id: entry for entry in request.server.table.entries.values()}
    return [entries[id] for id in sorted(entries)]


def entry(each: Entry) -> dict[str, Any]:
    """The public form of a model: facts of the table, prices as decimal strings in USD per token."""
    model, best = each.model, each.endpoints[0]
    author = each.id.partition("/")[0]
    capabilities = _capabilities(each)
    return {
        "id": each.id,
        "object": "model",
        "type": "model",
        "created": model.created,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(model.created)),
        "owned_by": author,
        "name": model.name or each.id,
        "display_name": model.name or each.id,
        "canonical_slug": each.id,
        "description": model.description,
        "provider": best.provider.slug,
        "category": _category(model),
        "context_length": model.context_length or None,
        "hugging_face_id": None,
        "knowledge_cutoff": model.knowledge_cutoff,
        "expiration_date": None,
        "architecture": {
            "modality": "+".join(model.input_modalities) + "->" + "+".join(model.output_modalities),
            "input_modalities": model.input_modalities,
            "output_modalities": model.output_modalities,
            "tokenizer": model.tokenizer,
            "instruct_type": None,
        },
        "pricing": pricing(best.price),
        "top_provider": {
            "context_length": best.model.context_length or None,
            "max_completion_tokens": best.model.max_output or None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "default_parameters": {},
        "supported_voices": None,
        "supported_parameters": model.parameters,
        "reasoning": _reasoning(each),
        "capabilities": capabilities,
        "capability_list": _capability_list(capabilities),
        "supported_endpoint_types": ["openai", "anthropic", "gemini"],
        "links": {"details": f"/api/v1/models/{each.id}/endpoints"},
    }


def _category(model: Model) -> str:
    outputs = model.output_modalities
    return "embedding" if "embeddings" in outputs and "text" not in outputs else "text"


def pricing(price: Price | None) -> dict[str, Any]:
    """Prices in USD per token or piece, as decimal strings; empty strings would break clients, so unknown reads "-1"."""
    if price is None:
        return {"prompt": "-1", "completion": "-1", "request": "0", "image": "0", "web_search": "0"}
    shown: dict[str, Any] = {
        "prompt": usd_text(price.prompt),
        "completion": usd_text(price.completion),
        "request": usd_text(price.request),
        "image": usd_text(price.image),
        "web_search": usd_text(price.web_search),
        "internal_reasoning": usd_text(price.internal_reasoning or 0),
        # A class without a price of its own costs what its side costs: a zero would read as free.
        "input_cache_read": usd_text(price.prompt if price.input_cache_read is None else price.input_cache_read),
        "input_cache_write": usd_text(price.prompt if price.input_cache_write is None else price.input_cache_write),
        "input_per_1k": price.prompt / 1e9,
        "output_per_1k": price.completion / 1e9,
    }
    if price.audio_input is not None:
        shown["audio"] = usd_text(price.audio_input)
    return shown


def _reasoning(each: Entry) -> dict[str, Any] | None:
    if not each.model.reasoning:
        return None
    efforts = each.model.efforts
    return {
        "supported_efforts": efforts,
        "default_effort": "medium" if "medium" in efforts else None,
        "default_enabled": True,
        "mandatory": False,
    }


def _capabilities(each: Entry) -> dict[str, bool]:
    model = each.model
    tools = "tools" in model.parameters
    return {
        "function_calling": tools,
        "tool_use": tools,
        "structured_outputs": "structured_outputs" in model.parameters,
        "vision": "image" in model.input_modalities,
        "streaming": "text" in model.output_modalities,
        "audio": "audio" in model.input_modalities,
        "embeddings": "embeddings" in model.output_modalities,
    }


def _capability_list(capabilities: dict[str, bool]) -> list[str]:
    chat = [
        name
        for name, there in (("chat", capabilities["streaming"]), ("embeddings", capabilities["embeddings"]))
        if there
    ]
    return chat + [name for name in ("tool_use", "vision", "structured_outputs", "audio") if capabilities[name]]


# --- Google's form ---------------------------------------------------------------------------------------------------

MAX_PAGE = 1000
GEMINI_PREFIXES = ("/v1beta", "/api/v1beta")
#: the paths that clients of all surfaces ask
SHARED = re.compile(r"(?:/api)?/v1/models(?:/|$)")


def of_gemini(request: web.BaseRequest) -> bool:
    """True for clients of the Gemini surface on the paths that all share: the way in which their credential came tells."""
    headers = request.headers
    if "Authorization" in headers or "x-api-key" in headers:
        return False
    return "x-goog-api-key" in headers or "key" in request.query


async def gemini_listed(request: Request) -> dict[str, Any]:
    """The models that generate, a page of `pageSize` behind the model that `pageToken` names; all where no size is given."""
    query = request.http.query
    size, after = _page_size(query.get("pageSize")), _page_token(query.get("pageToken"))
    entries = [each for each in _sorted(request) if each.id > after and "text" in each.model.output_modalities]
    told: dict[str, Any] = {"models": [gemini_entry(each) for each in entries[:size]]}
    if len(entries) > size:
        told["nextPageToken"] = urlsafe_b64encode(entries[size - 1].id.encode()).decode()
    return told


async def gemini_one(request: Request) -> dict[str, Any]:
    """One model. Raises NotFound."""
    id = _id(request).removeprefix("models/")
    for found in request.server.table.find(id):
        return gemini_entry(found.entry)
    raise request.server.table.why_not(id)


def gemini_entry(each: Entry) -> dict[str, Any]:
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
    told["supportedGenerationMethods"] = ["generateContent", "countTokens"]
    if model.reasoning:
        told["thinking"] = True
    return told


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
    Route(method="GET", path="/models", handler=listed, scope="models:read", keep_s=60),
    Route(method="GET", path="/embeddings/models", handler=embedding, scope="models:read", keep_s=60),
    Route(method="GET", path="/models/count", handler=count, scope="models:read", keep_s=60),
    Route(method="GET", path="/models/{id:.+}", handler=one, scope="models:read", keep_s=60),
    Route(method="GET", path="/models", handler=gemini_listed, scope="models:read", prefixes=GEMINI_PREFIXES),
    Route(method="GET", path="/models/{id:.+}", handler=gemini_one, scope="models:read", prefixes=GEMINI_PREFIXES),
]
