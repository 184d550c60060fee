"""The hub lane of OpenAI chat: requests in the hub's form, events and replies as a client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from router.errors import BadRequest, StreamTruncated, UpstreamUnavailable
from router.events import (
    Choice,
    Event,
    Finish,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from router.model import (
    Audio,
    ChatRequest,
    Citation,
    File,
    Image,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)
from router.prices import Usage

from .lanes import encoded, settled
from .making import ASK, DIALECT, calls_of, chunks_of, deltas, finishes, make_call, text_of

LONG = "weather_" + "x" * 80


def decoded(**members: Any) -> ChatRequest:
    return DIALECT.decode(make_call(**members).head)


def parts(*content: dict[str, Any]) -> list[Any]:
    """The parts of a user's message."""
    return decoded(messages=[{"role": "user", "content": list(content)}]).messages[0].content


def assistant(**members: Any) -> list[Any]:
    """The parts of an assistant's message."""
    return decoded(messages=[{"role": "assistant", **members}]).messages[0].content


# --- requests --------------------------------------------------------------------------------------------------------


def test_scalars_have_their_places_and_the_rest_is_kept():
    request = decoded(
        temperature=0.5, top_p=0.9, top_k=4, min_p=0.1, top_a=0.2, frequency_penalty=1, presence_penalty=-1,
        repetition_penalty=1.1, seed=7, stop="end", n=2, logit_bias={"1": 2}, logprobs=True, top_logprobs=3,
        user="u", max_completion_tokens=9, parallel_tool_calls=False, verbosity="low", service_tier="flex",
        stream=True, prediction={"type": "content"}, novelty=1, models=["a/b"], session_id="s",
    )  # fmt: skip

    assert request == ChatRequest(
        messages=request.messages, model="acme/chat", stream=True, max_tokens=9, temperature=0.5, top_p=0.9, top_k=4,
        min_p=0.1, top_a=0.2, frequency_penalty=1, presence_penalty=-1, repetition_penalty=1.1, seed=7, stop=["end"],
        n=2, logit_bias={"1": 2}, logprobs=True, top_logprobs=3, user="u", parallel_tool_calls=False, verbosity="low",
        service_tier="flex", extra={"prediction": Raw(b'{"type": "content"}'), "novelty": Raw(b"1")},
    )  # fmt: skip


def test_parts_of_a_message():
    assert parts(
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "this", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_url": "https://example.org/a.pdf"}},
    ) == [
        Text(text="see", cache_control=Raw(b'{"type": "ephemeral"}')),
        Text(text="this", cache_control=Raw(b'{"type":"ephemeral"}')),
        Image(url="https://example.org/a.png", detail="low"),
        Image(data="QUJD", media_type="image/png"),
        Audio(data="QUJD", format="mp3"),
        Video(url="https://example.org/a.mp4"),
        File(filename="a.pdf", data="QUJD", media_type="application/pdf"),
        File(file_id="file-1"),
        File(url="https://example.org/a.pdf"),
    ]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image_url"}, "image_url is required"),
        ({"type": "image_url", "image_url": {"url": "ftp://example.org/a"}}, "http, https or data URL"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "base64"),
        ({"type": "file", "file": {}}, "one of file_data, file_id and file_url"),
        ({"type": "text"}, "text is required"),
        ({"type": "text", "text": 1}, "must be a string"),
    ],
)
def test_a_part_that_is_wrong(part: dict[str, Any], words: str):
    with pytest.raises(BadRequest, match=words) as raised:
        parts(part)

    assert (raised.value.param or "").startswith("messages[0].content[0]")


def test_an_assistants_turn():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

    assert assistant(
        content="Yes",
        reasoning="Hm",
        refusal="No",
        tool_calls=[call],
        images=[{"image_url": {"url": "https://x.org/i"}}],
    ) == [
        Reasoning(text="Hm"),
        Text(text="Yes"),
        Refusal(text="No"),
        Image(url="https://x.org/i"),
        ToolCall(id="1", name="f", arguments='{"a":1}'),
    ]


def test_reasoning_details_come_whole_again():
    details = [
        {"type": "reasoning.text", "text": "a", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "b", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "id": "call_1", "format": "google-gemini-v1", "index": 1},
        {"type": "reasoning.summary", "summary": "s", "index": 2},
    ]

    assert assistant(content=None, reasoning="ab", reasoning_details=details) == [
        Reasoning(text="ab", signature="sig", format="anthropic-claude-v1"),
        Reasoning(kind="encrypted", data="x", id="call_1", format="google-gemini-v1"),
        Reasoning(kind="summary", text="s"),
    ]


def test_tool_results():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = {"type": "image_url", "image_url": {"url": "https://x.org/i"}}

    request = decoded(
        messages=[
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "ok"}, image], "is_error": True},
        ]
    )

    assert request.messages[1].content == [
        ToolResult(tool_call_id="1", name="f", is_error=True, content=[Text(text="ok"), Image(url="https://x.org/i")])
    ]


def test_tools_and_choice():
    schema = {"type": "object", "properties": {}}
    tools = [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": True}},
        {"type": "web_search"},
    ]

    request = decoded(tools=tools, tool_choice={"type": "function", "function": {"name": "f"}})

    function, server = request.tools
    assert (function.name, function.description, function.strict) == ("f", "d", True)
    assert json.loads(bytes(function.parameters or b"")) == schema
    assert json.loads(bytes(server.server or b"")) == {"type": "web_search"}
    assert request.tool_choice == ToolChoice(mode="named", name="f")


def test_the_form_of_2023():
    request = decoded(
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
        messages=[
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ],
    )

    assert request.tools[0].name == "f"
    assert request.tool_choice == ToolChoice(mode="named", name="f")
    (call,) = request.messages[0].content
    (result,) = request.messages[1].content
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert result.tool_call_id == call.id


def test_response_formats():
    wanted = decoded(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
        }
    ).response_format

    assert wanted is not None
    assert (wanted.type, wanted.name, wanted.strict) == ("json_schema", "n", True)
    assert json.loads(bytes(wanted.schema or b"")) == {"type": "object"}


def test_unknown_members_of_a_message_are_kept():
    (message,) = decoded(messages=[{"role": "user", "content": "a", "name": "ann", "weight": 0}]).messages

    assert message.name == "ann"
    assert message.extra == {"weight": Raw(b"0")}


def test_long_tool_names_are_shortened_and_come_back():
    call = make_call(
        tools=[{"type": "function", "function": {"name": LONG}}],
        tool_choice={"type": "function", "function": {"name": LONG}},
        messages=[*ASK["messages"], {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": LONG}}]}],  # type: ignore[misc]
    )
    request = DIALECT.decode(call.head)
    short = request.tools[0].name

    client = encoded(call, [Start(), ToolDelta(index=0, id="1", name=short, arguments="{}"), Stop()])

    assert call.content_wanted
    assert len(short) == 64
    assert request.tool_choice == ToolChoice(mode="named", name=short)
    assert request.messages[1].content == [ToolCall(id="1", name=short)]
    assert calls_of(client) == [("1", LONG, "{}")]


# --- events ----------------------------------------------------------------------------------------------------------

STOP = Stop(finishes=[Finish(reason="stop", native="end_turn")], usage=Usage(input=9, output=4, reasoning=1))


def answer(*events: Event, **ask: Any) -> bytes:
    return encoded(make_call(stream=True, **ask), [Start(id="up-1", model="m"), *events, STOP])


def test_text():
    call = make_call(stream=True)

    client = encoded(call, [Start(id="up-1", system_fingerprint="fp"), TextDelta(text="Hi"), TextDelta(text="!"), STOP])

    first, *_, last = chunks_of(client)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["system_fingerprint"] == "fp"
    assert (first["id"], first["model"], first["provider"]) == (call.id, "acme/chat", "acme")
    assert text_of(client) == "Hi!"
    assert finishes(client) == [(0, "stop", "end_turn")]
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1
    assert last["usage"]["cost"] == 0.000005
    assert (call.outcome.upstream_id, call.outcome.output_chars, call.outcome.finish_reason) == ("up-1", 3, "stop")


def test_usage_apart():
    *_, finish, usage = chunks_of(answer(TextDelta(text="Hi"), stream_options={"include_usage": True}))

    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 13


def test_reasoning():
    client = answer(
        ReasoningDelta(text="Hm", format="anthropic-claude-v1"),
        ReasoningDelta(signature="sig", format="anthropic-claude-v1"),
        ReasoningDelta(index=1, kind="encrypted", data="x", id="1", format="google-gemini-v1"),
        ReasoningDelta(index=2, kind="summary", text="Well"),
    )

    details = [each["reasoning_details"][0] for each in deltas(client) if "reasoning_details" in each]
    assert text_of(client, "reasoning") == text_of(client, "reasoning_content") == "HmWell"
    assert details == [
        {"type": "reasoning.text", "text": "Hm", "id": None, "format": "anthropic-claude-v1", "index": 0},
        {
            "type": "reasoning.text",
            "text": "",
            "signature": "sig",
            "id": None,
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.encrypted", "data": "x", "id": "1", "format": "google-gemini-v1", "index": 1},
        {"type": "reasoning.summary", "summary": "Well", "id": None, "format": "unknown", "index": 2},
    ]


def test_streamed_details_survive_the_way_back():
    """What a client collects of a stream is what the next request brings."""
    client = answer(
        ReasoningDelta(text="H", format="f"),
        ReasoningDelta(text="m", format="f"),
        ReasoningDelta(signature="s", format="f"),
    )

    details = [piece for each in deltas(client) for piece in each.get("reasoning_details", ())]

    assert assistant(content="Yes", reasoning_details=details)[0] == Reasoning(text="Hm", signature="s", format="f")


def test_excluded_reasoning_is_not_shown():
    call = make_call(stream=True, reasoning={"exclude": True})

    client = encoded(call, [Start(), ReasoningDelta(text="Hm"), TextDelta(text="Yes"), STOP])

    assert not any("reasoning" in name for each in deltas(client) for name in each)
    assert call.outcome.output_chars == 5


def test_tool_calls():
    client = answer(
        ToolDelta(index=0, id="1", name="f", arguments='{"a"'),
        ToolDelta(index=0, arguments=":1}"),
        ToolDelta(index=1, id="2", name="g"),
    )

    assert calls_of(client) == [("1", "f", '{"a":1}'), ("2", "g", "")]
    assert finishes(client) == [(0, "tool_calls", "end_turn")]


def test_clients_of_2023_get_their_form():
    client = answer(ToolDelta(index=0, id="1", name="f", arguments="{}"), functions=[{"name": "f"}])

    assert [each["function_call"] for each in deltas(client) if "function_call" in each] == [
        {"name": "f", "arguments": "{}"}
    ]


def test_parts_that_come_whole():
    client = answer(
        PartDone(part=Image(data="QUJD", media_type="image/png")),
        PartDone(part=Citation(url="https://x.org", title="X", start_index=1, end_index=2)),
        PartDone(part=Audio(id="a", data="QUJD", transcript="hi", expires_at=5)),
        RefusalDelta(text="No"),
    )

    told = {name: value for each in deltas(client) for name, value in each.items()}
    assert told["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]
    assert told["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://x.org", "title": "X", "start_index": 1, "end_index": 2},
        }
    ]
    assert told["audio"] == {"id": "a", "data": "QUJD", "transcript": "hi", "expires_at": 5}
    assert told["refusal"] == "No"


def test_several_choices():
    ends = Stop(
        finishes=[Finish(choice=1, reason="length", native="max"), Finish(choice=0, native="stop")],
        usage=Usage(input=1, output=2),
    )

    client = encoded(make_call(stream=True, n=2), [Start(), TextDelta(text="a"), TextDelta(text="b", choice=1), ends])

    assert (text_of(client, index=0), text_of(client, index=1)) == ("a", "b")
    assert finishes(client) == [(0, "stop", "stop"), (1, "length", "max")]
    assert sum("usage" in each for each in chunks_of(client)) == 1


def test_logprobs_go_along():
    (_, told, *_) = chunks_of(answer(TextDelta(text="Hi", logprobs=Raw(b'{"content":[]}'))))

    assert told["choices"][0]["logprobs"] == {"content": []}


def test_an_answer_without_content_still_opens():
    (first, last) = chunks_of(answer())

    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == "stop"


def test_content_begins_with_content():
    flow = DIALECT.encoder(make_call(stream=True))

    flow.feed(Start())
    flow.feed(TextDelta(text=""))
    before = flow.content
    flow.feed(TextDelta(text="x"))

    assert (before, flow.content) == (False, True)


@pytest.mark.parametrize(
    ("events", "leaf"), [([Start()], UpstreamUnavailable), ([Start(), TextDelta(text="x")], StreamTruncated)]
)
def test_events_without_an_end(events: list[Event], leaf: type[Exception]):
    with pytest.raises(leaf):
        encoded(make_call(stream=True), events)


# --- replies ---------------------------------------------------------------------------------------------------------


def replied(*content: Any, finish: Finish | None = None, **ask: Any) -> dict[str, Any]:
    """The only choice of a plain answer."""
    call = make_call(**ask)
    given = Reply(choices=[Choice(content=list(content), finish=finish or Finish(native="stop"))])
    told: dict[str, Any] = json.loads(DIALECT.reply(settled(call), given))
    return told["choices"][0]  # type: ignore[no-any-return]


def test_a_reply():
    call = make_call()
    call.outcome.usage = Usage(input=9, output=4, cache_read=8, cache_write=1)

    told = json.loads(DIALECT.reply(settled(call), Reply(id="up-1", choices=[Choice(content=[Text(text="Hi")])])))

    assert (told["id"], told["object"], told["model"], told["provider"]) == (
        call.id,
        "chat.completion",
        "acme/chat",
        "acme",
    )
    assert told["system_fingerprint"] is None
    assert told["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "reasoning": None,
        "annotations": [],
    }
    assert told["usage"]["prompt_tokens_details"]["cached_tokens"] == 8
    assert told["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 1


def test_a_reply_with_everything():
    told = replied(
        Reasoning(text="Hm", signature="s", format="f"),
        Text(text="Yes", citations=[Citation(url="https://x.org")]),
        ToolCall(id="1", name="f"),
        Image(url="https://x.org/i"),
        Audio(id="a", data="QUJD"),
    )

    message = told["message"]
    assert told["finish_reason"] == "tool_calls"
    assert message["content"] == "Yes"
    assert message["reasoning"] == message["reasoning_content"] == "Hm"
    assert message["reasoning_details"][0]["signature"] == "s"
    assert message["tool_calls"] == [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert message["annotations"][0]["url_citation"]["url"] == "https://x.org"
    assert message["images"][0]["image_url"]["url"] == "https://x.org/i"
    assert message["audio"]["id"] == "a"


def test_silence_is_null_beside_a_call_and_empty_alone():
    assert replied(ToolCall(id="1", name="f"))["message"]["content"] is None
    assert replied()["message"]["content"] == ""
    assert replied(Refusal(text="No"))["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "No",
        "reasoning": None,
        "annotations": [],
    }


def test_a_reply_that_broke_off():
    call = make_call()
    call.fail(UpstreamUnavailable("it broke"))

    told = json.loads(
        DIALECT.reply(call, Reply(choices=[Choice(content=[Text(text="Hi")], finish=Finish(reason="error"))]))
    )

    assert told["choices"][0]["finish_reason"] == "error"
    assert told["choices"][0]["error"]["message"] == "it broke"
    assert told["choices"][0]["message"]["content"] == "Hi"
    assert told["usage"]["estimated"] is True
