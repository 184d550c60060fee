"""What the tests of this plugin share: an instance, and the recordings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from router_gemini import Gemini, GeminiSettings

from router.events import Event
from router.provider import Timeouts
from router.sse import open_events

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture
def gemini() -> Gemini:
    """An instance that is never sent anywhere."""
    return Gemini("gemini", GeminiSettings(plugin="gemini", api_key="key-1"), Timeouts())


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """Reads a recording: its response, and what is expected of it."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def events_of(gemini: Gemini) -> Callable[[list[bytes]], AsyncIterator[Event]]:
    """The events of a stream that comes in these pieces."""

    async def pieces(cut: list[bytes]) -> AsyncIterator[bytes]:
        for piece in cut:
            yield piece

    return lambda cut: gemini.events(open_events(pieces(cut)))
