"""The raw lane of a request: the client's own bytes, without what is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from ...openai_words import REASONING_MEMBERS, effort_of, plain_messages
from ...wire import openai as wire

if TYPE_CHECKING:
    from ...call import Call, Candidate
    from .peek import Peeked

#: members that are ours to consume: strict upstreams answer 400 to them (client-facts 9)
EXTENSIONS = frozenset(
    {
        *("models", "route", "provider", "preset", "plugins", "transforms", "usage", "session_id", "trace", "user_id"),
        *("debug", "structured_outputs"),
    }
)
_TRUE = Raw(b"true")
_WITH_USAGE = Raw(b'{"include_usage":true}')


def patch(call: Call, candidate: Candidate) -> bytes:
    """The body for this candidate; `call.dropped` names what its provider does not take."""
    head = call.head
    members = dict(head.members)
    takes = candidate.provider.takes
    for name in EXTENSIONS & members.keys():
        if name not in takes:
            del members[name]
    members["model"] = Raw(wire.encode(candidate.endpoint.model.id))
    peeked: Peeked = head.decoded
    _reasoning(members, peeked, takes)
    _lengths(members, head.max_tokens)
    _stream(members, head.stream)
    if "messages" not in takes and "messages" in members:
        members["messages"] = plain_messages(members["messages"])
    if isinstance(tags := peeked.values.get("metadata", {}).get("tags"), list):
        members["metadata"] = Raw(wire.encode(peeked.values["metadata"] | {"tags": ",".join(tags)}))
    before = list(members)
    candidate.provider.raw_patch("openai.chat", members, candidate)
    call.dropped = sorted([name for name in before if name not in members and name not in _OWN_FORMS])
    call.warnings = list(head.warnings)
    return wire.encode(members)


#: members that a provider may write in another form: gone is not dropped
_OWN_FORMS = frozenset({*REASONING_MEMBERS, "max_tokens", "max_completion_tokens", "stream_options"})


def _reasoning(members: dict[str, Raw], peeked: Peeked, takes: frozenset[str]) -> None:
    """`reasoning` and its kin as OpenAI's `reasoning_effort`, unless the provider sees to it."""
    if peeked.reasoning is None or "reasoning" in takes:
        return
    for name in REASONING_MEMBERS:
        members.pop(name, None)
    if (effort := effort_of(peeked.reasoning)) is not None:
        members["reasoning_effort"] = Raw(wire.encode(effort))


def _lengths(members: dict[str, Raw], larger: int | None) -> None:
    """One limit, where the client sent it under both names."""
    if "max_tokens" in members and "max_completion_tokens" in members:
        del members["max_tokens"]
        members["max_completion_tokens"] = Raw(wire.encode(larger))


def _stream(members: dict[str, Raw], stream: bool) -> None:
    """Usage is always asked for; without a stream OpenAI refuses stream options."""
    if not stream:
        members.pop("stream_options", None)
        return
    members["stream"] = _TRUE
    options = members.get("stream_options", wire.NOTHING)
    if not wire.given(options):
        members["stream_options"] = _WITH_USAGE
    elif b'"include_usage":true' not in bytes(options):
        members["stream_options"] = Raw(wire.encode(wire.decode_members(options) | {"include_usage": True}))
