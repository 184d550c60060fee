"""Names and ids as Bedrock takes them: at most 64 of few characters."""

from __future__ import annotations

import hashlib
import re

from router_anthropic.names import JSON_OUTPUT, client_name, upstream_name

__all__ = ["JSON_OUTPUT", "call_id", "client_name", "tool_name"]

MAX_LENGTH = 64
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def tool_name(name: str) -> str:
    """A tool's name; one that is too long is cut, with a digest to tell it from others."""
    name = upstream_name(name)
    return name if len(name) <= MAX_LENGTH else f"{name[: MAX_LENGTH - 9]}_{_digest(name)}"


def call_id(id: str) -> str:
    """The id of a call."""
    if id and len(id) <= MAX_LENGTH and not _FOREIGN.search(id):
        return id
    return f"{_FOREIGN.sub('_', id)[: MAX_LENGTH - 9]}_{_digest(id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
