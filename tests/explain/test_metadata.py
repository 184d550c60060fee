"""`X-OpenRouter-Metadata`: what answers, streams and errors of every surface say of where they come from."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.settings import EndpointSettings, ModelSettings, PriceSettings, RoutingSettings, StreamSettings
from router.testing import FakeUpstream, Running, json_answer, sse_answer
from tests.contract.test_headers import STREAM, WHOLE
from tests.dialects.anthropic_making import whole_message

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ENABLED = {"X-OpenRouter-Metadata": "enabled"}
ASK: dict[str, Any] = {"model": "acme/chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
RESPONSES = {"model": "acme/chat", "input": "hello"}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
GENERATE = "/v1beta/models/acme/chat:generateContent"
STREAMED = "/v1beta/models/acme/chat:streamGenerateContent?alt=sse"
CLAUDE = {"model": "claude/claude-sonnet-4-5", "messages": ASK["messages"], "max_tokens": 100}
MESSAGE = whole_message()
FAILING = json_answer({"error": {"message": "it said no"}}, status=503, headers={"retry-after": "60"})


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    table = {"base_url": upstream.url + "/v1", "api_key": "upstream-key-of-nobody"}
    price = PriceSettings(prompt="0.000001", completion="0.000001")
    endpoints = [
        EndpointSettings(provider=slug, model="m", pricing=price, priority=place)
        for place, slug in enumerate(("one", "two", "three"))
    ]
    return await start(
        providers={
            **{slug: {"plugin": "openai-compatible", **table} for slug in ("one", "two", "three")},
            "claude": {"plugin": "anthropic", **table},
            "openai": {"plugin": "openai", **table},
        },
        models={"acme/chat": ModelSettings(endpoints=endpoints)},
        routing=RoutingSettings(deterministic=True),
        stream=StreamSettings(comments=False),
    )


def objects(text: str) -> list[dict[str, Any]]:
    """All events of a stream."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def found(value: Any, path: str = "") -> dict[str, dict[str, Any]]:
    """Where metadata stands in a value, by its path."""
    told: dict[str, dict[str, Any]] = {}
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "openrouter_metadata":
                told[f"{path}/{name}"] = each
            else:
                told |= found(each, f"{path}/{name}")
    return told


def assert_whole(told: dict[str, Any], model: str = "acme/chat", provider: str = "one") -> None:
    """All members of the contract."""
    assert told.keys() == {
        *("requested", "strategy", "region", "summary", "attempt", "is_byok", "endpoints", "attempts", "pipeline"),
        *("params", "dropped_params", "warnings", "filtered"),
    }
    assert (told["requested"], told["strategy"], told["region"], told["is_byok"]) == (model, "direct", None, False)
    selected = [each for each in told["endpoints"]["available"] if each["selected"]]
    assert selected == [{"provider": provider, "model": model, "selected": True}]
    assert told["attempts"][-1] == {"provider": provider, "model": model, "status": 200}


PLAIN: dict[str, tuple[str, Any, Any]] = {
    "chat": (CHAT, ASK, WHOLE),
    "messages": ("/v1/messages", ASK, WHOLE),
    "messages, relayed": ("/v1/messages", CLAUDE, MESSAGE),
    "responses": ("/v1/responses", RESPONSES, WHOLE),
    "gemini": (GENERATE, CONTENTS, WHOLE),
    "completions": ("/v1/completions", {"model": "claude/claude-sonnet-4-5", "prompt": "hello"}, MESSAGE),
    "embeddings": (
        "/v1/embeddings",
        {"model": "openai/text-embedding-3-small", "input": "a"},
        {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}},
    ),
    "moderations": (
        "/v1/moderations",
        {"model": "openai/omni-moderation-latest", "input": "a"},
        {"id": "modr-1", "model": "omni-moderation-latest", "results": []},
    ),
}


@pytest.mark.parametrize(("path", "body", "answer"), PLAIN.values(), ids=PLAIN)
async def test_a_plain_answer_tells_at_its_top(
    router: Running, upstream: FakeUpstream, path: str, body: Any, answer: Any
) -> None:
    upstream.will(json_answer(answer))

    told = await (await router.post(path, body, headers=ENABLED)).json()
    without = await (await router.post(path, body)).json()

    places = found(told)
    assert list(places) == ["/openrouter_metadata"], told
    model = body.get("model", "acme/chat")
    assert_whole(places["/openrouter_metadata"], model, "one" if model == "acme/chat" else model.partition("/")[0])
    assert not found(without)


STREAMS: dict[str, tuple[str, Any, str]] = {
    "chat": (CHAT, ASK | {"stream": True}, "/openrouter_metadata"),
    "messages": ("/v1/messages", ASK | {"stream": True}, "/openrouter_metadata"),
    "responses": ("/v1/responses", RESPONSES | {"stream": True}, "/response/openrouter_metadata"),
    "gemini": (STREAMED, CONTENTS, "/openrouter_metadata"),
}


@pytest.mark.parametrize(("path", "body", "place"), STREAMS.values(), ids=STREAMS)
async def test_a_stream_tells_at_its_end(
    router: Running, upstream: FakeUpstream, path: str, body: Any, place: str
) -> None:
    upstream.will(sse_answer(STREAM))

    *events, last = objects(await (await router.post(path, body, headers=ENABLED)).text())

    assert list(found(last)) == [place]
    assert_whole(found(last)[place])
    assert not any(map(found, events))


@pytest.mark.parametrize("name", ["X-OpenRouter-Experimental-Metadata", "X-Router-Metadata", "x-openrouter-metadata"])
async def test_the_header_has_several_names(router: Running, upstream: FakeUpstream, name: str) -> None:
    upstream.will(json_answer(WHOLE))

    assert found(await (await router.post(CHAT, ASK, headers={name: "Enabled"})).json())
    assert not found(await (await router.post(CHAT, ASK, headers={name: "disabled"})).json())


async def test_cost_and_provider_come_with_it(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(WHOLE))

    for path, body, usage in (
        ("/v1/messages", ASK, "usage"),
        ("/v1/responses", RESPONSES, "usage"),
        (GENERATE, CONTENTS, "usageMetadata"),
    ):
        told = await (await router.post(path, body, headers=ENABLED)).json()
        assert (told["provider"], told[usage]["cost"], told[usage]["is_byok"]) == ("one", 15e-6, False)


async def test_attempts_that_failed_are_told(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(FAILING, json_answer(WHOLE))

    told = await (await router.post(CHAT, ASK, headers=ENABLED)).json()

    metadata = told["openrouter_metadata"]
    assert metadata["attempts"] == [
        {"provider": "one", "model": "acme/chat", "status": 503},
        {"provider": "two", "model": "acme/chat", "status": 200},
    ]
    assert (metadata["attempt"], metadata["summary"]) == (2, "available=3, selected=two")


async def test_what_was_dropped_warned_of_and_excluded_is_told(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(MESSAGE))
    body = CLAUDE | {"logit_bias": {"5": 1}, "seed": 4, "models": ["acme/chat"], "provider": {"only": ["claude"]}}

    metadata = (await (await router.post(CHAT, body, headers=ENABLED)).json())["openrouter_metadata"]

    assert {"logit_bias", "seed"} <= set(metadata["dropped_params"])
    assert metadata["endpoints"]["total"] == 4
    assert len(metadata["filtered"]) == 3
    assert metadata["strategy"] == "fallback"
    assert metadata["params"]["only"] == ["claude"]


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, ASK), ("/v1/messages", ASK), ("/v1/responses", RESPONSES), (GENERATE, CONTENTS)]
)
async def test_errors_tell_at_their_top(router: Running, upstream: FakeUpstream, path: str, body: Any) -> None:
    upstream.will(FAILING)

    told = await (await router.post(path, body, headers=ENABLED)).json()

    metadata = told["openrouter_metadata"]
    assert [each["status"] for each in metadata["attempts"]] == [503, 503, 503]
    assert metadata["summary"] == "available=3"
    assert not any(each["selected"] for each in metadata["endpoints"]["available"])


async def test_a_refusal_tells_what_was_excluded(router: Running) -> None:
    answer = await router.post(CHAT, ASK | {"provider": {"only": ["nobody"]}}, headers=ENABLED)

    metadata = (await answer.json())["openrouter_metadata"]
    assert metadata["endpoints"] == {"total": 3, "available": []}
    assert len(metadata["filtered"]) == 3


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (CHAT, ASK | {"stream": True}, "/openrouter_metadata"),
        ("/v1/messages", ASK | {"stream": True}, "/openrouter_metadata"),
        ("/v1/responses", RESPONSES | {"stream": True}, "/response/openrouter_metadata"),
        (STREAMED, CONTENTS, "/openrouter_metadata"),
    ],
)
async def test_a_stream_that_breaks_tells_in_its_error(
    router: Running, upstream: FakeUpstream, path: str, body: Any, place: str
) -> None:
    upstream.will(sse_answer(STREAM[:1], cut=True))

    last = objects(await (await router.post(path, body, headers=ENABLED)).text())[-1]

    assert list(found(last)) == [place]
    assert found(last)[place]["attempts"] == [{"provider": "one", "model": "acme/chat", "status": 502}]


async def test_an_answer_can_bring_its_explanation(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(WHOLE))

    told = await (await router.post(CHAT, ASK, headers={"X-Router-Explain": "1"})).json()

    explanation = told["openrouter_metadata"]["explanation"]
    assert [each["provider"] for each in explanation["candidates"]] == ["one", "two", "three"]
    assert "upstream" not in explanation["candidates"][0]
    assert told["choices"][0]["message"]["content"] == "hi"
