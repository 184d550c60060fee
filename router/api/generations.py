"""GET /generation?id= and /generation/{id}: the record of one call, in the layouts of both kinds of clients (api.md 13)."""

from __future__ import annotations

from typing import Any

from ..call import wants_number_codes
from ..errors import BadRequest, NotFound
from ..generation import Generation
from ..prices import usd
from . import Request, Route, shapes
from .moments import moment


async def one(request: Request) -> dict[str, Any]:
    """A call of the key that asks; a management key sees all. Raises BadRequest, NotFound."""
    id = request.http.match_info.get("id") or request.http.query.get("id") or ""
    if not id:
        raise BadRequest("say which: /generation?id=gen-… (the id is in the header X-Generation-Id)", param="id")
    row = await request.server.generations.find(id, request.caller)
    if row is None:
        raise NotFound(f"no generation {id[:100]!r} of this key; the id is in the header X-Generation-Id of the answer")
    return {**_outer(row), "data": _inner(row, usage_is_cost=_wants_number(request))}


def _wants_number(request: Request) -> bool:
    """Some clients insist on `usage` being the cost."""
    if "usage" in request.http.query:
        return request.http.query["usage"] == "number"
    setting = request.caller.compat.get("error_code", request.server.settings.compat.error_code)
    return wants_number_codes(request.http.headers, setting)


def _outer(row: Generation) -> dict[str, Any]:
    return {
        "id": row.id,
        "model": row.model,
        "provider": row.provider,
        "created_at": moment(row.created_unix),
        "latency_ms": row.latency_ms,
        "status": row.status,
        "usage": {
            **_tokens(row),
            "prompt_tokens_details": {"cached_tokens": row.usage.cache_read},
            "completion_tokens_details": {"reasoning_tokens": row.usage.reasoning},
            "cost": None if row.cost is None else usd(row.cost),
            "is_byok": row.is_byok,
            "cost_details": {
                "upstream_inference_cost": _list_cost(row),
                "upstream_inference_prompt_cost": None if row.list_cost is None else usd(row.prompt_cost),
                "upstream_inference_completions_cost": None if row.list_cost is None else usd(row.completion_cost),
            },
            "estimated": row.usage.source == "estimated",
        },
    }


def _inner(row: Generation, *, usage_is_cost: bool) -> dict[str, Any]:
    cost = usd(row.cost or 0)
    total = row.latency_ms + row.generation_ms
    return {
        "id": row.id,
        "request_id": row.request_id,
        "upstream_id": row.upstream_id or None,
        "model": row.model,
        "requested_model": row.requested_model,
        "created_at": moment(row.created_unix),
        "status": row.status,
        "origin": row.http_referer or "",
        "http_referer": row.http_referer,
        "app_id": None,
        "app_title": row.app_title,
        "user_agent": row.user_agent,
        "external_user": row.user,
        "session_id": row.session_id,
        "trace_id": row.trace_id,
        "tags": row.tags,
        "workspace_id": None,
        "preset_id": row.preset_id,
        "api_type": row.api_type,
        "streamed": row.streamed,
        "cancelled": row.cancelled,
        "finish_reason": row.finish_reason,
        "native_finish_reason": row.native_finish_reason,
        "http_status": row.http_status,
        "error_code": row.error_code,
        "provider_name": row.provider or None,
        "provider_responses": _responses(row),
        "router": None,
        "data_region": "global",
        "service_tier": row.service_tier,
        "latency": row.latency_ms,
        "generation_time": total,
        "moderation_latency": row.moderation_ms,
        "tokens_prompt": row.usage.input,
        "tokens_completion": row.usage.output,
        "native_tokens_prompt": row.usage.input,
        "native_tokens_completion": row.usage.output,
        "native_tokens_completion_images": row.usage.image_output,
        "native_tokens_reasoning": row.usage.reasoning,
        "native_tokens_cached": row.usage.cache_read,
        "num_media_prompt": None,
        "num_media_completion": row.usage.images,
        "num_input_audio_prompt": None,
        "num_search_results": row.usage.searches,
        "num_fetches": 0,
        "web_search_engine": None,
        "total_cost": cost,
        "priced": row.priced,
        "usage": cost if usage_is_cost else _tokens(row),
        "usage_tokens": _tokens(row),
        "usage_estimated": row.usage.source == "estimated",
        "upstream_inference_cost": _list_cost(row),
        "cache_discount": usd(row.cache_discount) if row.cache_discount else None,
        "is_byok": row.is_byok,
        "response_cache_source_id": row.response_cache_source_id,
    }


def _tokens(row: Generation) -> dict[str, int]:
    usage = row.usage
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }


def _list_cost(row: Generation) -> float | None:
    return None if row.list_cost is None else usd(row.list_cost)


def _responses(row: Generation) -> list[dict[str, Any]]:
    """Every attempt, the failed ones too. Status null: no answer came."""
    return [
        {
            "provider_name": tried["provider"],
            "model_permaslug": tried["model"],
            "status": tried["status"] if tried["status"] > 0 else None,
            "latency": tried["latency_ms"],
            "is_byok": row.is_byok,
        }
        for tried in row.attempts
    ]


ROUTES = [
    Route(
        method="GET", path="/generation", handler=one, scope="generation:read", answers={200: shapes.GenerationFound}
    ),
    Route(
        method="GET",
        path="/generation/{id}",
        handler=one,
        scope="generation:read",
        answers={200: shapes.GenerationFound},
    ),
]
