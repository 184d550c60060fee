"""Clients of three APIs, a running router, and an OpenRouter on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from router.testing import FakeUpstream, Running, json_answer, sse_answer

Read = Callable[[str], dict[str, Any]]
CLAUDE, GEMINI, GPT = "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash", "openai/gpt-5-mini"
ASK: Any = [{"role": "user", "content": "Weather in Oslo?"}]


def client_of(router: Running) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0)


def streamed(said: dict[str, Any]) -> Any:
    raw = said["sse"].encode()
    return sse_answer([raw[at : at + 9] for at in range(0, len(raw), 9)])


async def test_what_it_charges_is_what_is_charged(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("text")["body"]))

    async with client_of(await start()) as client:
        answer = await client.chat.completions.create(model=f"openrouter/{GEMINI}", messages=ASK)

    (asked,) = upstream.asked
    assert (asked.path, asked.body["model"]) == ("/api/v1/chat/completions", GEMINI)
    assert asked.headers["Authorization"] == "Bearer a-key"
    assert answer.choices[0].message.annotations is not None
    assert answer.usage is not None
    assert answer.usage.model_extra is not None
    assert answer.usage.model_extra["cost"] == 0.00012


async def test_a_key_of_ones_own_costs_what_its_owner_charges(
    start: Any, upstream: FakeUpstream, recording: Read
) -> None:
    upstream.will(streamed(recording("thinking_stream")))

    async with client_of(await start()) as client:
        stream = await client.chat.completions.create(
            model=f"openrouter/{CLAUDE}", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_extra is not None
    assert chunks[-1].usage.model_extra["cost"] == 0.00025


async def test_signatures_survive_a_turn(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    """What a client of chat completions got, and sends back, reaches OpenRouter as it came."""
    upstream.will(streamed(recording("thinking_stream")), json_answer(recording("text")["body"]))
    details: list[Any] = []

    async with client_of(await start()) as client:
        stream = await client.chat.completions.create(model=f"openrouter/{CLAUDE}", messages=ASK, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.model_extra:
                details += chunk.choices[0].delta.model_extra.get("reasoning_details") or []
        turn: Any = {"role": "assistant", "content": "", "reasoning_details": details}
        await client.chat.completions.create(model=f"openrouter/{CLAUDE}", messages=[*ASK, turn, *ASK])

    assert details[-1]["signature"] == "EtEBc2lnbmVk"
    assert upstream.asked[1].body["messages"][1] == turn


async def test_signatures_survive_a_turn_of_anthropics_client(start: Any, upstream: FakeUpstream) -> None:
    """Thinking of another family, told in Anthropic's words, goes back in its own."""
    detail = {"type": "reasoning.encrypted", "data": "b3BlbmFp", "format": "openai-responses-v1", "id": "rs_1"}
    message = {"role": "assistant", "content": "Cold.", "reasoning_details": [detail | {"index": 0}]}
    body = {"id": "gen-1", "model": GPT, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    upstream.will(json_answer(body | {"usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}}))
    router: Running = await start()

    async with AsyncAnthropic(base_url=router.url, api_key=router.key, max_retries=0) as client:
        answer = await client.messages.create(model=f"openrouter/{GPT}", max_tokens=50, messages=ASK)
        content: Any = [block.model_dump() for block in answer.content]
        turns = [*ASK, {"role": "assistant", "content": content}, *ASK]
        await client.messages.create(model=f"openrouter/{GPT}", max_tokens=50, messages=turns)

    assert [each.path for each in upstream.asked] == ["/api/v1/chat/completions"] * 2
    (sent,) = upstream.asked[1].body["messages"][1]["reasoning_details"]
    assert {name: sent[name] for name in detail} == detail


async def test_anthropics_clients_are_relayed_to_claude(start: Any, upstream: FakeUpstream) -> None:
    usage = {"input_tokens": 9, "output_tokens": 2, "cost": 0.001, "is_byok": True}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "stop_reason": "end_turn"}
    body |= {"content": [{"type": "text", "text": "Cold."}]}
    body |= {"usage": usage | {"cost_details": {"upstream_inference_cost": 0.02}}, "provider": "Anthropic"}
    upstream.will(json_answer(body))
    router: Running = await start(provider={"order": ["anthropic"], "data_collection": "deny"})
    asked = {"model": f"openrouter/{CLAUDE}", "max_tokens": 50, "messages": ASK, "provider": {"sort": "price"}}

    answer = await router.post("/v1/messages", asked, headers={"anthropic-version": "2023-06-01"})

    sent = upstream.asked[0]
    assert (sent.path, sent.headers["anthropic-version"]) == ("/api/v1/messages", "2023-06-01")
    assert sent.body["provider"] == {"order": ["anthropic"], "data_collection": "deny"}
    assert await answer.json() == body
    generation = await router.get(f"/api/v1/generation?id={answer.headers['X-Generation-Id']}")
    assert (await generation.json())["data"]["total_cost"] == pytest.approx(0.021)


async def test_responses_are_relayed(start: Any, upstream: FakeUpstream) -> None:
    words = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Cold."}]}
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11, "cost": 0.001, "is_byok": False}
    body = {"id": "gen-1", "object": "response", "status": "completed", "model": GEMINI, "output": [words]}
    upstream.will(json_answer(body | {"usage": usage}))
    router: Running = await start(provider={"sort": "latency"})

    answer = await router.post("/v1/responses", {"model": f"openrouter/{GEMINI}", "input": "hi"})

    assert upstream.asked[0].path == "/api/v1/responses"
    assert upstream.asked[0].body == {"model": GEMINI, "input": "hi", "provider": {"sort": "latency"}}
    assert await answer.json() == body | {"usage": usage}
    assert float(answer.headers["X-Router-Cost"]) == 0.001


async def test_preferences_and_names_are_the_settings(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(json_answer(recording("text")["body"]))
    router: Running = await start(provider={"zdr": True}, referer="https://chat.example.com", title="Chat")
    body = {"model": f"openrouter/{GEMINI}", "messages": ASK, "provider": {"order": ["openrouter"]}}

    await router.post("/v1/chat/completions", body)
    await router.post(f"/v1beta/models/openrouter/{GEMINI}:generateContent", {"contents": [{"parts": [{"text": "a"}]}]})

    assert [each.body["provider"] for each in upstream.asked] == [{"zdr": True}] * 2
    headers = upstream.asked[0].headers
    assert (headers["HTTP-Referer"], headers["X-Title"]) == ("https://chat.example.com", "Chat")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"reasoning": {"max_tokens": 2000}}, {"reasoning": {"max_tokens": 2000}}),
        ({"reasoning": {"enabled": True, "exclude": True}}, {"reasoning": {"enabled": True, "exclude": True}}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"reasoning": {"enabled": True, "max_tokens": 2000}},
        ),
    ],
)
async def test_asking_for_thinking(
    start: Any, upstream: FakeUpstream, recording: Read, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    upstream.will(json_answer(recording("text")["body"]))
    router: Running = await start()

    await router.post("/v1/chat/completions", {"model": f"openrouter/{CLAUDE}", "messages": ASK, **asked})

    body = upstream.asked[0].body
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == sent


async def test_an_error_behind_the_first_words_is_told(start: Any, upstream: FakeUpstream, recording: Read) -> None:
    upstream.will(streamed(recording("error_in_stream")))

    async with client_of(await start()) as client:
        stream = await client.chat.completions.create(model=f"openrouter/{CLAUDE}", messages=ASK, stream=True)
        with pytest.raises(openai.APIError, match="Provider disconnected unexpectedly"):
            [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("no_credits", 502, "credits"),
        ("flagged", 403, "violence"),
        ("down", 502, "DeepInfra: upstream connect error"),
        ("provider_busy", 429, "Chutes: some/model:free is temporarily rate-limited upstream"),
    ],
)
async def test_failures(start: Any, upstream: FakeUpstream, recording: Read, name: str, status: int, said: str) -> None:
    recorded = recording(name)
    upstream.will(json_answer(recorded["body"], status=recorded["status"]))
    router: Running = await start()

    answer = await router.post("/v1/chat/completions", {"model": f"openrouter/{GPT}", "messages": ASK})

    assert answer.status == status
    assert said in await answer.text()


async def test_vectors(start: Any, upstream: FakeUpstream) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}
    usage = {"prompt_tokens": 2, "total_tokens": 2, "cost": 0.00004}
    upstream.will(json_answer({"object": "list", "data": [vector], "usage": usage}))

    async with client_of(await start()) as client:
        answer = await client.embeddings.create(model="openrouter/openai/text-embedding-3-small", input="hi")

    assert upstream.asked[0].path == "/api/v1/embeddings"
    assert answer.data[0].embedding == [0.5, 1.0]
    assert answer.usage.model_extra is not None
    assert answer.usage.model_extra["cost"] == 0.00004


async def test_its_own_list_goes_before_the_catalogue(start: Any, upstream: FakeUpstream) -> None:
    listed = {
        "id": CLAUDE,
        "name": "Claude, cheaper",
        "context_length": 1000,
        "pricing": {"prompt": "0.0000001", "completion": "0.0000002"},
        "supported_parameters": ["max_tokens"],
    }
    upstream.will(json_answer({"data": [listed, {"id": "new/model", "name": "New"}]}))
    router: Running = await start(discover=True)

    found: dict[str, Any] = {}
    for _ in range(100):
        models = json.loads(await (await router.get("/v1/models")).text())["data"]
        found = {each["id"]: each for each in models}
        if "openrouter/new/model" in found:
            break

    assert upstream.asked[0].path == "/api/v1/models?output_modalities=all"
    assert "openrouter/new/model" in found
    assert found[f"openrouter/{CLAUDE}"]["pricing"]["prompt"] == "0.0000001"
    assert f"openrouter/{GEMINI}" in found, "what the catalogue knows besides stays"
