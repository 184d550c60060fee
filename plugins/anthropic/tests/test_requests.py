"""What is sent to Anthropic for a request of the hub."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Raw
from router_anthropic import Anthropic

from router.errors import BadRequest
from router.model import (
    AnyPart,
    Audio,
    ChatRequest,
    File,
    Image,
    Message,
    Model,
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
from router.provider import Outgoing, Timeouts

Ask = Callable[..., ChatRequest]
Sent = Callable[..., dict[str, Any]]

CLAUDE = "anthropic-claude-v1"
OLD, SONNET_4, SONNET_45, SONNET_46 = (
    "claude-3-5-haiku-20241022",
    "claude-sonnet-4-0",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
)
OPUS_48, SONNET_5, SONNET_55, OPUS_55 = "claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-5-5", "claude-opus-5-5"

CITY = Raw(
    b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}'
)
WEATHER = Tool(name="get_weather", description="The weather", parameters=CITY)
MARK = Raw(b'{"type":"ephemeral"}')
PIXEL = "iVBORw0KGgo="


def outgoing(provider: Anthropic, request: ChatRequest) -> tuple[dict[str, Any], Outgoing]:
    out = provider.encode(request)
    return json.loads(out.body), out


def call(id: str = "toolu_1", name: str = "get_weather", arguments: str = '{"city":"Oslo"}') -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


def result(id: str = "toolu_1", text: str = "cold", **members: Any) -> ToolResult:
    return ToolResult(tool_call_id=id, content=[Text(text=text)], **members)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


# --- the conversation ------------------------------------------------------------------------------------------------


def test_a_plain_request(provider: Anthropic, ask: Ask) -> None:
    body, out = outgoing(provider, ask(("system", "Be brief."), ("user", "Hi"), max_tokens=100))

    assert (out.method, out.path, out.headers) == ("POST", "/v1/messages", {})
    assert body == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "system": [text("Be brief.")],
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }
    assert (out.dropped, out.warnings) == ([], [])


def test_system_messages_that_come_later_are_said_by_the_user(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("system", "A"), ("developer", "B"), ("user", "Hi"), ("assistant", "Yes?"), ("system", "C")))

    assert body["system"] == [text("A"), text("B")]
    assert body["messages"][-1] == {"role": "user", "content": [text("<system>C</system>")]}


def test_turns_of_one_role_are_joined_and_the_user_begins(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("assistant", "a"), ("assistant", "b"), ("user", "c"), ("user", "d"), ("user", "  \n")))

    assert body["messages"] == [
        {"role": "user", "content": [text(".")]},
        {"role": "assistant", "content": [text("a"), text("b")]},
        {"role": "user", "content": [text("c"), text("d")]},
    ]


def test_an_empty_turn_in_the_middle_goes_and_its_neighbours_are_joined(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "a"), ("assistant", " "), ("user", "b")))

    assert body["messages"] == [{"role": "user", "content": [text("a"), text("b")]}]


def test_only_a_system_message(sent: Sent, ask: Ask) -> None:
    assert sent(ask(("system", "A")))["messages"] == [{"role": "user", "content": [text(".")]}]


def test_results_stand_first_and_all_of_one_turn_in_one_message(sent: Sent, ask: Ask) -> None:
    body = sent(
        ask(
            ("user", "Weather?"),
            ("assistant", [Text(text="I look."), call("a"), call("b", arguments="")]),
            ("tool", [result("b", "warm")]),
            ("user", "Quick!"),
            ("tool", [result("a", is_error=True)]),
            tools=[WEATHER],
        )
    )

    assert body["messages"][1]["content"][1:] == [
        {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "b", "name": "get_weather", "input": {}},
    ]
    assert body["messages"][2:] == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [text("cold")], "is_error": True},
                {"type": "tool_result", "tool_use_id": "b", "content": [text("warm")]},
                text("Quick!"),
            ],
        }
    ]


def test_a_call_without_an_answer_gets_one(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "a"), ("assistant", [call("x"), call("y")]), ("tool", [result("y")]), tools=[WEATHER]))
    last = sent(ask(("user", "a"), ("assistant", [call("x")]), tools=[WEATHER]))

    none = {"type": "tool_result", "tool_use_id": "x", "content": [text("[no result]")]}
    assert body["messages"][2]["content"][0] == none
    assert last["messages"][2] == {"role": "user", "content": [none]}


def test_a_result_without_a_call_is_said_in_words(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "a"), ("tool", [result("x", "cold")]), ("assistant", "b"), ("user", "c")))

    assert body["messages"][0]["content"] == [text("a"), text("[result of tool call x]"), text("cold")]


def test_a_second_answer_to_a_call_is_said_in_words(sent: Sent, ask: Ask) -> None:
    body = sent(
        ask(("user", "a"), ("assistant", [call("x")]), ("tool", [result("x")]), ("tool", [result("x", "warm")]))
    )

    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text", "text"]


def test_results_with_images(sent: Sent, ask: Ask) -> None:
    answer = ToolResult(tool_call_id="x", content=[Text(text="see"), Image(data=PIXEL, media_type="image/png")])

    body = sent(ask(("user", "a"), ("assistant", [call("x")]), ("tool", [answer])))

    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert body["messages"][2]["content"][0]["content"] == [text("see"), {"type": "image", "source": source}]


def test_an_empty_result(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "a"), ("assistant", [call("x")]), ("tool", [ToolResult(tool_call_id="x")])))

    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "x"}]


def test_ids_of_other_makers(sent: Sent, ask: Ask) -> None:
    ids = ["call:1/a", "call:1_a", "call.1/a", ""]

    body = sent(ask(("user", "a"), ("assistant", [call(id) for id in ids]), ("tool", [result(id, id) for id in ids])))

    used = [block["id"] for block in body["messages"][1]["content"]]
    assert len(set(used)) == 4
    assert all(id and id.replace("_", "").replace("-", "").isalnum() for id in used)
    answers = body["messages"][2]["content"]
    assert [block["tool_use_id"] for block in answers] == used
    assert answers[1]["content"] == [text("call:1_a")]


def test_ids_used_again_in_a_later_turn(sent: Sent, ask: Ask) -> None:
    turn = [("assistant", [call("call_0")]), ("tool", [result("call_0")])]

    body = sent(ask(("user", "a"), *turn, *turn))

    assert body["messages"][1]["content"][0]["id"] == "call_0"
    assert body["messages"][3]["content"][0]["id"] == "call_0_2"
    assert body["messages"][4]["content"][0]["tool_use_id"] == "call_0_2"


@pytest.mark.parametrize(
    ("arguments", "sent_input"),
    [("", {}), (" ", {}), ('{"a": [1.50]}', {"a": [1.5]}), ("[1]", {"_raw": "[1]"}), ('{"a":', {"_raw": '{"a":'})],
)
def test_arguments(sent: Sent, ask: Ask, arguments: str, sent_input: dict[str, Any]) -> None:
    body = sent(ask(("user", "a"), ("assistant", [call("x", arguments=arguments)])))

    assert body["messages"][1]["content"][0]["input"] == sent_input


def test_prefill_without_white_space_at_its_end(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "Count"), ("assistant", "One, \n")))

    assert body["messages"][-1] == {"role": "assistant", "content": [text("One,")]}


def test_prefill_where_the_model_takes_none(provider: Anthropic, ask: Ask) -> None:
    body, out = outgoing(provider, ask(("user", "Count"), ("assistant", "One,"), model=SONNET_46))

    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert out.warnings


def test_thinking_goes_back_in_order(sent: Sent, ask: Ask) -> None:
    content = [
        Reasoning(text="hm", signature="c2ln", format=CLAUDE),
        Reasoning(kind="encrypted", data="ZGF0YQ==", format=CLAUDE),
        Text(text="Yes"),
        call("x"),
    ]

    body = sent(ask(("user", "a"), ("assistant", content), ("tool", [result("x")])))

    assert body["messages"][1]["content"][:3] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        text("Yes"),
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        Reasoning(text="hm", signature="c2ln", format="google-gemini-v1"),
        Reasoning(kind="encrypted", data="eA==", format="openai-responses-v1"),
        Reasoning(text="hm", signature="c2ln"),
        Reasoning(text="unsigned", format=CLAUDE),
        Reasoning(kind="summary", text="hm", format=CLAUDE),
        Reasoning(kind="server_tool_call", data="no json", format=CLAUDE),
    ],
)
def test_thinking_that_claude_cannot_verify_is_never_sent(sent: Sent, ask: Ask, foreign: Reasoning) -> None:
    body = sent(ask(("user", "a"), ("assistant", [foreign, Text(text="b")]), ("user", "c")))

    assert body["messages"][1]["content"] == [text("b")]


def test_a_turn_never_ends_in_thinking(sent: Sent, ask: Ask) -> None:
    thought = Reasoning(text="hm", signature="c2ln", format=CLAUDE)

    body = sent(ask(("user", "a"), ("assistant", [thought, Text(text=" ")]), ("user", "b")))

    assert body["messages"] == [{"role": "user", "content": [text("a"), text("b")]}]


def test_half_of_what_a_server_tool_did_is_not_sent(sent: Sent, ask: Ask) -> None:
    def ran(**block: Any) -> Reasoning:
        return Reasoning(kind="server_tool_call", data=json.dumps(block), format=CLAUDE)

    use = ran(type="server_tool_use", id="s1", name="web_search", input={})
    found = ran(type="web_search_tool_result", tool_use_id="s1", content=[])

    def types(*parts: AnyPart) -> list[str]:
        body = sent(ask(("user", "a"), ("assistant", [*parts]), ("user", "b"), ("assistant", "c"), ("user", "d")))
        return [block["type"] for block in body["messages"][1]["content"]]

    words = Text(text="w")
    assert types(use, found, words) == ["server_tool_use", "web_search_tool_result", "text"]
    assert types(use, words) == ["text"]
    assert types(found, words) == ["text"]


def test_other_parts_of_an_assistant(provider: Anthropic, ask: Ask) -> None:
    content = [
        Image(url="https://example.com/a.png"),
        Audio(id="audio_1", transcript="spoken"),
        Refusal(text="I will not"),
        Opaque(family="openai", raw=Raw(b'{"type":"x"}')),
        Opaque(family="anthropic", raw=Raw(b'{"type":"compaction","content":"c"}')),
    ]

    body, out = outgoing(provider, ask(("user", "a"), ("assistant", content), ("user", "b")))

    assert body["messages"][1]["content"] == [
        text("spoken"),
        text("I will not"),
        {"type": "compaction", "content": "c"},
    ]
    assert out.warnings == ["images of assistant messages are not sent to Anthropic"]


# --- images and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(url="https://example.com/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        ),
        (
            Image(data=PIXEL, media_type="image/jpg"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}},
        ),
        (
            File(data="JVBERg==", media_type="application/pdf", filename="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
            },
        ),
        (
            File(url="https://example.com/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        ),
        (
            File(data=base64.b64encode("æ,ø".encode()).decode(), media_type="text/csv"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "æ,ø"}},
        ),
        (
            File(data=PIXEL, media_type="image/png"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        ),
        (Text(text="a", cache_control=MARK), {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}),
    ],
)
def test_parts_of_a_user(sent: Sent, ask: Ask, part: AnyPart, block: dict[str, Any]) -> None:
    assert sent(ask(("user", [part])))["messages"][0]["content"] == [block]


def test_a_file_by_its_id_needs_a_beta(ask: Ask) -> None:
    configured = Anthropic.Settings(
        plugin="anthropic", api_key="k", headers={"Anthropic-Beta": "context-1m-2025-08-07"}
    )
    provider = Anthropic("anthropic", configured, Timeouts())

    body, out = outgoing(provider, ask(("user", [File(file_id="file_01"), Text(text="What is it?")])))

    assert body["messages"][0]["content"][0]["source"] == {"type": "file", "file_id": "file_01"}
    assert out.headers == {"anthropic-beta": "context-1m-2025-08-07,files-api-2025-04-14"}


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Image(data="AAAA", media_type="image/tiff"), "unsupported_image_format"),
        (Image(data="AAAA"), "unsupported_image_format"),
        (Audio(data="AAAA", format="wav"), "invalid_request"),
        (Video(url="https://example.com/a.mp4"), "invalid_request"),
        (File(data="AAAA", media_type="application/zip"), "invalid_request"),
        (File(data="AAAA!", media_type="text/plain"), "invalid_request"),
        (ToolResult(tool_call_id="x", content=[Audio(data="AAAA", format="wav")]), "invalid_request"),
    ],
)
def test_what_cannot_be_expressed_is_a_bad_request(provider: Anthropic, ask: Ask, part: AnyPart, kind: str) -> None:
    with pytest.raises(BadRequest) as caught:
        provider.encode(ask(("user", [part])))

    assert (caught.value.status, caught.value.kind, caught.value.param) == (400, kind, "messages")


# --- tools -----------------------------------------------------------------------------------------------------------


def test_tools(sent: Sent, ask: Ask) -> None:
    tools = [
        Tool(name="get_weather", description="The weather", parameters=CITY, cache_control=MARK),
        Tool(name="now"),
        Tool(name="loose", parameters=Raw(b'{"properties":{}}')),
        Tool(name="json_output", parameters=CITY),
    ]

    body = sent(ask(tools=tools))

    assert body["tools"] == [
        {
            "name": "get_weather",
            "description": "The weather",
            "input_schema": json.loads(bytes(CITY)),
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        {"name": "loose", "input_schema": {"type": "object", "properties": {}}},
        {"name": "json_output_", "input_schema": json.loads(bytes(CITY))},
    ]
    assert "tool_choice" not in body


def test_strict_is_kept_where_the_model_has_it_and_the_schema_is_narrow(sent: Sent, ask: Ask) -> None:
    open_schema = Raw(b'{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}')

    def strict(schema: Raw, model: str) -> bool:
        return "strict" in sent(ask(tools=[Tool(name="f", parameters=schema, strict=True)], model=model))["tools"][0]

    assert strict(CITY, SONNET_45)
    assert not strict(open_schema, SONNET_45)
    assert not strict(CITY, SONNET_4)


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        (ToolChoice(mode="auto"), None, {"type": "auto"}),
        (ToolChoice(mode="none"), None, {"type": "none"}),
        (ToolChoice(mode="required"), None, {"type": "any"}),
        (ToolChoice(mode="named", name="get_weather"), None, {"type": "tool", "name": "get_weather"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="none"), False, {"type": "none"}),
        (None, True, None),
    ],
)
def test_tool_choice(
    sent: Sent, ask: Ask, choice: ToolChoice | None, parallel: bool | None, wire: dict[str, Any] | None
) -> None:
    body = sent(ask(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=parallel))

    assert body.get("tool_choice") == wire


def test_no_tools_no_choice(sent: Sent, ask: Ask) -> None:
    body = sent(ask(tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=False))

    assert not {"tools", "tool_choice"} & body.keys()


def test_calls_in_a_conversation_without_tools(sent: Sent, ask: Ask) -> None:
    """Anthropic refuses them: the tools that were called are declared, and not to be called again."""
    body = sent(ask(("user", "a"), ("assistant", [call("x")]), ("tool", [result("x")])))

    assert [tool["name"] for tool in body["tools"]] == ["get_weather"]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize("model", [OPUS_55, SONNET_55, "claude-fable-5-1", "claude-mythos-preview"])
def test_a_forced_call_where_the_model_takes_none(provider: Anthropic, ask: Ask, model: str) -> None:
    body, out = outgoing(provider, ask(tools=[WEATHER], tool_choice=ToolChoice(mode="required"), model=model))

    assert body["tool_choice"] == {"type": "auto"}
    assert any("tool_choice" in each for each in out.warnings)


def test_a_forced_call_switches_off_thinking_that_nobody_asked_for(sent: Sent, ask: Ask) -> None:
    body = sent(ask(tools=[WEATHER], tool_choice=ToolChoice(mode="required"), model=SONNET_5))

    assert body["tool_choice"] == {"type": "any"}
    assert body["thinking"] == {"type": "disabled"}


def test_server_tools(provider: Anthropic, ask: Ask) -> None:
    search = Raw(b'{"type":"web_search_20250305","name":"web_search","max_uses":2}')
    other = Raw(b'{"type":"web_search_preview"}')

    body, out = outgoing(provider, ask(tools=[Tool(name="web_search", server=search), Tool(name="w", server=other)]))

    assert body["tools"] == [json.loads(bytes(search))]
    assert len(out.warnings) == 1


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "reasoning", "max_tokens", "thinking", "effort"),
    [
        (SONNET_45, None, 1000, None, None),
        (SONNET_45, ReasoningConfig(effort="high"), 10_000, {"type": "enabled", "budget_tokens": 8000}, None),
        (SONNET_45, ReasoningConfig(effort="xhigh"), 20_000, {"type": "enabled", "budget_tokens": 19_000}, None),
        (SONNET_45, ReasoningConfig(effort="medium"), 10_000, {"type": "enabled", "budget_tokens": 5000}, None),
        (SONNET_45, ReasoningConfig(effort="low"), 10_000, {"type": "enabled", "budget_tokens": 2000}, None),
        (SONNET_45, ReasoningConfig(effort="minimal"), 10_000, {"type": "enabled", "budget_tokens": 1024}, None),
        (SONNET_45, ReasoningConfig(enabled=True), 10_000, {"type": "enabled", "budget_tokens": 5000}, None),
        (SONNET_45, ReasoningConfig(max_tokens=3000), 10_000, {"type": "enabled", "budget_tokens": 3000}, None),
        (SONNET_45, ReasoningConfig(max_tokens=100), 10_000, {"type": "enabled", "budget_tokens": 1024}, None),
        (SONNET_45, ReasoningConfig(effort="max"), 500_000, {"type": "enabled", "budget_tokens": 128_000}, None),
        (SONNET_45, ReasoningConfig(effort="none"), 1000, {"type": "disabled"}, None),
        (SONNET_45, ReasoningConfig(enabled=False), 1000, {"type": "disabled"}, None),
        (OLD, ReasoningConfig(effort="none"), 1000, None, None),
        (OLD, ReasoningConfig(effort="high"), 1000, None, None),
        (SONNET_46, ReasoningConfig(effort="high"), 1000, {"type": "adaptive", "display": "summarized"}, "high"),
        (SONNET_46, ReasoningConfig(effort="xhigh"), 1000, {"type": "adaptive", "display": "summarized"}, "max"),
        (SONNET_46, ReasoningConfig(max_tokens=2000), 9000, {"type": "enabled", "budget_tokens": 2000}, None),
        (OPUS_48, ReasoningConfig(effort="xhigh"), 1000, {"type": "adaptive", "display": "summarized"}, "xhigh"),
        (OPUS_48, ReasoningConfig(effort="minimal"), 1000, {"type": "adaptive", "display": "summarized"}, "low"),
        (OPUS_48, ReasoningConfig(enabled=True), 1000, {"type": "adaptive", "display": "summarized"}, None),
        (OPUS_48, ReasoningConfig(enabled=True, exclude=True), 1000, {"type": "adaptive", "display": "omitted"}, None),
        (OPUS_48, ReasoningConfig(max_tokens=2000), 9000, {"type": "adaptive", "display": "summarized"}, None),
        (OPUS_48, ReasoningConfig(effort="none"), 1000, None, None),
        (SONNET_5, ReasoningConfig(effort="none"), 1000, {"type": "disabled"}, None),
        (SONNET_55, ReasoningConfig(effort="none"), 1000, {"type": "between_tools"}, None),
        (OPUS_55, ReasoningConfig(effort="none"), 1000, None, None),
    ],
)
def test_thinking(
    sent: Sent,
    ask: Ask,
    model: str,
    reasoning: ReasoningConfig | None,
    max_tokens: int,
    thinking: dict[str, Any] | None,
    effort: str | None,
) -> None:
    body = sent(ask(model=model, reasoning=reasoning, max_tokens=max_tokens))

    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == max_tokens


def test_max_tokens_are_raised_for_a_budget(provider: Anthropic, ask: Ask) -> None:
    body, out = outgoing(provider, ask(reasoning=ReasoningConfig(effort="high"), max_tokens=500))

    assert body["thinking"]["budget_tokens"] == 1024
    assert body["max_tokens"] == 1524
    assert out.warnings == ["max_tokens raised from 500 to 1524: thinking takes up to 1024 of them"]


@pytest.mark.parametrize(("asked", "budget"), [(64_000, 9000), (64_000, 63_999), (70_000, 64_000), (None, 100_000)])
def test_a_budget_stays_below_what_the_model_writes(
    provider: Anthropic, ask: Ask, monkeypatch: pytest.MonkeyPatch, asked: int | None, budget: int
) -> None:
    monkeypatch.setattr(provider, "_max_output", {SONNET_45: 64_000})

    body, _ = outgoing(provider, ask(reasoning=ReasoningConfig(max_tokens=budget), max_tokens=asked))

    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]
    assert body["max_tokens"] <= max(64_000, asked or 0)


def test_thinking_excludes_sampling_and_forced_calls(provider: Anthropic, ask: Ask) -> None:
    body, out = outgoing(
        provider,
        ask(
            model=SONNET_4,
            reasoning=ReasoningConfig(effort="high"),
            max_tokens=10_000,
            temperature=0.3,
            top_k=5,
            top_p=0.5,
            tools=[WEATHER],
            tool_choice=ToolChoice(mode="required"),
        ),
    )

    assert body["temperature"] == 1
    assert not {"top_k", "top_p"} & body.keys()
    assert body["tool_choice"] == {"type": "auto"}
    assert out.dropped == ["top_k", "top_p"]
    assert len(out.warnings) == 2


def test_thinking_is_off_in_a_tool_loop_that_came_without_it(provider: Anthropic, ask: Ask) -> None:
    reasoning = ReasoningConfig(effort="high")
    thought = Reasoning(text="hm", signature="c2ln", format=CLAUDE)

    def thinks(*parts: AnyPart) -> str:
        request = ask(("user", "a"), ("assistant", [*parts]), ("tool", [result("x")]), reasoning=reasoning)
        kind: str = outgoing(provider, request)[0]["thinking"]["type"]
        return kind

    assert thinks(call("x")) == "disabled"
    assert thinks(thought, call("x")) == "enabled"


def test_a_budget_excludes_prefill(sent: Sent, ask: Ask) -> None:
    body = sent(ask(("user", "a"), ("assistant", "b"), reasoning=ReasoningConfig(effort="low")))

    assert body["messages"][-1]["role"] == "user"


def test_thinking_that_is_bound_to_its_conversation_is_left_out_rather_than_refused(
    provider: Anthropic, ask: Ask
) -> None:
    thought = Reasoning(text="hm", signature="c2ln", format=CLAUDE)
    talk = [("user", "a"), ("assistant", [thought, Text(text="b")]), ("user", "c")]
    binding = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}

    def thinks(model: str, *turns: Any, **members: Any) -> tuple[dict[str, Any] | None, str | None]:
        body, out = outgoing(provider, ask(*turns, model=model, **members))
        return body.get("thinking"), out.headers.get("anthropic-beta")

    beta = "thinking-binding-controls-2026-08-01"
    assert thinks(OPUS_55, *talk) == ({"type": "adaptive", **binding}, beta)
    low = {"type": "adaptive", "display": "summarized", **binding}
    assert thinks(SONNET_55, *talk, reasoning=ReasoningConfig(effort="low")) == (low, beta)
    assert thinks(SONNET_5, *talk) == (None, None)
    assert thinks(OPUS_55, ("user", "a")) == (None, None)


def test_no_more_effort_than_high_without_thinking(sent: Sent, ask: Ask) -> None:
    body = sent(ask(model=SONNET_5, reasoning=ReasoningConfig(effort="none"), verbosity="max"))

    assert body["output_config"] == {"effort": "high"}


def test_models_that_do_not_think_get_no_thinking_back(sent: Sent, ask: Ask) -> None:
    thought = Reasoning(text="hm", signature="c2ln", format=CLAUDE)

    body = sent(ask(("user", "a"), ("assistant", [thought, Text(text="b")]), ("user", "c"), model=OLD))

    assert body["messages"][1]["content"] == [text("b")]


# --- the form of the answer ------------------------------------------------------------------------------------------


def dog(schema: Raw = CITY) -> ResponseFormat:
    return ResponseFormat(type="json_schema", name="dog", schema=schema, strict=True)


def test_structured_outputs(sent: Sent, ask: Ask) -> None:
    body = sent(ask(response_format=dog()))

    assert body["output_config"] == {"format": {"type": "json_schema", "schema": json.loads(bytes(CITY))}}
    assert not {"tools", "system"} & body.keys()


def test_structured_outputs_beside_an_effort(sent: Sent, ask: Ask) -> None:
    body = sent(ask(response_format=dog(), reasoning=ReasoningConfig(effort="low"), model=OPUS_48))

    assert body["output_config"].keys() == {"format", "effort"}


def test_a_forced_call_where_there_are_no_structured_outputs(sent: Sent, ask: Ask) -> None:
    body = sent(ask(response_format=dog(), model=SONNET_4))

    assert [(tool["name"], tool["input_schema"]) for tool in body["tools"]] == [
        ("json_output", json.loads(bytes(CITY)))
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "json_output", "disable_parallel_tool_use": True}


def test_a_forced_call_beside_the_clients_tools(sent: Sent, ask: Ask) -> None:
    body = sent(ask(response_format=dog(), tools=[WEATHER], model=SONNET_4))

    assert [tool["name"] for tool in body["tools"]] == ["get_weather", "json_output"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_schema_in_words_where_nothing_can_be_forced(sent: Sent, ask: Ask) -> None:
    body = sent(
        ask(
            ("system", "A"),
            ("user", "b"),
            response_format=dog(),
            reasoning=ReasoningConfig(effort="low"),
            model=SONNET_4,
        )
    )

    assert body["system"][0] == text("A")
    assert bytes(CITY).decode() in body["system"][1]["text"]
    assert "tools" not in body


def test_json_object_is_asked_for_in_words(sent: Sent, ask: Ask) -> None:
    body = sent(ask(response_format=ResponseFormat(type="json_object")))

    assert "JSON" in body["system"][0]["text"]


def test_other_forms_are_dropped(provider: Anthropic, ask: Ask) -> None:
    _, out = outgoing(provider, ask(response_format=ResponseFormat(type="grammar", grammar="x")))

    assert out.dropped == ["response_format"]


def test_a_recursive_schema_is_asked_for_by_a_forced_call(sent: Sent, ask: Ask) -> None:
    tree = Raw(b'{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"}}}}')

    body = sent(ask(response_format=dog(tree)))

    assert body["tool_choice"]["name"] == "json_output"


# --- the small members -----------------------------------------------------------------------------------------------


def test_max_tokens_default_to_what_the_model_writes(ask: Ask) -> None:
    class Known(Anthropic):
        def catalogue(self) -> list[Model]:
            return [Model(id="claude-x", max_output=64_000, aliases=["claude-x-latest"])]

    provider = Known("anthropic", Anthropic.Settings(plugin="anthropic"), Timeouts())

    def max_tokens(model: str, wanted: int | None = None) -> int:
        wire: int = outgoing(provider, ask(model=model, max_tokens=wanted))[0]["max_tokens"]
        return wire

    assert max_tokens("claude-x") == 64_000
    assert max_tokens("claude-x-latest") == 64_000
    assert max_tokens("claude-x", 10) == 10
    assert max_tokens("claude-opus-9") == 128_000
    assert max_tokens("nobody-knows") == 4096


@pytest.mark.parametrize(
    ("model", "asked", "wire", "dropped"),
    [
        (SONNET_4, {"temperature": 1.7}, {"temperature": 1.0}, []),
        (SONNET_4, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}, []),
        (SONNET_45, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ["top_p"]),
        (SONNET_45, {"top_p": 0.9}, {"top_p": 0.9}, []),
        ("claude-opus-4-1-20250805", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ["top_p"]),
        (OPUS_48, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {}, ["temperature", "top_p", "top_k"]),
    ],
)
def test_sampling(
    provider: Anthropic, ask: Ask, model: str, asked: dict[str, Any], wire: dict[str, Any], dropped: list[str]
) -> None:
    body, out = outgoing(provider, ask(model=model, **asked))

    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == wire
    assert out.dropped == dropped


def test_what_has_no_counterpart_is_named(provider: Anthropic, ask: Ask) -> None:
    asked = {
        "min_p": 0.1,
        "top_a": 0.1,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "repetition_penalty": 1.1,
        "seed": 0,
        "logit_bias": {"1": 1.0},
        "logprobs": True,
        "top_logprobs": 0,
    }

    body, out = outgoing(provider, ask(**asked, verbosity="low", service_tier="flex", extra={"store": Raw(b"true")}))

    assert set(out.dropped) == {*asked, "verbosity", "service_tier", "store"}
    assert body.keys() == {"model", "max_tokens", "messages"}


def test_the_rest(sent: Sent, ask: Ask) -> None:
    body = sent(
        ask(
            stop=["END", " \n", ""],
            user="person-7",
            service_tier="default",
            cache_control=MARK,
            stream=True,
            model=OPUS_48,
            verbosity="low",
        )
    )

    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": hashlib.sha256(b"person-7").hexdigest()}
    assert body["service_tier"] == "standard_only"
    assert body["cache_control"] == {"type": "ephemeral"}
    assert body["stream"] is True
    assert body["output_config"] == {"effort": "low"}


def test_members_of_anthropics_own_vocabulary_are_passed_on(provider: Anthropic, ask: Ask) -> None:
    extra = {"context_management": Raw(b'{"edits": []}'), "model": Raw(b'"another"')}

    body, out = outgoing(provider, ask(family="anthropic", extra=extra))

    assert body["context_management"] == {"edits": []}
    assert body["model"] == "claude-sonnet-4-5"
    assert out.dropped == []


def test_the_last_four_cache_marks_are_kept(provider: Anthropic, ask: Ask) -> None:
    marked = [Text(text=f"{number}", cache_control=MARK) for number in range(3)]
    request = ask(
        ("system", [Text(text="s", cache_control=MARK)]),
        ("user", marked),
        tools=[Tool(name="f", cache_control=MARK)],
    )

    body, out = outgoing(provider, request)
    request.cache_control = MARK
    with_one_for_all, _ = outgoing(provider, request)

    assert "cache_control" not in body["tools"][0]
    assert "cache_control" in body["system"][0]
    assert out.warnings == ["of 5 cache marks the last 4 are kept"]
    assert "cache_control" not in with_one_for_all["system"][0]
    assert all("cache_control" in block for block in with_one_for_all["messages"][0]["content"])


def test_encoding_changes_nothing_of_the_request(provider: Anthropic, ask: Ask) -> None:
    """The same request may go to the next endpoint."""
    request = ask(("user", "a"), ("assistant", [call("x")]), response_format=dog(), model=SONNET_4, stop=[" "])

    assert provider.encode(request).body == provider.encode(request).body


# --- any conversation ------------------------------------------------------------------------------------------------

words = st.text(alphabet="ab \n", max_size=4)
ids = st.sampled_from(["a", "b", "c:1", ""])
assistant_part = st.one_of(
    words.map(lambda value: Text(text=value)),
    ids.map(call),
    words.map(lambda value: Reasoning(text=value, signature="c2ln", format=CLAUDE)),
)
user_part = st.one_of(
    words.map(lambda value: Text(text=value)),
    st.just(Image(url="https://example.com/a.png")),
    ids.map(result),
)
messages = st.lists(
    st.one_of(
        st.lists(assistant_part, max_size=4).map(lambda parts: Message(role="assistant", content=parts)),
        st.lists(user_part, max_size=3).map(lambda parts: Message(role="user", content=parts)),
        ids.map(lambda id: Message(role="tool", content=[result(id)])),
        words.map(lambda value: Message(role="system", content=[Text(text=value)])),
    ),
    max_size=8,
)
requests = st.builds(
    ChatRequest,
    messages=messages,
    model=st.sampled_from([OLD, SONNET_4, SONNET_45, SONNET_46, OPUS_48, SONNET_5, SONNET_55, OPUS_55]),
    max_tokens=st.one_of(st.none(), st.integers(1, 200_000)),
    temperature=st.one_of(st.none(), st.floats(0, 2)),
    top_p=st.one_of(st.none(), st.floats(0.01, 1)),
    tools=st.sampled_from([[], [WEATHER]]),
    tool_choice=st.sampled_from([None, ToolChoice(mode="required"), ToolChoice(mode="none")]),
    parallel_tool_calls=st.sampled_from([None, False]),
    reasoning=st.sampled_from(
        [None, ReasoningConfig(effort="high"), ReasoningConfig(effort="none"), ReasoningConfig(max_tokens=2000)]
    ),
    response_format=st.sampled_from([None, dog(), ResponseFormat(type="json_object")]),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests)
def test_any_conversation_keeps_anthropics_rules(sent: Sent, request: ChatRequest) -> None:
    body = sent(request)

    turns = body["messages"]
    assert turns[0]["role"] == "user"
    assert all(one["role"] != other["role"] for one, other in pairwise(turns))
    assert all(turn["content"] for turn in turns)
    calls = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert len(set(calls)) == len(calls)
    for before, turn in zip([{"content": []}, *turns], turns, strict=False):
        asked = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        kinds = [block["type"] for block in turn["content"]]
        answered = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        assert answered == asked
        assert kinds[: len(asked)] == ["tool_result"] * len(asked)
        assert turn["role"] == "user" or kinds[-1] not in ("thinking", "redacted_thinking")
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")
    assert not (calls and "tools" not in body)
    if budget := body.get("thinking", {}).get("budget_tokens"):
        assert 1024 <= budget < body["max_tokens"]
        assert turns[-1]["role"] == "user"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests)
def test_any_request_fits_the_interface_description(
    sent: Sent, schema: Draft202012Validator, request: ChatRequest
) -> None:
    body = sent(request)
    assume(body.pop("stream", None) is None)

    schema.validate(body)


@pytest.fixture(scope="session")
def schema() -> Draft202012Validator:
    """The types of Anthropic's own SDK as a JSON schema."""
    shared = Path(os.environ.get("ONEBOX_SHARED", Path(__file__).parents[4] / "shared"))
    path = shared / "specs" / "anthropic.schema.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    whole = json.loads(path.read_text())
    return Draft202012Validator({"$ref": "#/$defs/MessageCreateParamsNonStreaming", "$defs": whole["$defs"]})
