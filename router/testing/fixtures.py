"""The kit as pytest fixtures: `pytest_plugins = ["router.testing.fixtures"]` in a conftest.py brings them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ..settings import PluginSettings, Settings
from .running import Running, running
from .upstream import FakeUpstream

Start = Callable[..., Any]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """An upstream on loopback; tell it what to answer with `upstream.will(...)`."""
    async with FakeUpstream().listening() as fake:
        yield fake


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts routers: `await start(providers={...}, plugins={...}, models=...)`; they stop when the test ends. `plugins` are objects,
    `plugin_tables` the `[plugins.<name>]` of installed ones."""
    async with AsyncExitStack() as stack:
        count = 0

        async def starter(
            *,
            plugins: dict[str, object] | None = None,
            plugin_tables: dict[str, dict[str, Any]] | None = None,
            environ: dict[str, str] | None = None,
            **tables: Any,
        ) -> Running:
            nonlocal count
            count += 1
            folder = tmp_path / str(count)
            folder.mkdir()
            settings = Settings(plugins=PluginSettings(tables=plugin_tables or {}), **tables)
            return await stack.enter_async_context(running(settings, folder, plugins=plugins, environ=environ))

        yield starter
