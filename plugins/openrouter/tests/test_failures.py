"""Errors, in the words of whoever knows best."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from router_openrouter import OpenRouter

from router import UpstreamBusy, UpstreamError, UpstreamUnavailable

Make = Callable[..., OpenRouter]


def error_of(provider: OpenRouter, status: int, **error: Any) -> UpstreamError:
    return provider.error(status, {}, msgspec.json.encode({"error": error}))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("rate-limited upstream", "Chutes: rate-limited upstream"),
        ('{"error":{"message":"too fast"}}', "Chutes: too fast"),
        ({"error": {"message": "too fast"}}, "Chutes: too fast"),
        ({"detail": 1}, 'Chutes: {"detail":1}'),
        ("", "Provider returned error"),
        (None, "Provider returned error"),
    ],
)
def test_the_provider_behind_it_is_quoted(made: Make, raw: Any, said: str) -> None:
    metadata = {"raw": raw, "provider_name": "Chutes"}

    error = error_of(made(), 429, message="Provider returned error", code=429, metadata=metadata)

    assert isinstance(error, UpstreamBusy)
    assert error.message == said


def test_what_the_provider_says_decides_the_kind(made: Make) -> None:
    raw = '{"error":{"message":"This model\'s maximum context length is 8192 tokens"}}'

    error = error_of(made(), 400, message="Provider returned error", metadata={"raw": raw, "provider_name": "X"})

    assert error.kind == "context_length_exceeded"


def test_flagged_input_is_a_content_policy(made: Make) -> None:
    error = error_of(made(), 403, message="No.", metadata={"reasons": ["violence", "hate"], "flagged_input": "…"})

    assert (error.kind, error.message) == ("content_policy_violation", "No. (violence, hate)")


def test_limits_of_its_own_say_until_when(made: Make) -> None:
    reset = str(round((time.time() + 60) * 1000))

    error = error_of(made(), 429, message="free-models-per-day", metadata={"headers": {"X-RateLimit-Reset": reset}})

    assert error.retry_after_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize("metadata", [None, {}, {"raw": 5}, {"headers": []}, {"headers": {"X-RateLimit-Reset": "x"}}])
def test_odd_metadata_breaks_nothing(made: Make, metadata: Any) -> None:
    assert isinstance(error_of(made(), 502, message="down", metadata=metadata), UpstreamUnavailable)
    assert isinstance(error_of(made(), 429, message="slow", metadata=metadata), UpstreamBusy)
