"""What clients written for OpenRouter rely on: complete objects, numbers as error codes, extensions that are ours to consume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from router.testing import FakeUpstream, sse_answer
from tests.serving import Served

from .families import Answer, Family
from .required import assert_complete

#: as the SDKs of OpenRouter name themselves
AGENT = "speakeasy-sdk/python 1.3.84 2.7.0 1.0.0 openrouter"
WORDS = Answer(words=("Hei", " på", " deg"))
#: what such clients send besides what OpenAI knows
EXTENSIONS: dict[str, Any] = {
    "models": ["nobody/nothing"],
    "route": "fallback",
    "provider": {"allow_fallbacks": True, "data_collection": "allow", "sort": "price"},
    "usage": {"include": True},
    "transforms": ["middle-out"],
    "plugins": [{"id": "response-healing", "enabled": False}],
    "session_id": "session-1",
    "trace": {"trace_id": "trace-1"},
}


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {served.key}", "User-Agent": AGENT}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=10) as client:
        yield client


def ask(family: Family, **members: Any) -> dict[str, Any]:
    return {"model": family.model, "messages": [{"role": "user", "content": "Hello"}], **members}


def chunks_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def test_a_plain_answer_is_complete(client: httpx2.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))

    answer = client.post("/chat/completions", json=ask(family)).json()

    assert_complete("ChatResult", answer)
    assert_complete("ChatChoice", answer["choices"][0])
    assert_complete("ChatUsage", answer["usage"])
    assert answer["provider"] == family.slug
    assert answer["choices"][0]["native_finish_reason"] == family.native_stop
    assert answer["usage"]["is_byok"] is False
    details = answer["usage"]["cost_details"]
    assert details["upstream_inference_cost"] == answer["usage"]["cost"]
    if answer["usage"]["cost"] is not None:
        parts = details["upstream_inference_prompt_cost"] + details["upstream_inference_completions_cost"]
        assert parts == pytest.approx(answer["usage"]["cost"])


def test_a_stream_is_complete(client: httpx2.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(WORDS))

    chunks = chunks_of(client.post("/chat/completions", json=ask(family, stream=True)))

    for chunk in chunks:
        assert_complete("ChatStreamChunk", chunk)
        assert_complete("ChatStreamChoice", chunk["choices"][0])
        assert chunk.get("system_fingerprint", "") is not None
        assert chunk["provider"] == family.slug
    assert_complete("ChatUsage", chunks[-1]["usage"])


@pytest.mark.parametrize("stream", [False, True])
def test_extensions_are_ours_to_consume(
    client: httpx2.Client, family: Family, upstream: FakeUpstream, stream: bool
) -> None:
    """Strict upstreams answer 400 to members that they do not know."""
    upstream.will(family.streamed(WORDS) if stream else family.plain(WORDS))

    answer = client.post("/chat/completions", json=ask(family, stream=stream, **EXTENSIONS))

    assert answer.status_code == 200
    (asked,) = upstream.asked
    assert not EXTENSIONS.keys() & asked.body.keys()
    assert "session-1" not in json.dumps(asked.body)


def test_extensions_have_their_effect(client: httpx2.Client, family: Family, upstream: FakeUpstream) -> None:
    """The second model answers for the first that nobody has, and the session is on record."""
    upstream.will(family.plain(WORDS))
    body = ask(family, **EXTENSIONS) | {"model": "nobody/nothing", "models": [family.model]}

    answer = client.post("/chat/completions", json=body)

    assert answer.json()["model"] == family.model
    row = client.get("/generation", params={"id": answer.headers["X-Generation-Id"]}).json()["data"]
    assert (row["session_id"], row["trace_id"]) == ("session-1", "trace-1")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"temperature": 3}, 400),
        ({"model": "nobody/nothing"}, 400),
        ({"messages": []}, 400),
        ({"provider": {"x": 1}}, 400),
    ],
)
def test_codes_of_errors_are_numbers(
    client: httpx2.Client, family: Family, members: dict[str, Any], status: int
) -> None:
    """Where a model is missing, too: such clients take 400 for that."""
    answer = client.post("/chat/completions", json=ask(family, **members))

    error = answer.json()["error"]
    assert answer.status_code == error["code"] == error["metadata"]["http_status"] == status
    assert isinstance(answer.json()["code"], str)


def test_codes_of_upstreams_errors_are_numbers(client: httpx2.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.fails(429, "slow down", "RESOURCE_EXHAUSTED", headers={"retry-after": "9"}))

    answer = client.post("/chat/completions", json=ask(family) | {"model": f"{family.model}-numbers"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, 429)
    assert answer.headers["Retry-After"] == "9"
    metadata = answer.json()["error"]["metadata"]
    assert metadata["provider_name"] == family.slug
    assert metadata["error_type"] == "rate_limit_exceeded"


def test_codes_of_errors_inside_of_streams_are_numbers(
    client: httpx2.Client, family: Family, upstream: FakeUpstream
) -> None:
    upstream.will(sse_answer([*family.frames(WORDS)[:-3], family.failing("overloaded")]))

    *_, last = chunks_of(client.post("/chat/completions", json=ask(family, stream=True)))

    assert isinstance(last["error"]["code"], int)
    assert last["choices"][0]["finish_reason"] == "error"


def test_the_codes_of_a_wrong_key_and_of_paths_without_a_route_are_numbers(client: httpx2.Client) -> None:
    wrong = client.get("/key", headers={"Authorization": "Bearer sk-rt-wrong"})
    nowhere = client.get("/nowhere")
    method = client.delete("/models")

    assert [answer.json()["error"]["code"] for answer in (wrong, nowhere, method)] == [401, 404, 405]


def test_a_header_decides_before_the_agent(client: httpx2.Client) -> None:
    said = client.get("/nowhere", headers={"X-Router-Error-Code": "string"}).json()["error"]["code"]
    plain = client.get("/nowhere", headers={"User-Agent": "curl/9"}).json()["error"]["code"]
    asked = client.get("/nowhere", headers={"User-Agent": "curl/9", "X-Router-Error-Code": "number"})
    other = client.get("/nowhere", headers={"User-Agent": "@openrouter/sdk 1.3.19"})

    assert (said, plain) == ("not_found", "not_found")
    assert (asked.json()["error"]["code"], other.json()["error"]["code"]) == (404, 404)


# --- the rest of the API ---------------------------------------------------------------------------------------------


def test_models_are_complete(client: httpx2.Client) -> None:
    models = client.get("/models").json()["data"]

    assert {model["owned_by"] for model in models} >= {"openai", "anthropic", "gemini", "echo"}
    for model in [*models, client.get("/models/local/small-1").json()]:
        assert_complete("Model", model)
        assert_complete("ModelArchitecture", model["architecture"])
        assert_complete("TopProviderInfo", model["top_provider"])
        assert_complete("PublicPricing", model["pricing"])
        for price in ("prompt", "completion"):
            assert float(model["pricing"][price]) >= -1
            assert "e" not in model["pricing"][price].lower()


def test_key_and_providers_are_complete(client: httpx2.Client) -> None:
    assert_complete("GetCurrentKeyData", client.get("/key").json()["data"])
    for provider in client.get("/providers").json()["data"]:
        assert_complete("ListProvidersData", provider)


@pytest.mark.parametrize("form", ["/generation?id={}", "/generation/{}"])
def test_generations_are_complete(client: httpx2.Client, family: Family, upstream: FakeUpstream, form: str) -> None:
    """`usage` is a number for these clients; the tokens are beside it."""
    upstream.will(family.plain(WORDS))
    answer = client.post("/chat/completions", json=ask(family))

    row = client.get(form.format(answer.json()["id"])).json()["data"]
    plain = client.get(form.format(answer.json()["id"]), headers={"User-Agent": "curl/9"}).json()["data"]

    assert_complete("GenerationResponseData", row)
    assert row["usage"] == row["total_cost"] == (answer.json()["usage"]["cost"] or 0)
    assert row["usage_tokens"] == plain["usage"]
    assert plain["usage"]["total_tokens"] == answer.json()["usage"]["total_tokens"]
    assert [(each["provider_name"], each["status"]) for each in row["provider_responses"]] == [(family.slug, 200)]
