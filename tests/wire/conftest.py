"""Fixtures of the replay tests: one upstream, one router and one client for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import pytest_asyncio

from .recordings import MISSING, Recording, chat_recordings, recordings
from .replays import REFRAMED
from .stage import Stage, config, staged

#: without recordings one test says so for all
collect_ignore_glob = [] if recordings() else ["test_wire_*.py", "test_*_hub.py", "test_expected.py"]

#: the first test that needs a router waits for its start
PATIENCE_SECONDS = 150
#: stands for the case of a test that has none
NO_CASE = SimpleNamespace(params={})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The replays have more time than other tests. Streams in small packets, and the same with `stream` turned round, are long ones."""
    for each in items:
        if each.path.parent == Path(__file__).parent:
            each.add_marker(pytest.mark.timeout(PATIENCE_SECONDS))
            small = getattr(each, "callspec", NO_CASE).params.get("split") in ("pieces", "bytes")
            if small or each.name.startswith("test_the_other_way_round"):
                each.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def wire() -> dict[str, Recording]:
    """The recordings of chat by name; skips where they are not there."""
    found = {each.name: each for each in chat_recordings()}
    if not found:
        pytest.skip(MISSING)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(wire: dict[str, Recording], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with several instances per recording, so that a credential refused in one kind of test is not missed in
    another: `NAME` for answers, `x-NAME` for answers the other way round, `q-NAME` for requests, `a-` and `ax-NAME` for
    Anthropic's clients."""
    instances = {prefix + name: each for prefix in ("", "x-", "q-", "a-", "ax-") for name, each in wire.items()}
    # OpenRouter relays Anthropic's clients to Claude, and these recordings are chat.
    plain = [name for name, each in instances.items() if name[:2] in ("a-", "ax") and each.provider == "openrouter"]
    folder = tmp_path_factory.mktemp("wire")
    async with staged(instances, lambda url: config(url, instances, plain), folder, REFRAMED) as stage:
        yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """One client session for all tests."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=25)) as session:
        yield session
