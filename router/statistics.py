"""What was measured of each endpoint, in memory: uptime, time to the first content, tokens per second, and whether tools were called.

Routing reads it for every call, so that reading must cost next to nothing: values are sorted at most once a second and endpoint.
Memory is bounded: an endpoint keeps counts of slots of time and a sample of its values, and endpoints of which nothing was heard for
longest are forgotten beyond `MOST`.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable

from .call import Attempt, Endpoint
from .errors import UpstreamBusy, UpstreamUnauthorized

#: what routing looks at, and what is shown
SLIDING_S, SHOWN_S = 300.0, 1800.0
DAY_S = 86400.0
PERCENTILES = (50, 75, 90, 99)
#: a minute keeps so many values, a sample where there are more
A_MINUTE = 64
#: how old a sorted window may be
STALE_S = 1.0
#: fewer calls with tools say nothing
FEWEST_CALLS = 10
MOST = 10_000

#: decides which values of a crowd are kept
_chance = random.Random(1).random


class Statistics:
    """All endpoints. `clock` gives monotonic seconds; percentiles are named by numbers from 1 to 100."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._endpoints: OrderedDict[tuple[str, str], Measured] = OrderedDict()

    def record(self, attempt: Attempt, now: float) -> None:
        """Take in an attempt that is over. Refused credentials, full limits and faulty requests say nothing about the endpoint."""
        measured = self._measured(attempt.candidate.endpoint)
        error = attempt.error
        if error is None:
            measured.count(now, good=True)
            measured.latencies.add(attempt.latency_s, now)
            streamed_s = attempt.duration_s - attempt.latency_s
            if attempt.output_tokens and streamed_s > 0:
                measured.throughputs.add(attempt.output_tokens / streamed_s, now)
        elif isinstance(error, UpstreamBusy | UpstreamUnauthorized) or not error.counts:
            return
        else:
            measured.count(now, good=False)
        if attempt.called_tool is not None:
            measured.tools.add(now, good=error is None and attempt.called_tool)

    def uptime(self, endpoint: Endpoint, seconds: float) -> float | None:
        """The share (0 to 1) of successes among the calls of the last `seconds` (at most a day), None without any."""
        measured = self._endpoints.get(_key(endpoint))
        return None if measured is None else measured.uptime(self._clock(), seconds)

    def latency(self, endpoint: Endpoint, percentile: int = 50, seconds: float = SLIDING_S) -> float | None:
        """Within so many seconds `percentile` % of the recent answers had begun; None where nothing was measured. What came in within
        the last second may not be in it yet."""
        measured = self._endpoints.get((endpoint.provider.slug, endpoint.model.id))
        return None if measured is None else measured.latencies.percentile(percentile, seconds, self._clock())

    def throughput(self, endpoint: Endpoint, percentile: int = 50, seconds: float = SLIDING_S) -> float | None:
        """So many tokens per second were reached or passed by `percentile` % of the recent streams: p99 is the slow end."""
        measured = self._endpoints.get((endpoint.provider.slug, endpoint.model.id))
        return None if measured is None else measured.throughputs.percentile(percentile, seconds, self._clock())

    def tool_success(self, endpoint: Endpoint) -> float | None:
        """The share (0 to 1) of a day's calls with tools that came to a tool call, None where they are too few to say."""
        measured = self._endpoints.get(_key(endpoint))
        if measured is None:
            return None
        good, bad = measured.tools.sums(self._clock(), DAY_S)
        return good / (good + bad) if good + bad >= FEWEST_CALLS else None

    def _measured(self, endpoint: Endpoint) -> Measured:
        """What is known of this endpoint, which is now the one that was heard of last."""
        key = _key(endpoint)
        measured = self._endpoints.get(key)
        if measured is None:
            measured = self._endpoints[key] = Measured()
            if len(self._endpoints) > MOST:
                self._endpoints.popitem(last=False)
        else:
            self._endpoints.move_to_end(key)
        return measured


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.provider.slug, endpoint.model.id


class Measured:
    """One endpoint."""

    __slots__ = ("halves", "latencies", "minutes", "throughputs", "tools")

    def __init__(self) -> None:
        self.minutes, self.halves = Tally(60, 30), Tally(1800, 48)
        self.tools = Tally(1800, 48)
        self.latencies, self.throughputs = Samples(), Samples(reverse=True)

    def count(self, now: float, *, good: bool) -> None:
        """A call that says something about the endpoint is over."""
        self.minutes.add(now, good=good)
        self.halves.add(now, good=good)

    def uptime(self, now: float, seconds: float) -> float | None:
        """Half an hour is looked at minute by minute, longer ones in steps of half an hour."""
        good, bad = (self.minutes if seconds <= SHOWN_S else self.halves).sums(now, seconds)
        return good / (good + bad) if good or bad else None


class Tally:
    """Successes and failures in slots of `width` seconds, of which the last `keep` are kept."""

    __slots__ = ("_keep", "_slots", "_width")

    def __init__(self, width: int, keep: int) -> None:
        self._width, self._keep = width, keep
        self._slots: deque[list[int]] = deque(maxlen=keep)  # number of the slot, successes, failures

    def add(self, now: float, *, good: bool) -> None:
        """Count one."""
        slot = int(now // self._width)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1 if good else 2] += 1

    def sums(self, now: float, seconds: float) -> tuple[int, int]:
        """Successes and failures of the last `seconds`: the slot under way and as many whole ones as make it up."""
        oldest = (now - seconds) // self._width
        good = bad = 0
        for slot, successes, failures in self._slots:
            if slot > oldest:
                good, bad = good + successes, bad + failures
        return good, bad


class Samples:
    """Values of the last half hour: all that came, or a fair sample of `A_MINUTE` for each minute that had more. Best ones first:
    small ones, or large ones where `reverse`."""

    __slots__ = ("_known", "_minutes", "_reverse", "_sorted")

    def __init__(self, *, reverse: bool = False) -> None:
        self._reverse = reverse
        self._minutes: deque[Minute] = deque(maxlen=int(SHOWN_S) // 60 + 1)
        #: until when they hold: percentiles, and what they were read from
        self._known: dict[tuple[int, float], tuple[float, float | None]] = {}
        self._sorted: dict[float, tuple[float, list[float]]] = {}

    def add(self, value: float, now: float) -> None:
        """Take in one."""
        number = int(now // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(Minute(number))
        minute = self._minutes[-1]
        minute.came += 1
        if len(minute.values) < A_MINUTE:
            minute.values.append((now, value))
        elif (place := int(_chance() * minute.came)) < A_MINUTE:
            minute.values[place] = (now, value)

    def percentile(self, percentile: int, seconds: float, now: float) -> float | None:
        """The value that `percentile` % of those of the last `seconds` are as good as; as it was up to a second ago."""
        known = self._known.get((percentile, seconds))
        if known is not None and now < known[0]:
            return known[1]
        until, values = self._window(seconds, now)
        value = values[max(math.ceil(len(values) * percentile / 100), 1) - 1] if values else None
        self._known[percentile, seconds] = (until, value)
        return value

    def _window(self, seconds: float, now: float) -> tuple[float, list[float]]:
        kept = self._sorted.get(seconds)
        if kept is not None and now < kept[0]:
            return kept
        since = now - seconds
        values = [
            value
            for minute in self._minutes
            if minute.number >= since // 60
            for at, value in minute.values
            if at >= since
        ]
        values.sort(reverse=self._reverse)
        kept = self._sorted[seconds] = (now + STALE_S, values)
        return kept


class Minute:
    """What came in one minute, as (time, value); `came` counts all, `values` holds a sample of them."""

    __slots__ = ("came", "number", "values")

    def __init__(self, number: int) -> None:
        self.number = number
        self.came = 0
        self.values: list[tuple[float, float]] = []
