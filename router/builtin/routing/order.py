"""In which order the endpoints of a model are asked (api.md 18.4).

By default by chance, with weight 1/price²: cheap endpoints get most, and dear ones enough to be known. A `sort`, an `order` or
`routing.deterministic` leave nothing to chance.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from ...call import Call, Endpoint
from ...head import Preferences
from .pools import Choice

if TYPE_CHECKING:
    from .surroundings import Surroundings

UNMEASURED = 1e9
PERCENTILES = {"p50": 50, "p75": 75, "p90": 90, "p99": 99}


def strategy_of(call: Call, choice: Choice, preferences: Preferences, default: str, *, deterministic: bool) -> str:
    """What decides: the request's `sort` or `order`, the variant of the model's name, the setting."""
    sort = preferences.sort
    named = sort.get("by") if isinstance(sort, dict) else sort
    if named or choice.sort:
        return named or choice.sort
    if preferences.order:
        return "order"
    if default == "balanced" and deterministic:
        return "deterministic"
    return default


class Order:
    """Puts choices in order. The newest figures of our own traffic are looked up as they are needed."""

    def __init__(self, server: Surroundings) -> None:
        self._server = server

    def of(self, strategy: str, choices: list[Choice], wanted: list[str] | None) -> list[Choice]:
        """Best first. `wanted` is the request's `order`: what it names comes first, in its order."""
        if len(choices) > 1:
            choices = self._balanced(choices) if strategy == "balanced" else sorted(choices, key=self._key(strategy))
            if wanted:
                choices = sorted(choices, key=_position(wanted))
        return choices

    def _key(self, strategy: str) -> Callable[[Choice], Any]:
        if strategy == "price":
            return lambda each: (each.price, each.endpoint.priority)
        if strategy == "latency":
            return lambda each: self.latency(each.endpoint, 50, UNMEASURED)
        if strategy == "throughput":
            return lambda each: -self.throughput(each.endpoint, 50, 0.0)
        if strategy == "exacto":
            return lambda each: (-self.tool_success(each.endpoint), each.price)
        return lambda each: (each.endpoint.priority, each.price, each.endpoint.tag)

    def _balanced(self, choices: list[Choice]) -> list[Choice]:
        """Free ones first, the quickest first; then by chance. Among equal prices the quicker one goes first."""
        rng, log = self._server.rng.random, math.log
        # The smallest of exponentially distributed values with rate w comes first with a chance proportional to w: here w is 1/price².
        drawn = [-log(1.0 - rng()) * each.price * each.price for each in choices]
        order = [choices[place] for place in sorted(range(len(choices)), key=drawn.__getitem__)]
        if len({each.endpoint.priority for each in choices}) > 1:
            order.sort(key=lambda each: each.endpoint.priority)
        return order if len({each.price for each in choices}) == len(choices) else self._quick_first(order)

    def _quick_first(self, order: list[Choice]) -> list[Choice]:
        """The places that chance gave to endpoints of one price go to the quickest of them first."""
        alike: dict[tuple[int, float], list[Choice]] = defaultdict(list)
        for each in order:
            alike[each.endpoint.priority, each.price].append(each)
        for same in alike.values():
            # What was never measured goes first: it has to be tried to be known.
            same.sort(key=lambda each: self.latency(each.endpoint, 50, 0.0), reverse=True)
        return [alike[each.endpoint.priority, each.price].pop() for each in order]

    def chances(self, choices: list[Choice], last: Collection[int] = ()) -> list[float]:
        """With which chance each of these comes first where the strategy is "balanced": the mean of what `of` draws, when those of
        the ids in `last` have gone to the end."""
        able = [each for each in choices if id(each) not in last] or choices
        leading = min(each.endpoint.priority for each in able)
        alike: dict[float, list[Choice]] = defaultdict(list)
        for each in able:
            if each.endpoint.priority == leading:
                alike[each.price].append(each)
        # The quickest of one price has the best of all places that chance gave to this price.
        places = Counter(each.price for each in choices if each.endpoint.priority == leading)
        weights = {0.0: 1.0} if 0.0 in alike else {price: places[price] / price**2 for price in alike}
        total, chances = sum(weights.values()), dict.fromkeys(map(id, choices), 0.0)
        for price, weight in weights.items():
            quickest = min(self.latency(each.endpoint, 50, 0.0) for each in alike[price])
            first = [each for each in alike[price] if self.latency(each.endpoint, 50, 0.0) == quickest]
            chances.update((id(each), weight / total / len(first)) for each in first)
        return [chances[id(each)] for each in choices]

    def slow(self, choice: Choice, preferences: Preferences) -> str | None:
        """Which preferred threshold the endpoint's own figures miss; what was not measured misses none."""
        for name, most in _thresholds(preferences.preferred_max_latency):
            if self.latency(choice.endpoint, PERCENTILES[name], 0.0) > most:
                return f"preferred_max_latency {name}"
        for name, least in _thresholds(preferences.preferred_min_throughput):
            if self.throughput(choice.endpoint, PERCENTILES[name], math.inf) < least:
                return f"preferred_min_throughput {name}"
        return None

    # --- figures of our own traffic ---

    def latency(self, endpoint: Endpoint, percentile: int, otherwise: float) -> float:
        """Seconds to the first content."""
        found = self._server.health.statistics.latency(endpoint, percentile)
        return otherwise if found is None else found

    def throughput(self, endpoint: Endpoint, percentile: int, otherwise: float) -> float:
        """Tokens per second."""
        found = self._server.health.statistics.throughput(endpoint, percentile)
        return otherwise if found is None else found

    def tool_success(self, endpoint: Endpoint) -> float:
        """The share of calls with tools that came to a tool call; all of them where there were too few to say."""
        found = self._server.health.statistics.tool_success(endpoint)
        return 1.0 if found is None else found


def _thresholds(given: float | dict[str, float] | None) -> list[tuple[str, float]]:
    if given is None:
        return []
    return list(given.items()) if isinstance(given, dict) else [("p50", given)]


def _position(wanted: list[str]) -> Callable[[Choice], int]:
    places = {name: number for number, name in reversed(list(enumerate(wanted)))}
    last = len(wanted)
    return lambda each: min(places.get(each.endpoint.tag, last), places.get(each.endpoint.provider.slug, last))
