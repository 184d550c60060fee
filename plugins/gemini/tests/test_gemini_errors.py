"""Errors of Google as ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from router_gemini import Gemini

RECORDINGS = Path(__file__).parent / "recordings"
ERRORS = sorted(path.stem for path in RECORDINGS.glob("error_*.json") if path.stem != "error_inside")


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_the_one_expected(name: str, recording: Callable[[str], dict[str, Any]], gemini: Gemini) -> None:
    recorded = recording(name)
    response, expected = recorded["response"], recorded["expected"]
    body = response["text"] if "text" in response else json.dumps(response["body"])

    error = gemini.error(response["status"], response["headers"], body.encode())

    assert type(error).__name__ == expected["error"]
    assert (error.status, error.upstream_status) == (expected["status"], response["status"])
    assert error.kind == expected.get("kind", error.kind)
    assert error.provider_code == expected["code"]
    assert error.retry_after_s == expected.get("retry_after_s")


def test_a_page_is_never_shown(recording: Callable[[str], dict[str, Any]], gemini: Gemini) -> None:
    error = gemini.error(502, {}, recording("error_html")["response"]["text"].encode())

    assert "<" not in error.message


@pytest.mark.parametrize("delay", ["soon", "", None, "-3s"])
def test_an_odd_delay_is_no_delay(delay: str | None, gemini: Gemini) -> None:
    body = {"error": {"code": 429, "message": "wait", "details": [{"retryDelay": delay}]}}

    assert gemini.error(429, {}, json.dumps(body).encode()).retry_after_s in (None, 0.0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"error":[]}', b'{"error":{"details":"none"}}', b"[" * 100_000]
)
def test_any_body_is_some_error(body: bytes, gemini: Gemini) -> None:
    assert gemini.error(500, {}, body).status == 502


def test_a_call_that_google_cancelled_may_be_asked_again(gemini: Gemini) -> None:
    body = {"error": {"code": 499, "message": "The operation was cancelled.", "status": "CANCELLED"}}

    error = gemini.error(499, {}, json.dumps(body).encode())

    assert (error.status, error.falls_over) == (502, True)
