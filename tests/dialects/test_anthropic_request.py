"""Requests of Anthropic's clients: what is read of them, what is refused, and what goes on to an upstream that speaks the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.dialects.anthropic_messages.marks import wrap
from router.errors import BadRequest

from .anthropic_making import ASK, DIALECT, body, make_call
from .lanes import patched

PNG = {"type": "base64", "media_type": "image/png", "data": "aWNvbg=="}
TOOL: dict[str, Any] = {"name": "weather", "input_schema": {"type": "object"}}


def refused(**members: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        DIALECT.peek(body(**members), {}, "chat")
    return caught.value


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]}
                ]
            },
            "messages[0].content[0].input",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "thinking"}]}]}, "messages[0].content[0].thinking"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}],
                    }
                ]
            },
            "messages[0].content[0].content[0].text",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stream": "yes"}, "stream"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image", "source": PNG}]}, "system[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "no spaces", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f" * 129, "input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "much"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"models": ["a"], "fallbacks": [{"model": "b"}]}, "fallbacks"),
        ({"fallbacks": [{"model": "a"}] * 4}, "fallbacks"),
        ({"fallbacks": ["a"]}, "fallbacks[0]"),
        ({"provider": {"nonsense": 1}}, "provider.nonsense"),
        ({"plugins": [{}]}, "plugins[0].id"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"route": "elsewhere"}, "route"),
    ],
)
def test_a_bad_member_is_named(members: dict[str, Any], param: str):
    error = refused(**members)

    assert (error.status, error.kind, error.param) == (400, "invalid_request", param)


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b'{"a": "\xff"}', b'{"model": "\\ud800"}', b"[" * 5000])
def test_what_is_no_object_is_refused(sent: bytes):
    with pytest.raises(BadRequest):
        DIALECT.peek(sent, {}, "chat")


# --- what routing reads ----------------------------------------------------------------------------------------------


def test_the_head_says_what_routing_needs():
    head = DIALECT.peek(
        body(
            fallbacks=[{"model": "b"}, {"model": "c"}],
            stream=True,
            system="Be brief.",
            tools=[TOOL],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            thinking={"type": "adaptive", "display": "omitted"},
            output_config={"format": {"type": "json_schema", "schema": {}}},
            metadata={"user_id": "u-1"},
            session_id="s-1",
            temperature=None,
            messages=[
                {"role": "user", "content": [{"type": "image", "source": PNG}]},
                {"role": "system", "content": "More."},
            ],
            novelty=1,
        ),
        {},
        "chat",
    )

    assert (head.model, head.models, head.stream, head.max_tokens) == ("claude/sonnet", ["b", "c"], True, 1000)
    assert (head.user, head.session_id, head.unknown) == ("u-1", "s-1", ["novelty"])
    assert head.needs == {"tools", "tool_choice", "parallel_tool_calls", "reasoning", "response_format", "max_tokens"}
    assert head.modalities == {"image"}
    assert head.exclude_reasoning
    assert head.capped


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({}, 5),
        ({"system": "x" * 400}, 100),
        ({"system": [{"type": "text", "text": "x" * 400}]}, 100),
        ({"tools": [{**TOOL, "description": "x" * 400}]}, 100),
        ({"messages": [{"role": "user", "content": "字" * 400}]}, 300),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": PNG}]}]}, 1600),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": PNG}]},
                            {"type": "tool_result", "tool_use_id": "u", "content": "x" * 400},
                        ],
                    }
                ]
            },
            1700,
        ),
    ],
)
def test_the_estimate_counts_all_of_the_prompt(more: dict[str, Any], least: int):
    tokens = DIALECT.peek(body(**more), {}, "count_tokens").prompt_tokens

    assert least <= tokens < least + 400


def test_the_data_of_images_is_not_counted_as_text():
    large = {"type": "image", "source": {**PNG, "data": "A" * 1_000_000}}

    assert DIALECT.peek(body(messages=[{"role": "user", "content": [large]}]), {}, "chat").prompt_tokens < 2000


def test_counting_needs_no_max_tokens_and_no_stream():
    head = DIALECT.peek(body(max_tokens=None, stream=True), {}, "count_tokens")

    assert head.stream is False


# --- the raw lane ----------------------------------------------------------------------------------------------------


def test_members_stay_byte_for_byte():
    sent = (
        b'{"model": "x", "max_tokens": 1e3, "messages": [ {"role":"user", "content":"\\u00fc\\/" , "novel": 1.0} ],'
        b' "temperature": 0.50, "new_beta": {"a":[1.0,  2]},"fallbacks":[{"model":"y"}],"provider":{},"session_id":"s",'
        b'"trace":{},"plugins":[],"route":"fallback"}'
    ).replace(b"1e3", b"1000")
    call = make_call(sent)
    assert call.candidate is not None

    went = DIALECT.patch(call, call.candidate)

    assert went == (
        b'{"model":"claude-sonnet-4-5","max_tokens":1000,'
        b'"messages":[ {"role":"user", "content":"\\u00fc\\/" , "novel": 1.0} ],'
        b'"temperature":0.50,"new_beta":{"a":[1.0,  2]}}'
    )
    assert call.dropped == []


def test_max_tokens_is_only_required_by_anthropics_models():
    call = make_call(max_tokens=None)

    with pytest.raises(BadRequest) as caught:
        patched(call)

    assert caught.value.param == "max_tokens"


def test_a_switch_of_ours_makes_a_stream():
    call = make_call(stream=False)
    call.head.stream = True

    assert patched(call)["stream"] is True


@pytest.mark.parametrize("spaces", [True, False])
def test_thinking_that_claude_has_not_signed_stays_here(spaces: bool):
    own = {"type": "thinking", "thinking": "Well…", "signature": "c2ln"}
    foreign = [
        {"type": "thinking", "thinking": "Hm", "signature": wrap("text", "google-gemini-v1", None, "Z2Vt")},
        {"type": "redacted_thinking", "data": wrap("encrypted", "openai-responses-v1", "rs_1", "b3Bh")},
        {"type": "thinking", "thinking": "Oh", "signature": ""},
        {"type": "thinking", "thinking": "Ah"},
    ]
    text = {"type": "text", "text": "Hi", "novel": 1}
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [own, *foreign, text]},
        {"role": "assistant", "content": foreign},
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
    ]
    asked = {**ASK, "messages": messages}
    call = make_call(json.dumps(asked, separators=None if spaces else (",", ":")).encode())

    assert patched(call)["messages"] == [messages[0], {"role": "assistant", "content": [own, text]}, messages[3]]


def test_version_and_betas_go_with_the_body():
    headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2025-01-01, b-2025-01-01",
        "x-anthropic-beta": "b-2025-01-01,c-2025-01-01,no\nsuch",
        "cookie": "a=b",
    }

    assert DIALECT.raw_headers(make_call(headers=headers)) == {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2025-01-01,b-2025-01-01,c-2025-01-01",
    }
    assert DIALECT.raw_headers(make_call(headers={"anthropic-version": "latest"})) == {}
