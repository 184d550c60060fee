"""Sums over the last seconds, in buckets of one second on the monotonic clock."""

from __future__ import annotations

import math
from collections import deque


class Window:
    """A sum over the last `width_s` seconds. `now_s` is monotonic."""

    __slots__ = ("_buckets", "_width_s", "total")

    def __init__(self, width_s: int) -> None:
        self._width_s = width_s
        #: [second, amount], oldest first
        self._buckets: deque[list[int]] = deque()
        self.total = 0

    def sum(self, now_s: float) -> int:
        """What lies in the window now."""
        buckets = self._buckets
        while buckets and buckets[0][0] <= now_s - self._width_s:
            self.total -= buckets.popleft()[1]
        return self.total

    def add(self, now_s: float, amount: int) -> None:
        """Count something now."""
        self.sum(now_s)
        second = math.floor(now_s)
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets[-1][1] += amount
        else:
            self._buckets.append([second, amount])
        self.total += amount

    def correct(self, then_s: float, difference: int) -> None:
        """Change what was counted then, if it is still in the window."""
        second = math.floor(then_s)
        for bucket in reversed(self._buckets):
            if bucket[0] == second:
                bucket[1] += difference
                self.total += difference
                return

    def wait(self, now_s: float, most: int) -> float:
        """Seconds until the window holds no more than `most`."""
        total = self.sum(now_s)
        for second, amount in self._buckets:
            if total <= most:
                break
            total -= amount
            until = second + self._width_s - now_s
            if total <= most:
                return max(0.0, until)
        return 0.0 if total <= most else float(self._width_s)

    def empty_in(self, now_s: float) -> float:
        """Seconds until nothing is left in the window."""
        return self._buckets[-1][0] + self._width_s - now_s if self._buckets else 0.0
