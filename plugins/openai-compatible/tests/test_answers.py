"""What the router makes of these upstreams' answers: thinking inside of the text, other counting, lists of models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from router_openai_compatible import Compatible

from router import Price, UpstreamUnauthorized, UpstreamUnavailable
from router.settings import Settings
from router.testing import FakeUpstream, Running, completion, json_answer, running, sse_answer

Make = Callable[..., Compatible]
Start = Callable[..., Any]


@pytest.fixture
async def ask(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Callable[..., Any]]:
    """Asks through a router whose one provider has this preset: `await ask("groq", "model", stream=True)`."""
    started: dict[str, Any] = {}

    async def client_of(preset: str) -> openai.AsyncOpenAI:
        table = {"plugin": "openai-compatible", "preset": preset, "base_url": f"{upstream.url}/v1", "api_key": "k"}
        context = running(Settings(providers={preset: {**table, "discover": False}}), tmp_path)
        router: Running = await context.__aenter__()
        started[preset] = context
        return openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0)

    async def asking(preset: str, model: str, **members: Any) -> Any:
        async with await client_of(preset) as client:
            answer: Any = await client.chat.completions.create(
                model=f"{preset}/{model}", messages=[{"role": "user", "content": "hi"}], **members
            )
            return [chunk async for chunk in answer] if members.get("stream") else answer

    yield asking
    for context in started.values():
        await context.__aexit__(None, None, None)


def chunk(**delta: Any) -> bytes:
    """A frame of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return (
        b"data: " + msgspec.json.encode({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"
    )


END = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}\n\n',
    b"data: [DONE]\n\n",
]


async def test_thinking_in_the_text_of_a_stream(ask: Any, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([chunk(content="<thi"), chunk(content="nk>because</think>\n\nyes"), *END]))

    chunks = await ask("llamacpp", "qwen3", stream=True)

    deltas = [each.choices[0].delta for each in chunks if each.choices]
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas) == "because"
    assert "".join(delta.content or "" for delta in deltas) == "yes"
    assert upstream.asked[0].path == "/v1/chat/completions"


async def test_thinking_in_the_text_of_a_plain_answer(ask: Any, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(completion("<think>because</think>yes")))

    answer = await ask("perplexity", "sonar-reasoning-pro")

    assert answer.choices[0].message.content == "yes"
    assert answer.choices[0].message.reasoning == "because"


async def test_xai_counts_thinking_apart(ask: Any, upstream: FakeUpstream) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 45,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    upstream.will(json_answer(completion() | {"usage": usage}))

    counted = (await ask("xai", "grok-4.3")).usage

    assert (counted.prompt_tokens, counted.completion_tokens) == (10, 35)
    assert counted.cost == pytest.approx((10 * 1.25 + 35 * 2.5) / 1e6)


async def test_perplexity_says_what_it_costs(ask: Any, upstream: FakeUpstream) -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "cost": {"total_cost": 0.0071}}
    upstream.will(json_answer(completion() | {"usage": usage}))

    assert (await ask("perplexity", "sonar")).usage.cost == pytest.approx(0.0071)


async def test_xai_says_what_it_costs(ask: Any, upstream: FakeUpstream) -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "cost_in_usd_ticks": 71_000_000}
    upstream.will(json_answer(completion() | {"usage": usage, "citations": ["https://example.org/a"]}))

    assert (await ask("xai", "grok-4.3")).usage.cost == pytest.approx(0.0071)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "found",
    [
        {"preset": "groq", "results": [{"url": "https://example.org/a", "title": "A", "content": "words", "score": 1}]},
        {"preset": "perplexity", "search_results": [{"url": "https://example.org/a", "title": "A"}]},
        {"preset": "perplexity", "citations": ["https://example.org/a"]},
        {"preset": "xai", "citations": ["https://example.org/a"]},
    ],
    ids=["groq", "perplexity", "perplexity of old", "xai"],
)
async def test_sources_reach_clients_of_another_api(
    provider: Make, upstream: FakeUpstream, tmp_path: Path, found: dict[str, Any], stream: bool
) -> None:
    """Each service says in its own way what it searched and found; a client of Anthropic's API gets citations."""
    found = dict(found)
    preset = found.pop("preset")
    said: dict[str, Any] = {"content": "Sunny."}
    if results := found.pop("results", None):
        said["executed_tools"] = [{"index": 0, "type": "search", "search_results": {"results": results}}]
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": said}
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    body = msgspec.json.encode({"id": "c", "choices": [choice], "usage": usage, **found})
    upstream.will(sse_answer([b"data: " + body + b"\n\n", b"data: [DONE]\n\n"]) if stream else json_answer(body))
    table = {"plugin": "openai-compatible", "preset": preset, "base_url": f"{upstream.url}/v1", "api_key": "k"}
    asked = {"model": f"{preset}/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

    async with running(Settings(providers={preset: table}), tmp_path) as router:
        answer = await router.post("/v1/messages", asked | {"stream": stream})

    assert answer.status == 200
    text = await answer.text()
    assert "https://example.org/a" in text
    assert "Sunny." in text


async def test_an_image_is_fetched_where_urls_are_refused(provider: Make) -> None:
    assert "image" in provider("moonshot").fetches
    assert provider("moonshot").speaks == {}
    assert "image" not in provider("groq").fetches


# --- lists of models -------------------------------------------------------------------------------------------------


async def test_models_of_a_local_server(provider: Make, upstream: FakeUpstream) -> None:
    listed = [{"id": "qwen3", "object": "model", "created": 5, "max_model_len": 4096}, {"id": "nomic-embed-text"}]
    upstream.will(json_answer({"object": "list", "data": listed}))
    server = provider("vllm", base_url=f"{upstream.url}/v1", api_key="")

    chat, embeddings = await server.models()
    await server.close()

    assert (chat.id, chat.created, chat.context_length, chat.price) == ("qwen3", 5, 4096, Price())
    assert "image" in chat.input_modalities  # nobody knows: a request with one is not refused
    assert embeddings.output_modalities == ["embeddings"]
    assert upstream.asked[0].path == "/v1/models"
    assert "Authorization" not in upstream.asked[0].headers


async def test_known_models_of_a_service_keep_their_facts(provider: Make, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"data": [{"id": "openai/gpt-oss-20b"}, {"id": "brand-new"}]}))
    service = provider("groq", base_url=f"{upstream.url}/openai/v1")

    known, new = await service.models()
    await service.close()

    assert known.price is not None
    assert (new.id, new.price) == ("brand-new", None)
    assert upstream.asked[0].headers["Authorization"] == "Bearer test-key"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_answer({"error": "no"}, status=401), UpstreamUnauthorized),
        (json_answer(b"<html>"), UpstreamUnavailable),
    ],
)
async def test_a_list_that_cannot_be_had(
    answer: Any, error: type[Exception], provider: Make, upstream: FakeUpstream
) -> None:
    upstream.will(answer)
    service = provider("groq", base_url=upstream.url)

    with pytest.raises(error):
        await service.models()
    await service.close()
