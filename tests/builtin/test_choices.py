"""n choices of an upstream that gives one: what becomes of the call when one of the n fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.builtin.choices import _merged
from router.events import Event, Finish, Start, Stop, TextDelta
from router.settings import PluginSettings, Settings
from router.testing import FakeUpstream, Running, running, sse_answer

Begin = Callable[..., Awaitable[Running]]
PATIENCE_S = 20.0
BEGINNING = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
)
TWO: dict[str, Any] = {
    "model": "claude/claude-sonnet-4-5",
    "messages": [{"role": "user", "content": "hello"}],
    "stream": True,
    "n": 2,
}


async def test_a_stream_that_is_cut_off_ends_the_call_at_once(start: Begin, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([BEGINNING]))
    router = await start(providers={"claude": {"plugin": "anthropic", "base_url": upstream.url, "api_key": "key"}})

    async with asyncio.timeout(PATIENCE_S):
        answer = await router.post("/v1/chat/completions", TWO)

    assert "ended" in await answer.text()
    assert router.server.lifecycle.running == 0


async def test_without_explanations_a_dry_run_of_several_is_refused_too(tmp_path: Path, upstream: FakeUpstream) -> None:
    settings = Settings(
        providers={"claude": {"plugin": "anthropic", "base_url": upstream.url, "api_key": "key"}},
        plugins=PluginSettings(disabled=["explain"]),
    )
    async with running(settings, tmp_path) as router:
        answer = await router.post("/v1/chat/completions", TWO, headers={"X-Router-Dry-Run": "1"})

    assert (answer.status, upstream.asked) == (501, [])


@pytest.mark.parametrize("failure", [KeyError("a bug of a plugin"), None], ids=["raises", "ends early"])
async def test_a_fault_in_reading_one_of_them_is_raised(failure: Exception | None) -> None:
    async def good() -> AsyncIterator[Event]:
        yield Start()
        yield TextDelta(text="a")
        yield Stop(finishes=[Finish(reason="stop")])

    async def bad() -> AsyncIterator[Event]:
        yield Start()
        if failure is not None:
            raise failure

    with pytest.raises(KeyError if failure is not None else Exception, match="bug" if failure else "ended"):
        async with asyncio.timeout(PATIENCE_S):
            async for _ in _merged([good(), bad()]):
                pass
