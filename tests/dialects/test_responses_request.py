"""Requests of Responses: what is refused, what routing sees, what goes upstream on either lane."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from router.errors import BadRequest
from router.model import Audio, File, Image, Message, Reasoning, Refusal, Text, ToolCall, ToolChoice, ToolResult

from .lanes import patched
from .making_responses import DIALECT, decoded, make_call

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
USER = {"role": "user", "content": "hello"}


def user(*parts: dict[str, Any]) -> list[Any]:
    """The parts of a user's message."""
    return decoded(input=[{"role": "user", "content": list(parts)}]).messages[0].content


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"content": "hello"}]}, "input[0].role"),
        ({"input": [{"role": "robot", "content": "hello"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"text": "hello"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [USER, {"type": "item_reference"}]}, "input[1].id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"truncation": "sometimes"}, "truncation"),
        ({"stream": "yes"}, "stream"),
        ({"include": "all"}, "include"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": {"effort": "low", "max_tokens": 100}}, "reasoning"),
        ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"plugins": [{}]}, "plugins[0].id"),
        ({"provider": {"oder": []}}, "provider.oder"),
    ],
)
def test_bad_requests_name_the_member(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        make_call(**members)

    assert refused.value.param == param
    assert refused.value.message


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": [USER, {"type": "item_reference", "id": "msg_1"}]}, "input[1]"),
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
    ],
)
@pytest.mark.parametrize("lane", [decoded, lambda **members: patched(make_call(**members))], ids=["hub", "raw"])
def test_what_needs_earlier_requests_goes_nowhere_where_nobody_keeps_them(
    lane: Callable[..., Any], members: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest, match=r"responses\.store") as refused:
        lane(**members)

    assert refused.value.param == param


def test_thinking_that_is_only_referred_to_is_left_out_or_is_openais() -> None:
    items = [USER, {"type": "item_reference", "id": "rs_1"}, {"role": "assistant", "content": "hi"}, USER]
    call = make_call(input=items)

    request = DIALECT.decode(call.head)

    assert [message.role for message in request.messages] == ["user", "assistant", "user"]
    assert [len(message.content) for message in request.messages] == [1, 1, 1]
    assert call.head.warnings == ["input[1]: refers to thinking that is not kept here, and was left out"]
    assert patched(make_call(input=items))["input"] == items


def test_what_is_absent_or_null_or_false_is_fine() -> None:
    head = make_call(store=False, previous_response_id=None, background=False, instructions=None).head

    assert head.unknown == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": "\xff"}', b'{"input":' + b"[" * 3000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        DIALECT.peek(body, {}, "chat")


# --- what routing sees -----------------------------------------------------------------------------------------------


def test_routing_sees_what_it_needs() -> None:
    head = make_call(
        model="a/b",
        models=["c/d"],
        stream=True,
        max_output_tokens=100,
        provider={"order": ["x"]},
        reasoning={"effort": "low"},
        tools=[WEATHER],
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        prompt_cache_key="key",
        metadata={"tags": "a, b"},
        client_metadata={"x": "y"},
    ).head

    assert (head.model, head.models, head.stream, head.max_tokens) == ("a/b", ["c/d"], True, 100)
    assert {"tools", "reasoning", "response_format", "verbosity", "max_tokens"} <= head.needs
    assert head.preferences is not None
    assert (head.cache_key, head.tags, head.unknown) == ("key", ["a", "b"], ["client_metadata"])


def test_the_prompt_is_estimated() -> None:
    short = make_call(input="x" * 40).head.prompt_tokens
    with_image = make_call(
        input=[{"role": "user", "content": [{"type": "input_image", "image_url": "https://a/b"}]}]
    ).head

    assert 10 <= short < 20
    assert with_image.prompt_tokens > 500
    assert with_image.modalities == {"image"}


# --- the hub's form --------------------------------------------------------------------------------------------------


def test_a_string_is_one_message() -> None:
    request = decoded(input="hello", instructions="Be kind.")

    assert request.messages == [
        Message(role="system", content=[Text(text="Be kind.")]),
        Message(role="user", content=[Text(text="hello")]),
    ]
    assert request.family == "openai-responses"


def test_what_the_model_said_in_one_go_is_one_message() -> None:
    request = decoded(
        input=[
            {"role": "developer", "content": "Be kind."},
            USER,
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "gA"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"a":1}'},
            {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "time", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2",
             "output": [{"type": "input_text", "text": "noon"}, {"type": "input_image", "image_url": "https://a.example/b"}]},
            {"role": "assistant", "content": "It rains at noon."},
        ]
    )  # fmt: skip

    format = "openai-responses-v1"
    assert [message.role for message in request.messages] == [
        "developer",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert request.messages[2].content == [
        Reasoning(kind="summary", text="Hm.", format=format, id="rs_1"),
        Reasoning(kind="encrypted", data="gA", format=format, id="rs_1"),
        Text(text="Let me look."),
        ToolCall(id="c1", name="weather", arguments='{"a":1}'),
        ToolCall(id="c2", name="time", arguments="{}"),
    ]
    assert request.messages[3].content == [ToolResult(tool_call_id="c1", content=[Text(text="rain")], name="weather")]
    assert request.messages[4].content == [
        ToolResult(tool_call_id="c2", content=[Text(text="noon"), Image(url="https://a.example/b")], name="time")
    ]


def test_all_kinds_of_parts() -> None:
    found = user(
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
        {"type": "input_image", "image_url": "https://a.example/b.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_file", "file_url": "https://a.example/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"type": "refusal", "refusal": "no"},
    )

    assert found == [
        Text(text="look"),
        Image(data="aGk=", media_type="image/png", detail="low"),
        Image(url="https://a.example/b.png"),
        File(data="aGk=", media_type="application/pdf", filename="a.pdf"),
        File(url="https://a.example/a.pdf"),
        File(file_id="file-1"),
        Audio(data="aGk=", format="mp3"),
        Refusal(text="no"),
    ]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image"}, "image_url"),
        ({"type": "input_image", "image_url": "ftp://a"}, "image_url"),
        ({"type": "input_image", "file_id": "file-1"}, "file_id"),
        ({"type": "input_file"}, ""),
        ({"type": "input_audio"}, "input_audio"),
        ({"type": "input_hologram"}, "type"),
    ],
)
def test_parts_that_cannot_be_translated_are_refused(part: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        user(part)

    assert refused.value.param == ("input[0].content[0]" + (f".{param}" if param else ""))


def test_tools_and_their_choice() -> None:
    request = decoded(
        tools=[WEATHER, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
    )

    assert [tool.name for tool in request.tools] == ["weather", "web_search"]
    assert request.tools[0].strict is True
    assert request.tools[1].server is not None
    assert request.tool_choice == ToolChoice(mode="named", name="weather")
    assert request.parallel_tool_calls is False


def test_only_allowed_tools_are_offered() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "time"}]}
    request = decoded(tools=[WEATHER, {"type": "function", "name": "time"}], tool_choice=choice)

    assert [tool.name for tool in request.tools] == ["time"]
    assert request.tool_choice == ToolChoice(mode="named", name="time")


def test_the_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "thing", "schema": schema, "strict": True, "description": "A thing."}
    request = decoded(text={"format": form, "verbosity": "low"})

    wanted = request.response_format
    assert wanted is not None
    assert (wanted.type, wanted.name, wanted.strict, wanted.description) == ("json_schema", "thing", True, "A thing.")
    assert json.loads(bytes(wanted.schema or b"")) == schema
    assert request.verbosity == "low"
    assert decoded(text={"format": {"type": "text"}}).response_format is None


def test_thinking_is_asked_for() -> None:
    config = decoded(reasoning={"effort": "high", "summary": "auto"}).reasoning

    assert config is not None
    assert (config.effort, config.summary) == ("high", "auto")


def test_items_for_openai_only_are_left_out_and_the_client_is_told() -> None:
    call = make_call(input=[USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}, USER])
    request = DIALECT.decode(call.head)

    assert [message.role for message in request.messages] == ["user", "user"]
    assert "web_search_call" in call.head.warnings[0]


# --- the raw lane ----------------------------------------------------------------------------------------------------


def test_a_relayed_body_keeps_every_member_but_ours() -> None:
    members = {
        "input": [USER, {"type": "thing_of_tomorrow", "x": [1, 2.50]}],
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "client_metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"},
        "tools": [{"type": "custom", "name": "apply_patch", "format": {"type": "text"}}],
    }
    sent = patched(
        make_call(**members, models=["a/b"], provider={"order": ["x"]}, session_id="s", usage={"include": True})
    )

    assert sent == {**members, "model": "chat-1"}


def test_numbers_are_relayed_as_they_were_written() -> None:
    call = make_call()
    call.head = DIALECT.peek(b'{"model":"a/b","input":"x","temperature":0.70,"new":1.50e2}', {}, "chat")

    assert call.candidate is not None
    sent = DIALECT.patch(call, call.candidate)
    assert b'"temperature":0.70' in sent
    assert b'"new":1.50e2' in sent


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 2000}, {"effort": "low"}),
        ({"enabled": True, "summary": "auto"}, {"effort": "medium", "summary": "auto"}),
        ({"effort": "high", "summary": "auto", "exclude": True}, {"effort": "high"}),
    ],
)
def test_our_own_words_for_thinking_become_openai_s(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert patched(make_call(reasoning=given))["reasoning"] == sent


def test_thinking_of_other_families_never_goes_to_openai() -> None:
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    foreign = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "rt1.W10="}

    assert patched(make_call(input=[own, foreign, USER]))["input"] == [own, USER]


# --- Codex CLI -------------------------------------------------------------------------------------------------------

SHELL = {
    "type": "function",
    "name": "shell",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}},
}
CODEX: dict[str, Any] = {
    "instructions": "You work in a terminal.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "The sandbox is read-only."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is here?"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "List it."}], "content": None, "encrypted_content": "gA"},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"output":"a.txt","metadata":{"exit_code":0}}'},
        {"type": "custom_tool_call", "status": "completed", "call_id": "call_2", "name": "apply_patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
    ],
    "tools": [SHELL, {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "s: /a/"}},
              {"type": "web_search", "external_web_access": False}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "client_metadata": {"x-codex-installation-id": "0199"},
    "text": {"verbosity": "low"},
}  # fmt: skip


def test_codex_is_relayed_as_it_asks() -> None:
    assert patched(make_call(**CODEX)) == {**CODEX, "model": "chat-1"}


def test_codex_is_understood_by_other_families() -> None:
    call = make_call(**CODEX)
    request = DIALECT.decode(call.head)

    assert [message.role for message in request.messages] == [
        *("system", "developer", "user", "assistant", "tool", "assistant", "tool"),
    ]
    assert request.messages[5].content == [ToolCall(id="call_2", name="apply_patch", arguments='{"input":"*** Begin"}')]
    assert [tool.name for tool in request.tools if tool.server is None] == ["shell", "apply_patch"]
    assert request.extra == {}
    assert request.verbosity == "low"
    assert any("web_search" in warning for warning in call.head.warnings)


def test_results_of_calls_that_were_left_out_are_left_out_too() -> None:
    call = {"type": "local_shell_call", "call_id": "call_1", "status": "completed", "action": {"type": "exec"}}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "a.py"}
    other = {"type": "function_call_output", "call_id": "call_2", "output": "b.py"}

    messages = decoded(input=[USER, call, output, other]).messages

    assert [part.tool_call_id for message in messages[1:] for part in message.content] == ["call_2"]


def test_truncation_is_the_plugin_that_shortens() -> None:
    assert make_call(truncation="auto").head.plugins == [{"id": "context-compression", "member": "truncation"}]
    assert make_call(truncation="disabled").head.plugins == []
