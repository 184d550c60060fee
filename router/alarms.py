"""Timeouts by the hundred, on one timer of the event loop.

Every call has three of them and hardly any ever rings. A timer of the loop costs 5 microseconds to set and to cancel, `asyncio.timeout`
13; an entry in a set costs less than one (measured).
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self


class Alarm:
    """Something that wants to be called at `due_s` (seconds of the loop's clock), unless it is dropped before."""

    __slots__ = ("due_s",)
    due_s: float

    def ring(self, now_s: float) -> None:
        """It is due, and not in the set any more: set it again to be called again."""
        raise TypeError(f"{type(self).__name__} does not ring")


class Alarms:
    """All alarms of a loop. While one is set, its `due_s` may only be moved to a later time."""

    def __init__(self) -> None:
        self._waiting: set[Alarm] = set()
        self._next_s = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, alarm: Alarm) -> None:
        """Let it ring when it is due."""
        self._waiting.add(alarm)
        if alarm.due_s < self._next_s:
            self._arm(alarm.due_s)

    def drop(self, alarm: Alarm) -> None:
        """It is not needed any more, or has rung. (The timer stays: to find the next one would cost more.)"""
        self._waiting.discard(alarm)

    def _arm(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_s = due_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._ring)

    def _ring(self) -> None:
        # The loop may be early by the resolution of its clock.
        now_s = max(asyncio.get_running_loop().time(), self._next_s)
        self._next_s, self._timer = math.inf, None
        due = [alarm for alarm in self._waiting if alarm.due_s <= now_s]
        self._waiting.difference_update(due)
        if self._waiting:
            self._arm(min(alarm.due_s for alarm in self._waiting))
        for alarm in due:
            alarm.ring(now_s)


class Timeout(Alarm):
    """`asyncio.timeout_at` as an alarm: interrupts the block that it stands around, in the task that has entered it."""

    __slots__ = ("_alarms", "_cancelling", "_task", "rung")

    def __init__(self, alarms: Alarms, due_s: float) -> None:
        self.due_s = due_s
        self.rung = False
        self._alarms = alarms
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._alarms.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises TimeoutError where the block was interrupted by this alarm and by nothing else."""
        self._alarms.drop(self)
        task, self._task = self._task, None
        if self.rung and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def ring(self, now_s: float) -> None:
        """Interrupt the block, if it still runs and has not been interrupted."""
        if self._task is not None and not self.rung:
            self.rung = True
            self._task.cancel()
