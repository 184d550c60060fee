"""The `openai` SDK, unmodified, over sockets, with models of every family of providers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from aiohttp import web
from openai.lib.streaming.chat import FunctionToolCallArgumentsDeltaEvent
from pydantic import BaseModel

from router.testing import FakeUpstream, sse_answer
from tests.serving import Served, within

from .families import CACHED, CREATED, FAMILIES, INPUT, OUTPUT, THOUGHT, Answer, Family, ToolCall

HELLO: Any = [{"role": "user", "content": "Hello, Ås! 🌍"}]
WORDS = Answer(words=("Hei", ", Ås", "! 🌍"))
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "description": "…", "parameters": CITY}}
NOW: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
CALLS = (
    ToolCall("call_01oslo", "get_weather", {"city": "Oslo"}),
    ToolCall("call_02aas", "get_weather", {"city": "Ås 🌧"}),
    ToolCall("call_03now", "now", {}),
)
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
DATA_URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


class City(BaseModel):
    """A question to a tool."""

    city: str


class Step(BaseModel):
    """A part of a plan."""

    text: str
    minutes: int


class Plan(BaseModel):
    """What answers in JSON hold."""

    steps: list[Step]
    sure: bool | None


PLAN = Plan(steps=[Step(text="look", minutes=1), Step(text='say "å"', minutes=2)], sure=None)


# --- text ------------------------------------------------------------------------------------------------------------


def test_plain(client: openai.OpenAI, family: Family, upstream: FakeUpstream, served: Served) -> None:
    upstream.will(family.plain(WORDS))

    answer = client.chat.completions.create(model=family.model, messages=HELLO, max_completion_tokens=50)

    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", WORDS.text, "stop")
    assert (answer.object, answer.model) == ("chat.completion", family.model)
    assert abs(answer.created - time.time()) < 60 or answer.created == CREATED
    assert_usage(family, answer.usage)
    (asked,) = upstream.asked
    sent = family.sent(asked)
    assert (sent.model, sent.key, sent.texts) == (family.upstream_model, family.key, ["Hello, Ås! 🌍"])
    assert served.key not in f"{asked.headers}{asked.path}{asked.body}"


def test_stream(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(WORDS))

    chunks = list(client.chat.completions.create(model=family.model, messages=HELLO, stream=True))

    choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.delta.content for choice in choices if choice.delta.content] == list(WORDS.words)
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert {(chunk.id, chunk.created, chunk.object, chunk.model) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, "chat.completion.chunk", family.model)
    }
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert_usage(family, chunks[-1].usage)


def test_usage_in_a_last_chunk(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(WORDS))

    *chunks, last = client.chat.completions.create(
        model=family.model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert last.choices == []
    assert_usage(family, last.usage)


def test_words_arrive_when_the_upstream_says_them(
    client: openai.OpenAI, family: Family, upstream: FakeUpstream
) -> None:
    """The upstream says the next word only when the client has got the one before."""
    got = threading.Semaphore(0)
    upstream.will(family.in_step(WORDS, got))

    words = []
    for chunk in client.chat.completions.create(model=family.model, messages=HELLO, stream=True):
        if word := chunk.choices[0].delta.content:
            words.append(word)
            got.release()

    assert words == list(WORDS.words)


async def test_many_at_once(served: Served, upstream: FakeUpstream) -> None:
    """Streams of all families side by side, each with its own words."""
    by_path = {family.base: family for family in FAMILIES}
    upstream.will(lambda request: _of(by_path, request.path).streamed(WORDS, pause_s=0.01)(request))

    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:

        async def ask(family: Family) -> tuple[str, str]:
            stream = await client.chat.completions.create(model=family.model, messages=HELLO, stream=True)
            chunks = [chunk async for chunk in stream]
            return chunks[0].model, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        answers = await asyncio.gather(*(ask(family) for family in FAMILIES * 5))

    assert answers == [(family.model, WORDS.text) for family in FAMILIES * 5]


def test_what_was_answered_is_on_record(
    client: openai.OpenAI, family: Family, upstream: FakeUpstream, served: Served
) -> None:
    """Once for each answer, under the id that the client knows, and at the price that the client was told."""
    upstream.will(family.plain(WORDS), family.streamed(WORDS))

    plain = client.chat.completions.create(model=family.model, messages=HELLO)
    *_, chunk = client.chat.completions.create(model=family.model, messages=HELLO, stream=True)

    for id, usage, streamed in ((plain.id, plain.usage, False), (chunk.id, chunk.usage, True)):
        data = get(served, f"/v1/generation?id={id}").json()["data"]
        assert (data["id"], data["model"], data["provider_name"]) == (id, family.model, family.slug)
        assert (data["tokens_prompt"], data["tokens_completion"], data["streamed"]) == (INPUT, OUTPUT, streamed)
        assert (data["finish_reason"], data["native_finish_reason"]) == ("stop", family.native_stop)
        assert data["total_cost"] == pytest.approx((usage.model_extra or {})["cost"] or 0)  # type: ignore[union-attr]
    assert len(upstream.asked) == 2


def test_the_other_base_url(served: Served, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))

    with openai.OpenAI(base_url=f"{served.url}/api/v1/", api_key=served.key, max_retries=0) as client:
        answer = client.chat.completions.create(model=family.model, messages=HELLO)

    assert answer.choices[0].message.content == WORDS.text


# --- tools -----------------------------------------------------------------------------------------------------------


def test_parallel_tools_and_their_results(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(Answer(words=("Let me look.",), calls=CALLS)), family.plain(WORDS))

    first = client.chat.completions.create(
        model=family.model, messages=HELLO, tools=[WEATHER, NOW], tool_choice="required"
    )
    message = first.choices[0].message
    history: Any = [*HELLO, message.model_dump(exclude_none=True), *results_of(message.tool_calls)]
    second = client.chat.completions.create(model=family.model, messages=history, tools=[WEATHER, NOW])

    assert (first.choices[0].finish_reason, message.content) == ("tool_calls", "Let me look.")
    ids = assert_calls(family, message.tool_calls)
    assert second.choices[0].message.content == WORDS.text
    asked, answered = (family.sent(each) for each in upstream.asked)
    assert asked.tools == answered.tools == ["get_weather", "now"]
    assert answered.results == [(id, f"result {number}") for number, id in enumerate(ids)]


def test_streamed_tools(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(Answer(calls=CALLS)))

    chunks = list(client.chat.completions.create(model=family.model, messages=HELLO, tools=[WEATHER, NOW], stream=True))

    fragments = [fragment for chunk in chunks for fragment in chunk.choices[0].delta.tool_calls or ()]
    calls: dict[int, list[str]] = {}
    for fragment in fragments:
        assert fragment.function is not None
        if fragment.index not in calls:
            assert (fragment.type, bool(fragment.id), bool(fragment.function.name)) == ("function", True, True)
            calls[fragment.index] = [str(fragment.id), str(fragment.function.name), ""]
        else:
            assert (fragment.id, fragment.function.name) == (None, None)
        calls[fragment.index][2] += fragment.function.arguments or ""
    assert list(calls) == [0, 1, 2]
    assert [(name, json.loads(arguments)) for _, name, arguments in calls.values()] == [
        (call.name, call.arguments) for call in CALLS
    ]
    assert len({id for id, *_ in calls.values()}) == 3
    assert [reason for chunk in chunks if (reason := chunk.choices[0].finish_reason)] == ["tool_calls"]


def test_streamed_tools_by_the_helper_of_the_sdk(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    """It puts the fragments together itself, and parses the arguments."""
    upstream.will(family.streamed(Answer(words=("Let me look.",), calls=CALLS[:2])))
    tool = openai.pydantic_function_tool(City, name="get_weather")

    with client.chat.completions.stream(model=family.model, messages=HELLO, tools=[tool]) as stream:
        deltas = [event for event in stream if isinstance(event, FunctionToolCallArgumentsDeltaEvent)]
        message = stream.get_final_completion().choices[0].message

    assert message.content == "Let me look."
    assert [call.function.parsed_arguments for call in message.tool_calls or ()] == [
        City(city="Oslo"),
        City(city="Ås 🌧"),
    ]
    assert {delta.index for delta in deltas} == {0, 1}


def test_a_named_tool_and_no_parallel_ones(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(Answer(calls=CALLS[:1])))

    answer = client.chat.completions.create(
        model=family.model,
        messages=HELLO,
        tools=[WEATHER, NOW],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        parallel_tool_calls=False,
    )

    assert [call.type for call in answer.choices[0].message.tool_calls or ()] == ["function"]
    assert family.sent(upstream.asked[0]).forced == "get_weather"


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [False, True])
def test_parse(client: openai.OpenAI, family: Family, upstream: FakeUpstream, beta: bool) -> None:
    upstream.will(family.plain(Answer(words=(PLAN.model_dump_json(),))))

    chat = client.beta.chat if beta else client.chat
    answer = chat.completions.parse(model=family.model, messages=HELLO, response_format=Plan)

    assert answer.choices[0].message.parsed == PLAN
    schema = family.sent(upstream.asked[0]).schema
    assert schema["required"] == ["steps", "sure"]
    assert "minutes" in json.dumps(schema)


def test_parse_a_stream(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    text = PLAN.model_dump_json()
    upstream.will(family.streamed(Answer(words=[text[at : at + 7] for at in range(0, len(text), 7)])))

    with client.chat.completions.stream(model=family.model, messages=HELLO, response_format=Plan) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].message.parsed == PLAN


# --- images, thinking ------------------------------------------------------------------------------------------------


def test_images(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    """As data, and by URL, which goes on as it is where the upstream reads URLs; else the router fetches it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith(".png"):
            return web.Response(body=PICTURE, content_type="image/png")
        return await family.plain(WORDS)(request)

    upstream.will(answer)
    url = upstream.url.replace("127.0.0.1", "localhost") + "/pictures/dot.png"
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]

    client.chat.completions.create(model=family.model, messages=[{"role": "user", "content": content}])

    *fetched, asked = upstream.asked
    assert family.sent(asked).images == [DATA_URL, url if family.reads_urls else DATA_URL]
    assert [(each.method, each.path) for each in fetched] == (
        [] if family.reads_urls else [("GET", "/pictures/dot.png")]
    )
    assert family.key not in str([each.headers for each in fetched])


@pytest.mark.parametrize("stream", [False, True])
def test_thinking(client: openai.OpenAI, family: Family, upstream: FakeUpstream, stream: bool) -> None:
    answer = Answer(words=("4", "2"), thought="Let me count to 42.")
    upstream.will(family.streamed(answer) if stream else family.plain(answer))

    if stream:
        chunks = list(
            client.chat.completions.create(model=family.model, messages=HELLO, reasoning_effort="low", stream=True)
        )
        said = [chunk.choices[0].delta.to_dict() for chunk in chunks]
    else:
        plain = client.chat.completions.create(model=family.model, messages=HELLO, reasoning_effort="low")
        said = [plain.choices[0].message.to_dict()]

    assert family.sent(upstream.asked[0]).thinks
    assert joined(said, "content") == "42"
    thought = answer.thought if family.shows_thought else ""
    assert joined(said, "reasoning") == joined(said, "reasoning_content") == thought
    details: Any = [detail for each in said for detail in each.get("reasoning_details") or ()]
    assert joined(details, "text") == (thought if family.slug != "local" else "")


# --- models ----------------------------------------------------------------------------------------------------------


def test_models(client: openai.OpenAI, family: Family) -> None:
    """Models of the catalogues are listed; whatever else an upstream has can be retrieved all the same."""
    models = {model.id: model for model in client.models.list()}
    model = client.models.retrieve(family.model)

    assert (model.id, model.object) == (family.model, "model")
    assert model.owned_by == family.slug
    assert model.created >= 0
    assert (model == models.get(family.model)) is (family.slug != "local")
    assert {"echo/echo", "openai/gpt-5-mini", "anthropic/claude-sonnet-4-5"} <= models.keys()


def test_models_in_part(client: openai.OpenAI) -> None:
    """Filters and pages by what the SDK lets through; a model without text is found by its name."""
    whole = [model.id for model in client.models.list()]
    some = [model.id for model in client.models.list(extra_query={"provider": "anthropic", "limit": 3, "offset": 1})]
    vectors = [model.id for model in client.models.list(extra_query={"output_modalities": "embeddings"})]

    assert some == [id for id in whole if id.startswith("anthropic/")][1:4]
    assert "openai/text-embedding-3-small" not in whole
    assert "openai/text-embedding-3-small" in vectors
    assert client.models.retrieve("openai/text-embedding-3-small").id == "openai/text-embedding-3-small"
    with pytest.raises(openai.BadRequestError) as refused:
        client.models.list(extra_query={"limit": 1001})
    assert refused.value.param == "limit"


def test_a_model_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nobody/nothing")

    assert refused.value.code == "model_not_found"


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_key(served: Served, upstream: FakeUpstream, stream: bool) -> None:
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-rt-v1-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.chat.completions.create(model=FAMILIES[0].model, messages=HELLO, stream=stream)

    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    assert refused.value.type == "authentication_error"
    assert not upstream.asked


def test_a_model_that_nobody_has(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="nobody/nothing", messages=HELLO)

    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert not upstream.asked


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_the_upstream_does_not_have(
    client: openai.OpenAI, family: Family, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.will(family.fails(404, "there is no such model", "NOT_FOUND"))

    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model=f"{family.model}-of-nobody", messages=HELLO, stream=stream)

    assert refused.value.type == "not_found_error"


def test_a_value_out_of_range(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=family.model, messages=HELLO, temperature=3)

    assert (refused.value.code, refused.value.param) == ("invalid_request", "temperature")
    assert not upstream.asked


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_for_the_upstream(
    client: openai.OpenAI, family: Family, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.will(family.fails(400, "prompt is too long: 9 tokens > 8 maximum", "INVALID_ARGUMENT"))

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=family.model, messages=HELLO, stream=stream)

    assert refused.value.code == "context_length_exceeded"
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_upstream(client: openai.OpenAI, family: Family, upstream: FakeUpstream, stream: bool) -> None:
    upstream.will(family.fails(429, "slow down", "RESOURCE_EXHAUSTED", headers={"retry-after": "17"}))

    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model=f"{family.model}-busy-{stream}", messages=HELLO, stream=stream)

    assert (refused.value.code, refused.value.type) == ("rate_limited", "rate_limit_error")
    assert refused.value.response.headers["retry-after"] == "17"
    assert len(upstream.asked) == 1


def test_the_sdk_waits_as_long_as_the_upstream_asked(served: Served, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.fails(429, "slow down", "RESOURCE_EXHAUSTED", {"retry-after": "1"}), family.plain(WORDS))
    started = time.monotonic()

    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=1) as client:
        answer = client.chat.completions.create(model=f"{family.model}-busy-once", messages=HELLO)

    assert answer.choices[0].message.content == WORDS.text
    assert 1 <= time.monotonic() - started < 3
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("status", "seen", "code"),
    [
        (500, 502, "upstream_error"),
        (502, 502, "upstream_error"),
        (503, 503, "no_available_provider"),
        (529, 503, "no_available_provider"),
        (504, 504, "upstream_timeout"),
        (401, 502, "upstream_error"),
        (403, 502, "upstream_error"),
    ],
)
def test_a_failing_upstream(
    client: openai.OpenAI,
    family: Family,
    upstream: FakeUpstream,
    served: Served,
    status: int,
    seen: int,
    code: str,
) -> None:
    """Its own failures are 5xx, and so is a credential of ours that it refuses. Nothing of the credential is told."""
    message = f"broken; the key was {family.key}"
    upstream.will(family.fails(status, message, "UNKNOWN", headers={"retry-after-ms": "5"}))

    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=f"{family.model}-fails-{status}", messages=HELLO)

    assert (failed.value.status_code, failed.value.code) == (seen, code)
    assert "broken" in failed.value.message
    assert family.key not in failed.value.response.text
    assert failed.value.request_id
    if status == 401:  # no model of this provider is asked with that credential until somebody looks at it
        served.reload()


def test_an_upstream_that_answers_with_a_page(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=502, text="<html>nginx at 10.0.0.7</html>", content_type="text/html", headers={"retry-after-ms": "5"}
        )

    upstream.will(page)

    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=f"{family.model}-page", messages=HELLO)

    assert failed.value.status_code == 502
    assert "html" not in failed.value.response.text
    assert "10.0.0.7" not in failed.value.response.text


@pytest.mark.parametrize("how", ["error", "cut", "end"])
def test_a_stream_that_breaks(client: openai.OpenAI, family: Family, upstream: FakeUpstream, how: str) -> None:
    """The words before it arrive, then the SDK raises; nobody takes it for a whole answer."""
    frames = up_to_the_second_word(family)
    if how == "error":
        frames.append(family.failing("overloaded"))
    upstream.will(sse_answer(frames, cut=how == "cut"))
    words, reasons = [], []

    with pytest.raises(openai.APIError) as failed:
        for chunk in client.chat.completions.create(model=f"{family.model}-{how}", messages=HELLO, stream=True):
            words.append(chunk.choices[0].delta.content or "")
            reasons.append(chunk.choices[0].finish_reason)

    assert "".join(words) == "Hei, Ås"
    assert set(reasons) <= {None}
    if how == "error":
        assert "overloaded" in failed.value.message


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_leaving_a_stream_ends_it_upstream(client: openai.OpenAI, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([*up_to_the_second_word(family), *[b": wait\n\n"] * 500], pause_s=0.02))

    stream = client.chat.completions.create(model=f"{family.model}-left", messages=HELLO, stream=True)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    stream.close()

    assert_left(upstream)


@pytest.mark.parametrize("stream", [False, True])
async def test_giving_up_before_the_answer_ends_it_upstream(
    served: Served, family: Family, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.will(never)

    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as client:
        ask = client.chat.completions.create(model=f"{family.model}-left", messages=HELLO, stream=stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask, 0.2)

        assert_left(upstream)


# --- echo ------------------------------------------------------------------------------------------------------------


def test_echo(client: openai.OpenAI) -> None:
    """The provider that needs nobody: text, stream, tools and schemas."""
    plain = client.chat.completions.create(model="echo/echo", messages=HELLO)
    chunks = list(client.chat.completions.create(model="echo/echo", messages=HELLO, stream=True))
    tools = client.chat.completions.create(
        model="echo/echo", messages=[{"role": "user", "content": "get_weather and now"}], tools=[WEATHER, NOW]
    )
    parsed = client.chat.completions.parse(model="echo/echo", messages=HELLO, response_format=Plan)

    assert plain.choices[0].message.content == "Hello, Ås! 🌍"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello, Ås! 🌍"
    assert chunks[-1].usage == plain.usage
    assert [call.function.name for call in tools.choices[0].message.tool_calls or ()] == ["get_weather", "now"]  # type: ignore[union-attr]
    assert isinstance(parsed.choices[0].message.parsed, Plan)


# --- what the tests above need ---------------------------------------------------------------------------------------


def assert_usage(family: Family, usage: Any) -> None:
    """What every whole answer of a family has used, in the arithmetic of OpenAI's clients."""
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (INPUT, OUTPUT, INPUT + OUTPUT)
    assert usage.prompt_tokens_details.cached_tokens == CACHED
    assert usage.completion_tokens_details.reasoning_tokens == (0 if family.slug == "anthropic" else THOUGHT)
    cost = usage.model_extra["cost"]
    assert (cost is None) if family.slug == "local" else (0 < cost < 0.001)


def assert_calls(family: Family, calls: Any) -> list[str]:
    """All of `CALLS`. Returns their ids."""
    assert [(call.type, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("function", call.name, call.arguments) for call in CALLS
    ]
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(CALLS)
    if family.keeps_ids:
        assert ids == [call.id for call in CALLS]
    return ids


def assert_left(upstream: FakeUpstream) -> None:
    """Within a second the upstream notices that nobody waits any more."""
    assert within(1, lambda: upstream.left > 0)
    assert (upstream.left, upstream.finished, len(upstream.asked)) == (1, 0, 1)


def results_of(calls: Any) -> Iterator[Any]:
    for number, call in enumerate(calls):
        yield {"role": "tool", "tool_call_id": call.id, "content": f"result {number}"}


def joined(said: Iterable[dict[str, Any]], name: str) -> str:
    return "".join(each.get(name) or "" for each in said)


def get(served: Served, path: str) -> httpx2.Response:
    return httpx2.get(served.url + path, headers={"Authorization": f"Bearer {served.key}"})


def up_to_the_second_word(family: Family) -> list[bytes]:
    frames = family.frames(WORDS)
    second = next(number for number, frame in enumerate(frames) if json.dumps(", Ås")[1:-1].encode() in frame)
    return frames[: second + 1]


async def never(request: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.sleep(60)
    return web.Response(status=500)


def _of(families: dict[str, Family], path: str) -> Family:
    return next(family for base, family in families.items() if path.startswith(base))
