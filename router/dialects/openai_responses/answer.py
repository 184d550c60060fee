"""The raw lane of a plain answer: an upstream's own body, read for the ledger and relayed as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import UpstreamUnavailable
from ...openai_words import CHARGES, failure, usage_of
from ...prices import Usage
from ...wire import openai
from ...wire import responses as wire
from ..openai_chat.common import provider_of
from .response import costs, kept_members

if TYPE_CHECKING:
    from ...call import Call
    from .peek import Peeked

_CALLS = ("function_call", "custom_tool_call")


def read(call: Call, body: bytes) -> None:
    """Fill `call.outcome`. Raises an UpstreamError where the body is an error, empty or no answer at all."""
    try:
        told = wire.decode_response(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "is empty" if not body.strip() else "is not JSON of a response"
        raise UpstreamUnavailable(f"the upstream's answer {said}") from error
    describe(call, told)
    if openai.given(told.error) or told.status == "failed":
        assert call.candidate is not None
        raise failure(failure_of(told), call.candidate.provider.error)
    if told.output is None:
        raise UpstreamUnavailable("the answer has no output")
    call.outcome.output_chars += sum(_characters(item) for item in told.output)


def failure_of(told: wire.Response) -> Raw:
    """The error that a response tells, or a plain one where it tells none."""
    return told.error if openai.given(told.error) else Raw(b'{"message":"the upstream failed"}')


def describe(call: Call, told: wire.Response) -> None:
    """Who answered, how it ended, and what it used."""
    outcome = call.outcome
    outcome.upstream_id = told.id if isinstance(told.id, str) else ""
    outcome.service_tier = told.service_tier if isinstance(told.service_tier, str) else None
    outcome.usage = usage(told)
    outcome.native_finish_reason = told.status if isinstance(told.status, str) else None
    reason = told.incomplete_details.reason if told.incomplete_details is not None else None
    if told.status == "incomplete":
        outcome.native_finish_reason = reason if isinstance(reason, str) else "incomplete"
        outcome.finish_reason = "content_filter" if reason == "content_filter" else "length"
    else:
        called = any(item.type in _CALLS for item in told.output or ())
        outcome.finish_reason = "tool_calls" if called else "stop"


def usage(told: wire.Response) -> Usage | None:
    """The hub's usage. The arithmetic is chat's, and so are the habits of those who imitate OpenAI."""
    if not openai.given(told.usage):
        return None
    given = openai.decode_any(told.usage)
    if not isinstance(given, dict):
        return None
    counted: dict[str, Any] = {
        "prompt_tokens": given.get("input_tokens"),
        "completion_tokens": given.get("output_tokens"),
        "total_tokens": given.get("total_tokens"),
        "prompt_tokens_details": given.get("input_tokens_details"),
        "completion_tokens_details": given.get("output_tokens_details"),
        **{name: given.get(name) for name in CHARGES},
    }
    found = usage_of(counted)
    if found is not None:
        found.searches = sum(_is_search(item) for item in told.output or ())
    return found


def _is_search(item: wire.OutputItem) -> bool:
    """A search of the web that was run; opening a page that it found is none."""
    if item.type != "web_search_call":
        return False
    return not isinstance(item.action, dict) or item.action.get("type", "search") == "search"


def _characters(item: wire.OutputItem) -> int:
    parts = item.content if isinstance(item.content, list) else ()
    texts = [part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict)]
    return sum(len(text) for text in (*texts, item.name, item.arguments, item.input) if isinstance(text, str))


def write(call: Call, body: bytes) -> bytes:
    """The client's body: the upstream's, byte for byte, unless there is something to say that the upstream does not know."""
    peeked: Peeked = call.head.decoded
    return body if call.metadata is None and peeked.kept is None else patched(call, Raw(body))


def patched(call: Call, response: Raw, *, ended: bool = True) -> bytes:
    """A response object with what `X-OpenRouter-Metadata` asks for, and with the id by which it is kept; all other members stay as
    they are."""
    members: dict[str, Any] = dict(openai.decode_members(response))
    peeked: Peeked = call.head.decoded
    if peeked.kept is not None:
        members |= kept_members(peeked.kept)
    if call.metadata is None or not ended:
        return openai.encode(members)
    used = members.get("usage", openai.NOTHING)
    members["usage"] = (openai.decode_members(used) if openai.given(used) else {}) | costs(call)
    members["provider"] = provider_of(call)
    members["openrouter_metadata"] = call.metadata
    return openai.encode(members)
