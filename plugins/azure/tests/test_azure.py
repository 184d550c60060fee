"""What Azure is asked: which address, which deployment, and what its models take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from router_azure import Azure

from router import ChatRequest, Message, Price, Text

Make = Callable[..., Azure]
ASK = ChatRequest(messages=[Message(role="user", content=[Text(text="hi")])], model="gpt-4o", stream=True)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://example.openai.azure.com",
        "https://example.openai.azure.com/",
        "https://example.openai.azure.com/openai",
        "https://example.openai.azure.com/openai/v1/",
    ],
)
@pytest.mark.parametrize(
    ("version", "url"),
    [
        ("v1", "/openai/v1/chat/completions"),
        ("preview", "/openai/v1/chat/completions?api-version=preview"),
        ("2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
    ],
)
def test_the_address_has_the_form_of_its_version(made: Make, base_url: str, version: str, url: str) -> None:
    provider = made(base_url=base_url, api_version=version)

    assert str(provider.url(provider.encode(ASK).path)) == f"https://example.openai.azure.com{url}"


@pytest.mark.parametrize(("version", "asked"), [("v1", True), ("2024-09-01-preview", True), ("2024-06-01", False)])
def test_usage_of_streams_is_asked_for_where_it_may_be(made: Make, version: str, asked: bool) -> None:
    body = msgspec.json.decode(made(api_version=version).encode(ASK).body)

    assert ("stream_options" in body) == asked


def test_a_model_is_refused_what_openai_would_refuse_whatever_its_deployment_is_called(made: Make) -> None:
    provider = made(deployments={"gpt-5-mini": "mini / prod"}, api_version="2025-04-01-preview")
    request = msgspec.structs.replace(ASK, model="gpt-5-mini", temperature=0.5, max_tokens=9)

    outgoing = provider.encode(request)

    assert outgoing.path.startswith("/mini%20%2F%20prod/chat/completions?")
    body = msgspec.json.decode(outgoing.body)
    assert (body["model"], body["max_completion_tokens"]) == ("mini / prod", 9)
    assert outgoing.dropped == ["temperature"]


def test_with_deployments_only_those_are_listed(made: Make) -> None:
    listed = {model.id: model for model in made(deployments={"gpt-4o": "a", "o9-ours": "b"}).catalogue()}

    assert listed.keys() == {"gpt-4o", "o9-ours"}
    assert listed["gpt-4o"].price == Price(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000)
    assert (listed["o9-ours"].price, listed["o9-ours"].reasoning) == (None, True)


def test_without_deployments_all_that_azure_sells_is_listed(made: Make) -> None:
    listed = {model.id: model for model in made().catalogue()}

    assert {"gpt-4.1", "deepseek-v3.2", "text-embedding-3-small"} <= listed.keys()
    assert not [id for id in listed if id.startswith(("claude", "cohere-command"))]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": ""}, "base_url: the resource's address is needed"),
        ({"api_version": "v2"}, "api_version: "),
        ({"client_id": "a"}, "tenant_id: a service principal needs"),
        ({"discover": True}, "discover: Azure lists what it sells"),
    ],
)
def test_settings_that_cannot_work_are_refused(made: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        made(**settings)


def test_nobody_is_no_credential(made: Make) -> None:
    assert made(api_key="").credentials == []


async def test_a_credential_goes_into_its_own_header(made: Make) -> None:
    with_key, with_token = made(), made(api_key="", access_token="a-token")

    assert with_key.headers("k") == {"api-key": "k"}
    assert with_token.headers(with_token.credentials[0].secret) == {"Authorization": "Bearer a-token"}


def test_it_is_there_when_key_and_address_are() -> None:
    (offer,) = Azure.automatic

    assert (offer.environment, offer.variables) == ("AZURE_OPENAI_API_KEY", {"base_url": "AZURE_OPENAI_ENDPOINT"})


@pytest.mark.parametrize("name", ["prompt_filtered", "prompt_filtered_in_success"])
def test_the_filter_of_prompts_is_a_content_policy(
    made: Make, recording: Callable[[str], dict[str, Any]], name: str
) -> None:
    said = recording(name)

    error = made().error(400, {}, msgspec.json.encode(said["body"]))

    assert error.kind == "content_policy_violation"
    assert error.provider_code == "content_filter"
