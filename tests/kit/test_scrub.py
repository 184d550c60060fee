"""What is taken out of recordings, form by form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import field

from router import OpenAICompatible, ProviderSettings, Timeouts
from router.testing.scrub import Scrubber


class Plain(OpenAICompatible):
    name = "plain"


class Settings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """Settings of the kinds that plugins have."""

    base_url: str = "https://api.plain.example/v1"
    project: str = ""
    credentials: str = ""
    max_tokens_member: str = "max_tokens"
    guardrail: dict[str, str] = field(default_factory=dict)


def scrubber(**settings: object) -> Scrubber:
    """Of a provider with these settings."""
    return Scrubber(Plain("plain", Settings(plugin="plain", **settings), Timeouts()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "sk-ant-api03-abcdefghijkl",
        "AIzaSyA-1234567890abcdef",
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM",
        "AKIAIOSFODNN7EXAMPLE",
        "ya29.a0AfH6SMBx",
        "somebody.else+x@mail.corp.example",
        "Bearer abcdefghijklmnop",
        "https://x.example/?X-Amz-Credential=AKIDEXAMPLE%2F2015&a=b",
        "Signature=" + "0f" * 32,
        "arn:aws:bedrock:eu-north-1:123456789012:inference-profile/x",
        "org-AbCdEfGhIjKl",
        '{"organization": "acme"}',
        '{\\"user_id\\": \\"u1\\"}',
        '{"accountId":"77"}',
        "projects/acme-prod/locations",
    ],
)
def test_what_looks_like_somebodys(text: str) -> None:
    scrub = scrubber()

    said = scrub.text(f"before {text} behind")

    assert said != f"before {text} behind"
    assert said.startswith("before ")
    assert said.endswith(" behind")
    assert scrub.text(said) == said, "what was scrubbed is clean"
    assert not scrub.clean(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "claude-sonnet-4-5@20250929",
        "2023-06-01",
        '{"role": "user", "content": "a project"}',
        "max_tokens",
        "task-1",
        "call_abc123",
    ],
)
def test_what_is_nobodys_stays(text: str) -> None:
    assert scrubber(api_key="a-long-key-of-mine").text(text) == text


def test_what_the_settings_say() -> None:
    file = json.dumps(
        {"private_key": "-----BEGIN\nabc\n-----", "client_email": "x@y.example", "project_id": "acme-prod-1"}
    )
    scrub = scrubber(
        api_keys=["first-key-0", "second-key"],
        base_url="http://boss:hunter22@models.corp.example:8443/v1",
        project="secret-project",
        credentials=file,
        headers={"x-gateway-token": "gateway-4711", "anthropic-beta": "tools-2024"},
        guardrail={"id": "gr-abcdef"},
    )
    private = [
        "first-key-0",
        "second-key",
        "hunter22",
        "models.corp.example",
        "secret-project",
        "acme-prod-1",
        "gateway-4711",
        "gr-abcdef",
        "BEGIN\\nabc",
    ]

    said = scrub.text(
        json.dumps({"text": " ".join([*private[:-1], "-----BEGIN\nabc\n-----", "tools-2024", "max_tokens"])})
    )

    assert not [each for each in private if each in said]
    assert "upstream.example" in said
    assert "tools-2024" in said
    assert "max_tokens" in said


@given(st.text(min_size=6, max_size=40))
def test_a_key_is_found_however_it_is_written(key: str) -> None:
    scrub = scrubber(api_key=key)

    for form in (json.dumps({"x": key}), json.dumps({"x": key}, ensure_ascii=False)):
        assert json.loads(scrub.text(form))["x"] != key


def test_headers_that_nobody_looks_at_are_left_out() -> None:
    headers = {
        "Content-Type": "text/plain",
        "Set-Cookie": "a=b",
        "Retry-After": "3",
        "openai-organization": "acme",
        "Server": "x",
    }

    assert scrubber().headers(headers) == {"content-type": "text/plain", "retry-after": "3"}
