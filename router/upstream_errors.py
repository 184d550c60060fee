"""What upstreams say of a failure, in the forms that most of them use: OpenAI's, Anthropic's, Google's and their likenesses'."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from .errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)

Headers = Mapping[str, str]

_decode_any = msgspec.json.Decoder().decode

_CONTEXT = re.compile(
    r"context.?(?:length|window)|maximum context|too many tokens|prompt is too long|input is too long"
    r"|exceeds the (?:maximum|available context)|reduce the length|input token count",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"content.?(?:filter|policy|management)|safety|moderation|flagged|usage polic", re.IGNORECASE)


def error_of(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """An UpstreamError leaf for a status and a body as OpenAI, Anthropic, Google and most others send them.

    `retry_after_s` comes from `retry-after-ms` or `retry-after` (seconds, or an HTTP date: RFC 9110 10.2.3).
    """
    message, code, param = _words(body)
    rest: dict[str, Any] = {
        "upstream_status": status,
        "provider_code": code,
        "retry_after_s": retry_after(headers),
        "param": param,
    }
    message = message or f"the upstream answered {status}"
    match status:
        case 401 | 402 | 403:
            if status == 403 and _REFUSED.search(f"{code} {message}"):
                return UpstreamRejected(message, kind="content_policy_violation", status=403, **rest)
            return UpstreamUnauthorized(message, **rest)
        case 429:
            return UpstreamBusy(message, **rest)
        case 503 | 529:
            return UpstreamOverloaded(message, **rest)
        case 408 | 504:
            return UpstreamTimeout(message, **rest)
        case 409 | 425:
            return UpstreamUnavailable(message, **rest)
        case _ if 400 <= status < 500:
            return UpstreamRejected(message, kind=_kind(status, code, message), **rest)
    return UpstreamUnavailable(message, **rest)


def _kind(status: int, code: str | None, message: str) -> str:
    if status == 404:
        return "not_found"
    if status == 413:
        return "payload_too_large"
    if status == 422:
        return "unprocessable"
    words = f"{code} {message}"
    if _CONTEXT.search(words):
        return "context_length_exceeded"
    if _REFUSED.search(words):
        return "content_policy_violation"
    return "invalid_request"


def _words(body: bytes) -> tuple[str, str | None, str | None]:
    """Message, code and param of an error body; the message is empty where the body is no JSON (HTML is never shown)."""
    try:
        value = _decode_any(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", None, None
    if isinstance(value, list) and value:  # Gemini wraps the errors of streams in an array
        value = value[0]
    if not isinstance(value, dict):
        return "", None, None
    inner = value.get("error", value)
    if isinstance(inner, str):
        return inner, _text(value.get("code")), None
    if not isinstance(inner, dict):
        return "", None, None
    message = next((_text(inner[name]) for name in ("message", "detail", "msg", "error") if inner.get(name)), None)
    code = next((_text(inner[name]) for name in ("code", "status", "type") if inner.get(name)), None)
    return message or "", code, _text(inner.get("param"))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def retry_after(headers: Headers) -> float | None:
    """The wait that an upstream asks for, in seconds from now and a day at most, None where it does not say."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(ms / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return _bounded(seconds)
    try:
        return _bounded(parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _bounded(wait_s: float) -> float:
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


#: what is left, and when it comes back: OpenAI's (durations such as 6m0s) and its likenesses', Anthropic's (RFC 3339)
_LEFT = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: longer than this nobody is believed: about what is left, and about when to come back
LONGEST_EXHAUSTED_S, LONGEST_WAIT_S = 3600.0, 86400.0


def exhausted_of(headers: Headers) -> float | None:
    """Seconds until something is left again, of an answer whose headers say that nothing is; None where they do not."""
    waits = [_reset(headers.get(reset)) for left, reset in _LEFT if headers.get(left) == "0"]
    return min(max(waits), LONGEST_EXHAUSTED_S) if waits else None


def _reset(value: str | None) -> float:
    """Seconds from now: a number, a duration, or a date."""
    if (seconds := _number(value)) is not None:
        return max(seconds, 0.0)
    if parts := _DURATION.findall(value or ""):
        return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    try:
        return max(datetime.fromisoformat(value or "").timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _number(value: str | None) -> float | None:
    """A header as a number, None where it is none: `inf` and `nan` are no waits."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
