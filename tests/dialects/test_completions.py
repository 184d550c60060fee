"""Completions of text: requests, and both lanes of their answers. All traffic here is made up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.call import Call, Candidate, Endpoint, Outcome
from router.dialects.openai_completions import OpenAICompletions, Untranslatable
from router.errors import BadRequest, StreamTruncated, UpstreamBusy, UpstreamError, UpstreamUnavailable
from router.events import Choice, Event, Finish, Reply, Start, Stop, TextDelta
from router.model import Model, Reasoning, Text
from router.prices import Usage

from .lanes import relay, settled
from .making import Acme, provider

DIALECT = OpenAICompletions()


def make_call(**members: Any) -> Call:
    """A call at the point where its answer begins to arrive."""
    asked = json.dumps({"model": "acme/text", "prompt": "Once", **members}).encode()
    call = Call(dialect=DIALECT, body=asked, headers={}, path={}, presented=None, started_s=0.0)
    call.head = DIALECT.peek(asked, {}, "chat")
    serving = provider(Acme)
    endpoint = Endpoint(provider=serving, model_id="acme/text", model=Model(id="text-1"))
    call.candidate = Candidate(endpoint=endpoint, credential=serving.credentials[0])
    call.outcome = Outcome()
    return call


def chunk(text: str, finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """A chunk as an upstream sends it."""
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "choices": [choice],
        "model": "text-1",
        **members,
    }


def sse(*chunks: dict[str, Any], done: bool = True) -> bytes:
    """Chunks as a stream."""
    frames = [f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in chunks]
    return "".join([*frames, "data: [DONE]\n\n" if done else ""]).encode()


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """The chunks that a client reads."""
    *frames, done, rest = stream.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
STORY = (chunk("upon"), chunk(" a time 😀"), chunk("", "length"), {"id": "cmpl-1", "choices": [], "usage": USAGE})

# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"best_of": 21}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": "yes"}, "echo"),
        ({"suffix": 1}, "suffix"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_bad_requests_name_the_member(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        make_call(**members)

    assert refused.value.param == param


@pytest.mark.parametrize(
    ("prompt", "tokens"), [("x" * 40, 10), (["x" * 40, "y"], 11), ([1, 2, 3], 3), ([[1, 2], [3]], 3)]
)
def test_all_forms_of_prompts(prompt: Any, tokens: int) -> None:
    assert make_call(prompt=prompt).head.prompt_tokens == tokens


def test_a_relayed_body_keeps_every_member_but_ours() -> None:
    members = {"prompt": [[1, 2]], "suffix": "end", "best_of": 2, "echo": True, "logprobs": 3, "new": {"a": 1}}
    call = make_call(**members, provider={"order": ["x"]}, stream=True)

    assert call.candidate is not None
    sent = json.loads(DIALECT.patch(call, call.candidate))
    assert sent == {**members, "model": "text-1", "stream": True, "stream_options": {"include_usage": True}}


def test_a_prompt_is_one_message_elsewhere() -> None:
    call = make_call(prompt=["Once"], suffix="end", max_tokens=5, stop="!", temperature=0.5)
    request = DIALECT.decode(call.head)

    [message] = request.messages
    assert (message.role, message.content) == ("user", [Text(text="Once")])
    assert (request.max_tokens, request.stop, request.temperature) == (5, ["!"], 0.5)
    assert call.head.warnings[0].startswith("suffix")


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1], [2]]])
def test_what_is_no_text_is_refused_elsewhere(prompt: Any) -> None:
    with pytest.raises(Untranslatable) as refused:
        DIALECT.decode(make_call(prompt=prompt).head)

    assert refused.value.status == 400
    assert refused.value.falls_over


# --- the raw lane ----------------------------------------------------------------------------------------------------


@given(some.lists(some.integers(0, 600), max_size=8))
def test_any_split_gives_the_same_stream(places: list[int]) -> None:
    data, call = sse(*STORY), make_call(stream=True)
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})

    stream = relay(call, (data[start:end] for start, end in itertools.pairwise(ends)))

    assert stream.startswith(sse(*STORY[:3], done=False))
    last = chunks_of(stream)[-1]
    assert last["choices"] == []
    assert (last["usage"]["total_tokens"], last["usage"]["cost"]) == (7, 5e-6)
    assert call.outcome.finish_reason == "length"
    assert call.outcome.output_chars == len("upon a time 😀")


def test_the_end_waits() -> None:
    tap = DIALECT.tap(make_call(stream=True))

    assert b'"length"' not in tap.feed(sse(*STORY))
    assert tap.content
    assert tap.done


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UpstreamUnavailable),
        (sse(STORY[0], done=False), StreamTruncated),
        (sse({"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}), UpstreamBusy),
        (b'{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}\n\n', UpstreamBusy),
        (b"data: {nonsense\n\n", UpstreamUnavailable),
    ],
)
def test_what_is_no_whole_stream_is_an_error(data: bytes, error: type[UpstreamError]) -> None:
    with pytest.raises(error):
        relay(make_call(stream=True), [data])


def test_an_error_after_content_ends_the_stream() -> None:
    call = make_call(stream=True)
    tap = DIALECT.tap(call)

    sent = tap.feed(sse(STORY[0], {"error": {"message": "Oops.", "code": 500}}))
    with pytest.raises(UpstreamUnavailable) as raised:
        tap.end()
    sent += DIALECT.stream_error(call, raised.value)

    first, last = chunks_of(sent)
    assert first["choices"][0]["text"] == "upon"
    assert last["error"]["code"] == "upstream_error"


def test_a_plain_answer_passes_with_its_cost() -> None:
    call = make_call()
    body = chunk("upon a time", "stop", usage=USAGE, new={"a": [1]})

    DIALECT.answer(call, json.dumps(body).encode())
    told = json.loads(DIALECT.final_answer(settled(call), json.dumps(body).encode()))

    assert {**told, "usage": USAGE} == body
    assert (told["usage"]["completion_tokens"], told["usage"]["cost"]) == (4, 5e-6)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"error":{"message":"x"}}', b'{"object":"error","message":"x"}']
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        DIALECT.answer(make_call(), body)


# --- the hub lane ----------------------------------------------------------------------------------------------------

STOP = Stop(finishes=[Finish(reason="stop", native="end_turn")], usage=Usage(input=3, output=4))


def encoded(call: Call, *events: Event) -> bytes:
    """Hub lane: what the client gets."""
    flow = DIALECT.encoder(call)
    out = [flow.feed(event) for event in (Start(id="up"), *events)]
    flow.end()
    settled(call)
    return b"".join((*out, flow.final()))


def test_a_stream_of_text() -> None:
    call = make_call(stream=True, echo=True)
    chunks = chunks_of(encoded(call, TextDelta(text=" upon"), TextDelta(text=" a time"), STOP))

    assert "".join(choice["text"] for each in chunks for choice in each["choices"]) == "Once upon a time"
    assert [choice["finish_reason"] for each in chunks for choice in each["choices"]] == [None, None, "stop"]
    assert {each["object"] for each in chunks} == {"text_completion"}
    assert {each["model"] for each in chunks} == {"acme/text"}
    assert chunks[-1]["usage"]["total_tokens"] == 7


def test_a_stream_without_an_end_is_an_error() -> None:
    flow = DIALECT.encoder(make_call(stream=True))
    flow.feed(TextDelta(text="upon"))

    with pytest.raises(StreamTruncated):
        flow.end()


def test_a_plain_answer() -> None:
    call = make_call()
    call.outcome.usage = Usage(input=3, output=4)
    choice = Choice(content=[Reasoning(text="Hm."), Text(text=" upon")], finish=Finish(reason="length", native="max"))
    told = json.loads(DIALECT.reply(settled(call), Reply(id="up", choices=[choice])))

    assert told["object"] == "text_completion"
    assert told["choices"] == [
        {"text": " upon", "index": 0, "logprobs": None, "finish_reason": "length", "native_finish_reason": "max"}
    ]
    assert told["usage"]["prompt_tokens"] == 3
