"""A clock for tests: time stands still until somebody moves it."""

from __future__ import annotations

from ..clock import Clock

#: Wednesday, 15 November 2023, 12:00 UTC
NOON = 1_700_049_600.0


class StillClock(Clock):
    """`server.clock = StillClock()`. `unix` is what the date is."""

    def __init__(self, unix: float = NOON) -> None:
        self.now_s = 1000.0
        self.unix = unix

    def monotonic(self) -> float:
        """As it was set."""
        return self.now_s

    def wall(self) -> float:
        """As it was set."""
        return self.unix

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.unix += seconds
