"""What all tests share: a running router and an upstream that does what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from router.testing import FakeUpstream, Running

Start = Callable[..., Any]


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    """A router with one OpenAI-compatible provider, `fake`, that is the `upstream` of the same test."""
    return await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "upstream-key"}}
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many recorded exchanges went through the router, and which did not. Here, since only this file is read by the process
    that collects what parallel workers report."""
    nodes = [each.nodeid for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, [])]
    if not any(node.startswith("tests/wire/") for node in nodes):
        return
    from tests.wire import accounts

    if lines := list(accounts.table(nodes)):
        for line in (*lines, *accounts.exclusions()):
            terminalreporter.write_line(line)
