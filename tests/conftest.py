"""What all tests share: a running router and an upstream that does what it is told."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from router.settings import Settings
from router.testing import FakeUpstream, Running, running

Start = Callable[..., Any]
WIRE_TEST = re.compile(r"tests/wire/test_wire_(\w+)\.py::\w+\[(.+?)(?:-(?:whole|pieces|bytes|crossed))?\]")


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

        async def starter(
            *, plugins: dict[str, object] | None = None, environ: dict[str, str] | None = None, **tables: Any
        ) -> Running:
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many recorded exchanges went through the router, and which did not. Here, since only this file is read by the process
    that collects what parallel workers report."""
    ran: dict[str, set[str]] = defaultdict(set)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if found := WIRE_TEST.match(report.nodeid):
                ran[found[1]].add(found[2])
    if not ran:
        return
    from tests.wire import clouds, modalities, natives, replays

    for kind, names in sorted(ran.items()):
        terminalreporter.write_line(f"wire: {kind}: {len(names)} exchanges ran")
    excluded = {**replays.EXCLUDED, **natives.EXCLUDED, **clouds.EXCLUDED, **modalities.EXCLUDED}
    for name, reason in sorted(excluded.items()):
        terminalreporter.write_line(f"wire: {name} is excluded: {reason}")
