"""The time that the filters of one request may take: how long they have taken is looked at while they work."""

from __future__ import annotations

import time
from collections.abc import Callable


class TooSlow(Exception):
    """The time for the filters of one request has run out."""


class Deadline:
    """How long the filters of one request may work."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._left_s = seconds
        self._began_s: float | None = None
        self._looks = 0

    def __enter__(self) -> Deadline:
        self._began_s = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        if self._began_s is not None:
            self._left_s -= self._now() - self._began_s
            self._began_s = None

    def look(self) -> None:
        """Raises TooSlow where it has passed."""
        if self._began_s is not None and self._now() - self._began_s > self._left_s:
            raise TooSlow

    def step(self) -> None:
        """A state was made, which takes long: look every now and then."""
        self._looks += 1
        if not self._looks % 64:
            self.look()
