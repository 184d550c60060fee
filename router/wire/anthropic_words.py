"""What Anthropic's words and counts mean, for all who read its answers: the dialect on the raw lane, and plugins.

https://platform.claude.com/docs/en/api/messages and /errors, seen in November 2026.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ..model import FinishReason
from ..prices import Usage
from . import anthropic as wire

Counts = TypeVar("Counts", bound=Struct)

#: why an answer ended, in the hub's words; what is missing here is "stop"
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

#: the HTTP status that each name of an error stands for: in a stream, and in bodies that came with 200, the name is all there is
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def merged(first: Counts | None, later: Counts) -> Counts:
    """Both counts, field by field: a later null or zero erases nothing."""
    if first is None:
        return later
    changes = {}
    for name in later.__struct_fields__:
        old, new = getattr(first, name), getattr(later, name)
        if isinstance(old, Struct) and isinstance(new, Struct):
            changes[name] = merged(old, new)
        elif new or old is None:
            changes[name] = new
    return replace(first, **changes)


def usage_of(counted: wire.Usage) -> Usage:
    """The hub's count: `input` includes what was read from the cache and written to it, in classes of five minutes and an hour."""
    read, written = counted.cache_read_input_tokens or 0, counted.cache_creation_input_tokens or 0
    split = counted.cache_creation or wire.CacheCreation()
    hour = split.ephemeral_1h_input_tokens or 0
    written = max(written, hour + (split.ephemeral_5m_input_tokens or 0))
    details, tools = counted.output_tokens_details, counted.server_tool_use
    return Usage(
        input=(counted.input_tokens or 0) + read + written,
        output=counted.output_tokens or 0,
        reasoning=(details.thinking_tokens or 0) if details else 0,
        cache_read=read,
        cache_write=written - hour,
        cache_write_1h=hour,
        searches=(tools.web_search_requests or 0) if tools else 0,
    )
