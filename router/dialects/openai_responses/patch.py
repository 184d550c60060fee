"""The raw lane of a request: the client's own bytes, without what is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from ...openai_words import effort_of
from ...wire import openai as wire
from ..openai_chat.patch import EXTENSIONS
from .envelope import without_foreign
from .peek import stateless

if TYPE_CHECKING:
    from ...call import Call, Candidate
    from .peek import Peeked

_OURS = ("max_tokens", "exclude", "enabled")


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
    stateless(peeked)
    _reasoning(members, peeked)
    if peeked.kept is not None:
        _kept_here(members, peeked, candidate)
    if "input" in members:
        members["input"] = without_foreign(members["input"])
    if head.stream:
        members["stream"] = Raw(b"true")
    if isinstance(tags := peeked.values.get("metadata", {}).get("tags"), list):
        members["metadata"] = Raw(wire.encode(peeked.values["metadata"] | {"tags": ",".join(tags)}))
    before = members.keys() - {"reasoning"}
    candidate.provider.raw_patch("openai.responses", members, candidate)
    call.dropped = sorted(before - members.keys())
    call.warnings = list(head.warnings)
    return wire.encode(members)


def _kept_here(members: dict[str, Raw], peeked: Peeked, candidate: Candidate) -> None:
    """The upstream keeps nothing: what a later request needs of its thinking has to be in the answer."""
    members["store"] = Raw(b"false")
    included = peeked.values.get("include", [])
    if candidate.endpoint.model.reasoning and _SECRET not in included:
        members["include"] = Raw(wire.encode([*included, _SECRET]))


_SECRET = "reasoning.encrypted_content"


def _reasoning(members: dict[str, Raw], peeked: Peeked) -> None:
    """The router's own members of `reasoning` in OpenAI's words. What is not to be shown is not asked for."""
    members.pop("include_reasoning", None)
    config, given = peeked.reasoning, members.get("reasoning", wire.NOTHING)
    if config is None or not wire.given(given):
        return
    told = wire.decode_members(given)
    if not config.exclude and not any(name in told for name in _OURS):
        return
    for name in _OURS:
        told.pop(name, None)
    if config.exclude:
        told.pop("summary", None)
        told.pop("generate_summary", None)
    if (effort := effort_of(config)) is not None:
        told["effort"] = Raw(wire.encode(effort))
    members["reasoning"] = Raw(wire.encode(told))
