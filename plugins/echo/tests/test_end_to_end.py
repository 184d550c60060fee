"""Echo as people meet it: OpenAI's SDK against a router without any configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from router.settings import Settings
from router.testing import Running, running

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def user(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Running]:
    """A router that was told nothing at all."""
    async with running(Settings(), tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK."""
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


async def test_plain(client: openai.AsyncOpenAI) -> None:
    answer: Any = await client.chat.completions.create(model="echo/echo", messages=user("Hello, world"))

    assert answer.choices[0].message.content == "Hello, world"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.cost) == (2, 2, 0)
    assert (answer.model, answer.provider) == ("echo/echo", "echo")


async def test_streamed(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="echo/echo", messages=user("one two three"), stream=True)

    chunks = [chunk async for chunk in stream]

    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert texts == ["one", " two", " three"]
    assert chunks[-1].usage is not None


async def test_tools_to_the_end_of_the_conversation(client: openai.AsyncOpenAI) -> None:
    messages = user("weather?")
    first = await client.chat.completions.create(model="echo/echo", messages=messages, tools=[WEATHER])
    call: Any = first.choices[0].message.tool_calls[0]  # type: ignore[index]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "city"}')

    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "3 degrees"}]
    last = await client.chat.completions.create(model="echo/echo", messages=messages, tools=[WEATHER])

    assert last.choices[0].message.content == "3 degrees"


class Person(BaseModel):
    """What the SDK makes a schema of."""

    name: str
    age: int
    friends: list[str]


async def test_a_parsed_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="echo/echo", messages=user("who?"), response_format=Person)

    assert answer.choices[0].message.parsed == Person(name="name", age=1, friends=["friends"])


async def test_reasoning(client: openai.AsyncOpenAI) -> None:
    answer: Any = await client.chat.completions.create(model="echo/echo", messages=user("hm"), reasoning_effort="low")

    assert answer.choices[0].message.reasoning == "The last message has 1 word. I answer from them."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 10


async def test_errors_have_their_status(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as busy:
        await client.chat.completions.create(model="echo/error-429", messages=user("x"))
    assert busy.value.response.headers["retry-after"] == "1"

    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="echo/error-500", messages=user("x"))
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="echo/nothing", messages=user("x"))


async def test_a_cut_stream_is_an_error_to_the_client(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="echo/cut", messages=user("a b c d"), stream=True)
    texts = []

    with pytest.raises(openai.APIError):
        async for chunk in stream:
            texts += [choice.delta.content for choice in chunk.choices if choice.delta.content]

    assert texts == ["a", " b"]


async def test_an_empty_answer_is_an_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo/echo", messages=user("stop here"), stop="stop")

    assert (answer.choices[0].message.content or "") == ""
    assert answer.choices[0].finish_reason == "stop"


async def test_its_models_are_listed(client: openai.AsyncOpenAI) -> None:
    ids = [model.id async for model in client.models.list()]

    assert {"echo/echo", "echo/slow", "echo/long", "echo/cut", "echo/error-429", "echo/error-500"} <= set(ids)
