"""Thinking that comes as `<think>…</think>` at the start of the text."""

from __future__ import annotations

OPEN = "<think>"
CLOSE = "</think>"


class ThinkTags:
    """Tells thinking from text in a stream, wherever the tags are cut. Pieces are (is it thinking, text)."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Take text in, give what can be told of it."""
        held = self._held + text
        self._held = ""
        pieces: list[tuple[bool, str]] = []
        if self._state == "before":
            start = held.lstrip()
            if start.startswith(OPEN):
                self._state, held = "thinking", start[len(OPEN) :]
            elif OPEN.startswith(start):
                self._held = held
                return []
            else:
                self._state = "text"
        if self._state == "thinking":
            thought, closed, held = held.partition(CLOSE)
            if closed:
                self._state = "after"
            else:
                keep = _beginning(thought)
                self._held = thought[len(thought) - keep :]
                thought = thought[: len(thought) - keep]
            if thought:
                pieces.append((True, thought))
        if self._state == "after":
            held = held.lstrip()
            if held:
                self._state = "text"
        if held:
            pieces.append((False, held))
        return pieces

    def close(self) -> list[tuple[bool, str]]:
        """What was held back at the end."""
        held, self._held = self._held, ""
        return [(self._state == "thinking", held)] if held else []


def _beginning(text: str) -> int:
    """How many characters at the end of the text may be the beginning of the closing tag."""
    return next((size for size in range(min(len(CLOSE) - 1, len(text)), 0, -1) if CLOSE.startswith(text[-size:])), 0)
