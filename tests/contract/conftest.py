"""A router that all tests share which only ask, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession
from msgspec import Struct

from tests.serving import Served, serving


class Standing(Struct, kw_only=True):
    """A router in a process of its own, with `echo` as its only provider, and a session to ask it with."""

    url: str
    key: str
    management: str
    session: ClientSession


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), {"providers": {"echo": {"plugin": "echo"}}}) as served:
        yield served


@pytest.fixture
async def standing(served: Served) -> AsyncIterator[Standing]:
    async with ClientSession() as session:
        yield Standing(url=served.url, key=served.key, management=served.management, session=session)
