"""Errors in Mistral's forms as the one form that most upstreams use.

A message comes as `detail` (text, or a list of what is wrong where), as `message` (text, or such a list inside of it again), or as
both; see the 422 of its reference.
"""

from __future__ import annotations

from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def plain(body: bytes) -> bytes:
    """The body with its message as text and `param` as the place that is wrong; the same body where it has another form."""
    try:
        said = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    if not isinstance(said, dict):
        return body
    if isinstance(inner := said.get("error"), dict):
        said = inner
    message, param = _words(said.get("message") or said.get("detail"))
    if message is None:
        return body
    known = {name: said[name] for name in ("code", "type", "param") if said.get(name) is not None}
    if param is not None:
        known["param"] = param
    return _encode({"error": {**known, "message": message}})


def _words(said: Any) -> tuple[str | None, str | None]:
    """Message and place. Of a list each entry is told, and the first one is the place."""
    if isinstance(said, str):
        return said, None
    if isinstance(said, dict):
        return _words(said.get("detail") or said.get("message"))
    if not isinstance(said, list):
        return None, None
    entries = [each for each in said if isinstance(each, dict)]
    texts = [f"{place}: {each.get('msg')}" if (place := _place(each)) else str(each.get("msg")) for each in entries]
    return ("; ".join(texts), _place(entries[0]) or None) if entries else (None, None)


def _place(entry: dict[str, Any]) -> str:
    location = entry.get("loc")
    steps = [str(step) for step in location] if isinstance(location, list) else []
    return ".".join(steps[1:] if steps[:1] == ["body"] else steps)
