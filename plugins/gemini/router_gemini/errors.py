"""What went wrong, of Google's answers: google.rpc.Status in a body, in an array, or in the middle of a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from router import UpstreamError, UpstreamRejected, UpstreamUnauthorized, UpstreamUnavailable, error_of
from router.wire.gemini import Failure, Status

#: HTTP statuses of errors inside a stream that name no number
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
#: a 400 that is our key's fault: wrong, expired, or of an account that may not be served (its country, its bill)
_CREDENTIAL = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "FAILED_PRECONDITION"})
_KEY = re.compile(r"api key (?:not valid|expired|not found)", re.IGNORECASE)
_MEDIA = (
    (re.compile(r"unsupported (?:mime type|image|file)", re.IGNORECASE), "unsupported_image_format"),
    (re.compile(r"cannot fetch content|failed to fetch|unable to download", re.IGNORECASE), "image_download_failed"),
    (
        re.compile(r"unable to process input (?:image|file|video|audio)|image is not valid", re.IGNORECASE),
        "invalid_image",
    ),
)

_decode = msgspec.json.Decoder(Failure).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode


def error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The failure that an answer other than 2xx reports."""
    found = error_of(status, headers, body)
    said = _status(body)
    if said is None:
        return found
    found.provider_code = _reason(said)
    if (delay_s := _delay_s(said)) is not None:
        found.retry_after_s = delay_s
    if status == 400:
        return _bad_request(found, said)
    if status == 499:  # Google cancelled it, nobody here did
        return UpstreamUnavailable(found.message, upstream_status=499, provider_code=found.provider_code)
    return found


def error_inside(body: bytes) -> UpstreamError:
    """The failure that came with status 200: a whole body, or an event of a stream."""
    said = _status(body)
    status = (said.code or _STATUSES.get(said.status or "", 0)) if said is not None else 0
    return error(status if 400 <= status < 600 else 500, {}, body)


def _bad_request(found: UpstreamError, said: Status) -> UpstreamError:
    message = found.message
    if found.provider_code in _CREDENTIAL or said.status == "FAILED_PRECONDITION" or _KEY.search(message):
        return UpstreamUnauthorized(message, upstream_status=400, provider_code=found.provider_code)
    kind = next((kind for words, kind in _MEDIA if words.search(message)), None)
    if kind is not None and found.kind == "invalid_request":
        return UpstreamRejected(message, kind=kind, upstream_status=400, provider_code=found.provider_code)
    return found


def _status(body: bytes) -> Status | None:
    try:
        if body.lstrip()[:1] == b"[":  # streamGenerateContent without alt=sse
            body = bytes(_decode_array(body)[0])
        return _decode(body).error
    except (msgspec.DecodeError, IndexError, RecursionError):
        return None


def _reason(said: Status) -> str | None:
    return next((detail.reason for detail in said.details or () if detail.reason), said.status)


def _delay_s(said: Status) -> float | None:
    """The wait of a RetryInfo, a duration such as "48s" or "1.500s"."""
    for detail in said.details or ():
        try:
            if detail.retry_delay:
                return max(float(detail.retry_delay.removesuffix("s")), 0.0)
        except ValueError:
            continue
    return None
