"""What is measured of endpoints: windows that slide, percentiles that cost nothing to read, and memory with a bound."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import statistics as module
from router.call import Attempt, Candidate, Credential, Endpoint
from router.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from router.model import Model
from router.provider import Provider, ProviderSettings, Timeouts
from router.statistics import A_MINUTE, Samples, Statistics

KEY = Credential(secret="k")


class Anyone(Provider):
    """A provider that is never asked."""

    name = "anyone"


PROVIDER = Anyone("anyone", ProviderSettings(plugin="anyone"), Timeouts())


class Watched:
    """Statistics with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100_000.0
        self.statistics = Statistics(lambda: self.now)
        self.endpoint = endpoint("m")

    def record(self, *, at: Endpoint | None = None, error: UpstreamError | None = None, **facts: Any) -> None:
        candidate = Candidate(endpoint=at or self.endpoint, credential=KEY)
        attempt = Attempt(candidate=candidate, started_s=self.now, error=error, **facts)
        self.statistics.record(attempt, self.now)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def endpoint(name: str) -> Endpoint:
    return Endpoint(provider=PROVIDER, model_id=f"anyone/{name}", model=Model(id=name))


# --- uptime ----------------------------------------------------------------------------------------------------------


def test_uptime_is_the_share_of_successes(watched: Watched) -> None:
    for _ in range(3):
        watched.record()
    watched.record(error=UpstreamUnavailable("no"))
    watched.record(error=UpstreamTimeout("no"))

    for seconds in (300, 1800, 86400):
        assert watched.statistics.uptime(watched.endpoint, seconds) == 3 / 5


@pytest.mark.parametrize("error", [UpstreamBusy("later"), UpstreamUnauthorized("who?"), UpstreamRejected("what?")])
def test_what_is_no_fault_of_the_endpoint_does_not_count(watched: Watched, error: UpstreamError) -> None:
    watched.record(error=error, called_tool=False)
    assert watched.statistics.uptime(watched.endpoint, 300) is None

    watched.record()
    assert watched.statistics.uptime(watched.endpoint, 300) == 1


def test_an_outage_leaves_the_windows_one_after_the_other(watched: Watched) -> None:
    watched.record(error=UpstreamUnavailable("no"))
    seen = []
    for minutes in (0, 6, 31, 24 * 60 + 1):
        watched.now = 100_000.0 + minutes * 60
        watched.record()
        seen.append([watched.statistics.uptime(watched.endpoint, seconds) == 1 for seconds in (300, 1800, 86400)])

    assert seen == [[False] * 3, [True, False, False], [True, True, False], [True, True, True]]


def test_of_an_endpoint_that_was_never_asked_nothing_is_known(watched: Watched) -> None:
    statistics, other = watched.statistics, endpoint("other")
    watched.record(latency_s=1)

    assert statistics.uptime(other, 300) is None
    assert statistics.latency(other) is None
    assert statistics.throughput(other) is None
    assert statistics.tool_success(other) is None
    assert statistics.throughput(watched.endpoint) is None


# --- latency and throughput ------------------------------------------------------------------------------------------


def test_percentiles_of_latency_rise_and_those_of_throughput_fall(watched: Watched) -> None:
    """p90: what nine of ten calls kept to."""
    for number in range(1, 11):
        watched.record(latency_s=number, duration_s=number + 1, output_tokens=number * 10)

    latency, throughput = watched.statistics.latency, watched.statistics.throughput
    assert [latency(watched.endpoint, p) for p in (1, 50, 75, 90, 99, 100)] == [1, 5, 8, 9, 10, 10]
    assert [throughput(watched.endpoint, p) for p in (1, 50, 75, 90, 99)] == [100, 60, 30, 20, 10]


def test_a_failure_has_no_latency(watched: Watched) -> None:
    watched.record(error=UpstreamUnavailable("no"), latency_s=30, duration_s=30)

    assert watched.statistics.latency(watched.endpoint) is None


def test_an_answer_that_came_in_one_piece_has_no_throughput(watched: Watched) -> None:
    watched.record(latency_s=2, duration_s=2, output_tokens=10)
    watched.record(latency_s=2, duration_s=3, output_tokens=0)

    assert watched.statistics.throughput(watched.endpoint) is None
    assert watched.statistics.latency(watched.endpoint) == 2


def test_values_leave_the_window_of_routing_before_the_one_that_is_shown(watched: Watched) -> None:
    watched.record(latency_s=9)
    watched.now += 301
    watched.record(latency_s=1)

    assert watched.statistics.latency(watched.endpoint, 99) == 1
    assert watched.statistics.latency(watched.endpoint, 99, 1800) == 9
    watched.now += 1801
    assert watched.statistics.latency(watched.endpoint, 99, 1800) is None


def test_values_are_sorted_once_a_second(watched: Watched) -> None:
    """So many calls may read them as like."""
    watched.record(latency_s=5)
    assert watched.statistics.latency(watched.endpoint, 1) == 5

    watched.record(latency_s=1)
    assert watched.statistics.latency(watched.endpoint, 1) == 5
    watched.now += module.STALE_S
    assert watched.statistics.latency(watched.endpoint, 1) == 1


@given(
    values=st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1000)), min_size=1, max_size=A_MINUTE),
    percentile=st.integers(1, 100),
)
def test_a_percentile_is_that_of_the_sorted_values(values: list[tuple[int, float]], percentile: int) -> None:
    """So many values are under it, and not fewer, whatever the minutes in which they came."""
    watched = Watched()
    for minutes, value in sorted(values, key=lambda each: each[0]):
        watched.now = 60_000 + minutes * 60
        watched.record(latency_s=value)
    watched.now = 60_000 + 40 * 60

    kept = sorted(value for minutes, value in values if minutes >= 35)
    expected = kept[math.ceil(len(kept) * percentile / 100) - 1] if kept else None
    assert watched.statistics.latency(watched.endpoint, percentile) == expected


def test_a_crowd_is_represented_by_a_fair_sample() -> None:
    samples = Samples()
    for number in range(20_000):
        samples.add(number % 1000, 100.0 + number / 1000)

    assert sum(len(minute.values) for minute in samples._minutes) == A_MINUTE
    assert 250 < (samples.percentile(50, 300, 120) or 0) < 750


# --- tools -----------------------------------------------------------------------------------------------------------


def test_calls_with_tools_succeed_where_a_tool_is_called(watched: Watched) -> None:
    for number in range(8):
        watched.record(called_tool=number != 0)
    watched.record(called_tool=None)
    watched.record(called_tool=False, error=UpstreamUnavailable("no"))
    assert watched.statistics.tool_success(watched.endpoint) is None  # nine are too few

    watched.record(called_tool=True)
    assert watched.statistics.tool_success(watched.endpoint) == 8 / 10


# --- memory ----------------------------------------------------------------------------------------------------------


def test_who_was_not_heard_of_for_longest_is_forgotten(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients may name models that nobody knows, any number of them."""
    monkeypatch.setattr(module, "MOST", 3)
    for name in ("a", "b", "c", "a", "d"):
        watched.record(at=endpoint(name), latency_s=1)

    known = [name for name in "abcd" if watched.statistics.latency(endpoint(name)) is not None]
    assert known == ["a", "c", "d"]


def test_a_day_of_calls_does_not_grow(watched: Watched) -> None:
    for _ in range(3 * 24 * 60):
        watched.now += 60
        watched.record(latency_s=1, duration_s=2, output_tokens=5, called_tool=True)

    (measured,) = watched.statistics._endpoints.values()
    slots = [len(each._slots) for each in (measured.minutes, measured.halves, measured.tools)]
    assert slots == [30, 48, 48]
    assert len(measured.latencies._minutes) == len(measured.throughputs._minutes) == 31
    assert len(measured.latencies._sorted) == 0
