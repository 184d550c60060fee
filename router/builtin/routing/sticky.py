"""Conversations stay where their prompt is cached (api.md 18.5): the endpoint that served last goes first for ten minutes.

Known by key, model and session; the session is the client's own name for it, or else the beginning of the conversation. In memory only.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from ...call import Attempt, Call, Endpoint
from .pools import Choice, caches

KEPT_S = 600.0
MOST = 50_000
LONGEST = 256
SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
MESSAGES = ("messages", "contents", "input")

Session = tuple[str, str, str]


class _Kept(Struct):
    endpoint: tuple[str, str]
    until_s: float


class Sticky:
    """Who served which conversation. `now` is monotonic, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: OrderedDict[Session, _Kept] = OrderedDict()

    def first(self, call: Call, choices: list[Choice]) -> Choice | None:
        """The choice that this conversation should stay with, None where it has none yet. Remembers which conversation it is."""
        if not any(each.caches for each in choices):
            return None
        session, explicit = session_of(call, choices[0].endpoint.model_id)
        call.state["sticky"] = (session, explicit)
        kept = self._kept.get(session)
        if kept is None or kept.until_s < self._now():
            return None
        return next((each for each in choices if _name(each.endpoint) == kept.endpoint), None)

    def attempted(self, call: Call, attempt: Attempt) -> None:
        """Learn from an attempt: success keeps the endpoint, failure forgets it."""
        if (known := call.state.get("sticky")) is None:
            return
        session, explicit = known
        endpoint = attempt.candidate.endpoint
        if attempt.error is not None:
            kept = self._kept.get(session)
            if kept is not None and kept.endpoint == _name(endpoint):
                del self._kept[session]
            return
        usage = call.usage
        cached = usage is not None and bool(usage.cache_read or usage.cache_write or usage.cache_write_1h)
        if caches(endpoint.price) and (explicit or cached):
            self._kept[session] = _Kept(_name(endpoint), self._now() + KEPT_S)
            self._kept.move_to_end(session)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)


def session_of(call: Call, model: str) -> tuple[Session, bool]:
    """The conversation, and whether the client named it itself."""
    head = call.head
    account = call.identity.id if call.identity is not None else ""
    named = head.session_id or call.headers.get("x-session-id") or head.cache_key
    if named:
        return (account, model, named[:LONGEST]), True
    return (account, model, _beginning(head.members)), False


def _beginning(members: dict[str, Raw]) -> str:
    """A digest of the first system message and the first other one."""
    parts = [bytes(members[name]) for name in SYSTEM if name in members]
    raw = next((members[name] for name in MESSAGES if name in members), None)
    messages: list[Raw] = []
    if raw is not None:
        try:
            messages = _decode_list(raw)
        except msgspec.DecodeError:  # a string, in Responses
            parts.append(bytes(raw))
    for message in messages:
        parts.append(bytes(message))
        if _decode_role(message).role not in ("system", "developer"):
            break
    return hashlib.blake2b(b"\n".join(parts), digest_size=16).hexdigest()


class _Role(Struct):
    role: str | None = None


_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_role = msgspec.json.Decoder(_Role).decode


def _name(endpoint: Endpoint) -> tuple[str, str]:
    return (endpoint.provider.slug, endpoint.model.id)
