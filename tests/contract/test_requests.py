"""Chat requests over sockets: the edges of every range, inside and outside, and bodies that no parser likes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Standing
from .envelopes import checked, openai_error

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"name": "s", "schema": {"type": "object", "properties": {}}}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


#: member: values that are taken, values that are refused. A null is an absent member everywhere
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "temperature": ([0, 2, 1.5], [-0.001, 2.001, "1", True, [], {}]),
    "top_p": ([0.001, 1], [0, 1.001, -1]),
    "top_k": ([0, 1000], [-1, 1.5, "1"]),
    "min_p": ([0, 1], [-0.001, 1.001]),
    "top_a": ([0, 1], [-0.001, 1.001]),
    "frequency_penalty": ([-2, 2], [-2.001, 2.001]),
    "presence_penalty": ([-2, 2], [-2.001, 2.001]),
    "repetition_penalty": ([0.001, 2], [0, 2.001]),
    "seed": ([0, -1, 2**53, -(2**63)], [1.5, "1", 2**63, 10**400]),
    "max_tokens": ([1, 1000], [0, -1, 1.5, "1", 10**400]),
    "max_completion_tokens": ([1, 1000], [0, -1, 1.5, "1", 10**400]),
    "n": ([1, 8], [0, 9, 1.5]),
    "logprobs": ([True, False], ["true", 1]),
    "top_logprobs": ([0, 20], [-1, 21]),
    "logit_bias": ([{}, {"1": -100, "2": 100}], [[], {"1": 101}, {"1": "x"}]),
    "stop": (["a", ["a"] * 16, []], [1, ["a"] * 17, [1], {}]),
    "user": (["", "u"], [1, {}]),
    "stream": ([False], ["true", 1, {}]),
    "stream_options": ([{}, {"include_usage": True}], [True, "x", {"include_usage": 1}]),
    "models": ([[], ["echo/echo"] * 10], ["a", ["a"] * 11, [1], [""], ["x" * 257]]),
    "route": (["fallback", "sort"], ["other", 1]),
    "provider": (
        [{}, {"order": ["echo"], "only": ["echo"], "sort": "price", "max_price": {"prompt": 1}}],
        [[], {"orders": []}, {"order": "a"}, {"sort": "x"}, {"data_collection": "no"}, {"quantizations": ["int3"]}],
    ),
    "preset": ([""], [1]),
    "plugins": ([[], [{"id": "web", "enabled": False}]], [{}, [{}], [{"id": "nothing"}], ["web"]]),
    "transforms": ([[], ["middle-out"]], ["middle-out", ["nothing"], [1]]),
    "tools": (
        [[], [TOOL] * 512, [tool("x" * 64)], [tool("x" * 200)]],
        [{}, [TOOL] * 513, [{}], [tool("a b")], [tool("")]],
    ),
    "tool_choice": (["none", "auto", "required"], ["any", 1, {"type": "function"}]),
    "parallel_tool_calls": ([True, False], ["no", 1]),
    "functions": ([[], [{"name": "f"}]], [{}, [{"name": "a b"}], [1]]),
    "function_call": (["none", "auto", {"name": "f"}], ["required", 1]),
    "response_format": (
        [{"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": SCHEMA}],
        [{}, "json", {"type": "xml"}, {"type": "json_schema"}, {"type": "grammar"}],
    ),
    "structured_outputs": ([True, False], ["yes"]),
    "reasoning": (
        [{}, {"effort": "low"}, {"max_tokens": 100}, {"enabled": True, "exclude": True}],
        ["low", {"effort": "huge"}, {"max_tokens": -1}, {"effort": "low", "max_tokens": 5}, {"exclude": "x"}],
    ),
    "reasoning_effort": (["max", "xhigh", "high", "medium", "low", "minimal", "none"], ["huge", 1]),
    "include_reasoning": ([True, False], ["no"]),
    "thinking": ([{"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024}], [{}, {"type": "often"}, True]),
    "verbosity": (["low", "medium", "high"], ["loud", 1]),
    "modalities": ([["text"]], ["text", [1]]),
    "service_tier": (["auto", "default", "flex", "priority", "fast", "scale"], ["best", 1]),
    "metadata": (
        [{}, {"k" * 64: "v" * 512}, {str(number): "x" for number in range(16)}, {"tags": ["a"]}],
        [[], {"a": 1}, {str(number): "x" for number in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}],
    ),
    "store": ([True, False], ["yes"]),
    "session_id": (["s" * 256], ["s" * 257, 1]),
    "trace": ([{}, {"trace_id": "t", "span_name": "s"}], [[], {"trace_id": 1}]),
    "user_id": (["u"], [1]),
    "debug": ([{}, {"echo_upstream_body": True}], [[], {"echo_upstream_body": 1}]),
    "usage": ([{}, {"include": True}], [True]),
    "messages": (
        [
            [{"role": "developer", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]}],
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": []}],
            [{"role": "system", "content": "x"}],
        ],
        [
            [],
            "hello",
            {},
            [1],
            [{}],
            [{"role": "bot", "content": "x"}],
            [{"role": "user"}],
            [{"role": "user", "content": 1}],
            [{"role": "user", "content": [{"type": "smell"}]}],
            [{"role": "tool", "content": "x"}],
        ],
    ),
    "model": (["echo/echo"], [1, [], "x" * 257, "a\x00b", "a\nb"]),
}


async def post(standing: Standing, body: Any, path: str = CHAT) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {standing.key}", "Content-Type": "application/json"}
    async with standing.session.post(standing.url + path, data=data, headers=headers) as answer:
        await answer.read()
        return answer


@pytest.mark.parametrize("name", RANGES)
async def test_the_edges_of_every_range(standing: Standing, name: str) -> None:
    taken, refused = RANGES[name]

    for value in [*taken, None] if name != "messages" else taken:
        answer = await post(standing, ASK | {name: value} if value is not None or name != "model" else ASK)
        assert answer.status == 200, (value, await answer.text())
    for value in refused:
        answer = await post(standing, ASK | {name: value})
        assert answer.status == 400, (value, await answer.text())
        error = await openai_error(answer, "invalid_request")
        assert error["param"] is not None, value
        assert error["param"].startswith(name), (value, error)
        assert name in error["message"], (value, error)


async def test_members_that_contradict_each_other(standing: Standing) -> None:
    for members, param in (
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning_effort"),
        ({"reasoning": {"max_tokens": 2000}, "reasoning_effort": "high"}, "reasoning_effort"),
    ):
        error = await openai_error(await post(standing, ASK | members), "invalid_request")
        assert error["param"] == param
    assert (await post(standing, ASK | {"max_tokens": 5, "max_completion_tokens": 6})).status == 200
    assert (await post(standing, ASK | {"reasoning": {"effort": "low"}, "reasoning_effort": "low"})).status == 200


async def test_members_that_nobody_knows_are_kept(standing: Standing) -> None:
    assert (await post(standing, ASK | {"made_up": {"deep": [1, None]}})).status == 200


MESSAGE = b'{"model":"echo/echo","messages":[{"role":"user","content":%b}]}'
BODIES = {
    "nothing": (b"", "empty"),
    "blanks": (b" \n\t ", "not JSON"),
    "a word": (b"hello", "not JSON"),
    "a list": (b"[]", "object"),
    "a string": (b'"x"', "object"),
    "a number": (b"1", "object"),
    "null": (b"null", "object"),
    "half of an object": (b'{"model":', "not JSON"),
    "more behind it": (b"{}{}", "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", ""),
    "UTF-16": ('{"model":"x"}'.encode("utf-16"), ""),
    "bytes that are no text": (b'{"user":"\xff\xfe"}', "UTF-8"),
    "text that is cut": (b'{"user":"\xe2\x82"}', "UTF-8"),
    "a surrogate in UTF-8": (b'{"user":"\xed\xa0\x80"}', "UTF-8"),
    "half of a surrogate pair": (MESSAGE % b'"\\ud800"', "surrogate"),
    "the other half": (MESSAGE % b'"\\udfff x"', "surrogate"),
    "not a number": (b'{"temperature":NaN}', "not JSON"),
    "infinity": (b'{"temperature":-Infinity}', "not JSON"),
    "a number without end": (b'{"temperature":1e999}', ""),
    "an integer without end": (b'{"seed":%b}' % (b"9" * 5000), "seed"),
    "a control character": (MESSAGE % b'"a\x01b"', ""),
    "comments": (b'{/* */"model":"x"}', "not JSON"),
    "a comma too many": (b'{"model":"x",}', "not JSON"),
    "deep lists": (b'{"a":' + b"[" * 100_000, "deep"),
    "deep objects": (b'{"a":' * 100_000, "deep"),
    "deep and closed": (b'{"metadata":%b%b}' % (b"[" * 50_000, b"]" * 50_000), "deep"),
    "deep inside of a message": (MESSAGE % (b"[" * 50_000 + b"]" * 50_000), "deep"),
    "deep inside of a tool": (
        b'{"model":"echo/echo","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":'
        b'{"name":"f","parameters":%b%b}}]}' % (b'{"a":' * 50_000, b"}" * 50_000),
        "deep",
    ),
}
#: all paths whose bodies are read by a dialect
DIALECTS = (CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1beta/models/echo/echo:generateContent")


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES)
async def test_bodies_that_cannot_be_read(standing: Standing, body: bytes, words: str) -> None:
    answer = await post(standing, body)

    error = await openai_error(answer, "invalid_request")
    assert words in error["message"]


@pytest.mark.parametrize("body", [body for body, _ in BODIES.values()], ids=BODIES)
async def test_bodies_that_cannot_be_read_by_any_dialect(standing: Standing, body: bytes) -> None:
    """What is wrong differs, since members do; that it is the client's fault does not."""
    for path in DIALECTS:
        assert 400 <= (await post(standing, body, path)).status < 500, path


@pytest.mark.parametrize(
    "text",
    ["\u0000", "a\u2028b", "\ufeff", "\U0001f469\u200d\U0001f680", "\u202eevil", "\ufffd", "x" * 100_000, "ﷺ" * 999],
)
async def test_odd_text_is_only_text(standing: Standing, text: str) -> None:
    answer = await post(standing, ASK | {"messages": [{"role": "user", "content": text}]})

    assert answer.status == 200
    said = (await answer.json())["choices"][0]["message"]["content"]
    assert said == text or (not text.strip() and not said)


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_member_twice(standing: Standing, path: str) -> None:
    """The last one counts for the checks and for the upstream alike, or the request is refused."""
    body = b'{"model":"echo/echo","temperature":9,"temperature":1,"messages":[{"role":"user","content":"hello"}]}'

    answer = await post(standing, body, path)

    assert answer.status in (200, 400)
    if path == CHAT and answer.status == 400:
        checked(400, answer.content_type, await answer.json(), "invalid_request")
