"""One router for all tests here, and behind it one upstream that answers as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from router.testing import FakeUpstream
from tests.serving import STOP_S, Served, serving, upstream_in_a_thread, within

from .families import FAMILIES, Family


@pytest.fixture(scope="session")
def fake_upstream() -> Iterator[FakeUpstream]:
    with upstream_in_a_thread() as fake:
        yield fake


@pytest.fixture(scope="session")
def served(fake_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A router with a provider of each family, and echo."""
    providers: dict[str, Any] = {family.slug: family.provider(fake_upstream.url) for family in FAMILIES}
    tables = {"providers": {**providers, "echo": {"plugin": "echo"}}, "fetch": {"allow_private": True}}
    with serving(tmp_path_factory.mktemp("served"), tables) as served:
        yield served


@pytest.fixture
def upstream(fake_upstream: FakeUpstream) -> Iterator[FakeUpstream]:
    """The upstream of all families, which has not been asked anything yet. A test ends when its answers have: one that the router
    leaves a moment later would count for the next test."""
    fake_upstream.answers, fake_upstream.asked, fake_upstream.left, fake_upstream.finished = [], [], 0, 0
    yield fake_upstream
    assert within(STOP_S, lambda: fake_upstream.left + fake_upstream.finished == len(fake_upstream.asked))


@pytest.fixture(params=FAMILIES, ids=lambda family: family.slug)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family in turn."""
    found: Family = request.param
    return found


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    """The SDK as it comes, without second tries."""
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0, timeout=10) as client:
        yield client
