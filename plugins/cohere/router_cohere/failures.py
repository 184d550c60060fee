"""What went wrong, of Cohere's answers: `{"message": "…"}`, and statuses that nobody else has."""

from __future__ import annotations

from collections.abc import Mapping

from router import UpstreamError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable, error_of

#: "Invalid Token": something that was asked or answered is on a list of refused words
DENIED = 498
CANCELLED = 499
NOT_THERE = 501


def error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The failure that an answer other than 2xx reports."""
    found = error_of(status, headers, body)
    if status == DENIED:
        return UpstreamRejected(found.message, kind="content_policy_violation", upstream_status=status)
    if status == CANCELLED:  # Cohere gave it up, nobody here did
        return UpstreamUnavailable(found.message, upstream_status=status)
    if status == NOT_THERE:
        return UpstreamRejected(found.message, kind="invalid_request", upstream_status=status)
    return found


def ended(reason: str, message: str) -> UpstreamError | None:
    """The failure that stands in place of an end, in an answer with status 200; None where the answer is one."""
    if reason == "TIMEOUT":
        return UpstreamTimeout(message or "the upstream gave up in the middle of its answer", provider_code=reason)
    if reason == "ERROR":
        return UpstreamUnavailable(message or "the upstream ended the answer with an error", provider_code=reason)
    return None
