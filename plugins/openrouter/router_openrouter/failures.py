"""What OpenRouter says went wrong: its own words, and in `metadata` those of whoever it asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from router import UpstreamError, UpstreamRejected, error_of

#: OpenRouter's words where the provider's own say more
_SAYS_NOTHING = "Provider returned error"


class _Error(Struct):
    """An error. What `metadata` holds depends on what went wrong."""

    message: str = ""
    metadata: dict[str, Any] | None = None


class _Body(Struct):
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def read(status: int, headers: Mapping[str, str], body: bytes) -> tuple[UpstreamError, bytes]:
    """The error, and the body with all that is known in its message: what kind it is can be read of that."""
    error = _error(body)
    metadata = error.metadata or {}
    reasons = [each for each in _list(metadata.get("reasons")) if isinstance(each, str)]
    if reasons and status in (400, 403):
        message = f"{error.message or 'the input was flagged'} ({', '.join(reasons)})"
        refused = UpstreamRejected(message, kind="content_policy_violation", status=403, upstream_status=status)
        return refused, body
    if told := _provider_said(error.message, metadata):
        body = _encode({"error": {"message": told, "code": status}})
    found = error_of(status, headers, body)
    if status == 429 and found.retry_after_s is None:
        found.retry_after_s = _reset(metadata.get("headers"))
    return found, body


def _error(body: bytes) -> _Error:
    try:
        return _decode(body).error or _Error()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error()


def _provider_said(message: str, metadata: Mapping[str, Any]) -> str:
    """`raw` is the provider's body, as text or as it is; "" where there is none."""
    raw = metadata.get("raw")
    if not raw:
        return ""
    said = raw if isinstance(raw, str) else _encode(raw).decode()
    inner = _error(said.encode()).message or said
    if message and message != _SAYS_NOTHING:
        inner = f"{message}: {inner}"
    name = metadata.get("provider_name")
    return f"{name}: {inner}" if isinstance(name, str) and name else inner


def _reset(headers: Any) -> float | None:
    """The wait for OpenRouter's own limits, which stands in the body as a time in milliseconds."""
    value = headers.get("X-RateLimit-Reset") if isinstance(headers, dict) else None
    try:
        return max(float(value or "") / 1000 - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
