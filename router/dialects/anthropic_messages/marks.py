"""Thinking of other families in Anthropic's form: the signature says whose it is, so that it goes back there only.

Clients keep `thinking` and `redacted_thinking` blocks as they came and send them back. A block that no Claude thought
carries a signature (or data) of ours around the original one; Anthropic would refuse it, so `patch` takes it out.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from ...model import Reasoning

#: the format of thinking that only Claude can read
CLAUDE = "anthropic-claude-v1"
MARK = "router.v1|"


def wrap(kind: str, format: str, id: str | None, data: str) -> str:
    """The signature or data of a block for a piece of foreign thinking."""
    return f"{MARK}{kind}|{quote(format, safe='')}|{quote(id or '', safe='')}|{data}"


def thought(text: str, signature: str) -> Reasoning:
    """The piece of thinking that a `thinking` block came from."""
    if found := _unwrap(signature):
        kind, format, id, data = found
        return Reasoning(
            kind="summary" if kind == "summary" else "text", text=text, signature=data or None, format=format, id=id
        )
    # without a signature nobody can verify it, nor say whose it is
    return Reasoning(text=text, signature=signature or None, format=CLAUDE if signature else "unknown")


def redacted(data: str) -> Reasoning:
    """The piece of thinking that a `redacted_thinking` block came from."""
    if found := _unwrap(data):
        _, format, id, data = found
        return Reasoning(kind="encrypted", data=data, format=format, id=id)
    return Reasoning(kind="encrypted", data=data, format=CLAUDE)


def foreign(signature: str) -> bool:
    """True for the signature or data of thinking that Anthropic would refuse."""
    return not signature or signature.startswith(MARK)


def _unwrap(text: str) -> tuple[str, str, str | None, str] | None:
    if not text.startswith(MARK):
        return None
    kind, _, rest = text.removeprefix(MARK).partition("|")
    format, _, rest = rest.partition("|")
    id, _, data = rest.partition("|")
    return kind, unquote(format), unquote(id) or None, data
