"""Operations other than chat, as their dialects share them: one request, one whole answer, in the shape of OpenAI's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Raw

from ..errors import UpstreamUnavailable
from ..head import Head
from ..openai_words import failure
from ..prices import PICODOLLARS, Usage
from ..wire import openai as wire
from .base import Dialect
from .openai_chat import common
from .openai_chat.fields import FIELDS as CHAT
from .openai_chat.fields import Check
from .openai_chat.patch import EXTENSIONS
from .openai_chat.peek import read_members, routing

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..errors import RouterError, UpstreamError

#: members that all of them have in common with chat
SHARED: dict[str, Check] = {
    name: CHAT[name]
    for name in ("model", "models", "route", "provider", "preset", "user", "user_id", "session_id", "trace", "metadata")
}
OURS = EXTENSIONS - {"usage"}


class Whole(Dialect):
    """An operation other than chat."""

    through_hub = False
    #: the members of a request besides those that all have, and their ranges
    fields: ClassVar[Mapping[str, Check]] = {}

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        return self.head(read_members(body))

    def head(self, members: dict[str, Raw]) -> Head:
        """The head of a request. `decoded` is the checked members that are not null."""
        values: dict[str, Any] = {}
        unknown: list[str] = []
        for name, raw in members.items():
            check = self.fields.get(name) or SHARED.get(name)
            if check is None:
                unknown.append(name)
            elif (value := check(raw)) is not None:
                values[name] = value
        head = Head(members=members, unknown=unknown, decoded=values, max_tokens=0)
        routing(head, values)
        head.stream = False
        return head

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """The client's own members, without what is ours."""
        members = {name: raw for name, raw in call.head.members.items() if name not in OURS}
        members["model"] = Raw(wire.encode(candidate.endpoint.model.id))
        before = set(members)
        candidate.provider.raw_patch(self.name, members, candidate)
        call.dropped = sorted(before - members.keys())
        call.warnings = list(call.head.warnings)
        return wire.encode(members)

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope, in the shape of chat."""
        return common.error_body(error, request_id, number_codes=number_codes)


def members_of(call: Call, body: bytes) -> dict[str, Raw]:
    """The members of an upstream's answer. Raises an UpstreamError where it is an error or no JSON object."""
    try:
        members = wire.decode_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "is empty" if not body.strip() else "is not JSON"
        raise UpstreamUnavailable(f"the upstream's answer {said}") from error
    if wire.given(told := members.get("error", wire.NOTHING)):
        raise _failure(call, bytes(told))
    return members


def _failure(call: Call, error: bytes) -> UpstreamError:
    assert call.candidate is not None
    return failure(Raw(error), call.candidate.provider.error)


def priced(call: Call, told: dict[str, Any]) -> dict[str, Any]:
    """A `usage` object with what the call costs laid over what the upstream said."""
    usage = call.usage or Usage(source="estimated")
    told |= {
        "prompt_tokens": usage.input,
        "total_tokens": usage.input + usage.output,
        "cost": None if call.charge is None else call.charge / PICODOLLARS,
        "is_byok": call.is_byok,
    }
    if usage.source == "estimated":
        told["estimated"] = True
    return told
