"""What a client's request becomes for each kind of upstream, the same on both lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from router_openai_compatible import Compatible

Make = Callable[..., Compatible]
Sent = Callable[..., dict[str, Any]]

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
EVERYTHING = {
    "temperature": 1.5,
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.1,
    "top_a": 0.1,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 1,
    "stop": ["a", "b", "c", "d", "e", "f"],
    "logit_bias": {"1": 2},
    "logprobs": True,
    "top_logprobs": 2,
    "user": "u",
    "tools": TOOLS,
    "max_tokens": 9,
    "parallel_tool_calls": False,
    "service_tier": "flex",
    "store": False,
    "metadata": {"a": "b"},
    "verbosity": "low",
}


def rest(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what every body has."""
    return {name: value for name, value in body.items() if name not in ("model", "messages", "tools")}


# --- members ---------------------------------------------------------------------------------------------------------

COMMON = {"top_p": 0.5, "stop": ["a", "b", "c", "d", "e", "f"]}


@pytest.mark.parametrize(
    ("preset", "model", "expected"),
    [
        (
            "groq",
            "llama-3.3-70b-versatile",
            {"temperature": 1.5, "top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.1, "seed": 1}
            | {"stop": ["a", "b", "c", "d"], "user": "u", "parallel_tool_calls": False, "service_tier": "flex"}
            | {"max_completion_tokens": 9},
        ),
        ("zai", "glm-4.6", {"temperature": 1, "top_p": 0.5, "stop": ["a"], "max_tokens": 9}),
        (
            "moonshot",
            "kimi-k2.6",
            {"stop": ["a", "b", "c", "d", "e"], "user": "u", "max_tokens": 9},
        ),
        (
            "xai",
            "grok-4.3",
            {"temperature": 1.5, "top_p": 0.5, "seed": 1, "logprobs": True, "top_logprobs": 2, "user": "u"}
            | {"parallel_tool_calls": False, "max_completion_tokens": 9},
        ),
        (
            "xai",
            "grok-4.20-0309-non-reasoning",
            COMMON
            | {"temperature": 1.5, "frequency_penalty": 0.1, "presence_penalty": 0.1, "seed": 1, "logprobs": True}
            | {"top_logprobs": 2, "user": "u", "parallel_tool_calls": False, "max_completion_tokens": 9},
        ),
        (
            "llamacpp",
            "anything",
            COMMON
            | {"temperature": 1.5, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1, "frequency_penalty": 0.1, "seed": 1}
            | {"presence_penalty": 0.1, "logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 2, "user": "u"}
            | {"parallel_tool_calls": False, "max_tokens": 9},
        ),
        ("", "anything", {name: value for name, value in EVERYTHING.items() if name != "tools"}),
    ],
)
def test_what_an_upstream_refuses_is_left_out(
    preset: str, model: str, expected: dict[str, Any], provider: Make, sent: Sent
) -> None:
    made = provider(preset, **({} if preset else {"base_url": "http://127.0.0.1:9/v1"}))

    assert rest(sent(made, model, EVERYTHING)) == expected


def test_perplexity_has_no_tools(provider: Make, sent: Sent) -> None:
    assert "tools" not in sent(provider("perplexity"), "sonar", EVERYTHING)


def test_what_is_left_out_is_named(provider: Make) -> None:
    from msgspec import Raw

    from router import ChatRequest, Message, Text

    request = ChatRequest(
        messages=[Message(role="user", content=[Text(text="hi")])],
        model="llama-3.3-70b-versatile",
        family="anthropic",
        top_k=3,
        logprobs=True,
        max_tokens=5,
        extra={"context_management": Raw(b"{}")},
    )

    outgoing = provider("groq").encode(request)

    assert sorted(outgoing.dropped) == ["context_management", "logprobs", "top_k"]


@pytest.mark.parametrize(("preset", "asked"), [("groq", True), ("perplexity", False)])
def test_usage_of_streams_is_asked_for_where_it_may_be(preset: str, asked: bool, provider: Make, sent: Sent) -> None:
    body = sent(provider(preset), "m", {"stream": True})

    assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if asked else None)


def test_settings_drop_further_members(provider: Make, sent: Sent) -> None:
    made = provider("vllm", drop=["seed", "x_own"], max_tokens="max_completion_tokens")

    assert rest(sent(made, "m", {"seed": 1, "x_own": 2, "x_other": 3, "max_tokens": 4})) == {
        "x_other": 3,
        "max_completion_tokens": 4,
    }


# --- thinking --------------------------------------------------------------------------------------------------------

HIGH, LOW, OFF, ON = ({"effort": "high"}, {"effort": "low"}, {"effort": "none"}, {"enabled": True})


@pytest.mark.parametrize(
    ("preset", "model", "asked", "expected"),
    [
        ("groq", "openai/gpt-oss-120b", {"effort": "xhigh"}, {"reasoning_effort": "high"}),
        ("groq", "openai/gpt-oss-120b", OFF, {"reasoning_effort": "low"}),
        ("groq", "qwen/qwen3-32b", HIGH, {"reasoning_format": "parsed"}),
        ("groq", "qwen/qwen3-32b", OFF, {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ("groq", "llama-3.3-70b-versatile", HIGH, {}),
        ("groq", "not-known", HIGH, {"reasoning_effort": "high"}),
        ("groq", "not-known", OFF, {}),
        ("cerebras", "zai-glm-4.7", OFF, {"reasoning_effort": "none"}),
        ("xai", "grok-4.3", {"effort": "minimal"}, {"reasoning_effort": "low"}),
        ("xai", "grok-4.20-0309-reasoning", HIGH, {}),
        ("deepseek", "deepseek-v4-pro", HIGH, {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        (
            "deepseek",
            "deepseek-v4-pro",
            {"effort": "max"},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        ),
        ("deepseek", "deepseek-v4-pro", ON, {"thinking": {"type": "enabled"}}),
        ("deepseek", "deepseek-v4-pro", OFF, {"thinking": {"type": "disabled"}}),
        ("deepseek", "deepseek-chat", HIGH, {}),
        ("zai", "glm-4.6", HIGH, {"thinking": {"type": "enabled"}}),
        ("zai", "glm-5.2", LOW, {"reasoning_effort": "high"}),
        ("moonshot", "kimi-k2.6", OFF, {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2-thinking", OFF, {}),
        ("together", "deepseek-ai/DeepSeek-V4-Pro", ON, {"reasoning": {"enabled": True}}),
        ("together", "zai-org/GLM-5", OFF, {"reasoning": {"enabled": False}}),
        ("together", "openai/gpt-oss-20b", LOW, {"reasoning_effort": "low"}),
        ("alibaba", "qwen-plus", {"max_tokens": 500}, {"enable_thinking": True, "thinking_budget": 500}),
        ("vllm", "qwen3", OFF, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("vllm", "gpt-oss-20b", HIGH, {"reasoning_effort": "high"}),
        ("ollama", "qwen3", OFF, {"reasoning_effort": "none"}),
    ],
)
def test_thinking_is_asked_for_as_the_upstream_wants_it(
    preset: str, model: str, asked: dict[str, Any], expected: dict[str, Any], provider: Make, sent: Sent
) -> None:
    assert rest(sent(provider(preset), model, {"reasoning": asked})) == expected


@pytest.mark.parametrize("preset", ["groq", "deepseek", "together", "vllm", "zai", "alibaba", "ollama"])
def test_nothing_is_said_about_thinking_where_the_client_said_nothing(preset: str, provider: Make, sent: Sent) -> None:
    assert rest(sent(provider(preset), "not-known", {})) == {}


# --- messages, tools and formats -------------------------------------------------------------------------------------


DETAILS = [{"type": "reasoning.text", "text": "be"}, {"type": "reasoning.text", "text": "cause"}]


@pytest.mark.parametrize(
    "kept", [{"reasoning": "because"}, {"reasoning_content": "because"}, {"reasoning_details": DETAILS}]
)
def test_thinking_goes_back_under_the_upstreams_name(kept: dict[str, Any], provider: Make, sent: Sent) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", **kept, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]

    replayed = sent(provider("deepseek"), "deepseek-v4-pro", {"messages": messages})["messages"][1]
    plain = sent(provider("groq"), "openai/gpt-oss-20b", {"messages": messages})["messages"][1]

    assert replayed["reasoning_content"] == "because"
    assert not {"reasoning", "reasoning_details"} & replayed.keys()
    assert not {"reasoning", "reasoning_content", "reasoning_details"} & plain.keys()


def test_names_of_messages_are_left_out_where_they_are_refused(provider: Make, sent: Sent) -> None:
    messages = {"messages": [{"role": "user", "name": "ann", "content": "hi"}]}

    assert sent(provider("groq"), "m", messages)["messages"] == [{"role": "user", "content": "hi"}]
    assert sent(provider("xai"), "m", messages)["messages"][0]["name"] == "ann"


def test_developers_become_the_system(provider: Make, sent: Sent) -> None:
    messages = {"messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]}

    assert sent(provider("groq"), "m", messages)["messages"][0]["role"] == "system"
    assert sent(provider("vllm", developer_role=True), "m", messages)["messages"][0]["role"] == "developer"


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("preset", "choice", "expected"),
    [
        ("groq", "required", "required"),
        ("moonshot", "required", None),
        ("moonshot", NAMED, NAMED),
        ("zai", NAMED, NAMED),
        ("zai", "required", None),
        ("zai", "auto", "auto"),
    ],
)
def test_choices_of_tools(preset: str, choice: Any, expected: Any, provider: Make, sent: Sent) -> None:
    body = sent(provider(preset), "m", {"tools": TOOLS, "tool_choice": choice})

    assert body.get("tool_choice") == expected
    assert body["tools"] == TOOLS


def test_without_the_choice_none_there_are_no_tools(provider: Make, sent: Sent) -> None:
    assert rest(sent(provider("zai"), "m", {"tools": TOOLS, "tool_choice": "none"})) == {}
    assert "tools" not in sent(provider("zai"), "m", {"tools": TOOLS, "tool_choice": "none"})


def test_a_schema_goes_into_a_message_where_there_is_no_such_format(provider: Make, sent: Sent) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}}

    body = sent(provider("deepseek"), "deepseek-chat", {"response_format": wanted})

    assert body["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert '{"type":"object","properties":{"city":{"type":"string"}}}' in body["messages"][0]["content"]


def test_elsewhere_the_schema_goes_as_it_is(provider: Make, sent: Sent) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA}}

    assert sent(provider("groq"), "m", {"response_format": wanted})["response_format"] == wanted
    plain = sent(provider("deepseek"), "deepseek-chat", {"response_format": {"type": "json_object"}})
    assert len(plain["messages"]) == 1
