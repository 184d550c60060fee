"""Calls of the past, put into the ledger of a running router, and questions about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from router.generation import Generation
from router.prices import PICODOLLARS, Usage
from router.testing import Running

DAY = 86400
#: noon of the current UTC day
TODAY = time.time() // DAY * DAY + DAY / 2


async def recorded(router: Running, key: str, *, days_ago: float = 0, usd: float = 0.5, **members: Any) -> str:
    """A call of the key with this hash, committed; its id."""
    id = members.pop("id", None) or f"gen-{time.time_ns()}"
    row = Generation(
        id=id,
        created_unix=TODAY - days_ago * DAY,
        key_hash=key,
        **{
            "cost": round(usd * PICODOLLARS),
            "model": "acme/m",
            "provider": "acme",
            "usage": Usage(input=100, output=50, reasoning=5, cache_read=40),
            **members,
        },
    )
    await router.server.generations.add(row)
    return id


async def ask(router: Running, path: str, *, key: str | None = None, status: int = 200, body: Any = None) -> Any:
    """The answer's JSON, by default to the management key."""
    key = key or router.management
    answer = await (router.get(path, key=key) if body is None else router.post(path, body, key=key))
    assert answer.status == status, await answer.text()
    return await answer.json()


def picked(rows: Sequence[Any], *names: str) -> list[tuple[Any, ...]]:
    """These members of each."""
    return [tuple(row[name] for name in names) for row in rows]
