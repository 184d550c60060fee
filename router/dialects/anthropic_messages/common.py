"""What every answer of this surface carries, whichever lane it came by: usage, stop reasons, headers, errors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import RouterError, UpstreamError
from ...model import FinishReason
from ...openai_words import charged
from ...prices import PICODOLLARS, Usage
from ...sse import frame
from ...wire import anthropic as wire
from ...wire.anthropic_words import STATUS, usage_of
from .. import envelopes

if TYPE_CHECKING:
    from ...call import Call

encode_json = msgspec.json.Encoder().encode


# --- stop reasons ----------------------------------------------------------------------------------------------------

#: reasons of Anthropic's own that the hub has no word for: they come back as they were
_KEPT = ("pause_turn", "model_context_window_exceeded")
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def stop_reason(reason: FinishReason, native: str | None, stop_sequence: str | None, *, called: bool) -> str:
    """How an answer of the hub ended, in Anthropic's words. `called`: it holds calls of the client's tools."""
    if called:
        return "tool_use"
    if native in _KEPT:
        return native
    if reason == "stop" and stop_sequence is not None:
        return "stop_sequence"
    return _STOP.get(reason, "end_turn")


# --- usage -----------------------------------------------------------------------------------------------------------


def told_usage(counted: wire.Usage) -> Usage:
    """The hub's count of what the upstream tells; gateways tell what they charge too."""
    usage = usage_of(counted)
    usage.cost = charged(counted)
    return usage.clamped()


_TIERS = {"default": "standard", "auto": "standard"}


def usage_object(call: Call) -> dict[str, Any]:
    """`call.usage` in Anthropic's arithmetic: `input_tokens` leaves out what was read from the cache or written to it."""
    usage = call.usage or call.outcome.usage or Usage(source="estimated")
    written = usage.cache_write + usage.cache_write_1h
    tier = call.outcome.service_tier
    told: dict[str, Any] = {
        "input_tokens": max(usage.input - usage.cache_read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": _TIERS.get(tier or "", tier),
    }
    if usage.searches:
        told["server_tool_use"] = {"web_search_requests": usage.searches}
    if usage.source == "estimated":
        told["estimated"] = True
    return told


# --- metadata --------------------------------------------------------------------------------------------------------


def cost_members(call: Call) -> dict[str, Any]:
    """What `usage` says more then."""
    return {"cost": None if call.charge is None else call.charge / PICODOLLARS, "is_byok": call.is_byok}


def provider_of(call: Call) -> str:
    """The slug of the provider that serves."""
    return call.candidate.provider.slug if call.candidate is not None else ""


# --- headers and errors ----------------------------------------------------------------------------------------------


def answer_headers(request_id: str, limit: tuple[int, int, int]) -> dict[str, str]:
    """Anthropic's names for the request's id and the request window (`limit`: limit, remaining, reset in unix seconds)."""
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(limit[2]))
    return {
        "request-id": request_id,
        "anthropic-ratelimit-requests-limit": str(limit[0]),
        "anthropic-ratelimit-requests-remaining": str(limit[1]),
        "anthropic-ratelimit-requests-reset": reset,
    }


def error_event(error: RouterError, request_id: str) -> bytes:
    """The last event of a stream that failed."""
    _, body = envelopes.anthropic(error, request_id)
    return frame(body, "error")


def failure(call: Call, body: bytes) -> UpstreamError:
    """What an error that came with status 200 stands for."""
    candidate = call.candidate
    assert candidate is not None
    try:
        kind = wire.decode_error(body).error.type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = None
    return candidate.provider.error(STATUS.get(kind or "", 500), {}, body)
