"""The raw lane of a plain answer: an upstream's own body, with what the contract wants of every chat answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ...errors import UpstreamError, UpstreamUnavailable
from ...openai_words import ToolCalls, details_text, failure, legacy_call, merge_usage, reason_of, text_of, usage_of
from ...wire import openai as wire
from .common import debug_object, provider_of, usage_object
from .tap import tool_call

if TYPE_CHECKING:
    from ...call import Call

_NULL = Raw(b"null")


class Answer(Struct):
    """What `read` has decoded, for `write`; `counted` is the `usage` object."""

    chunk: wire.Chunk
    counted: dict[str, Any]


def read(call: Call, body: bytes) -> None:
    """Fill `call.outcome`. Raises an UpstreamError where the body is an error, empty or no answer at all."""
    chunk = _decode(body)
    counted: dict[str, Any] = {}
    merge_usage(counted, chunk.usage)
    outcome = call.outcome
    outcome.usage = usage_of(counted)
    for error in (chunk.error, *(choice.error for choice in chunk.choices or ())):
        if wire.given(error):
            raise _failure(call, error)
    if not chunk.choices:
        raise _failure(call, Raw(body)) if chunk.object == "error" else UpstreamUnavailable("the answer has no choices")
    outcome.upstream_id = chunk.id if isinstance(chunk.id, str) else ""
    outcome.service_tier = chunk.service_tier if isinstance(chunk.service_tier, str) else None
    for choice in chunk.choices:
        if choice.finish_reason == "error":
            raise UpstreamUnavailable("the upstream ended the answer with an error")
        outcome.output_chars += _characters(choice.message or wire.Delta())
    first = chunk.choices[0]
    outcome.native_finish_reason = text_of(first.native_finish_reason or first.finish_reason) or None
    outcome.finish_reason = reason_of(text_of(first.finish_reason), _has_tools(first.message))
    outcome.decoded = Answer(chunk, counted)


def _decode(body: bytes) -> wire.Chunk:
    try:
        return wire.decode_chunk(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "is empty" if not body.strip() else "is not JSON of a chat completion"
        raise UpstreamUnavailable(f"the upstream's answer {said}") from error


def _failure(call: Call, error: Raw) -> UpstreamError:
    assert call.candidate is not None
    return failure(error, call.candidate.provider.error)


def _characters(message: wire.Delta) -> int:
    thought = message.reasoning or message.reasoning_content or details_text(message.reasoning_details)
    said = sum(len(text_of(each)) for each in (message.content, message.refusal, thought) if each)
    if not message.tool_calls:
        return said
    return said + sum(len(each.name) + len(each.arguments) for each in ToolCalls().add(message.tool_calls))


def _has_tools(message: wire.Delta | None) -> bool:
    return message is not None and bool(message.tool_calls or legacy_call(message))


def write(call: Call, body: bytes) -> bytes:
    """The client's body. What we do not know of the upstream's stays as it is."""
    answer: Answer = call.outcome.decoded
    chunk, members = answer.chunk, wire.decode_members(body)
    raws = wire.decode_list(members["choices"])
    created = chunk.created
    told: dict[str, Any] = {
        "id": call.id,
        "object": "chat.completion",
        "created": created if isinstance(created, int) and created > 0 else int(call.created_unix),
        "model": call.model_id,
        "provider": provider_of(call),
        "system_fingerprint": _NULL,
        "service_tier": _NULL,
        "choices": [_choice(call, parsed, raw) for parsed, raw in zip(chunk.choices or (), raws, strict=True)],
        "usage": usage_object(call, answer.counted),
    }
    told |= {name: raw for name, raw in members.items() if name not in _OURS}
    if call.metadata is not None:
        told["openrouter_metadata"] = call.metadata
    if call.head.echo_upstream_body:
        told["debug"] = debug_object(call)
    return wire.encode(told)


_OURS = frozenset({"id", "object", "created", "model", "provider", "choices", "usage", "error"})


def _choice(call: Call, parsed: wire.Choice, raw: dict[str, Raw]) -> dict[str, Any]:
    message = parsed.message or parsed.delta or wire.Delta()
    reason = text_of(parsed.finish_reason)
    told: dict[str, Any] = {
        "index": parsed.index if isinstance(parsed.index, int) else 0,
        "finish_reason": reason_of(reason, _has_tools(message)),
        "native_finish_reason": text_of(parsed.native_finish_reason) or reason or None,
        "logprobs": _NULL,
    }
    told |= {name: each for name, each in raw.items() if name not in _WRITTEN}
    told["message"] = _message(call, message, raw)
    return told


_WRITTEN = frozenset({"index", "finish_reason", "native_finish_reason", "message", "delta", "error"})


def _message(call: Call, message: wire.Delta, raw: dict[str, Raw]) -> dict[str, Any]:
    inner = raw.get("message") or raw.get("delta") or _NULL
    members: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    members |= wire.decode_members(inner) if wire.given(inner) else {}
    if not message.role:
        members["role"] = "assistant"
    _reasoning(call, message, members)
    if not legacy_call(message):
        members.pop("function_call", None)
    for name in ("tool_calls", "audio"):
        if not getattr(message, name):
            members.pop(name, None)
    if message.tool_calls:
        given = wire.decode_list(members["tool_calls"])
        calls = ToolCalls().add(message.tool_calls)
        members["tool_calls"] = [tool_call(given[each.position], each, whole=True) for each in calls]
    return members


def _reasoning(call: Call, message: wire.Delta, members: dict[str, Any]) -> None:
    """Both names for reasoning, or none where the client does not want to see it."""
    if call.head.exclude_reasoning:
        for name in ("reasoning", "reasoning_content", "reasoning_details"):
            members.pop(name, None)
        return
    thought = message.reasoning or message.reasoning_content
    members["reasoning"] = thought or None
    if thought and call.compat.get("reasoning_content", True):
        members["reasoning_content"] = thought
    else:
        members.pop("reasoning_content", None)
