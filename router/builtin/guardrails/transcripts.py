"""What filters make of a transcript, in each of the forms in which it may come: JSON, text, subtitles, or events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...call import Call
from ...sse import Frames, data_of, frame
from .content import ANSWER, BUDGET_S, Filter, Findings, Stream, filtered, too_slow
from .deadline import Deadline, TooSlow

EVENTS = "text/event-stream"
#: what spells out a text once more, which goes where something in it is redacted
AGAIN = ("words", "logprobs", "tokens")

_encode = msgspec.json.encode


class Transcript:
    """The transcript of one call."""

    def __init__(self, call: Call, filters: Sequence[Filter]) -> None:
        self._call = call
        self._filters = filters
        self._deadline = Deadline(BUDGET_S)
        self._findings = Findings(ANSWER)

    def rewrite(self, body: bytes) -> bytes:
        """The answer as it goes on; the same bytes where nothing is redacted. Raises Forbidden."""
        kind = self._call.outcome.media_type.partition(";")[0].strip().lower()
        try:
            new = self._events(body) if kind == EVENTS else self._whole(body)
            self._findings.refuse()
        except TooSlow:
            raise too_slow(ANSWER) from None
        finally:
            if (entry := self._findings.entry()) is not None:
                self._call.pipeline.append(entry)
        return new

    def _whole(self, body: bytes) -> bytes:
        told = _object(body)
        if told is not None:
            return _encode(told) if self._members(told) else body
        text = body.decode(errors="replace")
        new = self._text(text, self._findings)
        return body if new is text else new.encode()

    def _members(self, told: dict[str, Any]) -> bool:
        """Redact an object that has a `text`, and may have it in segments too. Was there anything?"""
        text, segments = told.get("text"), told.get("segments")
        changed, findings = False, self._findings
        if isinstance(text, str):
            told["text"] = self._text(text, findings)
            changed = told["text"] is not text
            findings = Findings(ANSWER)  # the same once more
        if isinstance(segments, list):
            changed = self._across([each for each in segments if isinstance(each, dict)], "text", findings) or changed
        if changed:
            for each in (told, *(segments if isinstance(segments, list) else ())):
                for name in AGAIN:
                    if isinstance(each, dict):
                        each.pop(name, None)
        return changed

    def _events(self, body: bytes) -> bytes:
        frames = Frames()
        cut = [*frames.feed(body), frames.close()]
        told = [_object(data_of(each)) for each in cut]
        deltas = [each for each in told if each is not None and isinstance(each.get("delta"), str)]
        changed = self._across(deltas, "delta", Findings(ANSWER))
        for each in told:
            if each is not None and "delta" not in each:
                changed = self._members(each) or changed
        if not changed:
            return body
        for each in deltas:
            each.pop("logprobs", None)
        return b"".join(
            old if each is None else frame(_encode(each), str(each.get("type") or ""))
            for old, each in zip(cut, told, strict=True)
        )

    def _across(self, pieces: Sequence[dict[str, Any]], name: str, findings: Findings) -> bool:
        """Redact a text that is in several objects, one piece in each, and what goes from one into the next. Was there anything?"""
        texts = [text if isinstance(text := each.get(name), str) else "" for each in pieces]
        stream = Stream(self._filters, self._deadline, findings)
        new = [stream.feed(text) for text in texts]
        rest = stream.end()
        if stream.changed:
            new[-1] += rest
            for each, text in zip(pieces, new, strict=True):
                each[name] = text
        return stream.changed

    def _text(self, text: str, findings: Findings) -> str:
        with self._deadline:
            return filtered(text, self._filters, self._deadline, findings)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
