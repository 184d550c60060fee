"""What a call may cost, what it did cost, and that it is booked once."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import hookimpl
from router.account import Account, bounds
from router.errors import DeadlineExceeded, InsufficientCredits, Overloaded, RateLimited, UpstreamUnavailable
from router.ledger import DEFAULT_OUTPUT_TOKENS, worst_case
from router.model import Model
from router.prices import Price, PriceOverride, Usage
from router.testing import until
from router.testing.clock import NOON

from .desk import DAY, PRICE, Desk, Honest, Nowhere, StillClock, opened

MICRO = 10**6  # picodollars of one token
SOUND = Price(prompt=1, completion=2, audio_input=40, audio_output=80)


# --- reservation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "options", "amount"),
    [
        (PRICE, {"prompt": 100, "max_tokens": 50}, 150 * MICRO),
        (PRICE, {"prompt": 100, "max_tokens": 50, "n": 3}, 250 * MICRO),
        (PRICE, {"prompt": 100, "max_tokens": None}, (100 + DEFAULT_OUTPUT_TOKENS) * MICRO),
        (PRICE, {"prompt": 100, "max_tokens": 10**6, "model": Model(id="m", max_output=400)}, 500 * MICRO),
        (PRICE, {"prompt": 100, "max_tokens": None, "model": Model(id="m", max_output=400)}, 500 * MICRO),
        (Price(prompt=1, completion=2, internal_reasoning=5), {"prompt": 10, "max_tokens": 10}, 60),
        (Price(prompt=1, completion=2, input_cache_write=3, request=7), {"prompt": 10, "max_tokens": 10}, 57),
        (
            Price(prompt=1, completion=1, overrides=[PriceOverride(min_prompt_tokens=50, prompt=9, completion=9)]),
            {"prompt": 100, "max_tokens": 10},
            990,
        ),
        (None, {}, 0),
        (PRICE, {"endpoint": {"local": True}}, 0),
        (PRICE, {"endpoint": {"local": True}, "fee_percent": 2.5}, 5 * MICRO),
        (SOUND, {"prompt": 10, "max_tokens": 10}, 30),
        (SOUND, {"prompt": 10, "max_tokens": 10, "modalities": frozenset({"audio"})}, 420),
        (SOUND, {"prompt": 10, "max_tokens": 10, "model": Model(id="m", output_modalities=["text", "audio"])}, 810),
    ],
)
async def test_the_worst_case(desk: Desk, price: Price | None, options: dict[str, Any], amount: int) -> None:
    assert worst_case(desk.call(None, price=price, **options)) == (amount, 0)


async def test_the_worst_case_of_a_clients_own_key_is_its_fee_and_what_it_would_have_cost(desk: Desk) -> None:
    assert worst_case(desk.call(None, byok=True)) == (0, 200 * MICRO)
    own, ours = desk.call(None, byok=True, fee_percent=5), desk.call(None, prompt=0)
    assert worst_case(own) == (10 * MICRO, 200 * MICRO)
    own.plan.candidates += ours.plan.candidates
    assert worst_case(own) == (200 * MICRO, 200 * MICRO)


async def test_the_dearest_candidate_counts(desk: Desk) -> None:
    call, dear = desk.call(None), desk.call(None, price=Price(prompt=MICRO * 2, completion=MICRO * 2))
    call.plan.candidates += dear.plan.candidates
    assert worst_case(call) == (400 * MICRO, 0)


async def test_money_is_held_while_a_call_runs_and_what_it_cost_stays(desk: Desk) -> None:
    key = await desk.key(limit=1000 * MICRO)

    call = desk.start(desk.call(key))
    assert desk.left(key) == 800 * MICRO
    row = desk.finish(call, Usage(input=90, output=10))

    assert (row.cost, row.list_cost, row.status) == (100 * MICRO, 100 * MICRO, "ok")
    assert desk.left(key) == 900 * MICRO


async def test_who_has_nothing_left_is_refused(desk: Desk) -> None:
    key = await desk.key(limit=100 * MICRO)
    desk.finish(desk.start(desk.call(key)), Usage(input=60, output=40))

    call = desk.call(key, price=None)
    with pytest.raises(InsufficientCredits, match=r"key 'one' has used up its limit of \$0\.0001: raise its limit"):
        desk.ledger.reserve(call)
    with pytest.raises(InsufficientCredits):
        await desk.admit(desk.call(key))

    desk.ledger.settle(call)
    assert call.settled is None


async def test_a_call_that_may_cost_more_than_is_left_goes_unless_limits_are_strict(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        key = await desk.key(limit=150 * MICRO)
        desk.start(desk.call(key))
        with pytest.raises(InsufficientCredits, match=r"\$0\.0002 of it is held"):
            desk.start(desk.call(key))
    async with opened(tmp_path, strict=True) as desk:
        with pytest.raises(InsufficientCredits, match=r"up to \$0\.0002, and \$0\.00015 is left.*smaller max_tokens"):
            desk.start(desk.call(key))
        desk.start(desk.call(key, max_tokens=50))


async def test_concurrent_calls_cannot_overspend(tmp_path: Path) -> None:
    async with opened(tmp_path, strict=True) as desk:
        key = await desk.key(limit=1000 * MICRO)
        calls = [desk.call(key) for _ in range(50)]

        async def run(call: Any) -> bool:
            try:
                desk.start(call)
            except InsufficientCredits:
                return False
            await asyncio.sleep(0)
            desk.finish(call, Usage(input=100, output=100))
            return True

        went = await asyncio.gather(*(run(call) for call in calls))

        assert sum(went) == 5
        assert desk.left(key) == 0


async def test_calls_without_an_identity_are_not_booked(desk: Desk) -> None:
    call = desk.call(None)
    desk.start(call)
    desk.ledger.settle(call)
    assert call.settled is None


async def test_no_calls_are_taken_while_records_cannot_be_written(desk: Desk) -> None:
    key = await desk.key()
    connection = desk.server.database._writer._connection
    await connection.execute_fetchall("PRAGMA query_only = ON")
    running = desk.start(desk.call(key))
    desk.finish(running, Usage(input=1, output=1))
    await until(lambda: desk.server.database.status() != "ok")

    with pytest.raises(Overloaded, match="cannot write its records"):
        await desk.admit(desk.call(key))

    await connection.execute_fetchall("PRAGMA query_only = OFF")
    assert running.settled is not None
    await asyncio.wait_for(running.settled, 5)
    await desk.admit(desk.call(key))


# --- the end of a call -----------------------------------------------------------------------------------------------


async def test_settling_twice_books_once(desk: Desk) -> None:
    key = await desk.key(limit=1000 * MICRO)
    call = desk.start(desk.call(key))
    released: list[Any] = []
    call.releases.append(released.append)

    desk.finish(call, Usage(input=1, output=1))
    first = call.settled
    call.cancel()
    desk.ledger.settle(call)
    await desk.ledger.commit(call)

    assert call.settled is first
    assert released == [call]
    assert desk.left(key) == 998 * MICRO
    row = await desk.server.generations.find(call.id, key)
    assert row is not None
    assert (row.status, row.cost) == ("ok", 2 * MICRO)


async def test_commit_waits_for_the_disk(desk: Desk, tmp_path: Path) -> None:
    key = await desk.key()
    call = desk.start(desk.call(key))
    desk.ledger.price(call, Usage(input=1, output=2))

    await desk.ledger.commit(call)

    connection = sqlite3.connect(tmp_path / "router.db")
    assert connection.execute("SELECT id, charge FROM generation").fetchall() == [(call.id, 3 * MICRO)]
    connection.close()


async def test_only_the_wait_for_the_disk_can_be_cancelled(desk: Desk) -> None:
    key = await desk.key()
    call = desk.start(desk.call(key))
    desk.ledger.price(call, Usage(input=1, output=2))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await desk.ledger.commit(call)

    assert call.settled is not None
    await call.settled
    assert await desk.server.generations.find(call.id, key) is not None


async def test_a_failed_call_costs_nothing(desk: Desk) -> None:
    key = await desk.key(limit=1000 * MICRO)
    call = desk.start(desk.call(key))
    call.outcome.usage, call.outcome.output_chars = Usage(input=100, output=50), 200

    row = desk.fail(call, DeadlineExceeded("too late"))

    assert (row.cost, row.list_cost, row.status, row.http_status) == (0, None, "error", 504)
    assert (row.usage.input, row.usage.output, row.priced) == (100, 50, True)
    assert desk.left(key) == 1000 * MICRO


async def test_a_call_that_was_priced_and_then_failed_costs_nothing(desk: Desk) -> None:
    call = desk.start(desk.call(await desk.key()))
    desk.ledger.price(call, Usage(input=10, output=10))
    assert desk.fail(call, UpstreamUnavailable("broken")).cost == 0


async def test_a_client_that_leaves_pays_what_was_produced(desk: Desk) -> None:
    key = await desk.key()
    call = desk.start(desk.call(key))
    call.outcome.output_chars = 41

    row = desk.leave(call)

    assert (row.usage.input, row.usage.output, row.usage.source) == (100, 11, "estimated")
    assert (row.cost, row.status, row.cancelled, row.http_status) == (111 * MICRO, "cancelled", True, 499)


async def test_a_client_that_leaves_pays_what_the_upstream_said_where_that_is_more(desk: Desk) -> None:
    call = desk.start(desk.call(await desk.key()))
    call.outcome.output_chars, call.outcome.usage = 40, Usage(input=80, output=30, cache_read=20)

    row = desk.leave(call)

    assert (row.usage.input, row.usage.output, row.usage.cache_read, row.usage.source) == (80, 30, 20, "upstream")
    assert row.cost == 110 * MICRO


async def test_usage_of_the_first_event_is_not_taken_for_the_whole(desk: Desk) -> None:
    """Some upstreams tell the prompt and one token of output at the start."""
    call = desk.start(desk.call(await desk.key()))
    call.outcome.output_chars, call.outcome.usage = 400, Usage(input=80, output=1)

    row = desk.leave(call)

    assert (row.usage.input, row.usage.output, row.usage.source) == (80, 100, "estimated")


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_before_anything_came_pays_nothing(desk: Desk, begun: bool) -> None:
    call = desk.call(await desk.key())
    desk.ledger.reserve(call)
    if begun:
        call.candidate = call.plan.candidates[0]

    row = desk.leave(call)

    assert (row.cost, row.usage, row.status) == (0, Usage(), "cancelled")


@pytest.mark.parametrize(
    ("usage", "finish", "cost"),
    [
        (Usage(input=100, output=0), None, 0),
        (Usage(input=100, output=0), "error", 0),
        (Usage(input=100, output=0), "stop", 100 * MICRO),
        (Usage(input=100, output=1), None, 101 * MICRO),
    ],
)
async def test_zero_completion_insurance(desk: Desk, usage: Usage, finish: str | None, cost: int) -> None:
    call = desk.start(desk.call(await desk.key()))
    call.outcome.finish_reason = finish

    desk.ledger.price(call, usage)

    assert desk.settle(call).cost == cost


async def test_without_usage_of_the_upstream_it_is_estimated(desk: Desk) -> None:
    call = desk.start(desk.call(await desk.key()))
    call.outcome.output_chars = 9

    row = desk.finish(call, None)

    assert (row.usage.input, row.usage.output, row.usage.source, row.cost) == (100, 3, "estimated", 103 * MICRO)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input=-5, output=10**12, cache_read=7),
        Usage(input=10, output=10, cache_read=10**9, reasoning=10**9),
        Usage(input=10**9, output=10**9, cost=-(10**30)),
    ],
)
async def test_nonsense_of_an_upstream_costs_nothing_absurd(desk: Desk, usage: Usage) -> None:
    row = desk.finish(desk.start(desk.call(await desk.key(), price=Price(prompt=10**9, completion=10**9))), usage)

    assert row.cost is not None
    assert 0 <= row.cost <= 10_000 * 10**12
    assert await desk.server.generations.find(row.id, await desk.key("boss", management=True)) == row


async def test_price_is_set_once(desk: Desk) -> None:
    call = desk.start(desk.call(await desk.key()))
    desk.ledger.price(call, Usage(input=1, output=1))
    desk.ledger.price(call, Usage(input=50, output=50))
    assert call.charge == 2 * MICRO


# --- the price hook --------------------------------------------------------------------------------------------------


async def test_without_a_price_the_charge_is_null_and_says_so(desk: Desk) -> None:
    row = desk.finish(desk.start(desk.call(await desk.key(), price=None)), Usage(input=5, output=5))
    assert (row.cost, row.list_cost, row.priced) == (None, None, False)


async def test_the_upstreams_own_price_wins_where_it_is_authoritative(desk: Desk) -> None:
    key = await desk.key()
    usage = {"input": 10, "output": 10, "cost": 77}
    assert desk.finish(desk.start(desk.call(key, provider=Honest)), Usage(**usage)).cost == 77
    assert desk.finish(desk.start(desk.call(key, provider=Nowhere)), Usage(**usage)).cost == 20 * MICRO
    free = desk.finish(desk.start(desk.call(key, provider=Honest)), Usage(**{**usage, "cost": 0}))
    assert free.cost == 0
    unsaid = desk.finish(desk.start(desk.call(key, provider=Honest)), Usage(input=10, output=10))
    assert unsaid.cost == 20 * MICRO


async def test_our_own_machines_cost_nothing_but_the_list_price_is_kept(desk: Desk) -> None:
    row = desk.finish(desk.start(desk.call(await desk.key(), endpoint={"local": True})), Usage(input=5, output=5))
    assert (row.cost, row.list_cost, row.priced) == (0, 10 * MICRO, True)


@pytest.mark.parametrize(
    ("options", "fee", "charge"),
    [
        ({"byok": True}, 0, 0),
        ({"byok": True}, 5, MICRO // 2),
        ({"byok": True, "provider": Honest}, 10, 8),
        ({"endpoint": {"local": True}}, 2.5, MICRO // 4),
        ({}, 5, 10 * MICRO),
    ],
)
async def test_a_clients_own_key_costs_the_fee(desk: Desk, options: Any, fee: float, charge: int) -> None:
    key = await desk.key()
    row = desk.finish(desk.start(desk.call(key, fee_percent=fee, **options)), Usage(input=5, output=5, cost=77))

    assert (row.cost, row.list_cost, row.is_byok) == (charge, 10 * MICRO, options.get("byok", False))
    assert desk.ledger.account(key).byok(None, 0) == (10 * MICRO if row.is_byok else 0)


async def test_a_fee_of_no_price_is_none(desk: Desk) -> None:
    call = desk.call(await desk.key(), byok=True, fee_percent=5, price=None)
    row = desk.finish(desk.start(call), Usage(input=5, output=5))
    assert (row.cost, row.priced) == (None, False)


class Priced:
    """A plugin that answers the price hook with whatever it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @hookimpl
    def router_price(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "charge"),
    [(5, 5), (0, 0), (-1, 20 * MICRO), (1.5, 20 * MICRO), (True, 20 * MICRO), (10**30, 10_000 * 10**12)],
)
async def test_the_price_hooks_answer_is_checked(desk: Desk, answer: Any, charge: int, caplog: Any) -> None:
    desk.server.plugins.register(Priced(answer), "priced", state="loaded")
    row = desk.finish(desk.start(desk.call(await desk.key())), Usage(input=10, output=10))
    assert row.cost == charge


async def test_a_price_plugin_that_breaks_spoils_no_booking(desk: Desk) -> None:
    desk.server.plugins.register(Priced(ValueError("oops")), "priced", state="loaded")
    key = await desk.key(limit=1000 * MICRO)
    call = desk.start(desk.call(key))
    call.outcome.output_chars = 40
    released: list[Any] = []
    call.releases.append(released.append)

    call.cancel()
    with pytest.raises(ValueError, match="oops"):
        desk.ledger.settle(call)

    assert call.settled is not None
    await call.settled
    assert released == [call]
    assert desk.left(key) == (1000 - 110) * MICRO


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "day", "expected"),
    [
        ("daily", 19676, (19676, 19676)),
        ("weekly", 19676, (19674, 19680)),
        ("weekly", 19674, (19674, 19680)),
        ("weekly", 19673, (19667, 19673)),
        ("monthly", 19676, (19662, 19691)),
        ("monthly", 19692, (19692, 19722)),
    ],
)
def test_bounds(window: str, day: int, expected: tuple[int, int]) -> None:
    """19676 is Wednesday, 15 November 2023."""
    assert bounds(window, day) == expected


@given(
    st.lists(st.tuples(st.integers(19000, 19150), st.integers(0, 9), st.sampled_from(["daily", "weekly", "monthly"])))
)
def test_the_sum_of_a_window_is_that_of_its_days(steps: list[tuple[int, int, str]]) -> None:
    account = Account()
    for day, charge, window in steps:
        account.add(day, charge, 0, 1)
        first, last = bounds(window, day)
        assert account.charged(window, day) == sum(
            each for when, each in account.charged_by_day.items() if first <= when <= last
        )
    assert account.charged(None, 0) == sum(charge for _, charge, _ in steps)


@pytest.mark.parametrize(("reset", "days"), [("daily", 1), ("weekly", 5), ("monthly", 16)])
async def test_a_limit_starts_anew_with_its_window(desk: Desk, reset: str, days: int) -> None:
    key = await desk.key(limit=100 * MICRO, limit_reset=reset)
    desk.finish(desk.start(desk.call(key)), Usage(input=100, output=0))
    with pytest.raises(InsufficientCredits, match=f"{reset} limit of .*starts anew at 2023-1[12]-"):
        desk.ledger.reserve(desk.call(key))

    desk.clock.move(days * DAY - DAY / 2 - 1)
    with pytest.raises(InsufficientCredits):
        desk.ledger.reserve(desk.call(key))
    desk.clock.move(1)
    desk.ledger.reserve(desk.call(key))


async def test_a_call_counts_on_the_day_it_was_made(desk: Desk) -> None:
    key = await desk.key(limit=100 * MICRO, limit_reset="daily")
    desk.clock.move(DAY / 2 - 1)
    call = desk.start(desk.call(key))
    desk.clock.move(2)

    desk.finish(call, Usage(input=60, output=0))

    assert desk.left(key) == 100 * MICRO


async def test_a_clock_that_goes_back_gives_no_money_back_and_locks_nobody_out(desk: Desk) -> None:
    key = await desk.key(limit=100 * MICRO, limit_reset="daily")
    desk.finish(desk.start(desk.call(key)), Usage(input=40, output=0))
    desk.clock.unix += DAY
    desk.finish(desk.start(desk.call(key)), Usage(input=100, output=0))

    desk.clock.unix -= DAY
    assert desk.left(key) == 60 * MICRO
    desk.finish(desk.start(desk.call(key)), Usage(input=60, output=0))
    with pytest.raises(InsufficientCredits):
        desk.ledger.reserve(desk.call(key))

    desk.clock.unix += DAY
    with pytest.raises(InsufficientCredits):
        desk.ledger.reserve(desk.call(key))
    desk.clock.unix += DAY
    desk.ledger.reserve(desk.call(key))


# --- restarts --------------------------------------------------------------------------------------------------------


async def test_counters_survive_a_restart(tmp_path: Path) -> None:
    clock = StillClock(NOON - 100 * DAY)
    async with opened(tmp_path, clock=clock) as desk:
        key = await desk.key(limit=1000 * MICRO)
        for days in (0, 99, 1, 0):
            clock.unix += days * DAY
            desk.finish(desk.start(desk.call(key)), Usage(input=10, output=0))
        _, rotated = await desk.server.keys.rotate("one")

    async with opened(tmp_path, clock=StillClock()) as desk:
        account = desk.ledger.account(rotated)
        day = int(NOON // DAY)
        assert account.charged(None, day) == 40 * MICRO
        assert account.charged("daily", day) == 20 * MICRO
        assert account.charged("weekly", day) == 30 * MICRO
        assert account.requests_by_day[day] == 2
        assert desk.left(rotated) == 960 * MICRO


async def test_what_a_crash_interrupts_is_recorded_and_free(tmp_path: Path, caplog: Any) -> None:
    async with opened(tmp_path) as desk:
        key = await desk.key(limit=1000 * MICRO)
        call = desk.start(desk.call(key))
        await until(lambda: desk.server.database.all("SELECT * FROM reservation"))
        # The server ends here without settling the call, as a killed one does.

    with caplog.at_level(logging.WARNING):
        async with opened(tmp_path) as desk:
            row = await desk.server.generations.find(call.id, key)
            assert desk.left(key) == 1000 * MICRO

    assert row is not None
    assert (row.status, row.cost, row.model) == ("interrupted", 0, "nowhere/m")
    assert call.id in caplog.text


# --- the row ---------------------------------------------------------------------------------------------------------


async def test_what_a_row_tells(desk: Desk) -> None:
    key = await desk.key(tags=["team"])
    headers = {
        "User-Agent": "curl/8.0\udcff\x01",
        "X-Title": "T" * 400,
        "HTTP-Referer": "https://example.org",
        "X-Router-Tags": "a, b,," + ",".join(f"t{number}" for number in range(30)),
    }
    call = desk.start(desk.call(key, headers=headers, stream=True, tags=["a", "c"]))
    call.attempts[0].error = UpstreamUnavailable("gone", upstream_status=503)
    call.attempts[0].status = 503
    call.attempts.append(call.attempts[0].__class__(candidate=call.plan.candidates[0], started_s=0, latency_s=0.25))
    call.outcome.upstream_id, call.outcome.native_finish_reason = "chatcmpl-9", "end_turn"
    desk.clock.move(0.5)
    call.first_content_s = desk.clock.now_s
    desk.clock.move(1.25)

    row = desk.finish(call, Usage(input=10, output=2, cache_read=4))
    await desk.ledger.commit(call)

    assert row == await desk.server.generations.find("chatcmpl-9", key)
    assert row.user_agent == "curl/8.0??"
    assert row.app_title == "T" * 256
    assert row.http_referer == "https://example.org"
    assert row.tags[:4] == ["team", "a", "b", "t0"]
    assert len(row.tags) == 16
    assert (row.latency_ms, row.generation_ms, row.streamed) == (500, 1250, True)
    assert row.attempts == [
        {"provider": "nowhere", "model": "nowhere/m", "status": 503, "latency_ms": 0, "error": "upstream_error"},
        {"provider": "nowhere", "model": "nowhere/m", "status": 200, "latency_ms": 250},
    ]


async def test_a_call_that_limits_refuse_leaves_no_row(desk: Desk) -> None:
    key = await desk.key(rpm=0)
    call = desk.call(key)
    with pytest.raises(RateLimited):
        await desk.admit(call)
    call.fail(RateLimited("no"))
    desk.ledger.settle(call)
    assert call.settled is None
