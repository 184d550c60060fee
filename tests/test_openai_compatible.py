"""The base class of OpenAI-compatible providers: bodies out of the hub, and whatever comes back as events."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from router.errors import (
    StreamTruncated,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from router.events import Event, Finish, Fold, PartDone, ReasoningDelta, Reply, Start, Stop, TextDelta, ToolDelta
from router.model import (
    AnyPart,
    Audio,
    ChatRequest,
    Citation,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningConfig,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)
from router.openai_compatible import EVERYTHING, OpenAICompatible, OpenAICompatibleSettings
from router.openai_compatible.think import ThinkTags
from router.prices import Usage
from router.provider import Timeouts
from router.sse import open_events


class Acme(OpenAICompatible):
    """An upstream without deviations."""

    name = "acme"


class Gateway(Acme):
    """An upstream that is a gateway itself."""

    keeps = EVERYTHING


def provider(kind: type[OpenAICompatible] = Acme, **settings: Any) -> OpenAICompatible:
    table = {"plugin": "acme", "base_url": "http://127.0.0.1:9", "api_key": "upstream-key", **settings}
    return kind("acme", OpenAICompatibleSettings(**table), Timeouts())


def request(*messages: Message, **members: Any) -> ChatRequest:
    asked = list(messages) or [Message(role="user", content=[Text(text="hello")])]
    return ChatRequest(messages=asked, model="chat-1", **members)


def sent(asked: ChatRequest, kind: type[OpenAICompatible] = Acme) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(provider(kind).encode(asked).body)
    return body


def message(role: Any, *content: AnyPart, kind: type[OpenAICompatible] = Acme, **members: Any) -> Any:
    """How one message is sent."""
    return sent(request(Message(role=role, content=list(content), **members)), kind)["messages"][0]


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request():
    outgoing = provider().encode(request())

    assert (outgoing.method, outgoing.path) == ("POST", "/chat/completions")
    assert json.loads(outgoing.body) == {"model": "chat-1", "messages": [{"role": "user", "content": "hello"}]}


def test_a_stream_asks_for_usage():
    body = sent(request(stream=True))

    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_members():
    tool = Tool(name="f", description="d", parameters=Raw(b'{"type":"object"}'), strict=True)

    body = sent(
        request(
            max_tokens=5, temperature=0.5, stop=["a"], n=2, logit_bias={"1": 1.0}, user="u", tools=[tool],
            tool_choice=ToolChoice(mode="named", name="f"), parallel_tool_calls=False, verbosity="low",
            response_format=ResponseFormat(type="json_schema", name="n", schema=Raw(b"{}"), strict=True),
            extra={"prediction": Raw(b'{"type":"content"}')},
        )
    )  # fmt: skip

    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == {
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": ["a"],
        "n": 2,
        "logit_bias": {"1": 1.0},
        "user": "u",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "prediction": {"type": "content"},
    }


def test_parts():
    assert message(
        "user",
        Text(text="see"),
        Image(url="https://x.org/i", detail="low"),
        Image(data="QUJD", media_type="image/png"),
        Audio(data="QUJD", format="mp3"),
        Video(url="https://x.org/v"),
        File(data="QUJD", media_type="application/pdf", filename="a.pdf"),
        File(file_id="file-1"),
        Opaque(family="openai", raw=Raw(b'{"type":"new"}')),
        Opaque(family="anthropic", raw=Raw(b'{"type":"theirs"}')),
    )["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://x.org/i", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "https://x.org/v"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "new"},
    ]


def test_an_assistants_turn():
    told = message(
        "assistant",
        Reasoning(text="Hm"),
        Text(text="Yes"),
        Refusal(text="No"),
        ToolCall(id="1", name="f"),
        Audio(id="a"),
    )

    assert told == {
        "role": "assistant",
        "content": "Yes",
        "refusal": "No",
        "reasoning_content": "Hm",
        "audio": {"id": "a"},
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_signed_thinking_goes_back_to_gateways_of_this_family_only():
    thought = Message(
        role="assistant", content=[Reasoning(text="Hm", signature="s", format="anthropic-claude-v1"), Text(text="Yes")]
    )

    own = sent(request(thought), Gateway)["messages"][0]
    assert own["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
    ]
    for foreign in (sent(request(thought, family="anthropic"), Gateway), sent(request(thought))):
        assert "reasoning_details" not in foreign["messages"][0]
        assert foreign["messages"][0]["reasoning_content"] == "Hm"


def test_tool_results_and_their_images():
    result = ToolResult(tool_call_id="1", content=[Text(text="ok"), Image(url="https://x.org/i")], is_error=True)

    told = sent(request(Message(role="tool", content=[result]), Message(role="user", content=[Text(text="so?")])))[
        "messages"
    ]

    assert told == [
        {"role": "tool", "tool_call_id": "1", "content": "ok", "is_error": True},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/i"}}]},
        {"role": "user", "content": "so?"},
    ]


def test_cache_marks_go_where_they_are_known():
    class Strict(Acme):
        keeps = frozenset()

    marked = Text(text="a", cache_control=Raw(b'{"type":"ephemeral"}'))

    assert message("system", marked)["content"] == [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    ]
    assert message("system", marked, kind=Strict)["content"] == "a"


@pytest.mark.parametrize(("known", "role"), [(True, "developer"), (False, "system")])
def test_the_developers_role(known: bool, role: str):
    class Maybe(Acme):
        def developer_role(self, model: str) -> bool:
            return known

    assert message("developer", Text(text="a"), kind=Maybe)["role"] == role


@pytest.mark.parametrize(
    ("form", "config", "told"),
    [
        ("effort", ReasoningConfig(effort="high"), {"reasoning_effort": "high"}),
        ("effort", ReasoningConfig(enabled=False), {"reasoning_effort": "none"}),
        ("effort", ReasoningConfig(exclude=True), {}),
        ("object", ReasoningConfig(max_tokens=9, exclude=True), {"reasoning": {"max_tokens": 9, "exclude": True}}),
        ("thinking", ReasoningConfig(effort="low"), {"thinking": {"type": "enabled"}}),
        ("thinking", ReasoningConfig(effort="none"), {"thinking": {"type": "disabled"}}),
        ("enable_thinking", ReasoningConfig(max_tokens=9), {"enable_thinking": True, "thinking_budget": 9}),
        ("enable_thinking", ReasoningConfig(enabled=False), {"enable_thinking": False}),
        (
            "template",
            ReasoningConfig(enabled=True),
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        ),
        ("none", ReasoningConfig(effort="high"), {}),
    ],
)
def test_ways_to_ask_for_thinking(form: Any, config: ReasoningConfig, told: dict[str, Any]):
    class Thinker(Acme):
        reasoning_form = form

    body = sent(request(reasoning=config), Thinker)

    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == told


def test_what_cannot_be_expressed_is_named():
    class Odd(Acme):
        drops = frozenset({"top_k", "logprobs"})
        reasoning_form = "none"
        stop_limit = 1

    outgoing = provider(Odd).encode(request(top_k=4, reasoning=ReasoningConfig(effort="low"), stop=["a", "b"]))
    foreign = provider().encode(request(family="anthropic", extra={"container": Raw(b"1")}))

    assert outgoing.dropped == ["reasoning", "top_k"]
    assert json.loads(outgoing.body)["stop"] == ["a"]
    assert "only the first 1" in outgoing.warnings[0]
    assert foreign.dropped == ["container"]


# --- answers ---------------------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chunk(
    *, finish: str | None = None, index: int = 0, top: dict[str, Any] | None = None, **delta: Any
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "up-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **(top or {})}


def raw(chunks: Iterable[dict[str, Any]], *, done: bool = True) -> bytes:
    frames = [f"data: {json.dumps(each)}\n\n" for each in chunks]
    return "".join([*frames, "data: [DONE]\n\n" if done else ""]).encode()


def events(stream: bytes, *, size: int = 10_000, kind: type[OpenAICompatible] = Acme, **settings: Any) -> list[Event]:
    """What a stream comes to."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(stream), size):
            yield stream[start : start + size]

    async def collect() -> list[Event]:
        return [event async for event in provider(kind, **settings).events(open_events(pieces()))]

    return asyncio.run(collect())


def said(*parts: dict[str, Any], **settings: Any) -> list[Event]:
    """The events of these deltas, without the first and the last one."""
    first, *middle, last = events(raw([*(chunk(**each) for each in parts), chunk(finish="stop")]), **settings)
    assert isinstance(first, Start)
    assert isinstance(last, Stop)
    return middle


def test_a_stream():
    chunks = [
        chunk(role="assistant", content="", top={"service_tier": "flex", "system_fingerprint": "fp"}),
        chunk(content="Hi"),
        chunk(finish="length"),
        {"choices": [], "usage": USAGE},
    ]

    assert events(raw(chunks)) == [
        Start(id="up-1", model="m", service_tier="flex", system_fingerprint="fp"),
        TextDelta(text="Hi"),
        Stop(finishes=[Finish(reason="length", native="length")], usage=Usage(input=9, output=4)),
    ]


def test_reasoning_under_any_name():
    assert said({"reasoning": "a"}, {"reasoning_content": "b"}, {"reasoning": "c", "reasoning_content": "c"}) == [
        ReasoningDelta(text="a"),
        ReasoningDelta(text="b"),
        ReasoningDelta(text="c"),
    ]


def test_reasoning_details():
    details: list[list[dict[str, Any]]] = [
        [{"type": "reasoning.text", "text": "a", "format": "f", "index": 0}],
        [{"type": "reasoning.text", "signature": "s", "format": "f", "index": 0}],
        [{"type": "reasoning.summary", "summary": "b", "index": 1}],
        [{"type": "reasoning.encrypted", "data": "x", "id": "1"}, {"type": "reasoning.encrypted", "data": "y"}],
    ]

    assert said(*({"reasoning": "a", "reasoning_details": each} for each in details)) == [
        ReasoningDelta(text="a", format="f"),
        ReasoningDelta(signature="s", format="f"),
        ReasoningDelta(index=1, kind="summary", text="b"),
        ReasoningDelta(index=2, kind="encrypted", data="x", id="1"),
        ReasoningDelta(index=3, kind="encrypted", data="y"),
    ]


def test_mistrals_parts():
    blocks = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes"}]

    assert said({"content": blocks}) == [ReasoningDelta(text="Hm"), TextDelta(text="Yes")]


def test_tools_of_2023():
    first, second = said({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}})

    assert isinstance(first, ToolDelta)
    assert (first.name, first.arguments, first.id[:5]) == ("f", "{", "call_")
    assert second == ToolDelta(index=0, arguments="}")


def test_parts_that_come_whole():
    note = {
        "type": "url_citation",
        "url_citation": {"url": "https://x.org", "title": "X", "start_index": 1, "end_index": 2},
    }

    assert said(
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
        {"annotations": [note]},
        {"audio": {"id": "a", "transcript": "hel"}},
        {"audio": {"data": "QUJD", "transcript": "lo"}},
    ) == [
        PartDone(part=Image(data="QUJD", media_type="image/png")),
        PartDone(part=Citation(url="https://x.org", title="X", start_index=1, end_index=2)),
        PartDone(part=Audio(id="a", data="QUJD", transcript="hello")),
    ]


def test_sources_beside_the_choices():
    top = {"search_results": [{"url": "https://x.org", "title": "X"}], "citations": ["https://x.org"]}

    assert said({"content": "Hi", "top": top}) == [
        TextDelta(text="Hi"),
        PartDone(part=Citation(url="https://x.org", title="X")),
    ]


def test_several_choices():
    found = events(
        raw([chunk(content="a"), chunk(content="b", index=1), chunk(finish="stop", index=1), chunk(finish="length")])
    )

    assert found[1:3] == [TextDelta(text="a"), TextDelta(text="b", choice=1)]
    assert found[3] == Stop(finishes=[Finish(reason="length", native="length"), Finish(choice=1, native="stop")])


def test_groqs_usage():
    last = events(raw([chunk(content="Hi"), chunk(finish="stop", top={"x_groq": {"usage": USAGE}})]))[-1]

    assert isinstance(last, Stop)
    assert last.usage == Usage(input=9, output=4)


@pytest.mark.parametrize(
    ("stream", "leaf", "words"),
    [
        (raw([chunk(content="Hi")], done=False), StreamTruncated, "finish reason"),
        (b"", UpstreamUnavailable, "empty"),
        (raw([]), UpstreamUnavailable, "empty"),
        (b"data: {nonsense\n\n", UpstreamUnavailable, "cannot be read"),
        (raw([{"error": {"message": "wait", "code": 429}}]), UpstreamBusy, "wait"),
        (raw([{"object": "error", "message": "no", "code": 400}]), UpstreamRejected, "no"),
        (raw([chunk(finish="error")]), UpstreamUnavailable, "with an error"),
    ],
)
def test_streams_that_fail(stream: bytes, leaf: type[Exception], words: str):
    with pytest.raises(leaf, match=words):
        events(stream)


@pytest.mark.parametrize("done", [True, False])
def test_either_sign_is_an_end(done: bool):
    finish = [] if done else [chunk(finish="stop")]

    assert isinstance(events(raw([chunk(content="Hi"), *finish], done=done))[-1], Stop)


def decoded(choice: dict[str, Any], **members: Any) -> Reply:
    return provider().decode(
        json.dumps({"id": "up-1", "model": "m", "choices": [choice], "usage": USAGE, **members}).encode()
    )


def test_a_whole_answer():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    given = {"role": "assistant", "content": "Hi", "reasoning": "Hm", "refusal": None, "tool_calls": [call]}

    reply = decoded({"index": 0, "message": given, "finish_reason": "stop"}, service_tier="flex")

    (choice,) = reply.choices
    assert (reply.id, reply.model, reply.service_tier, reply.usage) == ("up-1", "m", "flex", Usage(input=9, output=4))
    assert choice.content == [Reasoning(text="Hm"), Text(text="Hi"), ToolCall(id="1", name="f", arguments="{}")]
    assert choice.finish == Finish(reason="tool_calls", native="stop")


def test_an_answer_whose_content_is_an_object():
    (choice,) = decoded({"message": {"content": {"a": 1}}, "finish_reason": "stop"}).choices

    assert choice.text == '{"a":1}'


def test_the_message_counts_where_a_delta_comes_along():
    (choice,) = decoded({"message": {"content": "Hi"}, "delta": {"content": ""}, "finish_reason": "stop"}).choices

    assert choice.text == "Hi"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices":[]}', b"{}"])
def test_answers_that_are_none(body: bytes):
    with pytest.raises(UpstreamUnavailable):
        provider().decode(body)


# --- laws ------------------------------------------------------------------------------------------------------------

DELTAS = st.lists(
    st.one_of(
        st.builds(lambda text: {"content": text}, st.text(max_size=8)),
        st.builds(lambda text: {"reasoning": text}, st.text(max_size=8)),
        st.builds(
            lambda index, text: {
                "tool_calls": [{"index": index, "id": f"call_{index}", "function": {"name": "f", "arguments": text}}]
            },
            st.integers(0, 2),
            st.text(max_size=8),
        ),
    ),
    max_size=12,
)


@given(deltas=DELTAS, size=st.integers(1, 300))
def test_any_split_gives_the_same_events(deltas: list[dict[str, Any]], size: int):
    stream = raw([*(chunk(**each) for each in deltas), chunk(finish="stop"), {"choices": [], "usage": USAGE}])

    assert events(stream, size=size) == events(stream)


@given(deltas=DELTAS)
def test_a_stream_and_a_whole_answer_say_the_same(deltas: list[dict[str, Any]]):
    fold = Fold()
    for event in events(raw([*(chunk(**each) for each in deltas), chunk(finish="stop")])):
        fold.add(event)
    whole: dict[str, Any] = {"content": "", "reasoning": "", "tool_calls": []}
    for part in fold.reply.choices[0].content:
        match part:
            case Text(text=text):
                whole["content"] += text
            case Reasoning(text=text):
                whole["reasoning"] += text
            case ToolCall():
                whole["tool_calls"].append(
                    {"id": part.id, "function": {"name": part.name, "arguments": part.arguments}}
                )

    (choice,) = decoded({"message": whole, "finish_reason": "stop"}).choices

    assert choice.text == fold.reply.choices[0].text
    assert [part for part in choice.content if isinstance(part, ToolCall)] == [
        part for part in fold.reply.choices[0].content if isinstance(part, ToolCall)
    ]


TEXT = st.text(min_size=1, max_size=8)
PARTS: dict[str, st.SearchStrategy[AnyPart]] = {
    "user": st.one_of(
        st.builds(Text, text=TEXT),
        st.builds(Image, url=st.just("https://x.org/i")),
        st.builds(Image, data=st.just("QUJD"), media_type=st.just("image/png")),
        st.builds(Audio, data=st.just("QUJD"), format=st.just("wav")),
        st.builds(File, data=st.just("QUJD"), media_type=st.just("application/pdf"), filename=st.just("a.pdf")),
    ),
    "assistant": st.one_of(
        st.builds(Text, text=TEXT), st.builds(ToolCall, id=TEXT, name=st.just("f"), arguments=st.just('{"a":1}'))
    ),
}
CONVERSATION = st.lists(
    st.one_of(
        st.builds(
            Message, role=st.just("system"), content=st.lists(st.builds(Text, text=TEXT), min_size=1, max_size=2)
        ),
        st.builds(
            Message,
            role=st.just("user"),
            content=st.lists(PARTS["user"], min_size=1, max_size=3),
            name=st.none() | TEXT,
        ),
        st.builds(
            lambda text, calls, thought: Message(role="assistant", content=[*thought, *text, *calls]),
            st.lists(st.builds(Text, text=TEXT), max_size=1),
            st.lists(st.builds(ToolCall, id=TEXT, name=st.just("f"), arguments=st.just('{"a":1}')), max_size=2),
            st.lists(st.builds(Reasoning, text=TEXT), max_size=1),
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(
    messages=CONVERSATION,
    scalars=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2),
            "max_tokens": st.integers(1, 10**6),
            "seed": st.integers(-(2**60), 2**60),
            "stop": st.lists(TEXT, min_size=1, max_size=4),
            "n": st.integers(1, 8),
            "top_k": st.integers(0, 100),
            "logprobs": st.booleans(),
            "user": TEXT,
            "reasoning": st.builds(ReasoningConfig, effort=st.sampled_from(["low", "high", "none"])),
            "response_format": st.just(ResponseFormat(type="json_object")),
            "extra": st.dictionaries(st.sampled_from(["novelty", "prediction"]), st.just(Raw(b'{"a":1}'))),
        },
    ),
)
def test_what_is_encoded_decodes_to_the_same_request(messages: list[Message], scalars: dict[str, Any]):
    from router.dialects.openai_chat import OpenAIChat

    dialect, asked = OpenAIChat(), request(*messages, **scalars)

    again = dialect.decode(dialect.peek(provider().encode(asked).body, {}, "chat"))

    assert replace(again, extra={}) == replace(asked, extra={})
    assert {name: bytes(value) for name, value in again.extra.items()} == {
        name: bytes(value) for name, value in asked.extra.items()
    }


# --- thinking inside of the text -------------------------------------------------------------------------------------


def test_think_tags():
    stream = raw(
        [
            *(chunk(content=each) for each in ["\n<th", "ink>Hm", "</thi", "nk>\n\nYe", "s <think>"]),
            chunk(finish="stop"),
        ]
    )

    assert events(stream, think_tags=True)[1:-1] == [
        ReasoningDelta(text="Hm"),
        TextDelta(text="Ye"),
        TextDelta(text="s <think>"),
    ]
    assert provider(think_tags=True).speaks == {}


@given(st.text("<>/think ab\n", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_think_tags_may_be_cut_anywhere(text: str, cuts: list[int]):
    def spelled(pieces: list[str]) -> tuple[str, str]:
        tags = ThinkTags()
        found = [part for piece in pieces for part in tags.feed(piece)] + tags.close()
        return "".join(text for thought, text in found if thought), "".join(
            text for thought, text in found if not thought
        )

    ends = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(ends)]

    assert spelled(pieces) == spelled([text])


# --- errors and lists ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "leaf", "kind"),
    [
        (400, {"message": "bad"}, UpstreamRejected, "invalid_request"),
        (400, {"message": "x", "code": "context_length_exceeded"}, UpstreamRejected, "context_length_exceeded"),
        (
            400,
            {"message": "x", "type": "too_many_prompt_tokens", "code": 400},
            UpstreamRejected,
            "context_length_exceeded",
        ),
        (400, {"message": "x", "code": "invalid_image_format"}, UpstreamRejected, "unsupported_image_format"),
        (400, {"message": "x", "code": "content_filter"}, UpstreamRejected, "content_policy_violation"),
        (401, {"message": "who?"}, UpstreamUnauthorized, "provider_unavailable"),
        (404, {"message": "no such model"}, UpstreamRejected, "not_found"),
        (429, {"message": "wait"}, UpstreamBusy, "rate_limit_exceeded"),
        (500, {"message": "oh"}, UpstreamUnavailable, "provider_unavailable"),
    ],
)
def test_errors(status: int, error: dict[str, Any], leaf: type[UpstreamError], kind: str):
    found = provider().error(status, {"retry-after": "3"}, json.dumps({"error": error}).encode())

    assert type(found) is leaf
    assert (found.kind, found.upstream_status) == (kind, status)
    if status == 429:
        assert found.retry_after_s == 3


async def listing(body: str, status: int = 200) -> list[str]:
    """The ids and lengths of what an upstream lists."""

    async def models(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer upstream-key"
        return web.Response(text=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    async with TestServer(app) as server:
        asking = provider(base_url=str(server.make_url("/v1")))
        try:
            return [f"{each.id} {each.context_length}" for each in await asking.models()]
        finally:
            await asking.close()


@pytest.mark.parametrize(
    "body",
    [
        '{"object":"list","data":[{"id":"a","max_model_len":8},{"id":"b","context_window":9}]}',
        '[{"id":"a","context_length":8,"created":null},{"id":"b","context_length":9,"name":7}]',
    ],
)
async def test_what_an_upstream_lists(body: str):
    assert await listing(body) == ["a 8", "b 9"]


async def test_lists_that_cannot_be_had():
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        await listing("<html>")
    with pytest.raises(UpstreamUnauthorized):
        await listing('{"error":{"message":"who?"}}', 401)
