"""The response cache as SDKs see it, unmodified, over sockets: the same request gets the same answer again, for nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from router.testing import FakeUpstream, json_answer
from tests.serving import Served

from .families import FAMILIES, OUTPUT, SIGNATURE, Answer, Family, ToolCall

CACHED = {"X-OpenRouter-Cache": "true"}
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
ANSWER = Answer(
    words=("Hei", ", Ås", "! 🌍"), calls=(ToolCall("call_01", "get_weather", {"city": "Ås 🌧", "usage": 9}),)
)
OTHER = Answer(words=("Something else.",))


@pytest.fixture
def words() -> str:
    """What nobody has asked before: the router of these tests is one for all."""
    return f"Hello {uuid.uuid4()}"


@pytest.fixture
def claude(served: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=0, timeout=10) as client:
        yield client


def will(upstream: FakeUpstream, family: Family, *, streaming: bool) -> None:
    """One answer, then another one: it shows who was asked twice."""
    upstream.will(*((family.streamed if streaming else family.plain)(answer) for answer in (ANSWER, OTHER)))


# --- openai ----------------------------------------------------------------------------------------------------------


def test_chat(client: openai.OpenAI, family: Family, upstream: FakeUpstream, words: str) -> None:
    will(upstream, family, streaming=False)
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}

    first, second = (
        client.chat.completions.with_raw_response.create(
            model=family.model, messages=[{"role": "user", "content": words}], tools=[tool], extra_headers=CACHED
        )
        for _ in range(2)
    )

    one, two = first.parse(), second.parse()
    assert len(upstream.asked) == 1
    assert two.choices == one.choices
    assert two.choices[0].message.tool_calls is not None
    assert (one.id, two.id) == (first.headers["x-generation-id"], second.headers["x-generation-id"])
    assert one.id != two.id
    assert one.usage is not None
    assert one.usage.completion_tokens == OUTPUT
    assert two.usage is not None
    assert (two.usage.prompt_tokens, two.usage.completion_tokens, two.usage.total_tokens) == (0, 0, 0)
    assert two.usage.model_extra is not None
    assert two.usage.model_extra["cost"] == 0
    assert first.headers["x-openrouter-cache-status"] == "MISS"
    assert second.headers["x-openrouter-cache-status"] == "HIT"
    assert second.headers["x-openrouter-cache-source-id"] == one.id
    assert second.headers["x-openrouter-cache-ttl"] == "300"
    assert int(second.headers["x-openrouter-cache-age"]) < 60


def test_chat_in_a_stream(client: openai.OpenAI, family: Family, upstream: FakeUpstream, words: str) -> None:
    will(upstream, family, streaming=True)

    def ask() -> list[Any]:
        return list(
            client.chat.completions.create(
                model=family.model,
                messages=[{"role": "user", "content": words}],
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=CACHED,
            )
        )

    first, second = ask(), ask()

    assert len(upstream.asked) == 1
    assert [chunk.choices for chunk in second] == [chunk.choices for chunk in first]
    assert len({chunk.id for chunk in second}) == 1
    assert second[0].id != first[0].id
    assert first[-1].usage.completion_tokens == OUTPUT
    assert second[-1].usage.completion_tokens == second[-1].usage.prompt_tokens == 0


#: OpenAI's own models are relayed: see below
@pytest.mark.parametrize("family", FAMILIES[1:], ids=lambda family: family.slug)
@pytest.mark.parametrize("streaming", [False, True])
def test_responses(client: openai.OpenAI, family: Family, upstream: FakeUpstream, words: str, streaming: bool) -> None:
    will(upstream, family, streaming=streaming)

    def ask() -> Any:
        if not streaming:
            return client.responses.create(model=family.model, input=words, store=False, extra_headers=CACHED)
        with client.responses.stream(model=family.model, input=words, store=False, extra_headers=CACHED) as stream:
            return stream.get_final_response()

    first, second = ask(), ask()

    assert len(upstream.asked) == 1
    assert second.output_text == first.output_text == ANSWER.text
    assert second.output == first.output
    assert second.id != first.id
    assert (first.usage.output_tokens, second.usage.output_tokens, second.usage.total_tokens) == (OUTPUT, 0, 0)


def test_responses_relayed(client: openai.OpenAI, upstream: FakeUpstream, words: str) -> None:
    """OpenAI's own answer, with what we know nothing of."""
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-5-mini",
        "output": [{"id": "m", "type": "message", "role": "assistant", "content": [], "phase": "new"}],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens": 2,
            "total_tokens": 5,
        },
    }
    upstream.will(json_answer(answer))

    first, second = (
        client.responses.create(model="openai/gpt-5-mini", input=words, extra_headers=CACHED) for _ in range(2)
    )

    assert len(upstream.asked) == 1
    assert first.id == "resp_1"
    assert second.id not in ("", "resp_1")
    assert second.output == first.output
    assert second.usage is not None
    assert (second.usage.total_tokens, second.usage.input_tokens_details.cached_tokens) == (0, 0)


def test_embeddings(client: openai.OpenAI, upstream: FakeUpstream, words: str) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]
    upstream.will(json_answer({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 5}}))

    first, second = (
        client.embeddings.create(model="openai/text-embedding-3-small", input=words, extra_headers=CACHED)
        for _ in range(2)
    )

    assert len(upstream.asked) == 1
    assert second.data == first.data
    assert (first.usage.prompt_tokens, second.usage.prompt_tokens) == (5, 0)


# --- anthropic -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_messages(
    claude: anthropic.Anthropic, family: Family, upstream: FakeUpstream, words: str, streaming: bool
) -> None:
    will(upstream, family, streaming=streaming)
    ask: Any = {
        "model": family.model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": 50,
        "tools": [{"name": "get_weather", "input_schema": CITY}],
        "extra_headers": CACHED,
    }

    def answer() -> anthropic.types.Message:
        if not streaming:
            return claude.messages.create(**ask)  # type: ignore[no-any-return]
        with claude.messages.stream(**ask) as stream:
            return stream.get_final_message()

    first, second = answer(), answer()

    assert len(upstream.asked) == 1
    assert second.content == first.content
    (call,) = [block for block in second.content if block.type == "tool_use"]
    assert call.input == {"city": "Ås 🌧", "usage": 9}
    assert (second.stop_reason, second.model) == (first.stop_reason, first.model)
    assert second.id != first.id
    assert first.usage.output_tokens == OUTPUT
    assert (second.usage.input_tokens, second.usage.output_tokens, second.usage.cache_read_input_tokens or 0) == (
        0,
        0,
        0,
    )


def test_what_anthropic_said_stays_byte_for_byte(
    claude: anthropic.Anthropic, upstream: FakeUpstream, words: str
) -> None:
    family = next(each for each in FAMILIES if each.slug == "anthropic")
    thinking = Answer(thought="Well…", words=ANSWER.words)
    upstream.will(family.streamed(thinking), family.streamed(OTHER))

    raw = [
        claude.messages.with_raw_response.create(
            model=family.model,
            messages=[{"role": "user", "content": words}],
            max_tokens=50,
            stream=True,
            extra_headers=CACHED,
        ).http_response.read()
        for _ in range(2)
    ]

    first, second = (each.split(b"\n\n") for each in raw)
    other = [event for event in first if event not in second]
    assert raw[0] == b"".join(family.frames(thinking))
    assert len(first) == len(second)
    assert [event.splitlines()[0] for event in other] == [b"event: message_start", b"event: message_delta"]
    assert SIGNATURE.encode() in raw[1]


# --- google-genai ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_generate_content(served: Served, family: Family, upstream: FakeUpstream, words: str, streaming: bool) -> None:
    will(upstream, family, streaming=streaming)
    options = types.HttpOptions(base_url=served.url, headers=CACHED)

    with genai.Client(api_key=served.key, http_options=options) as google:

        def ask() -> list[types.GenerateContentResponse]:
            if streaming:
                return list(google.models.generate_content_stream(model=family.model, contents=words))
            return [google.models.generate_content(model=family.model, contents=words)]

        first, second = ask(), ask()

    assert len(upstream.asked) == 1
    assert [each.candidates for each in second] == [each.candidates for each in first]
    assert second[-1].response_id != first[-1].response_id
    assert first[-1].usage_metadata is not None
    assert (first[-1].usage_metadata.total_token_count or 0) > 0
    assert second[-1].usage_metadata is not None
    assert second[-1].usage_metadata.total_token_count == 0
