"""What the tests of this plugin share: an OpenRouter on loopback, and a router before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from router_openrouter import OpenRouter

from router import Timeouts
from router.settings import Settings
from router.testing import FakeUpstream, Running, running

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture
def made() -> Callable[..., OpenRouter]:
    """A provider as the configuration makes it."""

    def make(**settings: Any) -> OpenRouter:
        table = {"plugin": "openrouter", "api_key": "test-key", **settings}
        return OpenRouter("openrouter", msgspec.convert(table, OpenRouter.Settings), Timeouts())

    return make


@pytest.fixture
async def start(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """A router whose one provider has these settings."""
    async with AsyncExitStack() as stack:

        async def started(**settings: Any) -> Running:
            table = {"plugin": "openrouter", "base_url": f"{upstream.url}/api/v1", "api_key": "a-key", **settings}
            return await stack.enter_async_context(running(Settings(providers={"openrouter": table}), tmp_path))

        yield started


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """Reads a recording: its response."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]
