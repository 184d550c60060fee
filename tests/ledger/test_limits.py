"""Limits of a key: exact under concurrency, with the exact wait, and none where there is none."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.builtin.limits import WINDOW_S
from router.call import Call
from router.errors import RateLimited, UpstreamUnavailable
from router.identity import Identity
from router.ledger import UNLIMITED
from router.prices import Usage
from router.windows import Window

from .desk import DAY, Desk, StillClock, opened


async def refused(desk: Desk, identity: Identity, message: str | None = None, **options: object) -> float:
    """Ask for one call more, which must be one too many; the seconds to wait."""
    call = desk.call(identity, **options)  # type: ignore[arg-type]
    with pytest.raises(RateLimited, match=message) as caught:
        await desk.admit(call)
    desk.ledger.settle(call)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


async def went(desk: Desk, identity: Identity, **options: object) -> Call:
    """One call that may go, and is over at once."""
    call = await desk.admit(desk.call(identity, **options))  # type: ignore[arg-type]
    desk.finish(desk.start(call), Usage(input=10, output=10))
    return call


# --- requests per minute ---------------------------------------------------------------------------------------------


async def test_requests_per_minute(desk: Desk) -> None:
    key = await desk.key("prod-1", rpm=3)
    for _ in range(2):
        await went(desk, key)
    desk.clock.move(10)
    await went(desk, key)

    assert await refused(desk, key, r"Rate limit exceeded for key prod-1 \(3 rpm\); try again in 50 s") == 50
    desk.clock.move(49)
    assert await refused(desk, key) == 1
    desk.clock.move(1)
    await went(desk, key)
    await went(desk, key)
    assert await refused(desk, key) == 10


async def test_refused_calls_do_not_count(desk: Desk) -> None:
    key = await desk.key(rpm=1)
    await went(desk, key)
    for _ in range(5):
        desk.clock.move(10)
        await refused(desk, key)
    desk.clock.move(10)
    await went(desk, key)


async def test_the_limit_is_exact_however_many_come_at_once(desk: Desk) -> None:
    key = await desk.key(rpm=7)

    results = await asyncio.gather(*(desk.admit(desk.call(key)) for _ in range(50)), return_exceptions=True)

    assert sum(isinstance(result, Call) for result in results) == 7


async def test_a_rotated_key_has_the_counters_of_the_old_one(desk: Desk) -> None:
    key = await desk.key(rpm=1)
    await went(desk, key)
    _, rotated = await desk.server.keys.rotate("one", grace_s=60)
    await refused(desk, rotated)


async def test_the_configured_limits_hold_for_keys_without_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path, rpm=1) as desk:
        default, own, free = await desk.key("a"), await desk.key("b", rpm=2), await desk.key("c", rpm=-1)
        await went(desk, default)
        await refused(desk, default)
        await went(desk, own)
        await went(desk, own)
        await refused(desk, own)
        for _ in range(5):
            call = await went(desk, free)
        assert call.rate_limit is None


# --- requests per day ------------------------------------------------------------------------------------------------


async def test_requests_per_day_end_at_midnight(desk: Desk) -> None:
    key = await desk.key(rpd=2)
    await went(desk, key)
    await went(desk, key)

    assert await refused(desk, key, "2 requests per UTC day") == DAY / 2
    desk.clock.move(DAY / 2 - 0.5)
    assert await refused(desk, key) == 1
    desk.clock.move(0.5)
    await went(desk, key)


async def test_requests_per_day_survive_a_restart_and_a_clock_that_goes_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        key = await desk.key(rpd=2)
        await went(desk, key)
    clock = StillClock()
    async with opened(tmp_path, clock=clock) as desk:
        await went(desk, key)
        await refused(desk, key)
        clock.unix += DAY
        await went(desk, key)
        clock.unix -= DAY
        await refused(desk, key)
        clock.unix += DAY
        await went(desk, key)
        await refused(desk, key)


async def test_a_clock_that_goes_back_finds_the_requests_of_the_days_around(tmp_path: Path) -> None:
    clock = StillClock()
    async with opened(tmp_path, clock=clock) as desk:
        key = await desk.key(rpd=1)
        await went(desk, key)
        clock.unix += DAY
        await went(desk, key)
    async with opened(tmp_path, clock=clock) as desk:
        await refused(desk, key)
        clock.unix -= DAY
        await refused(desk, key)
        for days in (2, 3, -20, 1, 1):
            clock.unix += days * DAY
            await went(desk, key)
            await refused(desk, key)


# --- tokens per minute -----------------------------------------------------------------------------------------------


async def test_tokens_are_held_as_estimated_and_settled_as_used(desk: Desk) -> None:
    key = await desk.key(tpm=1000)
    first = await desk.admit(desk.call(key, prompt=300, max_tokens=300))
    assert await refused(desk, key, "1000 tokens per minute", prompt=300, max_tokens=300) == 60

    desk.finish(desk.start(first), Usage(input=100, output=100))
    desk.clock.move(5)
    await desk.admit(desk.call(key, prompt=300, max_tokens=300))

    assert await refused(desk, key, prompt=200, max_tokens=100) == 55


async def test_a_failed_call_gives_its_tokens_back(desk: Desk) -> None:
    key = await desk.key(tpm=1000)
    call = await desk.admit(desk.call(key, prompt=1000, max_tokens=0))
    await refused(desk, key)

    desk.fail(desk.start(call), UpstreamUnavailable("gone"))

    await desk.admit(desk.call(key, prompt=1000, max_tokens=0))


async def test_a_call_beyond_the_whole_limit_goes_alone(desk: Desk) -> None:
    key = await desk.key(tpm=100)
    await desk.admit(desk.call(key, prompt=5000, max_tokens=None))
    await refused(desk, key, prompt=1, max_tokens=None)


# --- calls at a time -------------------------------------------------------------------------------------------------


async def test_calls_at_a_time(desk: Desk) -> None:
    key = await desk.key(max_parallel=2)
    ends: list[Callable[[Call], object]] = [
        lambda call: desk.finish(call, Usage(input=1, output=1)),
        lambda call: desk.fail(call, UpstreamUnavailable("gone")),
        desk.leave,
    ]
    for end in ends:
        running = [desk.start(await desk.admit(desk.call(key))) for _ in range(2)]
        await refused(desk, key, "2 calls at a time")
        end(running[0])
        running.append(await desk.admit(desk.call(key)))
        await refused(desk, key)
        for call in running:
            desk.ledger.settle(call)


async def test_a_call_that_ends_before_its_reservation_frees_its_place(desk: Desk) -> None:
    key = await desk.key(max_parallel=1)
    call = await desk.admit(desk.call(key))
    desk.ledger.settle(call)
    desk.ledger.settle(call)
    await desk.admit(desk.call(key))
    await refused(desk, key)


@pytest.mark.parametrize("limit", ["rpm", "rpd", "tpm", "max_parallel"])
async def test_zero_lets_nothing_through(desk: Desk, limit: str) -> None:
    key = await desk.key(**{limit: 0})
    assert await refused(desk, key) >= 1


# --- what is told ----------------------------------------------------------------------------------------------------


async def test_the_tightest_window_is_told(desk: Desk) -> None:
    key = await desk.key(rpm=10, rpd=5)
    now = int(desk.clock.unix)

    call = await went(desk, key)
    assert call.rate_limit == (5, 4, now + DAY // 2)
    for _ in range(3):
        await went(desk, key)
    assert desk.ledger.rate_limit(key) == (5, 1, now + DAY // 2)

    other = await desk.key("two", rpm=3, rpd=500)
    await went(desk, other)
    desk.clock.move(30)
    assert (await went(desk, other)).rate_limit == (3, 1, now + 90)
    assert desk.ledger.rate_limit(other) == (3, 1, now + 90)


async def test_a_refused_call_is_told_too(desk: Desk) -> None:
    key = await desk.key(rpm=1)
    await went(desk, key)
    call = desk.call(key)
    with pytest.raises(RateLimited):
        await desk.admit(call)
    assert call.rate_limit == (1, 0, int(desk.clock.unix) + 60)


async def test_without_limits_the_numbers_are_huge(desk: Desk) -> None:
    key = await desk.key()
    assert desk.ledger.rate_limit(key) == UNLIMITED
    assert (await went(desk, key)).rate_limit is None


# --- edges of windows, and clocks that jump --------------------------------------------------------------------------

RPM, TPM = 4, 1000
moves = st.tuples(
    #: seconds that pass, often to the edge of a second or of the window
    st.one_of(st.sampled_from([0.0, 0.001, 0.999, 1.0, 59.0, 59.999, 60.0, 60.001]), st.floats(0, 70)),
    #: what the wall clock jumps by meanwhile
    st.sampled_from([0, 0, 0, -5, -3600, -3 * DAY, 3600]),
    #: tokens that are asked for, and that are used
    st.integers(1, 1200),
    st.integers(0, 1200),
    #: does it end at once? Else one of those that have not ends later
    st.booleans(),
)


@settings(max_examples=25)
@example([(0.0, 0, 990, 990, True), (59.0, 0, 1, 1, True), *[(0.0, 0, 1, 1, True)] * 2, (0.0, 0, 900, 0, True)])
@example([(0.0, 0, 900, 90, False), (30.0, 0, 200, 200, True), (1.0, 0, 200, 200, True), (29.0, 0, 700, 0, True)])
@given(st.lists(moves, max_size=40))
def test_limits_a_minute_are_exact_to_the_call_whatever_the_wall_clock_does(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compared(Path(folder), steps))


async def compared(folder: Path, steps: list[Any]) -> None:
    """Each call goes exactly where a plain list of the calls before says so; the wait that is told is the shortest."""
    async with opened(folder) as desk:
        key = await desk.key(rpm=RPM, tpm=TPM)
        made: list[tuple[float, Call]] = []
        #: what is held for each call, and then what it has used
        counts: dict[str, int] = {}
        running: list[tuple[Call, int]] = []

        def fits(at: float, tokens: int) -> bool:
            inside = [counts[call.id] for then, call in made if int(then) > int(at) - WINDOW_S]
            return len(inside) < RPM and sum(inside) + tokens <= TPM

        def finish(call: Call, used: int) -> None:
            desk.finish(call, Usage(input=used, output=0))
            counts[call.id] = used

        for seconds, jump, wanted, used, at_once in steps:
            desk.clock.move(seconds)
            desk.clock.unix += jump
            now, tokens = desk.clock.now_s, min(wanted, TPM)
            call = desk.call(key, prompt=wanted, max_tokens=0)
            wait_s = await asked(desk, call)
            assert (wait_s is None) == fits(now, tokens)
            if wait_s is None:
                counts[call.id] = tokens
                made.append((now, call))
                running.append((desk.start(call), used))
                if at_once or len(running) > 2:
                    finish(*running.pop(-1 if at_once else 0))
                continue
            assert 1 <= wait_s <= WINDOW_S
            assert fits(now + wait_s, tokens)
            assert wait_s == 1 or not fits(now + wait_s - 1, tokens)
            desk.ledger.settle(call)
            if running:
                finish(*running.pop())


async def asked(desk: Desk, call: Call) -> float | None:
    """None where the call may go, else the seconds to wait."""
    try:
        await desk.admit(call)
    except RateLimited as error:
        return error.retry_after_s
    return None


async def test_200_at_once_at_the_edge_of_the_window(desk: Desk) -> None:
    key = await desk.key(rpm=50)

    async def go() -> bool:
        call = desk.call(key)
        try:
            await desk.admit(call)
        except RateLimited:
            return False
        await asyncio.sleep(0)
        desk.finish(desk.start(call), Usage(input=1, output=1))
        return True

    for seconds, expected in ((0.0, 50), (59.9, 0), (0.1, 50)):
        desk.clock.move(seconds)
        assert sum(await asyncio.gather(*(go() for _ in range(200)))) == expected


# --- the window ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5), st.integers(0, 20)), max_size=60))
def test_a_window_is_the_sum_of_the_last_sixty_seconds(steps: list[tuple[float, int, int]]) -> None:
    window, now, all_of_it = Window(WINDOW_S), 100.0, []
    for pause, amount, most in steps:
        now += pause
        window.add(now, amount)
        all_of_it.append((now, amount))

        def inside(at: float) -> int:
            return sum(amount for then, amount in all_of_it if int(then) > int(at) - WINDOW_S)

        assert window.sum(now) == inside(now)
        wait = window.wait(now, most)
        assert 0 <= wait <= WINDOW_S
        assert inside(now + wait + 1e-6) <= most
        assert wait == 0 or inside(now + wait - 1e-6) > most
        assert inside(now + window.empty_in(now) + 1e-6) == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50), st.integers(-50, 50)), max_size=30))
def test_corrections_leave_nothing_behind(steps: list[tuple[float, int, int]]) -> None:
    window, now = Window(WINDOW_S), 0.0
    for pause, amount, difference in steps:
        now += pause
        window.add(now, amount)
        window.correct(now - pause / 2, difference)
    assert window.sum(now + WINDOW_S + 1) == 0
