"""What every chat answer carries, whichever lane it came by: usage with its cost, the echo of what was sent, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...call import wants_number_codes
from ...errors import RouterError, UpstreamError
from ...prices import PICODOLLARS, Usage
from ...sse import frame
from ...wire import openai as wire
from ..envelopes import encode, message_of, report_of

if TYPE_CHECKING:
    from ...call import Call

DONE = b"data: [DONE]\n\n"
_LONGEST_ECHO = 1024


def usage_object(call: Call, counted: dict[str, Any]) -> dict[str, Any]:
    """The `usage` object: `call.usage` in OpenAI's arithmetic with the price, over what else the upstream `counted`."""
    usage = call.usage or call.outcome.usage or Usage(source="estimated")
    told = dict(counted)
    ins, outs = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    told["prompt_tokens"] = usage.input
    told["completion_tokens"] = usage.output
    told["total_tokens"] = usage.input + usage.output
    told["prompt_tokens_details"] = (ins if isinstance(ins, dict) else {}) | {
        "cached_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        "audio_tokens": usage.audio_input,
    }
    told["completion_tokens_details"] = (outs if isinstance(outs, dict) else {}) | {
        "reasoning_tokens": usage.reasoning,
        "audio_tokens": usage.audio_output,
        "image_tokens": usage.image_output,
    }
    told["cost"] = None if call.charge is None else call.charge / PICODOLLARS
    told["is_byok"] = call.is_byok
    cost = call.cost
    told["cost_details"] = {
        "upstream_inference_cost": None if cost is None else cost.total / PICODOLLARS,
        "upstream_inference_prompt_cost": None if cost is None else cost.prompt / PICODOLLARS,
        "upstream_inference_completions_cost": None if cost is None else cost.completion / PICODOLLARS,
    }
    if usage.source == "estimated":
        told["estimated"] = True
    return told


def usage_apart(call: Call) -> bool:
    """True where usage comes in a last chunk of its own."""
    match call.compat.get("usage_chunk", "auto"):
        case "separate":
            return True
        case "same":
            return False
    return call.head.include_usage


def debug_object(call: Call) -> dict[str, Any]:
    """What was sent upstream, without long data URLs. Credentials are in headers and never in bodies."""
    sent = call.outgoing.body if call.outgoing is not None else b"null"
    try:
        body = wire.decode_any(sent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    return {"echo_upstream_body": elided(body)}


def elided(value: Any) -> Any:
    """A value of JSON without long data URLs and other long strings that nobody reads."""
    if isinstance(value, dict):
        return {name: elided(each) for name, each in value.items()}
    if isinstance(value, list):
        return [elided(each) for each in value]
    if isinstance(value, str) and len(value) > _LONGEST_ECHO and _is_data(value):
        return f"{value[:40]}… ({len(value)} characters)"
    return value


def _is_data(value: str) -> bool:
    return value.startswith("data:") or " " not in value[:_LONGEST_ECHO]


# --- errors ----------------------------------------------------------------------------------------------------------


def error_body(error: RouterError, request_id: str, *, number_codes: bool) -> tuple[int, bytes]:
    """HTTP status and envelope of an error (api.md 4)."""
    status = error.status
    if number_codes and error.code == "model_not_found" and error.param:
        status = 400
    body: dict[str, Any] = {
        "message": message_of(error),
        "type": error.row.type,
        "code": status if number_codes else error.code,
        "param": error.param,
        "metadata": _metadata(error, status),
    }
    if error.availability is not None:
        body["availability"] = error.availability
    return status, encode({"error": body, "code": error.code, "request_id": request_id} | report_of(error))


def _metadata(error: RouterError, status: int) -> dict[str, Any]:
    told = {"error_type": error.kind, "error_code": error.code, "http_status": status}
    if isinstance(error, UpstreamError) and error.provider_code:
        told["provider_code"] = error.provider_code
    return told | error.metadata


def error_chunk(call: Call, error: RouterError) -> bytes:
    """The frames that end a stream which has begun: the error as a chunk, then the end mark."""
    chunk: dict[str, Any] = {
        "id": call.id,
        "object": "chat.completion.chunk",
        "created": int(call.created_unix),
        "model": call.model_id,
        "provider": provider_of(call),
        "error": error_object(call, error),
        "choices": [
            {"index": index, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": None}
            for index in range(max(call.head.n, 1))
        ],
    }
    if call.metadata is not None:
        chunk["openrouter_metadata"] = call.metadata
    return frame(wire.encode(chunk)) + DONE


def error_object(call: Call, error: RouterError) -> dict[str, Any]:
    """An error inside of an answer that has begun."""
    code: str | int = error.status if number_codes(call) else error.code
    told = {"code": code, "message": message_of(error), "metadata": _metadata(error, error.status)}
    if error.availability is not None:
        told["availability"] = error.availability
    return told


def number_codes(call: Call) -> bool:
    """True for clients that need `error.code` as a number (api.md 4)."""
    return wants_number_codes(call.headers, call.compat.get("error_code", "string"))


def provider_of(call: Call) -> str:
    """The slug of the provider that serves."""
    return call.candidate.provider.slug if call.candidate is not None else ""
