"""Recorded exchanges of a provider: JSON files with what was asked and what was answered.

    {"request": {"method", "path", "headers", "body"}, "response": {"status", "headers", "sse" | "body" | "text" | "body_base64"},
     "expected": {"text", "tools", "finish_reason", "usage", "error"}}

`sse` is the raw event stream, `body` a JSON document, `text` any other text (HTML, JSON lines), `body_base64` bytes. `request` and
`expected` may be missing; what `expected` names is compared. `router record` makes them, with keys and personal data taken out; a test
of the kit looks for keys in those that are made by hand.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from ..provider import Upstream


class Expected(Struct, kw_only=True):
    """What an answer says. `tools` are [name, arguments] pairs, `usage` members of `router.Usage`, `error` the class that is raised."""

    text: str | None = None
    reasoning: str | None = None
    tools: list[tuple[str, Any]] | None = None
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    error: str | None = None


class Response(Struct, kw_only=True):
    """The answer, in exactly one of the four forms."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    sse: str | None = None
    body: Any = None
    text: str | None = None
    body_base64: str | None = None

    def content(self) -> bytes:
        """The body as bytes."""
        if self.sse is not None:
            return self.sse.encode()
        if self.text is not None:
            return self.text.encode()
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64)
        return msgspec.json.encode(self.body)


class Recording(Struct, kw_only=True):
    """One exchange. `name` is the file's."""

    response: Response
    name: str = ""
    note: str = ""
    request: dict[str, Any] | None = None
    expected: Expected | None = None

    @property
    def ok(self) -> bool:
        """Did the upstream answer with success, and is no error expected of what it said?"""
        return 200 <= self.response.status < 300 and not (self.expected and self.expected.error)

    @property
    def streamed(self) -> bool:
        """Is the answer an event stream, or another form that comes bit by bit?"""
        kind = self.response.headers.get("content-type", "")
        return self.response.sse is not None or "event-stream" in kind or "eventstream" in kind or "ndjson" in kind


_decode = msgspec.json.Decoder(Recording).decode


def read_recordings(folder: Path) -> list[Recording]:
    """All recordings of a folder, by name. Raises ValueError with the file's name where one cannot be read."""
    recordings = []
    for path in sorted(folder.glob("*.json")):
        try:
            recording = _decode(path.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path.name}: {error}") from error
        recording.name = path.stem
        recordings.append(recording)
    return recordings


def write_recording(folder: Path, recording: Recording) -> Path:
    """Write one, without the members that say nothing. What was there under its name is overwritten."""
    value = msgspec.to_builtins(recording)
    del value["name"]
    path = folder / f"{recording.name}.json"
    path.write_text(json.dumps(_said(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


class Replayed(Upstream):
    """An answer that is there already, in the pieces in which it is to come."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__(stream=True)
        self._pieces = pieces

    async def pieces(self) -> AsyncIterator[bytes]:
        """Them."""
        for piece in self._pieces:
            yield piece


def _said(value: Any, *, ours: int = 2) -> Any:
    """Without nulls and empty members, on the two levels that are this module's: a null inside of a body was sent."""
    if not ours or not isinstance(value, dict):
        return value
    return {name: _said(each, ours=ours - 1) for name, each in value.items() if each not in (None, "", {})}
