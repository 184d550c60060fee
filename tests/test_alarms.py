"""Timeouts that share one timer."""

from __future__ import annotations

import asyncio

import pytest

from router.alarms import Alarm, Alarms, Timeout
from router.tasks import spawn


class Noted(Alarm):
    """Writes down when it rings."""

    def __init__(self, due_s: float) -> None:
        self.due_s = due_s
        self.rang_s: list[float] = []

    def ring(self, now_s: float) -> None:
        self.rang_s.append(now_s)


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_rings_once_when_it_is_due(alarms: Alarms) -> None:
    start = now()
    noted = [Noted(start + after) for after in (0.03, 0.01, 0.02)]
    for each in noted:
        alarms.set(each)
    await asyncio.sleep(0.08)
    for each in noted:
        assert len(each.rang_s) == 1
        assert each.due_s <= each.rang_s[0] < each.due_s + 0.02


async def test_what_is_dropped_stays_silent_and_holds_up_nobody(alarms: Alarms) -> None:
    early, late = Noted(now() + 0.01), Noted(now() + 0.02)
    alarms.set(early)
    alarms.set(late)
    alarms.drop(early)
    await asyncio.sleep(0.06)
    assert not early.rang_s
    assert len(late.rang_s) == 1


async def test_an_alarm_may_set_itself_again(alarms: Alarms) -> None:
    class Thrice(Noted):
        def ring(self, now_s: float) -> None:
            super().ring(now_s)
            if len(self.rang_s) < 3:
                self.due_s = now_s + 0.01
                alarms.set(self)

    thrice = Thrice(now() + 0.01)
    alarms.set(thrice)
    await asyncio.sleep(0.1)
    assert len(thrice.rang_s) == 3


async def test_a_timeout_interrupts_its_block(alarms: Alarms) -> None:
    with pytest.raises(TimeoutError), Timeout(alarms, now() + 0.01) as timeout:
        await asyncio.sleep(5)
    assert timeout.rung
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_block_in_time_is_left_alone(alarms: Alarms) -> None:
    with Timeout(alarms, now() + 0.01) as timeout:
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    timeout.ring(now())
    await asyncio.sleep(0)
    assert not timeout.rung


async def test_of_two_only_the_one_that_rang_is_a_timeout(alarms: Alarms) -> None:
    with pytest.raises(TimeoutError), Timeout(alarms, now() + 0.01) as outer:
        try:
            with Timeout(alarms, now() + 5) as inner:
                await asyncio.sleep(5)
        except TimeoutError:
            pytest.fail("the inner one had time left")
    assert outer.rung
    assert not inner.rung


async def test_a_cancellation_from_elsewhere_stays_one(alarms: Alarms) -> None:
    async def work() -> None:
        with Timeout(alarms, now() + 0.01) as timeout:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            timeout.ring(now())  # at the same moment
            await asyncio.sleep(5)

    task = spawn("work", work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
