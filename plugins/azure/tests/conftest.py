"""What the tests of this plugin share: an Azure on loopback, and a router before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from router_azure import Azure

from router import Timeouts
from router.settings import Settings
from router.testing import FakeUpstream, Running, running

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture
def made() -> Callable[..., Azure]:
    """A provider as the configuration makes it: `made(api_version="2024-10-21")`."""

    def make(**settings: Any) -> Azure:
        table = {"plugin": "azure", "base_url": "https://example.openai.azure.com", "api_key": "test-key", **settings}
        return Azure("azure", msgspec.convert(table, Azure.Settings), Timeouts())

    return make


@pytest.fixture
async def start(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """A router whose one provider has these settings: `await start(api_version="v1")`."""
    async with AsyncExitStack() as stack:

        async def started(**settings: Any) -> Running:
            table = {"plugin": "azure", "base_url": upstream.url, "api_key": "resource-key", **settings}
            context = running(Settings(providers={"azure": table}), tmp_path)
            return await stack.enter_async_context(context)

        yield started


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """Reads a recording: its response."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]
