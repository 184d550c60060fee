"""Anthropic's errors as ours. https://platform.claude.com/docs/en/api/errors, seen in November 2026."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from router import UpstreamError, UpstreamRejected, UpstreamUnauthorized, error_of
from router.wire.anthropic import ErrorDetail, decode_error
from router.wire.anthropic_words import STATUS

#: Anthropic says these with invalid_request_error alone: the words are all there is to tell them by
_KINDS = (
    ("context_length_exceeded", re.compile(r"prompt is too long|exceed context limit|context window", re.IGNORECASE)),
    ("max_tokens_exceeded", re.compile(r"max_tokens: \d+ > \d+", re.IGNORECASE)),
    ("image_too_large", re.compile(r"image exceeds|image dimensions exceed|image.*too large", re.IGNORECASE)),
    ("image_download_failed", re.compile(r"unable to download|failed to download|could not download", re.IGNORECASE)),
    ("invalid_image", re.compile(r"could not process image|image does not match|invalid image", re.IGNORECASE)),
)
#: no money left comes as 400 too
_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)


def failure(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error that a body stands for, whatever the status it came with."""
    said = _said(body)
    known = STATUS.get(said.type or "")
    if known is not None and (status < 400 or status >= 500):
        status = known
    elif status < 400:
        status = 502
    found = error_of(status, headers, body)
    found.provider_code = said.type or found.provider_code
    if not isinstance(found, UpstreamRejected) or status != 400:
        return found
    if _NO_CREDIT.search(found.message):
        return UpstreamUnauthorized(found.message, upstream_status=status, provider_code=found.provider_code)
    for kind, words in _KINDS:
        if words.search(found.message):
            return UpstreamRejected(
                found.message, kind=kind, upstream_status=status, provider_code=found.provider_code, param=found.param
            )
    return found


def _said(body: bytes) -> ErrorDetail:
    try:
        return decode_error(body).error
    except (msgspec.DecodeError, RecursionError):
        return ErrorDetail()
