"""AWS's exceptions, as the router's errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from router_bedrock import Bedrock
from router_bedrock.failures import inside

from router.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)

Read = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "kind", "row"),
    [
        ("error_key", UpstreamUnauthorized, "provider_unavailable"),
        ("error_denied", UpstreamUnauthorized, "provider_unavailable"),
        ("error_throttled", UpstreamBusy, "rate_limit_exceeded"),
        ("error_quota", UpstreamBusy, "rate_limit_exceeded"),
        ("error_model", UpstreamRejected, "not_found"),
        ("error_gone", UpstreamRejected, "not_found"),
        ("error_too_long", UpstreamRejected, "context_length_exceeded"),
        ("error_request", UpstreamRejected, "invalid_request"),
        ("error_timeout", UpstreamTimeout, "upstream_timeout"),
        ("error_failed", UpstreamUnavailable, "provider_unavailable"),
        ("error_cold", UpstreamOverloaded, "provider_overloaded"),
        ("error_internal", UpstreamUnavailable, "provider_unavailable"),
        ("error_unavailable", UpstreamOverloaded, "provider_overloaded"),
    ],
)
def test_exceptions(bedrock: Bedrock, recording: Read, name: str, kind: type[UpstreamError], row: str) -> None:
    response = recording(name)["response"]
    headers = {key.lower(): value for key, value in response["headers"].items()}

    error = bedrock.error(response["status"], headers, json.dumps(response["body"]).encode())

    assert type(error) is kind
    assert error.kind == row
    assert error.message == response["body"]["message"]
    assert error.provider_code == headers["x-amzn-errortype"].split(":")[0]


def test_a_name_in_the_body(bedrock: Bedrock) -> None:
    body = b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no"}'

    error = bedrock.error(400, {}, body)

    assert isinstance(error, UpstreamUnauthorized)
    assert (error.message, error.provider_code) == ("no", "AccessDeniedException")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message":7}'])
def test_nonsense(bedrock: Bedrock, body: bytes) -> None:
    assert isinstance(bedrock.error(500, {}, body), UpstreamUnavailable)
    assert isinstance(bedrock.error(429, {}, body), UpstreamBusy)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", UpstreamBusy),
        ("validationException", UpstreamRejected),
        ("internalServerException", UpstreamUnavailable),
        ("modelStreamErrorException", UpstreamUnavailable),
        ("serviceUnavailableException", UpstreamOverloaded),
        ("modelTimeoutException", UpstreamTimeout),
        ("somethingNewException", UpstreamUnavailable),
        ("", UpstreamUnavailable),
    ],
)
def test_inside_a_stream(name: str, kind: type[UpstreamError]) -> None:
    assert type(inside(name, b'{"message":"m"}')) is kind
