"""Waiting in a test for what happens by itself and tells nobody."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

LOOK_S = 0.01


async def until(seen: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Look again and again until there is something true to see, and return it; `TimeoutError` when it takes longer than this.

    `seen` may be a coroutine function, such as one that asks the router.
    """
    async with asyncio.timeout(seconds):
        while not (found := await _look(seen)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_S)
    return found


async def _look(seen: Callable[[], Any]) -> Any:
    found = seen()
    return await found if inspect.isawaitable(found) else found
