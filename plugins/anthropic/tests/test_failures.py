"""Anthropic's errors as the router's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from router_anthropic import Anthropic

from router.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)


def body_of(type: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(
    ("name", "leaf", "kind", "code", "retry_after_s"),
    [
        ("unauthorized", UpstreamUnauthorized, "provider_unavailable", "authentication_error", None),
        ("rate_limited", UpstreamBusy, "rate_limit_exceeded", "rate_limit_error", 7.0),
        ("overloaded", UpstreamOverloaded, "provider_overloaded", "overloaded_error", None),
        ("failing", UpstreamUnavailable, "provider_unavailable", "api_error", None),
        ("too_long", UpstreamRejected, "context_length_exceeded", "invalid_request_error", None),
        ("too_large", UpstreamRejected, "payload_too_large", "request_too_large", None),
        ("html", UpstreamUnavailable, "provider_unavailable", None, None),
    ],
)
def test_recorded_errors(
    provider: Anthropic,
    recording: Callable[[str], dict[str, Any]],
    answer: Callable[[str], bytes],
    name: str,
    leaf: type[UpstreamError],
    kind: str,
    code: str | None,
    retry_after_s: float | None,
) -> None:
    response = recording(name)["response"]

    error = provider.error(response["status"], response["headers"], answer(name))

    assert type(error) is leaf
    assert (error.kind, error.provider_code, error.retry_after_s) == (kind, code, retry_after_s)
    assert error.upstream_status == response["status"]
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("status", "type", "message", "leaf", "kind"),
    [
        (400, "invalid_request_error", "messages: field required", UpstreamRejected, "invalid_request"),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000",
            UpstreamRejected,
            "context_length_exceeded",
        ),
        (
            400,
            "invalid_request_error",
            "max_tokens: 99999 > 64000, which is the maximum allowed number of output tokens",
            UpstreamRejected,
            "max_tokens_exceeded",
        ),
        (400, "invalid_request_error", "image exceeds 5 MB maximum", UpstreamRejected, "image_too_large"),
        (400, "invalid_request_error", "Could not process image", UpstreamRejected, "invalid_image"),
        (400, "invalid_request_error", "Unable to download the file.", UpstreamRejected, "image_download_failed"),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            UpstreamRejected,
            "content_policy_violation",
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            UpstreamUnauthorized,
            "provider_unavailable",
        ),
        (402, "billing_error", "Payment required", UpstreamUnauthorized, "provider_unavailable"),
        (403, "permission_error", "No access to this model", UpstreamUnauthorized, "provider_unavailable"),
        (404, "not_found_error", "model: claude-none", UpstreamRejected, "not_found"),
        (504, "timeout_error", "Took too long", UpstreamTimeout, "upstream_timeout"),
        (500, "overloaded_error", "Overloaded", UpstreamOverloaded, "provider_overloaded"),
        (200, "api_error", "Internal server error", UpstreamUnavailable, "provider_unavailable"),
        (200, "rate_limit_error", "Slow down", UpstreamBusy, "rate_limit_exceeded"),
        (200, "news_error", "Something new", UpstreamUnavailable, "provider_unavailable"),
    ],
)
def test_names_and_words(
    provider: Anthropic, status: int, type: str, message: str, leaf: type[UpstreamError], kind: str
) -> None:
    error = provider.error(status, {}, body_of(type, message))

    assert error.__class__ is leaf
    assert (error.kind, error.provider_code, error.message) == (kind, type, message)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":"no"}', b'{"error":{"type":7}}', b"\xff"])
def test_bodies_without_form(provider: Anthropic, body: bytes) -> None:
    error = provider.error(503, {}, body)

    assert isinstance(error, UpstreamOverloaded)
    assert error.message
