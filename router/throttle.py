"""How often somebody may try in vain: codes, keys typed into a page, device logins that nobody answers."""

from __future__ import annotations

import math
from collections.abc import Callable

from .errors import RateLimited
from .windows import Window

WIDTH_S = 60
MOST_TRIES = 30
MOST_ADDRESSES = 10_000


class Throttle:
    """Counts tries by address over a minute. Behind a proxy all clients share its address."""

    def __init__(self, monotonic: Callable[[], float], most: int = MOST_TRIES) -> None:
        self._monotonic = monotonic
        self._most = most
        self._tries: dict[str, Window] = {}

    def check(self, address: str | None) -> None:
        """Raises RateLimited where there were too many."""
        now_s, tries = self._monotonic(), self._tries.get(address or "")
        if tries is not None and tries.sum(now_s) >= self._most:
            wait_s = max(1, math.ceil(tries.wait(now_s, self._most - 1)))
            raise RateLimited(f"too many attempts from this address; try again in {wait_s} s", retry_after_s=wait_s)

    def count(self, address: str | None) -> None:
        """One more try."""
        if len(self._tries) >= MOST_ADDRESSES:
            del self._tries[next(iter(self._tries))]
        self._tries.setdefault(address or "", Window(WIDTH_S)).add(self._monotonic(), 1)
