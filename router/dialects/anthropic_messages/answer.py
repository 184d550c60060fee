"""The raw lane of a plain answer: Anthropic's own body, byte for byte unless the client asked for metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import UpstreamUnavailable
from ...wire import anthropic as wire
from ...wire.anthropic_words import FINISH
from .common import cost_members, encode_json, failure, provider_of, told_usage

if TYPE_CHECKING:
    from ...call import Call


def read(call: Call, body: bytes) -> None:
    """Fill `call.outcome`. Raises an UpstreamError where the body is an error, empty or no message."""
    try:
        message = wire.decode_message(body)
        blocks = [wire.decode_block(raw) for raw in message.content or ()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "is empty" if not body.strip() else "is not a message in JSON"
        raise UpstreamUnavailable(f"the upstream's answer {said}") from error
    if message.type == "error":
        raise failure(call, body)
    if message.content is None:
        raise UpstreamUnavailable("the upstream's answer holds no content")
    outcome = call.outcome
    outcome.upstream_id = message.id or ""
    if message.usage is not None:
        outcome.usage = told_usage(message.usage)
        outcome.service_tier = message.usage.service_tier
    for block in blocks:
        outcome.output_chars += len(block.text or block.thinking or "")
        if block.type == "tool_use":
            outcome.output_chars += len(block.name or "") + len(bytes(block.input))
    called = any(block.type == "tool_use" for block in blocks)
    outcome.native_finish_reason = message.stop_reason
    outcome.finish_reason = "tool_calls" if called else FINISH.get(message.stop_reason or "", "stop")


def write(call: Call, body: bytes) -> bytes:
    """The client's body."""
    if call.metadata is None:
        return body
    told: dict[str, Any] = dict(wire.decode_members(body))
    usage = told.get("usage")
    counted = wire.decode_members(usage) if isinstance(usage, Raw) and bytes(usage) != b"null" else {}
    told["usage"] = counted | cost_members(call)
    told["provider"] = provider_of(call)
    if call.metadata is not None:
        told["openrouter_metadata"] = call.metadata
    return encode_json(told)
