"""Prompts that are too long for their model lose their middle when they ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import Message, Text, ToolCall, ToolResult
from router.builtin.compression import middle_out
from router.settings import EndpointSettings, ModelSettings
from router.testing import FakeUpstream, Running, json_answer

from .test_compat import ANSWER

Start = Callable[..., Awaitable[Running]]
LONG = "x" * 4000  # about 1000 tokens


async def started(start: Start, upstream: FakeUpstream) -> Running:
    upstream.will(json_answer(ANSWER))
    endpoints = [EndpointSettings(provider="fake", model="m")]
    return await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}},
        models={"small/m": ModelSettings(endpoints=endpoints, context_length=4000, max_output=500)},
    )


def talk(rounds: int) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "be brief"},
        *({"role": role, "content": f"{role} {n} {LONG}"} for n in range(rounds) for role in ("user", "assistant")),
        {"role": "user", "content": "the last question"},
    ]


@pytest.mark.parametrize(
    "members",
    [{"transforms": ["middle-out"]}, {"plugins": [{"id": "context-compression"}]}],
    ids=["transform", "plugin"],
)
async def test_the_middle_goes(start: Start, upstream: FakeUpstream, members: dict[str, Any]) -> None:
    router = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", {"model": "small/m", "messages": talk(5), **members})

    sent = upstream.asked[0].body["messages"]
    assert answer.status == 200
    assert sent[0]["content"] == "be brief"
    assert sent[1]["content"].startswith("user 0")
    assert sent[-1]["content"] == "the last question"
    assert sum(len(str(each["content"])) for each in sent) < 4000 * 4


async def test_without_asking_it_is_refused(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", {"model": "small/m", "messages": talk(5)})

    assert answer.status == 404
    assert "context_length" in await answer.text()
    assert not upstream.asked


async def test_a_prompt_that_fits_is_relayed_as_it_is(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream)
    odd = {"model": "small/m", "messages": talk(1), "transforms": ["middle-out"], "unknown_member": {"kept": 1}}

    await router.post("/v1/chat/completions", odd)

    assert upstream.asked[0].body["messages"] == talk(1)
    assert upstream.asked[0].body["unknown_member"] == {"kept": 1}


def message(role: str, *parts: Any) -> Message:
    return Message(role=role, content=list(parts))  # type: ignore[arg-type]


def size(messages: list[Message]) -> int:
    return sum(len(part.text) // 4 for each in messages for part in each.content if isinstance(part, Text))


@given(lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=12), room=st.integers(50, 3000))
def test_what_is_left_fits_and_keeps_the_last(lengths: list[int], room: int) -> None:
    messages = [message("user", Text(text=f"{number}:" + "y" * length)) for number, length in enumerate(lengths)]

    left = middle_out(messages, room)

    assert size(left) <= room + 10
    assert left[-1].text[:2] == messages[-1].text[:2]
    places = [int(each.text.partition(":")[0]) for each in left]
    assert places == sorted(places)


def test_calls_go_with_their_results() -> None:
    messages = [
        message("user", Text(text="q")),
        *(
            part
            for n in range(6)
            for part in (
                message("assistant", ToolCall(id=f"c{n}", name="f", arguments="{}")),
                message("tool", ToolResult(tool_call_id=f"c{n}", content=[Text(text="z" * 2000)])),
            )
        ),
        message("user", Text(text="now")),
    ]

    left = middle_out(messages, 1200)

    called = {part.id for each in left for part in each.content if isinstance(part, ToolCall)}
    answered = {part.tool_call_id for each in left for part in each.content if isinstance(part, ToolResult)}
    assert called == answered
    assert 0 < len(called) < 6
