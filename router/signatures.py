"""Thinking that clients drop: kept for an hour, and put back in front of the tool calls that it led to (api.md 20.4).

Upstreams sign what their models think, and some refuse or answer worse where it is missing from the history of a tool call. Few clients
know these signatures. Kept in memory only, by key and by the id of the call; one key never sees what another one's models thought.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from .call import Call
from .events import Event, ReasoningDelta, Stop, ToolDelta
from .model import ChatRequest, Message, Reasoning, ToolCall

KEPT_S = 3600.0
#: the most that is kept, in entries and in characters; the oldest goes first
MOST_ENTRIES = 20_000
MOST_CHARS = 32_000_000
LONGEST_CHARS = 1_000_000


class _Entry(Struct):
    """The thinking of one answer. `until_s` is monotonic."""

    thoughts: list[Reasoning]
    chars: int
    until_s: float


class Signatures:
    """What models thought before they called tools. One per server. `now` is monotonic, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._chars = 0

    def watch(self, call: Call) -> Watch | None:
        """Who looks at the events of an answer, None where no tools are on offer or nothing is to be kept."""
        if "tools" not in call.head.needs or not call.compat.get("restore_signatures", True):
            return None
        return Watch(self, _owner(call))

    def keep(self, owner: str, calls: list[str], thoughts: list[Reasoning]) -> None:
        """Keep these thoughts for the first of these calls."""
        chars = sum(len(each.text) + len(each.signature or "") + len(each.data) for each in thoughts)
        if chars > LONGEST_CHARS:
            return
        now = self._now()
        self._forget((owner, calls[0]))
        self._entries[owner, calls[0]] = _Entry(thoughts, chars, now + KEPT_S)
        self._chars += chars
        while self._entries and (
            len(self._entries) > MOST_ENTRIES
            or self._chars > MOST_CHARS
            or next(iter(self._entries.values())).until_s < now
        ):
            self._forget(next(iter(self._entries)))

    def restore(self, call: Call, request: ChatRequest) -> ChatRequest:
        """The request with what its client has dropped; the same one where nothing was."""
        if not self._entries or not call.compat.get("restore_signatures", True):
            return request
        owner = _owner(call)
        messages = [self._restored(owner, message) for message in request.messages]
        if all(new is old for new, old in zip(messages, request.messages, strict=True)):
            return request
        return replace(request, messages=messages)

    def _restored(self, owner: str, message: Message) -> Message:
        if message.role != "assistant" or any(_signed(part) for part in message.content):
            return message
        called = next((part.id for part in message.content if isinstance(part, ToolCall)), None)
        entry = self._entries.get((owner, called)) if called is not None else None
        if entry is None or entry.until_s < self._now():
            return message
        # what the client has kept is the same thinking without its signature
        rest = [part for part in message.content if not isinstance(part, Reasoning)]
        return replace(message, content=[*entry.thoughts, *rest])

    def _forget(self, key: tuple[str, str]) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._chars -= entry.chars


class Watch:
    """Looks at the events of one answer and keeps what it has to at their end."""

    __slots__ = ("_calls", "_owner", "_signatures", "_thoughts")

    def __init__(self, signatures: Signatures, owner: str) -> None:
        self._signatures = signatures
        self._owner = owner
        self._calls: list[str] = []
        self._thoughts: dict[int, Reasoning] = {}

    def see(self, event: Event) -> None:
        """One event, in order."""
        kind = type(event)
        if kind is ReasoningDelta:
            self._thought(event)  # type: ignore[arg-type]
        elif kind is ToolDelta:
            if event.id and event.choice == 0:  # type: ignore[union-attr]
                self._calls.append(event.id)  # type: ignore[union-attr]
        elif kind is Stop and self._calls:
            # all of it goes back or none: Claude wants its thoughts in a row, unchanged
            thoughts = list(self._thoughts.values())
            if any(_signed(each) for each in thoughts):
                self._signatures.keep(self._owner, self._calls, thoughts)

    def _thought(self, delta: ReasoningDelta) -> None:
        if delta.choice:
            return
        thought = self._thoughts.get(delta.index)
        if thought is None:
            thought = self._thoughts[delta.index] = Reasoning(kind=delta.kind, format=delta.format)
        thought.text += delta.text
        thought.data += delta.data
        thought.signature = delta.signature or thought.signature
        thought.id = delta.id or thought.id


def _signed(part: object) -> bool:
    """True for thinking with what its family checks."""
    return isinstance(part, Reasoning) and bool(part.signature or part.data)


def _owner(call: Call) -> str:
    identity = call.identity
    return (identity.id or identity.hash) if identity is not None else ""
