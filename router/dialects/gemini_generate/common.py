"""What every answer of this surface carries, whichever lane it came by: frames, usage, cost, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw

from ...errors import RouterError
from ...prices import PICODOLLARS, Usage
from ...wire import gemini as wire
from .. import envelopes
from ..again import Again

if TYPE_CHECKING:
    from ...call import Call

encode_json = msgspec.json.Encoder().encode
decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_NULL = b"null"

#: what ends an array that was begun
ARRAY_END = b"\r\n]"


def given(raw: Raw) -> bool:
    """True where a member is there and not null."""
    return bytes(raw) not in (b"", _NULL)


# --- the two kinds of stream -----------------------------------------------------------------------------------------


def wants_events(call: Call) -> bool:
    """True for clients that asked for server-sent events; others get an array that is streamed element by element."""
    asked = parse_qs(call.query)
    return (asked.get("alt") or asked.get("$alt") or [""])[-1] == "sse"


def event(answer: bytes) -> bytes:
    """An answer as an event, with Google's line ends."""
    return b"data: %b\r\n\r\n" % answer


def element(answer: bytes, *, first: bool) -> bytes:
    """An answer as the next element of the array."""
    return b"[%b" % answer if first else b",\r\n%b" % answer


class ArrayAgain(Again):
    """A stream that is an array of answers, told again."""

    def stream(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """The last answer is the end, as it was."""
        answers = [self.whole(each) for each in _decode_list(head + tail)]
        elements = [element(each, first=not index) for index, each in enumerate(answers)]
        return b"".join(elements[:-1]), elements[-1] + ARRAY_END


_decode_list = msgspec.json.Decoder(list[Raw]).decode


# --- usage and cost --------------------------------------------------------------------------------------------------


def usage_object(call: Call) -> dict[str, Any]:
    """`call.usage` in Google's arithmetic: thoughts stand apart from the answer."""
    usage = call.usage or call.outcome.usage or Usage(source="estimated")
    told: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
    if usage.reasoning:
        told["thoughtsTokenCount"] = usage.reasoning
    if usage.cache_read:
        told["cachedContentTokenCount"] = usage.cache_read
    if usage.source == "estimated":
        told["estimated"] = True
    return told


def add_metadata(call: Call, answer: dict[str, Any], usage: dict[str, Any]) -> None:
    """What an answer, and the `usage` in it, says more then."""
    usage["cost"] = None if call.charge is None else call.charge / PICODOLLARS
    usage["is_byok"] = call.is_byok
    answer["usageMetadata"] = usage
    answer["provider"] = call.candidate.provider.slug if call.candidate is not None else ""
    if call.metadata is not None:
        answer["openrouter_metadata"] = call.metadata


def with_metadata(call: Call, answer: bytes) -> bytes:
    """An upstream's own answer, with cost and provider."""
    told: dict[str, Any] = dict(decode_members(answer))
    counted = told.get("usageMetadata", wire.NOTHING)
    add_metadata(call, told, dict(decode_members(counted)) if given(counted) else {})
    return encode_json(told)


# --- errors ----------------------------------------------------------------------------------------------------------


def error_event(call: Call, error: RouterError) -> bytes:
    """The last event of a stream that failed. Google's SDKs know it by its first member."""
    _, body = envelopes.gemini(error)
    if wants_events(call):
        return event(body)
    return element(body, first=not call.first_content_s) + ARRAY_END
