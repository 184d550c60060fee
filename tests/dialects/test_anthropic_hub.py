"""Anthropic's clients through the hub: their requests in its form, its events and replies in theirs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from router.dialects.anthropic_messages import marks
from router.errors import BadRequest, RouterError, StreamTruncated, UpstreamUnavailable
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
    Citation,
    File,
    Image,
    Opaque,
    Reasoning,
    ReasoningConfig,
    ResponseFormat,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from router.prices import Usage

from .anthropic_making import ASK, DIALECT, PROVIDER, Body, content_of, decoded, encoded, make_call
from .lanes import settled

PNG = {"type": "base64", "media_type": "image/png", "data": "aWNvbg=="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


def said(*blocks: Body, role: str = "user") -> list[Any]:
    """The parts that these blocks become."""
    return [
        part for each in decoded(messages=[{"role": role, "content": list(blocks)}]).messages for part in each.content
    ]


# --- requests --------------------------------------------------------------------------------------------------------


def test_all_members_find_their_place():
    request = decoded(
        system="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["END"],
        stream=True,
        metadata={"user_id": "u-1"},
        service_tier="standard_only",
        cache_control={"type": "ephemeral"},
        tools=[
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True, "defer_loading": True}
        ],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        max_tokens=2000,
        context_management={"edits": []},
        fallbacks=[{"model": "b"}],
        max_tokens_novel=None,
    )

    assert (request.family, request.max_tokens, request.stream) == ("anthropic", 2000, True)
    assert (request.temperature, request.top_p, request.top_k, request.stop) == (0.5, 0.9, 5, ["END"])
    assert (request.user, request.service_tier) == ("u-1", "default")
    assert request.cache_control == Raw(b'{"type": "ephemeral"}')
    assert request.tool_choice == ToolChoice(mode="named", name="f")
    assert request.parallel_tool_calls is False
    assert request.reasoning == ReasoningConfig(max_tokens=1024, exclude=True)
    assert request.response_format == ResponseFormat(type="json_schema", schema=Raw(b'{"type": "object"}'))
    assert request.extra == {"context_management": Raw(b'{"edits": []}')}
    tool = request.tools[0]
    assert (tool.name, tool.description, tool.strict, tool.extra) == ("f", "d", True, {"defer_loading": Raw(b"true")})
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[0].text == "Be brief."


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"thinking": {"type": "disabled"}}, ReasoningConfig(enabled=False)),
        ({"thinking": {"type": "adaptive"}}, ReasoningConfig(enabled=True)),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            ReasoningConfig(enabled=True, effort="low"),
        ),
        ({"output_config": {"effort": "max"}}, ReasoningConfig(effort="max")),
        ({}, None),
    ],
)
def test_thinking_is_a_matter_of_effort_or_budget(members: Body, expected: ReasoningConfig | None):
    assert decoded(**members).reasoning == expected


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"thinking": {"type": "novel"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "novel"}}}, "output_config"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "novel"}}]}]},
            "messages[0].content[0].source",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "file:///a"}}]}
                ]
            },
            "messages[0].content[0].source.url",
        ),
    ],
)
def test_what_only_anthropic_could_judge_is_refused_for_others(members: Body, param: str):
    with pytest.raises(BadRequest) as caught:
        decoded(**members)

    assert caught.value.param == param


def test_results_of_tools_are_messages_of_their_own():
    request = decoded(
        messages=[
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.50}, "caller": {"type": "direct"}}
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": "ok",
                        "cache_control": {"type": "ephemeral"},
                    },
                    {"type": "tool_result", "tool_use_id": "t2", "is_error": True},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "a"}, {"type": "image", "source": PNG}],
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
        ]
    )

    assert [message.role for message in request.messages] == ["assistant", "tool", "user"]
    assert request.messages[0].content == [
        ToolCall(id="t1", name="f", arguments='{"a": 1.5}', extra={"caller": Raw(b'{"type": "direct"}')})
    ]
    assert request.messages[1].content == [
        ToolResult(tool_call_id="t1", name="f", content=[Text(text="ok")], cache_control=Raw(b'{"type": "ephemeral"}')),
        ToolResult(tool_call_id="t2", is_error=True),
        ToolResult(
            tool_call_id="t1", name="f", content=[Text(text="a"), Image(data="aWNvbg==", media_type="image/png")]
        ),
    ]
    assert request.messages[2].text == "go on"


def test_media_in_every_form():
    url = {"type": "url", "url": "https://example.com/a"}
    text = {"type": "text", "media_type": "text/plain", "data": "Grüße"}
    content = {"type": "content", "content": [{"type": "text", "text": "Gr"}, {"type": "text", "text": "üße"}]}
    file = {"type": "file", "file_id": "file_1"}

    parts = said(
        {"type": "image", "source": url},
        {"type": "image", "source": file},
        {"type": "document", "source": PDF, "title": "a.pdf", "citations": {"enabled": True}},
        {"type": "document", "source": url},
        {"type": "document", "source": text, "context": "c"},
        {"type": "document", "source": content},
        {"type": "document", "source": file},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
        {"type": "novelty", "a": 1},
    )

    assert parts == [
        Image(url="https://example.com/a"),
        File(file_id="file_1", extra={"type": Raw(b'"image"')}),
        File(
            data="JVBERi0=",
            media_type="application/pdf",
            filename="a.pdf",
            extra={"citations": Raw(b'{"enabled": true}')},
        ),
        File(url="https://example.com/a"),
        File(data=b64("Grüße"), media_type="text/plain", extra={"context": Raw(b'"c"')}),
        File(data=b64("Gr\nüße"), media_type="text/plain"),
        File(file_id="file_1"),
        Text(text="found", extra={"type": Raw(b'"search_result"'), "source": Raw(b'"s"'), "title": Raw(b'"t"')}),
        Opaque(family="anthropic", raw=Raw(b'{"type": "novelty", "a": 1}')),
    ]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_thinking_says_whose_it_is():
    parts = said(
        {"type": "thinking", "thinking": "a", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "thinking", "thinking": "b", "signature": ""},
        {"type": "thinking", "thinking": "c", "signature": marks.wrap("summary", "openai-responses-v1", "rs_1", "")},
        {"type": "redacted_thinking", "data": marks.wrap("encrypted", "google-gemini-v1", "t|1", "Z2Vt|x")},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        role="assistant",
    )

    assert parts == [
        Reasoning(text="a", signature="c2ln", format="anthropic-claude-v1"),
        Reasoning(kind="encrypted", data="ZGF0YQ==", format="anthropic-claude-v1"),
        Reasoning(text="b"),
        Reasoning(kind="summary", text="c", format="openai-responses-v1", id="rs_1"),
        Reasoning(kind="encrypted", data="Z2Vt|x", format="google-gemini-v1", id="t|1"),
        Reasoning(
            kind="server_tool_call",
            data='{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}',
            format="anthropic-claude-v1",
            id="srvtoolu_1",
        ),
    ]


def test_what_changes_with_every_request_is_kept_from_caches():
    request = decoded(
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.293; cch=fa690;"},
            {"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}},
        ]
    )

    assert request.messages[0].text == "You help."


def test_long_names_of_tools_come_back():
    name = "mcp__" + "server_" * 12 + "__tool"
    call = make_call(tools=[{"name": name, "input_schema": {"type": "object"}}])
    request = DIALECT.decode(call.head)

    short = request.tools[0].name
    events = encoded(call, [Start(), ToolDelta(index=0, id="t", name=short, arguments="{}"), Stop()])

    assert len(short) <= 64
    assert content_of(events) == [{"type": "tool_use", "id": "t", "name": name, "input": {}}]


# --- there and back --------------------------------------------------------------------------------------------------

names = st.sampled_from(["city", "a", "größe"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: bool(text.strip())
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts,
    lambda inner: st.dictionaries(names, inner),
    max_leaves=4,
)
mark = st.just({}) | st.just({"cache_control": {"type": "ephemeral", "ttl": "1h"}})


def with_mark(block: st.SearchStrategy[Body]) -> st.SearchStrategy[Body]:
    return st.builds(lambda one, more: {**one, **more}, block, mark)


text_blocks = st.builds(
    lambda text, more: {"type": "text", "text": text, **more},
    texts,
    st.just({}) | st.just({"citations": [{"type": "char_location", "cited_text": "x", "document_index": 0}]}),
)
images = st.sampled_from(
    [
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ]
)
documents = st.sampled_from(
    [
        {"type": "document", "source": PDF, "title": "a.pdf", "citations": {"enabled": True}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}, "context": "c"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
        {"type": "novelty", "a": [1, {"b": None}]},
    ]
)
user_blocks = text_blocks | images | documents
thoughts = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, texts) | st.just(
    {"type": "redacted_thinking", "data": "ZGF0YQ=="}
)
results = st.builds(
    lambda content, failed: {"content": content} | ({"is_error": True} if failed else {}),
    st.lists(text_blocks | images, min_size=1, max_size=3),
    st.booleans(),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Body]:
    """Turns as Anthropic's clients send them: every call answered first thing in the next turn."""
    messages: list[Body] = [{"role": "user", "content": draw(st.lists(with_mark(user_blocks), min_size=1, max_size=3))}]
    for turn in range(draw(st.integers(0, 3))):
        calls = [
            {"type": "tool_use", "id": f"toolu_{turn}_{n}", "name": "f", "input": draw(st.dictionaries(names, values))}
            for n in range(draw(st.integers(0, 2)))
        ]
        spoken = draw(st.lists(thoughts, max_size=2)) + draw(st.lists(text_blocks, min_size=1, max_size=2))
        messages.append({"role": "assistant", "content": spoken + calls})
        answers = [draw(mark) | {"type": "tool_result", "tool_use_id": call["id"]} | draw(results) for call in calls]
        messages.append({"role": "user", "content": answers + draw(st.lists(user_blocks, min_size=1, max_size=2))})
    return messages


tools = st.lists(
    st.sampled_from(
        [
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            {"name": "g", "input_schema": {"type": "object", "properties": {}}, "defer_loading": True},
            {"name": "mcp__a__b", "input_schema": {"type": "object", "properties": {}}, "input_examples": [{}]},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            {"type": "mcp_toolset", "mcp_server_name": "m"},
        ]
    ),
    max_size=3,
    unique_by=json.dumps,
)


@settings(max_examples=60)
@given(conversations(), st.lists(with_mark(text_blocks), max_size=2), tools)
def test_a_conversation_survives_the_hub(messages: list[Body], system: list[Body], offered: list[Body]):
    asked = {
        **ASK,
        "messages": messages,
        "metadata": {"user_id": '{"device_id":"d"}'},
        "context_management": {"edits": []},
    }
    asked |= {"system": system} if system else {}
    # four marks are the most that Anthropic takes
    asked = keep_marks(asked, 4)
    if offered or any(block["type"] == "tool_use" for each in messages for block in each["content"]):
        asked["tools"] = offered or [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]

    went = through_the_hub(asked)

    assert went == asked | {"model": "claude-sonnet-4-5"}


def through_the_hub(asked: Body) -> Body:
    request = DIALECT.decode(DIALECT.peek(json.dumps(asked).encode(), {}, "chat"))
    went: Body = json.loads(PROVIDER.encode(replace(request, model="claude-sonnet-4-5")).body)
    return went


def keep_marks(asked: Body, most: int) -> Body:
    asked = json.loads(json.dumps(asked))
    for block in [*asked.get("system", []), *(block for each in asked["messages"] for block in each["content"])]:
        most -= "cache_control" in block
        if most < 0:
            block.pop("cache_control", None)
    return asked


def test_clients_betas_reach_claude_through_the_hub():
    request = replace(
        decoded(
            messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]
        ),
        model="claude-sonnet-4-5",
        headers={"anthropic-beta": "a-2025-01-01", "anthropic-version": "2026-10-21"},
    )

    headers = PROVIDER.encode(request).headers

    assert headers == {"anthropic-beta": "a-2025-01-01,files-api-2025-04-14", "anthropic-version": "2026-10-21"}
    assert PROVIDER.encode(replace(request, family="openai")).headers == {"anthropic-beta": "files-api-2025-04-14"}


# --- streams ---------------------------------------------------------------------------------------------------------

USAGE = Usage(input=100, output=20, reasoning=5, cache_read=60, cache_write=10, cache_write_1h=4, searches=2)


def stop(reason: Any = "stop", **members: Any) -> Stop:
    return Stop(finishes=[Finish(reason=reason, **members)], usage=USAGE)


def test_a_stream_of_everything():
    call = make_call(stream=True)
    events = encoded(
        call,
        [
            Start(id="up-1", model="m", service_tier="default"),
            ReasoningDelta(index=0, text="We", format="anthropic-claude-v1"),
            ReasoningDelta(index=0, text="ll", format="anthropic-claude-v1"),
            ReasoningDelta(index=0, signature="c2ln", format="anthropic-claude-v1"),
            ReasoningDelta(index=1, kind="encrypted", data="ZGF0YQ==", format="anthropic-claude-v1"),
            TextDelta(text="H"),
            TextDelta(text=""),
            TextDelta(text="i"),
            PartDone(part=Citation(url="https://example.com", title="E", content="c")),
            ToolDelta(index=0, id="t1", name="f"),
            ToolDelta(index=0, arguments='{"a":'),
            ToolDelta(index=0, arguments="1}"),
            ToolDelta(index=1, id="t2", name="g"),
            PartDone(part=Opaque(family="anthropic", raw=Raw(b'{"type":"novelty"}'))),
            PartDone(part=Opaque(family="gemini", raw=Raw(b"{}"))),
            stop("tool_calls", native="tool_use"),
        ],
    )

    assert content_of(events) == [
        {"type": "thinking", "thinking": "Well", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {
            "type": "text",
            "text": "Hi",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "url": "https://example.com",
                    "title": "E",
                    "cited_text": "c",
                    "encrypted_index": "",
                }
            ],
        },
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        {"type": "novelty"},
    ]
    start, change = events[0]["message"], events[-2]
    assert (start["id"], start["model"], start["role"], start["content"]) == (call.id, "claude/sonnet", "assistant", [])
    assert change["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert change["usage"] == {
        "input_tokens": 26,
        "cache_creation_input_tokens": 14,
        "cache_read_input_tokens": 60,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 2},
    }
    assert call.outcome.upstream_id == "up-1"
    assert call.outcome.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        (Finish(reason="stop"), ("end_turn", None)),
        (Finish(reason="stop", stop_sequence="END"), ("stop_sequence", "END")),
        (Finish(reason="stop", native="pause_turn"), ("pause_turn", None)),
        (Finish(reason="length"), ("max_tokens", None)),
        (Finish(reason="length", native="model_context_window_exceeded"), ("model_context_window_exceeded", None)),
        (Finish(reason="content_filter", native="SAFETY"), ("refusal", None)),
    ],
)
def test_stop_reasons(finish: Finish, expected: tuple[str, str | None]):
    streamed = encoded(make_call(stream=True), [Start(), TextDelta(text="Hi"), Stop(finishes=[finish])])[-2]["delta"]
    whole = plain(Choice(content=[Text(text="Hi")], finish=finish))

    assert (streamed["stop_reason"], streamed["stop_sequence"]) == expected
    assert (whole["stop_reason"], whole["stop_sequence"]) == expected


def test_a_refusal_is_text_with_a_reason_of_its_own():
    events = encoded(make_call(stream=True), [Start(), RefusalDelta(text="No."), stop()])

    assert content_of(events) == [{"type": "text", "text": "No."}]
    assert events[-2]["delta"]["stop_reason"] == "refusal"


def test_calls_that_come_side_by_side_go_one_after_the_other():
    pieces = [
        ToolDelta(index=0, id="a", name="f"),
        ToolDelta(index=1, id="b", name="g"),
        ToolDelta(index=0, arguments='{"x"'),
        ToolDelta(index=1, arguments='{"y"'),
        TextDelta(text="meanwhile"),
        ToolDelta(index=0, arguments=":1}"),
        ToolDelta(index=1, arguments=":2}"),
    ]

    events = encoded(make_call(stream=True), [Start(), *pieces, stop("tool_calls")])

    assert content_of(events) == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "meanwhile"},
    ]


def test_foreign_thinking_carries_its_family():
    events = encoded(
        make_call(stream=True),
        [
            Start(),
            ReasoningDelta(index=0, text="Hm"),
            ReasoningDelta(index=1, kind="summary", text="So", format="openai-responses-v1", id="rs_1"),
            ReasoningDelta(index=2, kind="encrypted", data="Z2Vt", format="google-gemini-v1", id="functions.f:0"),
            ToolDelta(index=0, id="functions.f:0", name="f", arguments="{}"),
            stop("tool_calls"),
        ],
    )
    content = content_of(events)

    *thoughts_back, call = said(*content, role="assistant")
    assert thoughts_back == [
        Reasoning(text="Hm"),
        Reasoning(kind="summary", text="So", format="openai-responses-v1", id="rs_1"),
        Reasoning(kind="encrypted", data="Z2Vt", format="google-gemini-v1", id=call.id),
    ]
    assert call.id != "functions.f:0"
    assert through_the_hub(
        {**ASK, "messages": [{"role": "assistant", "content": [*content[:3], {"type": "text", "text": "x"}]}]}
    )["messages"][-1]["content"] == [{"type": "text", "text": "x"}]


def test_hidden_thinking_shows_only_what_has_to_come_back():
    call = make_call(stream=True, thinking={"type": "adaptive", "display": "omitted"})

    events = encoded(
        call,
        [
            Start(),
            ReasoningDelta(index=0, text="secret", signature="c2ln", format="anthropic-claude-v1"),
            ReasoningDelta(index=1, text="secret"),
            TextDelta(text="Hi"),
            stop(),
        ],
    )

    assert content_of(events) == [
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "Hi"},
    ]


def test_citations_in_front_of_the_text_wait_for_it():
    citation = PartDone(part=Citation(url="https://example.com"))

    events = encoded(make_call(stream=True), [Start(), citation, TextDelta(text="Hi"), stop()])

    assert [each["url"] for each in content_of(events)[0]["citations"]] == ["https://example.com"]


def test_an_answer_that_ended_in_an_error_is_none():
    call = make_call(stream=True)

    with pytest.raises(UpstreamUnavailable):
        encoded(call, [Start(), TextDelta(text="Hi"), stop("error")])
    with pytest.raises(RouterError) as caught:
        plain(Choice(content=[Text(text="Hi")], finish=Finish(reason="error")))

    assert caught.value.status == 502


def test_a_stream_without_an_end_is_cut():
    with pytest.raises(StreamTruncated):
        encoded(make_call(stream=True), [Start(), TextDelta(text="Hi")])
    with pytest.raises(UpstreamUnavailable):
        encoded(make_call(stream=True), [])


def test_nothing_is_content_before_it_is():
    flow = DIALECT.encoder(make_call(stream=True))

    flow.feed(Start())
    assert not flow.content
    flow.feed(TextDelta(text=""))
    assert not flow.content
    flow.feed(TextDelta(text="x"))
    assert flow.content


# --- plain -----------------------------------------------------------------------------------------------------------


def plain(choice: Choice, usage: Usage | None = USAGE, *, report: Body | None = None, **members: Any) -> Body:
    call = make_call(**members)
    call.metadata = report
    call.outcome.usage = usage
    told: Body = json.loads(DIALECT.reply(settled(call), Reply(choices=[choice], usage=usage)))
    return told


def test_metadata_is_added_on_demand_only():
    choice = Choice(content=[Text(text="Hi")])

    without, told = plain(choice), plain(choice, report={"strategy": "direct"})

    assert not {"provider", "openrouter_metadata"} & without.keys()
    assert "cost" not in without["usage"]
    assert (told["provider"], told["usage"]["cost"], told["usage"]["is_byok"]) == ("claude", 0.000005, False)
    assert told["openrouter_metadata"] == {"strategy": "direct"}


def test_an_estimate_says_so():
    assert (
        plain(Choice(content=[Text(text="Hi")]), Usage(input=3, output=1, source="estimated"))["usage"]["estimated"]
        is True
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), (" ", {}), ('{"a":1}', {"a": 1}), ('{"a":', {"_raw": '{"a":'}), ("[1]", {"_raw": "[1]"})],
)
def test_the_input_of_a_call_is_always_an_object(arguments: str, expected: Body):
    told = plain(Choice(content=[ToolCall(id="t", name="f", arguments=arguments)]))

    assert told["content"] == [{"type": "tool_use", "id": "t", "name": "f", "input": expected}]
    assert told["stop_reason"] == "tool_use"


deltas = st.lists(
    st.builds(lambda text: TextDelta(text=text), st.text(st.characters(codec="utf-8"), max_size=3))
    | st.builds(lambda text: ReasoningDelta(text=text, format="anthropic-claude-v1"), texts)
    | st.builds(
        lambda index, piece: (index, piece), st.integers(0, 2), st.sampled_from(["{", '"a"', ":", "1", "}", "{}", ""])
    )
    | st.just(PartDone(part=Image(url="https://example.com/a.png")))
    | st.just(PartDone(part=Citation(url="https://example.com"))),
    max_size=12,
)


@settings(max_examples=60)
@given(deltas)
def test_any_stream_is_in_order_and_says_what_the_plain_answer_says(pieces: list[Any]):
    events: list[Event] = [Start(id="up-1")]
    seen: dict[int, int] = {}
    thoughts_begun = 0
    for piece in pieces:
        if isinstance(piece, tuple):
            index, arguments = piece
            if index not in seen:
                seen[index] = len(seen)
                events.append(ToolDelta(index=seen[index], id=f"t{seen[index]}", name="f"))
            events.append(ToolDelta(index=seen[index], arguments=arguments))
        elif isinstance(piece, ReasoningDelta):
            thoughts_begun += not isinstance(events[-1], ReasoningDelta)
            events.append(replace(piece, index=thoughts_begun))
        else:
            events.append(piece)
    events.append(stop())
    flow_events = stream_events(events)

    streamed = raw_content(flow_events)
    whole = plain_of(events)

    assert joined(streamed, "text") == joined(whole, "text")
    assert joined(streamed, "thinking") == joined(whole, "thinking")
    assert [each["id"] for each in streamed if each["type"] == "tool_use"] == [
        each["id"] for each in whole if each["type"] == "tool_use"
    ]


def stream_events(events: Iterable[Event]) -> list[Body]:
    return encoded(make_call(stream=True), events)


def raw_content(events: Iterable[Body]) -> list[Body]:
    """The blocks without parsing arguments, which may be no JSON here."""
    return content_of(each for each in events if each.get("delta", {}).get("type") != "input_json_delta")


def plain_of(events: list[Event]) -> list[Body]:
    async def come() -> AsyncIterator[Event]:
        for event in events:
            yield event

    reply = asyncio.run(Reply.from_events(come()))
    if not reply.choices:
        return []
    call = make_call()
    call.outcome.usage = reply.usage
    content: list[Body] = json.loads(DIALECT.reply(settled(call), reply))["content"]
    return content


def joined(content: list[Body], kind: str) -> str:
    return "".join(each[kind] for each in content if each["type"] == kind)
