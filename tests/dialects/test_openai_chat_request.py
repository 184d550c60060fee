"""Requests of OpenAI clients: what is read of them, what is refused, and what goes on to an upstream that speaks the same."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dialects.openai_chat.fields import FIELDS
from router.dialects.openai_chat.patch import EXTENSIONS
from router.errors import BadRequest
from router.openai_compatible import EVERYTHING, EXTRAS

from .lanes import patched
from .making import ASK, DIALECT, Acme, body, make_call


def refused(**members: Any) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        DIALECT.peek(body(**members), {}, "chat")
    return raised.value


def peek(**members: Any) -> Any:
    return DIALECT.peek(body(**members), {}, "chat")


# --- what is read ----------------------------------------------------------------------------------------------------


def test_the_head_of_a_request():
    head = peek(
        models=["b/c", "d/e"],
        route="sort",
        provider={"order": ["acme"], "allow_fallbacks": False},
        stream=True,
        stream_options={"include_usage": True},
        n=2,
        max_tokens=50,
        session_id="s",
        prompt_cache_key="k",
        user="u",
        trace={"trace_id": "t"},
        metadata={"tags": "a, b,"},
        plugins=[{"id": "web"}, {"id": "moderation", "enabled": False}],
        transforms=["middle-out"],
        debug={"echo_upstream_body": True},
        made_up=1,
    )

    assert (head.model, head.models, head.route) == ("acme/chat", ["b/c", "d/e"], "sort")
    assert head.preferences.order == ["acme"]
    assert head.preferences.allow_fallbacks is False
    assert (head.stream, head.include_usage, head.n, head.max_tokens) == (True, True, 2, 50)
    assert (head.session_id, head.cache_key, head.user, head.trace) == ("s", "k", "u", {"trace_id": "t"})
    assert head.tags == ["a", "b"]
    assert head.plugins == [{"id": "web"}, {"id": "context-compression", "member": "transforms"}]
    assert head.echo_upstream_body
    assert head.unknown == ["made_up"]


def test_nulls_are_absent_members():
    head = DIALECT.peek(json.dumps(ASK | dict.fromkeys(FIELDS, None) | {"model": None}).encode(), {}, "chat")

    assert head.model == ""
    assert head.max_tokens is None
    assert not head.needs
    assert not head.unknown


def test_what_an_endpoint_has_to_support():
    tool = {"type": "function", "function": {"name": "f"}}
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

    head = peek(
        messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, image]}],
        tools=[tool],
        response_format={"type": "json_object"},
        reasoning={"effort": "low"},
        seed=1,
    )

    assert head.needs == {"tools", "response_format", "reasoning", "seed"}
    assert head.modalities == {"image"}


def test_the_prompt_is_estimated_at_four_characters_a_token():
    one, long = peek().prompt_tokens, peek(messages=[{"role": "user", "content": "a" * 4001}]).prompt_tokens

    assert one == 2 + 4
    assert long == 1001 + 4


def test_two_limits_that_differ():
    head = peek(max_tokens=10, max_completion_tokens=20)

    assert head.max_tokens == 20
    assert "larger" in head.warnings[0]


def test_a_prompt_in_place_of_messages():
    head = DIALECT.peek(b'{"model":"a/b","prompt":"hello"}', {}, "chat")

    assert head.hub_only
    assert DIALECT.decode(head).messages[0].text == "hello"


# --- what is refused -------------------------------------------------------------------------------------------------

RANGES = {
    "temperature": [-0.1, 2.1, "1", True],
    "top_p": [0, 1.1],
    "top_k": [-1, 1.5],
    "min_p": [-0.1, 1.1],
    "top_a": [-0.1, 1.1],
    "frequency_penalty": [-2.1, 2.1],
    "presence_penalty": [-2.1, 2.1],
    "repetition_penalty": [0, 2.1],
    "seed": [1.5, 2**63, 10**400],
    "max_tokens": [0, 1.5, 10**30],
    "max_completion_tokens": [0, "1"],
    "n": [0, 9],
    "top_logprobs": [-1, 21],
    "logprobs": ["yes"],
    "logit_bias": [[1], {"1": 101}, {"1": "x"}],
    "stop": [1, ["a"] * 17, [1]],
    "stream": ["true", 1],
    "user": [1],
    "model": [1, "a" * 257, "a\x00b"],
    "models": ["a", ["a"] * 11, [""], [1]],
    "route": ["other"],
    "tools": [{}, [{"type": "function"}], [{"type": "function", "function": {}}], [1]],
    "tool_choice": ["any", 1, {"type": "function"}],
    "parallel_tool_calls": ["no"],
    "functions": [{}, [{"name": "a b"}]],
    "function_call": ["required"],
    "response_format": [{}, {"type": "xml"}, {"type": "json_schema"}, {"type": "grammar"}],
    "reasoning": [{"effort": "huge"}, {"max_tokens": -1}, {"effort": "low", "max_tokens": 5}, "high"],
    "reasoning_effort": ["huge"],
    "thinking": [{}, {"type": "sometimes"}, {"type": "enabled", "budget_tokens": 0}],
    "verbosity": ["loud"],
    "service_tier": ["best"],
    "metadata": [{"a": 1}, {str(n): "x" for n in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}, {"a": ["x"]}],
    "session_id": ["s" * 257],
    "trace": [{"trace_id": 1}],
    "plugins": [[{}], "web"],
    "transforms": ["middle-out"],
    "preset": ["none-such"],
    "provider": [{"orders": []}, {"order": "a"}, {"data_collection": "no"}, {"sort": "x"}, {"quantizations": ["int3"]}],
    "debug": [{"echo_upstream_body": 1}],
    "stream_options": [True],
    "usage": [True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RANGES.items() for value in values])
def test_a_value_out_of_range(name: str, value: Any):
    error = refused(**{name: value})

    assert error.status == 400
    assert error.param is not None
    assert error.param.startswith(name)
    assert name in error.message


@pytest.mark.parametrize(
    ("members", "param", "words"),
    [
        ({"temperature": 3}, "temperature", "from 0 to 2; got 3"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"provider": {"orders": []}}, "provider.orders", "unknown key"),
        ({"provider": {"order": 1}}, "provider.order", "must be a list; got an integer"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": None}, "messages", "at least one"),
        ({"messages": "hi"}, "messages", "a list of messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "is required"),
        ({"messages": [{"role": "bot", "content": "hi"}]}, "messages[0].role", "one of system, developer"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "a string or a list of parts"),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0].type",
            "one of text",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "is required"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "letters"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 513}, "tools", "at most 512"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning_effort", "send one of them"),
        ({"reasoning": {"max_tokens": 9}, "reasoning_effort": "high"}, "reasoning_effort", "exclude each other"),
    ],
)
def test_what_a_refusal_says(members: dict[str, Any], param: str, words: str):
    error = refused(**members)

    assert error.param == param
    assert words in error.message


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"{", "not JSON"),
        (b'{"temperature":NaN}', "not JSON"),
        (b'{"user":"\xff"}', "not UTF-8"),
        (b'{"user":"\\ud800"}', "half of a surrogate pair"),
        (b'{"messages":[{"role":"user","content":"\\udfff"}]}', "half of a surrogate pair"),
        (b'{"a":' + b"[" * 100_000, "too deeply"),
        (b'{"messages":[{"role":"user","content":' + b"[" * 500 + b"]" * 500 + b"}]}", "messages"),
    ],
)
def test_bodies_that_cannot_be_read(raw: bytes, words: str):
    with pytest.raises(BadRequest, match=words):
        DIALECT.peek(raw, {}, "chat")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "messages"]), JSON, max_size=6))
def test_odd_values_are_refused_with_400_or_taken(members: dict[str, Any]):
    with suppress(BadRequest):
        DIALECT.decode(DIALECT.peek(json.dumps(ASK | members).encode(), {}, "chat"))


MEMBERS = (
    "content",
    "tool_calls",
    "tool_call_id",
    "name",
    "reasoning",
    "reasoning_details",
    "images",
    "audio",
    "refusal",
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "video_url", "refusal"])},
    optional=dict.fromkeys(("text", "image_url", "input_audio", "file", "video_url", "cache_control"), JSON),
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={"content": JSON | st.lists(PARTS, max_size=3), **dict.fromkeys(MEMBERS[1:], JSON)},
)


@given(st.lists(MESSAGES, min_size=1, max_size=3))
def test_odd_messages_are_refused_with_400_or_taken(messages: list[dict[str, Any]]):
    with suppress(BadRequest):
        DIALECT.decode(DIALECT.peek(body(messages=messages), {}, "chat"))


# --- what goes upstream ----------------------------------------------------------------------------------------------


def test_unknown_members_go_on_byte_for_byte():
    call = make_call()
    raw = b'{"model":"acme/chat","novelty": {"b":1.50 , "a":[ ]},"messages":[{"role":"user","content":"h\\u00e9"}]}'
    call.head = DIALECT.peek(raw, {}, "chat")

    sent = DIALECT.patch(call, call.candidate)  # type: ignore[arg-type]

    assert b'"novelty":{"b":1.50 , "a":[ ]}' in sent
    assert b'{"role":"user","content":"h\\u00e9"}' in sent


def test_the_upstreams_model_and_none_of_our_extensions():
    sent = patched(
        make_call(
            upstream_model="chat-1",
            models=["a/b"],
            route="fallback",
            provider={"sort": "price"},
            plugins=[{"id": "web"}],
            transforms=[],
            usage={"include": True},
            session_id="s",
            trace={},
            user_id="u",
            debug={},
            structured_outputs=True,
            temperature=0.5,
        )
    )

    assert sent == {"model": "chat-1", "messages": ASK["messages"], "temperature": 0.5}


def test_extensions_that_the_upstream_knows_itself_stay():
    class Gateway(Acme):
        takes = Acme.takes | {"models", "transforms"}

    sent = patched(make_call(Gateway, models=["a/b"], transforms=["middle-out"], route="fallback"))

    assert sent["models"] == ["a/b"]
    assert sent["transforms"] == ["middle-out"]
    assert "route" not in sent


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_usage_is_always_asked_for(options: Any):
    assert patched(make_call(stream=True, stream_options=options))["stream_options"] == {"include_usage": True}


def test_other_stream_options_stay():
    sent = patched(make_call(stream=True, stream_options={"include_obfuscation": False}))

    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_stream_options_without_a_stream_are_left_out():
    assert "stream_options" not in patched(make_call(stream_options={"include_usage": True}))


def test_one_limit_under_one_name():
    sent = patched(make_call(max_tokens=10, max_completion_tokens=20))

    assert sent["max_completion_tokens"] == 20
    assert "max_tokens" not in sent


def test_tags_are_text_upstream():
    assert patched(make_call(metadata={"tags": ["a", "b"]}))["metadata"] == {"tags": "a,b"}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"reasoning": {"enabled": True}}, "medium"),
        ({"reasoning": {"enabled": False}}, "none"),
        ({"reasoning": {"max_tokens": 2000}}, "low"),
        ({"reasoning": {"max_tokens": 30000}}, "high"),
        ({"reasoning": {"exclude": True}}, None),
        ({"reasoning_effort": "low", "include_reasoning": False}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10000}}, "medium"),
        ({"thinking": {"type": "disabled"}}, "none"),
    ],
)
def test_thinking_is_asked_for_by_effort(asked: dict[str, Any], sent: str | None):
    told = patched(make_call(**asked))

    assert told.get("reasoning_effort") == sent
    assert not {"reasoning", "include_reasoning", "thinking"} & told.keys()


HISTORY = [
    {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
    {
        "role": "assistant",
        "content": "b",
        "reasoning": "hm",
        "reasoning_content": "hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
        "images": [],
    },
    {"role": "tool", "tool_call_id": "1", "content": "c", "is_error": True},
]


def test_thinking_and_marks_go_back_where_they_are_known():
    class Strict(Acme):
        keeps = frozenset()

    class Thinker(Acme):
        keeps = frozenset({"reasoning_content"})

    class Gateway(Acme):
        keeps = EVERYTHING

    lenient, strict = patched(make_call(Gateway, messages=HISTORY)), patched(make_call(Strict, messages=HISTORY))
    thinker = patched(make_call(Thinker, messages=HISTORY))

    assert lenient["messages"] == HISTORY
    assert "reasoning_details" not in patched(make_call(messages=HISTORY))["messages"][1]
    assert strict["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
        {"role": "tool", "tool_call_id": "1", "content": "c"},
    ]
    assert thinker["messages"][1] == {"role": "assistant", "content": "b", "reasoning_content": "hm"}


def test_reasoning_goes_back_under_the_name_that_the_upstream_knows():
    class Thinker(Acme):
        keeps = frozenset({"reasoning_content"})

    sent = patched(
        make_call(Thinker, messages=[*ASK["messages"], {"role": "assistant", "content": "b", "reasoning": "hm"}])
    )  # type: ignore[misc]

    assert sent["messages"][1] == {"role": "assistant", "content": "b", "reasoning_content": "hm"}


def test_deviations_of_an_upstream():
    class Odd(Acme):
        drops = frozenset({"top_k", "seed"})
        stop_limit = 2
        stream_usage = False

        def max_tokens_member(self, model: str) -> str:
            return "max_completion_tokens"

    call = make_call(
        Odd,
        stream=True,
        top_k=3,
        seed=4,
        stop=["a", "b", "c"],
        max_tokens=5,
        messages=[{"role": "developer", "content": "x"}],
    )

    sent = patched(call)

    assert sent == {
        "model": "chat-1",
        "stream": True,
        "stop": ["a", "b"],
        "max_completion_tokens": 5,
        "messages": [{"role": "system", "content": "x"}],
    }
    assert call.dropped == ["seed", "top_k"]


def test_nothing_of_ours_is_a_member_of_the_upstreams_own_api():
    """A member may not be taken out that OpenAI's API has."""
    openai = {
        "model",
        "messages",
        "metadata",
        "store",
        "user",
        "n",
        "stop",
        "tools",
        "prediction",
        "service_tier",
        "seed",
    }

    assert not EXTENSIONS & openai
    assert "content" not in EXTRAS
