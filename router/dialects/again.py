"""Answers that clients were given before, told once more as those of another call: with its id and time, nothing used, no metadata.

What else they say stays byte for byte, whichever lane they came by and however their own upstream wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ..sse import Frames, data_of

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode

METADATA = "openrouter_metadata"


class Again:
    """How one dialect's answers are told again. `own` are the members that are this call's own, where an answer has them; `usage` is
    what counts, and `inside` an object that holds them in the events of a stream."""

    def __init__(self, own: Mapping[str, Any], *, usage: str = "usage", inside: str = "") -> None:
        self._own = {name: Raw(_encode(value)) for name, value in own.items()}
        self._usage = usage
        self._inside = inside
        #: what has none of these in it needs no second look
        self._marks = [b'"%b"' % name.encode() for name in (*own, usage, METADATA)]

    def whole(self, body: bytes) -> bytes:
        """A plain answer."""
        return _encode(self._told(_decode_members(body)))

    def stream(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """A stream; `tail` are its terminal frames."""
        return self._frames(head), self._frames(tail)

    def _frames(self, data: bytes) -> bytes:
        cutter = Frames()
        return b"".join([self._frame(each) for each in cutter.feed(data)]) + self._frame(cutter.close())

    def _frame(self, whole: bytes) -> bytes:
        data = data_of(whole)
        if not data.startswith(b"{") or not any(mark in data for mark in self._marks):
            return whole
        told = self.whole(data)
        if data in whole:
            return whole.replace(data, told, 1)
        # data over several lines
        lines = [line for line in whole.splitlines() if line and not line.startswith(b"data:")]
        return b"\n".join([*lines, b"data: " + told, b"", b""])

    def _told(self, members: dict[str, Raw]) -> dict[str, Raw]:
        members.pop(METADATA, None)
        for name, raw in self._own.items():
            if name in members:
                members[name] = raw
        if self._usage in members:
            members[self._usage] = Raw(_encode(_nothing(_decode(members[self._usage]))))
        inner = members.get(self._inside)
        if inner is not None and bytes(inner).startswith(b"{"):
            members[self._inside] = Raw(_encode(self._told(_decode_members(inner))))
        return members


def _nothing(counted: Any) -> Any:
    """The same counts, all of them nought."""
    match counted:
        case bool() | str():
            return counted
        case int() | float():
            return 0
        case dict():
            return {
                name: 0 if name == "cost" else _nothing(each) for name, each in counted.items() if name != "estimated"
            }
        case list():
            return [_nothing(each) for each in counted]
    return None
