"""What all tests share: a running router and an upstream that does what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from router.settings import Settings
from router.testing import FakeUpstream, Running, running

Start = Callable[..., Any]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """An upstream on loopback; tell it what to answer with `upstream.will(...)`."""
    async with FakeUpstream().listening() as fake:
        yield fake


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts routers: `await start(providers={...}, plugins={...}, models=...)`; they stop when the test ends."""
    async with AsyncExitStack() as stack:
        count = 0

        async def starter(*, plugins: dict[str, object] | None = None, environ: dict[str, str] | None = None, **tables: Any) -> Running:
            nonlocal count
            count += 1
            folder = tmp_path / str(count)
            folder.mkdir()
            settings = Settings(**tables)
            return await stack.enter_async_context(running(settings, folder, plugins=plugins, environ=environ))

        yield starter


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    """A router with one OpenAI-compatible provider, `fake`, that is the `upstream` of the same test."""
    return await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "upstream-key"}}
    )
