"""What all tests share: a running router and an upstream that does what it is told."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from router.testing import FakeUpstream, Running

Start = Callable[..., Any]
WIRE_TEST = re.compile(r"tests/wire/test_wire_(\w+)\.py::\w+\[(.+?)(?:-(?:whole|pieces|bytes|crossed))?\]")


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
