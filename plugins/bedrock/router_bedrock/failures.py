"""AWS's errors as ours: by the name of the exception, which tells more than the status.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html and the pages of Converse, seen in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from router import UpstreamError, UpstreamRejected, UpstreamUnauthorized, error_of

#: the status of each exception: inside a stream the name is all there is
STATUS = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignature": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotAuthorized": 403,
    "UnrecognizedClientException": 403,
    "InternalServerException": 500,
    "ModelErrorException": 502,
    "ModelNotReadyException": 503,
    "ModelStreamErrorException": 502,
    "ModelTimeoutException": 504,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 429,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "ValidationException": 400,
}
#: AWS says these with ValidationException alone: the words are all there is to tell them by
_KINDS = (
    (
        "not_found",
        re.compile(r"model identifier is invalid|model.{0,80}(?:not found|does(?: not|n't) exist)", re.IGNORECASE),
    ),
    ("context_length_exceeded", re.compile(r"too many (?:input )?tokens|exceed context limit", re.IGNORECASE)),
    ("max_tokens_exceeded", re.compile(r"max(?:imum)?_?tokens.{0,60}exceeds|max_tokens: \d+ > \d+", re.IGNORECASE)),
    ("image_too_large", re.compile(r"image exceeds|image dimensions exceed|image.{0,40}too large", re.IGNORECASE)),
    ("invalid_image", re.compile(r"could not process image|image is not valid|invalid image", re.IGNORECASE)),
)


class _Said(Struct, kw_only=True, rename={"type": "__type", "capital": "Message"}):
    """A body of AWS, whose services do not agree on capitals."""

    message: str | None = None
    capital: str | None = None
    type: str | None = None


_decode = msgspec.json.Decoder(_Said).decode
_encode = msgspec.json.Encoder().encode


def failure(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The failure that an answer other than 2xx reports."""
    said = _said(body)
    # `ThrottlingException:http://internal.amazon.com/…`, `com.amazon.coral.service#AccessDeniedException`
    name = (headers.get("x-amzn-errortype") or said.type or "").split(":")[0].rpartition("#")[2]
    return named(name, said.message or said.capital or "", status, headers)


def inside(name: str, payload: bytes) -> UpstreamError:
    """The failure that comes in the middle of a stream. `name` is in small letters at its beginning there."""
    said = _said(payload)
    return named(name[:1].upper() + name[1:], said.message or said.capital or "", 500, {})


def named(name: str, message: str, status: int, headers: Mapping[str, str]) -> UpstreamError:
    """The failure of this exception. `status` holds where the name is not known."""
    status = STATUS.get(name, status)
    body = _encode({"message": message, "code": name or None})
    found = error_of(status, headers, body)
    found.provider_code = name or None
    if status != 400 or not isinstance(found, UpstreamRejected):
        return found
    rest: dict[str, Any] = {"upstream_status": status, "provider_code": name or None}
    if "security token" in message:
        return UpstreamUnauthorized(message, **rest)
    for kind, words in _KINDS:
        if words.search(message):
            return UpstreamRejected(message, kind=kind, **rest)
    return found


def _said(body: bytes) -> _Said:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return _Said()
