"""Thinking that clients drop comes back in front of its tool calls: for an hour, for the same key, and where nobody switched it off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.call import Call
from router.dialects.openai_chat import OpenAIChat
from router.events import ReasoningDelta, Stop, TextDelta, ToolDelta
from router.identity import Identity
from router.model import ChatRequest, Message, Reasoning, Text, ToolCall
from router.settings import Settings
from router.signatures import KEPT_S, LONGEST_CHARS, Signatures
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer

CLAUDE = "anthropic-claude-v1"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
THOUGHT = Reasoning(text="Hm.", signature="c2ln", format=CLAUDE)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signatures(clock: Clock) -> Signatures:
    return Signatures(clock)


def make_call(owner: str = "key-1", *, tools: bool = True, **compat: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | ({"tools": [TOOL]} if tools else {})
    call = Call(dialect=OpenAIChat(), body=b"", headers={}, path={}, presented=None, started_s=0.0)
    call.head = call.dialect.peek(json.dumps(body).encode(), {}, "chat")
    call.identity = Identity(hash=owner)
    call.compat = compat
    return call


def answered(signatures: Signatures, call: Call, *ids: str, signature: str = "c2ln") -> None:
    """An answer with thinking and calls passes by."""
    watch = signatures.watch(call)
    assert watch is not None
    for event in (
        ReasoningDelta(text="H", format=CLAUDE),
        ReasoningDelta(text="m.", format=CLAUDE),
        ReasoningDelta(signature=signature, format=CLAUDE),
        TextDelta(text="Look:"),
        *(ToolDelta(index=index, id=id, name="f") for index, id in enumerate(ids)),
        *(ToolDelta(index=index, arguments="{}") for index, _ in enumerate(ids)),
        Stop(),
    ):
        watch.see(event)


def history(*before: Reasoning, id: str = "t1") -> ChatRequest:
    content = [*before, Text(text="Look:"), ToolCall(id=id, name="f")]
    return ChatRequest(messages=[Message(role="user"), Message(role="assistant", content=content)])


def test_what_was_dropped_comes_back(signatures: Signatures):
    answered(signatures, make_call(), "t1", "t2")
    dropped = history()

    restored = signatures.restore(make_call(), dropped)

    assert restored.messages[1].content == [THOUGHT, *dropped.messages[1].content]
    assert len(dropped.messages[1].content) == 2
    assert signatures.restore(make_call(), restored) is restored


def test_text_without_its_signature_is_replaced(signatures: Signatures):
    answered(signatures, make_call(), "t1")

    restored = signatures.restore(make_call(), history(Reasoning(text="Hm.")))

    assert [part for part in restored.messages[1].content if isinstance(part, Reasoning)] == [THOUGHT]


def test_what_was_kept_stays(signatures: Signatures):
    answered(signatures, make_call(), "t1")
    kept = history(Reasoning(text="Hm.", signature="b3Ro", format=CLAUDE))

    assert signatures.restore(make_call(), kept) is kept


@pytest.mark.parametrize("other", [make_call("key-2"), make_call(restore_signatures=False)])
def test_not_for_another_key_nor_where_it_is_switched_off(signatures: Signatures, other: Call):
    answered(signatures, make_call(), "t1")
    request = history()

    assert signatures.restore(other, request) is request


def test_other_calls_have_nothing_to_do_with_it(signatures: Signatures):
    answered(signatures, make_call(), "t1")
    request = history(id="t9")

    assert signatures.restore(make_call(), request) is request


def test_it_lasts_an_hour(signatures: Signatures, clock: Clock):
    answered(signatures, make_call(), "t1")

    clock.now += KEPT_S - 1
    assert signatures.restore(make_call(), history()) != history()
    clock.now += 2
    assert signatures.restore(make_call(), history()) == history()


def test_nothing_is_watched_without_tools():
    signatures = Signatures(Clock())

    assert signatures.watch(make_call(tools=False)) is None
    assert signatures.watch(make_call(restore_signatures=False)) is None


def test_unsigned_thinking_is_not_kept(signatures: Signatures):
    answered(signatures, make_call(), "t1", signature="")

    assert signatures.restore(make_call(), history()) == history()


def test_memory_is_bounded(signatures: Signatures):
    for number in range(100):
        answered(signatures, make_call(), f"t{number}", signature="s" * (LONGEST_CHARS - 10))
    answered(signatures, make_call(), "huge", signature="s" * LONGEST_CHARS)

    kept = [
        number
        for number in range(100)
        if signatures.restore(make_call(), history(id=f"t{number}")) != history(id=f"t{number}")
    ]

    assert kept == list(range(68, 100))
    assert signatures.restore(make_call(), history(id="huge")) == history(id="huge")


# --- over sockets ----------------------------------------------------------------------------------------------------

BLOCKS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 5},
}


def as_stream() -> list[bytes]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}
    ]
    for index, block in enumerate(BLOCKS):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    return [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("switch", [True, False])
async def test_an_openai_client_gives_claude_its_thinking_back(tmp_path: Path, streaming: bool, switch: bool):
    async with FakeUpstream().listening() as upstream:
        providers = {"claude": {"plugin": "anthropic", "base_url": upstream.url, "api_key": "k"}}
        settings = Settings(providers=providers)
        settings.compat.restore_signatures = switch
        async with running(settings, tmp_path) as router:
            upstream.will(sse_answer(as_stream()) if streaming else json_answer(MESSAGE))
            await ask(router, [{"role": "user", "content": "x"}], stream=streaming)
            upstream.will(json_answer(MESSAGE))
            call = {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

            await ask(
                router,
                [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "toolu_1", "content": "done"},
                ],
            )

    turn = upstream.asked[1].body["messages"][1]["content"]
    assert turn == (BLOCKS if switch else BLOCKS[1:])


async def ask(router: Running, messages: list[Any], **members: Any) -> None:
    body = {"model": "claude/claude-sonnet-4-5", "messages": messages, "tools": [TOOL], "max_tokens": 2000, **members}
    answer = await router.post("/v1/chat/completions", body)
    assert answer.status == 200, await answer.text()
