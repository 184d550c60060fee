"""The provider, and our own recordings: what Anthropic's API answers, written after its documentation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from router_anthropic import Anthropic

from router.events import Event
from router.model import ChatRequest, Message, Text
from router.provider import Timeouts
from router.sse import open_events

RECORDINGS = Path(__file__).parent / "recordings"
KEY = "test-key-of-nobody"


@pytest.fixture
def provider() -> Anthropic:
    """An instance as the configuration makes it."""
    return Anthropic("anthropic", Anthropic.Settings(plugin="anthropic", api_key=KEY), Timeouts())


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """A recording by its name."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def answer(recording: Callable[[str], dict[str, Any]]) -> Callable[[str], bytes]:
    """The bytes of a recorded answer."""

    def read(name: str) -> bytes:
        response = recording(name)["response"]
        if "body" in response:
            return json.dumps(response["body"]).encode()
        return str(response.get("sse") or response["text"]).encode()

    return read


@pytest.fixture
def streamed(provider: Anthropic) -> Callable[..., list[Event]]:
    """The events that a stream becomes. `pieces`: the bytes as they come from the socket."""

    def read(pieces: bytes | Iterable[bytes]) -> list[Event]:
        async def come() -> AsyncIterator[bytes]:
            for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                yield piece

        async def all_events() -> list[Event]:
            return [event async for event in provider.events(open_events(come()))]

        return asyncio.run(all_events())

    return read


@pytest.fixture
def sent(provider: Anthropic) -> Callable[..., dict[str, Any]]:
    """The body that a request becomes."""

    def encode(request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(provider.encode(request).body)
        return body

    return encode


@pytest.fixture
def ask() -> Callable[..., ChatRequest]:
    """A request. Messages are given as (role, text or parts)."""

    def make(*messages: Any, model: str = "claude-sonnet-4-5", **members: Any) -> ChatRequest:
        turns = [
            Message(role=role, content=[Text(text=content)] if isinstance(content, str) else content)
            for role, content in (messages or [("user", "Hello")])
        ]
        return ChatRequest(messages=turns, model=model, **members)

    return make
