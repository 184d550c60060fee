"""Time, as something that can be passed in: tests bring their own."""

from __future__ import annotations

import time


class Clock:
    """`monotonic` for durations and windows, `wall` for dates; both in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back (the event loop's clock)."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds; may jump."""
        return time.time()
