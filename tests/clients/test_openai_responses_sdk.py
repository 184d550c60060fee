"""The openai SDK's `responses` and `completions` against a router in a process of its own, with models of all families."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from router.testing import FakeUpstream, json_answer, sse_answer

from .families import CACHED, INPUT, OUTPUT, Answer, Family, ToolCall
from .families import FAMILIES as ALL
from .responses import USAGE

WORDS = ["Hello", " there", ", friend", "."]
CALLS = [ToolCall("call_1", "weather", {"city": "Oslo"}), ToolCall("call_2", "weather", {"city": "Rome"})]
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
#: OpenAI's own models are relayed, all others translated
FAMILIES = [family for family in ALL if family.slug != "openai"]


@pytest.fixture(params=FAMILIES, ids=lambda family: family.slug)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family that does not speak Responses."""
    found: Family = request.param
    return found


class Person(BaseModel):
    """What the model is to describe."""

    name: str
    age: int


# --- translated ------------------------------------------------------------------------------------------------------


def test_a_plain_answer(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(Answer(WORDS)))

    response = client.responses.create(model=family.model, input="Hello", instructions="Be kind.", store=False)

    assert response.output_text == "Hello there, friend."
    assert (response.status, response.model, response.object) == ("completed", family.model, "response")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (INPUT, CACHED)
    assert response.usage.total_tokens == INPUT + OUTPUT
    sent = family.sent(upstream.asked[-1])
    assert sent.model == family.upstream_model
    assert "Hello" in sent.texts


def test_a_stream(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.streamed(Answer(WORDS, thought="They greet.")))

    with client.responses.stream(
        model=family.model, input="Hello", reasoning={"effort": "low", "summary": "auto"}
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()

    assert [event.delta for event in events if event.type == "response.output_text.delta"] == WORDS
    assert final.output_text == "Hello there, friend."
    assert [item.type for item in final.output] == ["reasoning", "message"]
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta")
    assert thought == "They greet."
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.usage is not None
    assert final.usage.output_tokens == OUTPUT


@pytest.mark.parametrize("stream", [False, True])
def test_tools_both_ways(client: openai.OpenAI, upstream: FakeUpstream, family: Family, stream: bool) -> None:
    """The calls of one answer, and with their results everything that came before."""
    first, last = Answer(["Let me", " look."], calls=CALLS), Answer(["Rain."])
    upstream.will(*((family.streamed if stream else family.plain)(each) for each in (first, last)))
    conversation: Any = [{"role": "user", "content": "Weather?"}]

    def ask() -> Any:
        how: Any = {"model": family.model, "input": conversation, "tools": [WEATHER], "store": False}
        if not stream:
            return client.responses.create(**how)
        with client.responses.stream(**how) as events:
            return events.get_final_response()

    asked = ask()
    calls = [item for item in asked.output if item.type == "function_call"]
    conversation += [item.model_dump(exclude_none=True) for item in asked.output]
    conversation += [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": f"rain in {json.loads(call.arguments)['city']}",
        }
        for call in calls
    ]
    answered = ask()

    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        (call.name, call.arguments) for call in CALLS
    ]
    assert answered.output_text == "Rain."
    sent = family.sent(upstream.asked[-1])
    assert sent.tools == ["weather"]
    assert [said for _, said in sent.results] == ["rain in Oslo", "rain in Rome"]
    if family.keeps_ids:
        assert [id for id, _ in sent.results] == ["call_1", "call_2"]


@pytest.mark.parametrize("refers", [False, True])
def test_a_signature_of_gemini_comes_back_to_it(client: openai.OpenAI, upstream: FakeUpstream, refers: bool) -> None:
    """Even where the client only refers to the thinking, as if we had kept it."""
    family = next(each for each in FAMILIES if each.slug == "gemini")
    upstream.will(family.streamed(Answer(calls=CALLS)), family.plain(Answer(["Rain."])))
    conversation: Any = [{"role": "user", "content": "Weather?"}]

    with client.responses.stream(model=family.model, input=conversation, tools=[WEATHER]) as events:
        output = events.get_final_response().output
    assert [item.type for item in output].count("reasoning") == 1
    conversation += [
        {"type": "item_reference", "id": item.id}
        if refers and item.type == "reasoning"
        else item.model_dump(exclude_none=True)
        for item in output
    ]
    conversation += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "rain"}
        for item in output
        if item.type == "function_call"
    ]
    client.responses.create(model=family.model, input=conversation, tools=[WEATHER])

    parts = [part for turn in upstream.asked[-1].body["contents"] for part in turn["parts"] if "functionCall" in part]
    assert [("thoughtSignature" in part) for part in parts] == [True, False]


def test_an_image(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(Answer(["A dot."])))
    parts: Any = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}]

    response = client.responses.create(model=family.model, input=[{"role": "user", "content": parts}])

    assert response.output_text == "A dot."
    assert family.sent(upstream.asked[-1]).images == [PIXEL]


def test_a_structured_answer(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(Answer(['{"name":"Ada","age":36}'])))

    response = client.responses.parse(model=family.model, input="Who?", text_format=Person)

    assert response.output_parsed == Person(name="Ada", age=36)
    assert family.sent(upstream.asked[-1]).schema["required"] == ["name", "age"]


def test_an_error_before_the_first_event(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.fails(429, "Slow down.", "rate_limit_error", {"retry-after": "7"}))

    with pytest.raises(openai.RateLimitError) as raised:
        client.responses.create(model=family.model, input="Hello", stream=True)

    assert raised.value.response.headers["retry-after"] == "7"


def test_an_error_inside_of_a_stream(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    frames = family.frames(Answer(WORDS))
    upstream.will(sse_answer([*frames[: len(frames) // 2 + 1], family.failing("Overloaded.")]))

    events = list(client.responses.create(model=family.model, input="Hello", stream=True))

    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.status == "failed"


# --- relayed ---------------------------------------------------------------------------------------------------------

MODEL = "openai/gpt-5-mini"


def response(*output: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A response of OpenAI's."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_795_200_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-5-mini-2026-01-01",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": USAGE if status == "completed" else None,
    }


THINKING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAB"}
PLACE = {"item_id": "msg_1", "output_index": 1, "content_index": 0}


def said(text: str) -> dict[str, Any]:
    """A message of OpenAI's."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    content = [part] if text else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def events() -> Iterator[bytes]:
    """A stream of OpenAI's."""
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = "".join(WORDS)
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.in_progress", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": THINKING},
        {"type": "response.output_item.done", "output_index": 0, "item": THINKING},
        {"type": "response.output_item.added", "output_index": 1, "item": said("")},
        {"type": "response.content_part.added", **PLACE, "part": empty},
        *({"type": "response.output_text.delta", **PLACE, "delta": word, "logprobs": []} for word in WORDS),
        {"type": "response.output_text.done", **PLACE, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **PLACE, "part": {**empty, "text": whole}},
        {"type": "response.output_item.done", "output_index": 1, "item": said(whole)},
        {"type": "response.completed", "response": response(THINKING, said(whole))},
    ]
    for number, event in enumerate(told):
        yield b"event: %b\ndata: %b\n\n" % (
            event["type"].encode(),
            json.dumps({**event, "sequence_number": number}).encode(),
        )


def test_a_relayed_answer(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(response(THINKING, said("Hello."))))
    items: Any = [{"role": "user", "content": "Hello"}, THINKING, {"role": "user", "content": "Well?"}]

    answer = client.responses.create(
        model=MODEL, input=items, store=False, include=["reasoning.encrypted_content"], prompt_cache_key="k"
    )

    assert (answer.id, answer.output_text) == ("resp_1", "Hello.")
    [asked] = upstream.asked
    assert asked.path == "/openai/v1/responses"
    assert asked.body == {
        "model": "gpt-5-mini",
        "input": items,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
    }


def test_a_relayed_stream(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer(list(events())))

    with client.responses.stream(model=MODEL, input="Hello", store=False) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert deltas == WORDS
    assert final.output_text == "".join(WORDS)
    assert final.output[0].type == "reasoning"
    assert final.output[0].encrypted_content == "gAAAAB"


def test_a_parsed_relayed_answer(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(response(said('{"name":"Ada","age":36}'))))

    answer = client.responses.parse(model=MODEL, input="Who?", text_format=Person)

    assert answer.output_parsed == Person(name="Ada", age=36)
    assert upstream.asked[-1].body["text"]["format"]["type"] == "json_schema"


def test_nothing_is_kept(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError, match="store"):
        client.responses.create(model=MODEL, input="Hello", store=True)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        client.responses.create(model=MODEL, input="Hello", previous_response_id="resp_1")

    assert upstream.asked == []


# --- completions of text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", [each for each in ALL if each.slug in ("openai", "anthropic", "gemini")], ids=lambda f: f.slug
)
def test_a_translated_completion(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(Answer(WORDS)), family.streamed(Answer(WORDS)))

    whole = client.completions.create(model=family.model, prompt="Say hello", max_tokens=50)
    chunks = list(client.completions.create(model=family.model, prompt="Say hello", max_tokens=50, stream=True))

    assert (whole.object, whole.choices[0].text) == ("text_completion", "Hello there, friend.")
    assert whole.usage is not None
    assert whole.usage.total_tokens == INPUT + OUTPUT
    assert [choice.text for chunk in chunks for choice in chunk.choices if choice.text] == WORDS
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert "Say hello" in family.sent(upstream.asked[-1]).texts


def completion(text: str, finish: str | None = None) -> dict[str, Any]:
    """A completion, or a chunk of one."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}


def test_a_relayed_completion(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    used = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    chunks = [*map(completion, WORDS), completion("", "stop"), {**completion(""), "choices": [], "usage": used}]
    frames = [b"data: %b\n\n" % json.dumps(each).encode() for each in chunks]
    upstream.will(
        json_answer({**completion("upon", "length"), "usage": used}), sse_answer([*frames, b"data: [DONE]\n\n"])
    )
    model = "openai/gpt-3.5-turbo-instruct"

    whole = client.completions.create(model=model, prompt=[1, 2, 3], suffix="end", logprobs=2)
    streamed = list(client.completions.create(model=model, prompt=["Once"], echo=True, stream=True))

    assert (whole.id, whole.choices[0].text, whole.choices[0].finish_reason) == ("cmpl-1", "upon", "length")
    assert [choice.text for chunk in streamed for choice in chunk.choices if choice.text] == WORDS
    assert streamed[-1].usage is not None
    assert streamed[-1].usage.total_tokens == 7
    assert upstream.asked[0].path == "/openai/v1/completions"
    assert upstream.asked[0].body == {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": [1, 2, 3],
        "suffix": "end",
        "logprobs": 2,
    }


def test_tokens_need_an_api_of_completions(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError, match="tokens"):
        client.completions.create(model="anthropic/claude-sonnet-4-5", prompt=[1, 2, 3])

    assert upstream.asked == []
