"""The response object: what every answer is, and what the first and last events of a stream hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from ...errors import RouterError
from ...prices import PICODOLLARS, Usage
from ...wire import openai as wire
from ..envelopes import message_of, report_of
from ..openai_chat.common import provider_of

if TYPE_CHECKING:
    from ...call import Call
    from .peek import Kept, Peeked

#: request member -> what an answer says where the request does not; all of them are echoed
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "frequency_penalty": None,
    "presence_penalty": None,
    "user": None,
}
#: the words that clients may find in `error.code`; whatever else goes wrong is a `server_error` to them
_CODES = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "invalid_prompt": "invalid_prompt",
    "context_length_exceeded": "context_length_exceeded",
    "payment_required": "insufficient_quota",
    "content_policy_violation": "invalid_prompt",
    "image_download_failed": "failed_to_download_image",
    **{kind: kind for kind in ("invalid_image", "image_too_large", "image_too_small", "unsupported_image_format")},
}


def response_id(call: Call) -> str:
    """The public id of the response."""
    return f"resp_{call.id.removeprefix('gen-').replace('-', '')}"


def kept_members(kept: Kept) -> dict[str, Any]:
    """The members of an answer that only the router can know, where it keeps responses itself."""
    return {
        "id": kept.id,
        "background": kept.background,
        "previous_response_id": kept.previous,
        "store": kept.store,
    }


def response_object(call: Call, status: str, output: list[dict[str, Any]], *, ended: bool = True) -> dict[str, Any]:
    """The whole object. `ended` False: the call still runs, and has neither usage nor an end."""
    members = call.head.members
    peeked: Peeked = call.head.decoded
    told: dict[str, Any] = {
        "id": response_id(call),
        "object": "response",
        "created_at": int(call.created_unix),
        "completed_at": int(time.time()) if ended and status == "completed" else None,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": call.model_id,
        "output": output,
        "previous_response_id": None,
        "store": False,
        "service_tier": call.outcome.service_tier or _sent(members, "service_tier", "auto"),
        "reasoning": _reasoning(call),
        "text": _text(members),
        "usage": usage_object(call) if ended else None,
    }
    told |= {name: _sent(members, name, default) for name, default in _ECHOED.items()}
    if peeked.kept is not None:
        told |= kept_members(peeked.kept)
    if ended:
        told["output_text"] = "".join(
            part["text"]
            for item in output
            if item["type"] == "message"
            for part in item["content"]
            if part["type"] == "output_text"
        )
        if call.metadata is not None:
            told["provider"] = provider_of(call)
            told["openrouter_metadata"] = call.metadata
    return told


def _sent(members: dict[str, Raw], name: str, default: Any) -> Any:
    raw = members.get(name, wire.NOTHING)
    return raw if wire.given(raw) else default


def _reasoning(call: Call) -> dict[str, Any]:
    peeked: Peeked = call.head.decoded
    config = peeked.reasoning
    return {"effort": config.effort if config else None, "summary": config.summary if config else None}


def _text(members: dict[str, Raw]) -> dict[str, Any]:
    raw = members.get("text", wire.NOTHING)
    told: dict[str, Any] = {"format": {"type": "text"}, "verbosity": "medium"}
    if wire.given(raw):
        told |= {name: each for name, each in wire.decode_members(raw).items() if wire.given(each)}
    return told


def usage_object(call: Call) -> dict[str, Any]:
    """`usage`: `call.usage` in the arithmetic of this API; cost only for those who ask for metadata."""
    usage = call.usage or call.outcome.usage or Usage(source="estimated")
    told: dict[str, Any] = {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
    if usage.source == "estimated":
        told["estimated"] = True
    return told | (costs(call) if call.metadata is not None else {})


def costs(call: Call) -> dict[str, Any]:
    """What the call cost, in USD."""
    cost = call.cost
    return {
        "cost": None if call.charge is None else call.charge / PICODOLLARS,
        "is_byok": call.is_byok,
        "cost_details": {
            "upstream_inference_cost": None if cost is None else cost.total / PICODOLLARS,
            "upstream_inference_input_cost": None if cost is None else cost.prompt / PICODOLLARS,
            "upstream_inference_output_cost": None if cost is None else cost.completion / PICODOLLARS,
        },
    }


def failed(error: RouterError) -> dict[str, Any]:
    """The members of a response that failed."""
    return {
        "status": "failed",
        "error": {"code": _CODES.get(error.kind, "server_error"), "message": message_of(error)},
        "error_type": error.kind,
        **report_of(error),
    }
