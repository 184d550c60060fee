"""A database in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.store import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of the test lies."""
    return tmp_path / "router.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """An open database, as the server has it."""
    async with await Database.open(path, exclusive=True) as opened:
        yield opened
