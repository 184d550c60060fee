"""What Codex CLI sends, on OpenAI's models and on those of other families: requests in the form of its releases of 2026.

Written after its public sources (the client of its core, and how it reads a stream); all content is made up. `read` looks at a stream
as Codex does: items count when they are done, deltas are only shown, and without `response.completed` the turn has failed.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import aiohttp
import pytest

from router.testing import FakeUpstream, json_answer, sse_answer
from tests.serving import Served

from .families import FAMILIES, SIGNATURE, Answer, Family, ToolCall

RAW = "openai/gpt-5-mini"
THREAD = "0199a000-0000-7000-8000-000000000000"
HEADERS = {
    "accept": "text/event-stream",
    "originator": "codex_cli_rs",
    "user-agent": "codex_cli_rs/0.169.0 (Debian 12; x86_64) xterm",
    "openai-beta": "responses=experimental",
    "session_id": THREAD,
    "session-id": THREAD,
    "thread-id": THREAD,
    "x-client-request-id": THREAD,
    "x-codex-window-id": f"{THREAD}:0",
    "x-codex-beta-features": "unified_exec",
    "x-codex-turn-metadata": json.dumps({"turn_id": "1", "session_id": THREAD}),
}
PATCH = '*** Begin Patch\n*** Add File: a.txt\n+one "two"\n*** End Patch'
GRAMMAR = 'start: "*** Begin Patch" LF'
EXEC: dict[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"cmd": {"type": "string"}, "yield_time_ms": {"type": "number"}},
        "required": ["cmd"],
        "additionalProperties": False,
    },
}
APPLY: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}
LOOKUP = {"type": "function", "name": "lookup", "description": "", "strict": False, "parameters": {"type": "object"}}
BODY: dict[str, Any] = {
    "instructions": "You are a coding agent running in the Codex CLI.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "<permissions>Ask first.</permissions>"}],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Add a file"}]},
    ],
    "tools": [
        EXEC,
        APPLY,
        {"type": "local_shell"},
        {"type": "web_search", "external_web_access": False},
        {"type": "namespace", "name": "mcp__docs", "description": "Documents.", "tools": [LOOKUP]},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": THREAD,
    "text": {"verbosity": "low"},
    "client_metadata": {"x-codex-installation-id": "0199a000-0000-4000-8000-000000000001"},
}
#: items that Codex keeps of its own doing, and sends back whoever answers next
OWN_ITEMS: list[dict[str, Any]] = [
    {
        "type": "local_shell_call",
        "call_id": "call_0",
        "status": "completed",
        "action": {"type": "exec", "command": ["ls"], "timeout_ms": 1000},
    },
    {"type": "function_call_output", "call_id": "call_0", "output": "a.py"},
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "how"}},
]
TURN = Answer(
    thought="Let me think. ",
    words=("I will ", "look."),
    calls=(
        ToolCall("call_1", "exec_command", {"cmd": "ls"}),
        ToolCall("call_2", "apply_patch", {"input": PATCH}),
        ToolCall("call_3", "mcp__docs__lookup", {"q": "x"}),
    ),
)
OTHERS = [family for family in FAMILIES if family.slug != "openai"]


class Turn(NamedTuple):
    """What Codex makes of a stream."""

    items: list[dict[str, Any]]
    shown: dict[str, str]
    completed: dict[str, Any] | None
    failed: dict[str, Any] | None


def read(raw: bytes) -> Turn:
    """Read a stream as Codex does."""
    items: list[dict[str, Any]] = []
    shown = {"output_text": "", "reasoning_summary_text": ""}
    completed = failed = None
    for number, frame in enumerate(each for each in raw.decode().split("\n\n") if each):
        name, _, data = frame.partition("\ndata: ")
        event = json.loads(data)
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        match event["type"].removeprefix("response."):
            case "output_item.done":
                items.append(checked(event["item"]))
            case "output_text.delta":
                shown["output_text"] += event["delta"]
            case "reasoning_summary_text.delta":
                assert event["summary_index"] >= 0
                shown["reasoning_summary_text"] += event["delta"]
            case "completed":
                completed = event["response"]
            case "failed":
                failed = event["response"]
    return Turn(items, shown, completed, failed)


def checked(item: dict[str, Any]) -> dict[str, Any]:
    """The members without which Codex cannot read an item."""
    needed: dict[str, tuple[str, ...]] = {
        "message": ("role", "content"),
        "reasoning": ("summary",),
        "function_call": ("name", "arguments", "call_id"),
        "custom_tool_call": ("call_id", "name", "input"),
    }
    for name in needed[item["type"]]:
        assert item[name] is not None, f"{item['type']} has no {name}"
    return item


def sent_back(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items as Codex sends them with the next request: without ids, as it stores nothing."""
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def results(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the tools say to the calls among these items."""
    kinds = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
    return [
        {"type": kinds[item["type"]], "call_id": item["call_id"], "output": f"done {item['call_id']}"}
        for item in items
        if item["type"] in kinds
    ]


async def post(served: Served, body: Any) -> tuple[int, bytes, dict[str, str]]:
    headers = {**HEADERS, "authorization": f"Bearer {served.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/v1/responses", json=body, headers=headers) as response,
    ):
        return response.status, await response.read(), dict(response.headers)


def events(*told: dict[str, Any]) -> list[bytes]:
    """A stream as OpenAI writes it."""
    return [
        f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': number})}\n\n".encode()
        for number, each in enumerate(told)
    ]


def openai_turn() -> list[bytes]:
    """A turn of OpenAI's own: thinking that nobody else can read, and a patch."""
    thinking = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA-made-up"}
    call = {
        "id": "ctc_1",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "apply_patch",
        "input": PATCH,
    }
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 27,
    }
    response = {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "error": None}
    place = {"item_id": "ctc_1", "output_index": 1}
    return events(
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": {**thinking, "encrypted_content": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": thinking},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "input": ""}},
        {"type": "response.custom_tool_call_input.delta", **place, "delta": PATCH},
        {"type": "response.custom_tool_call_input.done", **place, "input": PATCH},
        {"type": "response.output_item.done", "output_index": 1, "item": call},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [thinking, call], "usage": usage},
        },
    )


# --- OpenAI's own models ---------------------------------------------------------------------------------------------


async def test_openai_gets_all_of_it_and_its_stream_comes_back_as_it_is(served: Served, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer(openai_turn()))

    status, raw, _ = await post(served, {"model": RAW, **BODY})

    assert (status, raw) == (200, b"".join(openai_turn()))
    (asked,) = upstream.asked
    assert asked.path == "/openai/v1/responses"
    assert asked.body == {"model": "gpt-5-mini", **BODY}
    assert served.key not in str(asked.headers)


async def test_openais_thinking_and_patches_go_back(served: Served, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer(openai_turn()))
    _, raw, _ = await post(served, {"model": RAW, **BODY})
    turn = read(raw)
    conversation = [*BODY["input"], *OWN_ITEMS, *sent_back(turn.items), *results(turn.items)]

    await post(served, {"model": RAW, **BODY, "input": conversation})

    assert upstream.asked[1].body["input"] == conversation
    assert conversation[-1] == {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done call_1"}
    assert any(item.get("encrypted_content") == "gAAAA-made-up" for item in conversation)


# --- other families --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.slug)
async def test_other_models_get_what_they_understand(served: Served, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.streamed(TURN))

    status, raw, _ = await post(served, {"model": family.model, **BODY, "input": [*BODY["input"], *OWN_ITEMS]})

    assert status == 200, raw
    sent = family.sent(upstream.asked[0])
    body = json.dumps(upstream.asked[0].body)
    assert sent.tools == ["exec_command", "apply_patch", "mcp__docs__lookup"]
    assert sent.results == []  # of a call that was left out
    assert sent.thinks
    assert GRAMMAR.replace('"', '\\"') in body
    assert "You are a coding agent" in body
    assert "Ask first." in body
    for name in ("local_shell", "web_search", "client_metadata", "encrypted_content", "installation"):
        assert name not in body
    assert not {"store", "include", "text", "input", "instructions"} & upstream.asked[0].body.keys()
    assert "codex" not in str(upstream.asked[0].headers).lower()
    turn = read(raw)
    assert turn.shown == {"output_text": "I will look.", "reasoning_summary_text": TURN.thought}
    assert turn.items[0]["type"] == "reasoning"
    message, *calls = (item for item in turn.items if item["type"] != "reasoning")
    assert message["content"][0]["text"] == "I will look."
    assert [(item["type"], item["name"]) for item in calls] == [
        ("function_call", "exec_command"),
        ("custom_tool_call", "apply_patch"),
        ("function_call", "lookup"),
    ]
    assert (calls[1]["input"], calls[2]["namespace"]) == (PATCH, "mcp__docs")
    assert turn.completed is not None
    assert turn.completed["usage"]["total_tokens"] == 27


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.slug)
async def test_a_turn_goes_back_to_where_it_came_from(served: Served, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.streamed(TURN))
    _, raw, _ = await post(served, {"model": family.model, **BODY})
    items = read(raw).items

    status, raw, _ = await post(
        served, {"model": family.model, **BODY, "input": [*BODY["input"], *sent_back(items), *results(items)]}
    )

    assert status == 200, raw
    asked = upstream.asked[1]
    assert [text for _, text in family.sent(asked).results] == [
        f"done {item['call_id']}" for item in items if "call_id" in item
    ]
    body = json.dumps(asked.body)
    assert json.dumps(PATCH)[1:-1] in body.replace("\\\\", "\\").replace('\\"', '"').replace('"two"', '\\"two\\"')
    if family.slug in ("anthropic", "gemini"):
        assert SIGNATURE in body


async def test_thinking_of_one_family_is_not_shown_to_another(served: Served, upstream: FakeUpstream) -> None:
    claude = next(family for family in OTHERS if family.slug == "anthropic")
    upstream.will(claude.streamed(TURN))
    _, raw, _ = await post(served, {"model": claude.model, **BODY})
    items = read(raw).items
    conversation = {"input": [*BODY["input"], *sent_back(items), *results(items)]}
    upstream.will(sse_answer(openai_turn()))

    status, _, _ = await post(served, {"model": RAW, **BODY, **conversation})

    assert status == 200
    kinds = [item["type"] for item in upstream.asked[-1].body["input"]]
    assert "reasoning" not in kinds
    assert kinds.count("custom_tool_call") == kinds.count("custom_tool_call_output") == 1

    upstream.will(sse_answer(openai_turn()))
    _, raw, _ = await post(served, {"model": RAW, **BODY})
    items = read(raw).items
    upstream.will(claude.streamed(Answer(words=("Done.",))))
    status, _, _ = await post(
        served, {"model": claude.model, **BODY, "input": [*BODY["input"], *sent_back(items), *results(items)]}
    )

    assert status == 200
    assert "gAAAA" not in json.dumps(upstream.asked[-1].body)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.slug)
async def test_a_refusal_before_the_stream_is_an_http_error(
    served: Served, upstream: FakeUpstream, family: Family
) -> None:
    upstream.will(family.fails(429, "slow down", "rate_limit_error", headers={"Retry-After": "7"}))

    status, raw, headers = await post(served, {"model": family.model, **BODY})

    assert (status, headers["Retry-After"]) == (429, "7")
    assert "slow down" in json.loads(raw)["error"]["message"]


async def test_openais_failure_before_content_is_an_http_error(served: Served, upstream: FakeUpstream) -> None:
    error = {"code": "context_length_exceeded", "message": "Your input exceeds the context window of this model."}
    response = {"id": "resp_1", "object": "response", "output": [], "status": "in_progress", "error": None}
    failed = {**response, "status": "failed", "error": error}
    upstream.will(
        sse_answer(
            events({"type": "response.created", "response": response}, {"type": "response.failed", "response": failed})
        )
    )

    status, raw, _ = await post(served, {"model": RAW, **BODY})

    told = json.loads(raw)["error"]
    assert (status, told["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.slug)
async def test_a_failure_inside_the_stream_is_told_in_words_that_codex_reads(
    served: Served, upstream: FakeUpstream, family: Family
) -> None:
    frames = family.frames(TURN)
    upstream.will(sse_answer([*frames[:6], family.failing("too busy")]))

    status, raw, _ = await post(served, {"model": family.model, **BODY})

    assert status == 200
    turn = read(raw)
    assert turn.completed is None
    assert turn.failed is not None
    assert turn.failed["status"] == "failed"
    assert isinstance(turn.failed["error"]["code"], str)
    assert isinstance(turn.failed["error"]["message"], str)
    assert turn.failed["error_type"]


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.slug)
async def test_a_stream_that_is_cut_off_has_failed(served: Served, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(sse_answer(family.frames(TURN)[:6], cut=True))

    _, raw, _ = await post(served, {"model": family.model, **BODY})

    turn = read(raw)
    assert turn.completed is None
    assert turn.failed is not None


async def test_a_wrong_model_is_said_in_openais_envelope(served: Served) -> None:
    status, raw, _ = await post(served, {"model": "gpt-9-codex", **BODY})

    assert status == 404
    assert json.loads(raw)["error"]["code"] == "model_not_found"


async def test_codex_may_title_a_conversation_with_a_schema(served: Served, upstream: FakeUpstream) -> None:
    family = next(family for family in OTHERS if family.slug == "local")
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    form = {"type": "json_schema", "strict": True, "schema": schema, "name": "codex_output_schema"}
    upstream.will(json_answer(family.body(Answer(words=('{"title":"x"}',)))))

    status, raw, _ = await post(served, {"model": family.model, **BODY, "stream": False, "text": {"format": form}})

    assert (status, json.loads(raw)["output_text"]) == (200, '{"title":"x"}')
    assert family.sent(upstream.asked[0]).schema == schema
