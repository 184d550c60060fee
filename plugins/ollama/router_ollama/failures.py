"""What went wrong, of Ollama's answers: `{"error": "…"}`, often with a status that says another thing than the words do."""

from __future__ import annotations

import re
from collections.abc import Mapping

from router import UpstreamError, UpstreamOverloaded, UpstreamRejected, UpstreamUnavailable, error_of

#: what the words mean, whatever the status
_MEANINGS = (
    (
        re.compile(r"exceeds? (?:the )?(?:available )?context|context (?:length|size|window)|input (?:is )?too long"),
        "context_length_exceeded",
    ),
    (re.compile(r"model .*not found|try pulling it first"), "not_found"),
    (
        re.compile(r"(?:failed|unable) to (?:decode|process|load) (?:the )?image|invalid image|unknown format"),
        "invalid_image",
    ),
    (
        re.compile(r"does not support|invalid (?:format|message|options?|think|tool)|is required|missing request body"),
        "invalid_request",
    ),
)
_BUSY = re.compile(r"server busy|maximum pending requests|server overloaded")


def error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The failure that an answer other than 2xx reports."""
    found = error_of(status, headers, body)
    said = found.message.lower()
    if status in (401, 403, 429):
        return found
    if _BUSY.search(said):
        return UpstreamOverloaded(found.message, upstream_status=status, retry_after_s=found.retry_after_s)
    if kind := next((kind for words, kind in _MEANINGS if words.search(said)), None):
        return UpstreamRejected(found.message, kind=kind, upstream_status=status)
    if status == 499:  # the server's own: its model's process was ended
        return UpstreamUnavailable(found.message, upstream_status=status)
    return found
