"""Limits of a key: requests and tokens per minute, requests per day, calls at a time, and nothing left to spend.

Windows slide in buckets of one second on the monotonic clock; days are UTC. Checking and counting happen without an await in
between, so a limit is exact however many calls come at once. One set of counters per key, over all surfaces.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..call import Call
from ..errors import RateLimited
from ..hookspecs import hookimpl
from ..identity import Identity
from ..settings import LimitSettings
from ..store.generations import SECONDS_A_DAY, day_of
from ..windows import Window

if TYPE_CHECKING:
    from ..server import Server

WINDOW_S = 60
#: when a place among the parallel calls gets free, nobody knows
PARALLEL_RETRY_S = 1.0
KEPT_DAYS = 3


class Effective(NamedTuple):
    """The limits that hold for a key: requests per minute and per UTC day, tokens per minute, calls at a time. None: no limit."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    parallel: int | None = None


UNLIMITED = Effective()


class Counters:
    """What one key has done lately."""

    __slots__ = ("_defaults", "_identity", "_limits", "by_day", "parallel", "requests", "tokens")

    def __init__(self, by_day: dict[int, int]) -> None:
        self._identity: Identity | None = None
        self._defaults: LimitSettings | None = None
        self._limits = UNLIMITED
        self.requests = Window(WINDOW_S)
        self.tokens = Window(WINDOW_S)
        self.parallel = 0
        #: requests by UTC day; a clock that goes back finds the old day's number again
        self.by_day = by_day

    def limits(self, identity: Identity, defaults: LimitSettings) -> Effective:
        """What holds for the key now. Both arguments are replaced, never changed, when somebody edits them."""
        if identity is not self._identity or defaults is not self._defaults:
            self._identity, self._defaults = identity, defaults
            self._limits = effective(identity, defaults)
        return self._limits

    def count_day(self, day: int) -> None:
        """One more request on this day. Days that are far from it are forgotten, later ones too: the clock may have gone back."""
        self.by_day[day] = self.by_day.get(day, 0) + 1
        while len(self.by_day) > KEPT_DAYS:
            del self.by_day[max(self.by_day, key=lambda each: abs(each - day))]


class Limits:
    """Refuses calls beyond the limits of their key, or of `[limits]` where the key has none of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._clock = server.clock
        self._counters: dict[str, Counters] = {}

    @hookimpl(trylast=True)
    async def router_admit(self, call: Call) -> None:
        """Check all limits, then count. Raises RateLimited with the exact wait, InsufficientCredits, Overloaded."""
        identity = call.identity
        if identity is None:
            return
        self._server.ledger.admit(identity, call.created_unix)
        counters = self._of(identity)
        limits = counters.limits(identity, self._server.settings.limits)
        if limits is UNLIMITED:
            return
        now_s, wall = self._clock.monotonic(), self._clock.wall()
        try:
            tokens = _check(call, counters, limits, now_s, wall)
            _take(call, counters, now_s, wall, tokens)
        finally:
            call.rate_limit = _tightest(counters, limits, now_s, wall)

    @hookimpl(trylast=True)
    def router_rate_limit(self, identity: Identity) -> tuple[int, int, int] | None:
        """The tightest request window of this key, without counting anything."""
        counters = self._of(identity)
        limits = counters.limits(identity, self._server.settings.limits)
        return _tightest(counters, limits, self._clock.monotonic(), self._clock.wall())

    # --- helpers ---

    def _of(self, identity: Identity) -> Counters:
        """The counters of a key; those of the day begin with what the ledger remembers from before the start."""
        id = identity.id or identity.hash
        counters = self._counters.get(id)
        if counters is None:
            today = day_of(self._clock.wall())
            by_day = self._server.ledger.account(identity).requests_by_day
            near = {day: requests for day, requests in by_day.items() if abs(day - today) < KEPT_DAYS}
            counters = self._counters[id] = Counters(near)
        return counters


def _check(call: Call, counters: Counters, limits: Effective, now_s: float, wall: float) -> int:
    """Raise RateLimited where one more call is too much, with the wait until all limits let it through; else return the tokens to
    count for it."""
    assert call.identity is not None
    waits: list[tuple[float, str]] = []
    if limits.parallel is not None and counters.parallel >= limits.parallel:
        waits.append((PARALLEL_RETRY_S, f"({limits.parallel} calls at a time)"))
    if limits.rpm is not None and counters.requests.sum(now_s) >= limits.rpm:
        waits.append((counters.requests.wait(now_s, limits.rpm - 1), f"({limits.rpm} rpm)"))
    if limits.rpd is not None and counters.by_day.get(day_of(wall), 0) >= limits.rpd:
        waits.append((SECONDS_A_DAY - wall % SECONDS_A_DAY, f"({limits.rpd} requests per UTC day)"))
    tokens = 0
    if limits.tpm is not None:
        # A call that is larger than the whole limit may go alone; else it could never go.
        tokens = max(1, min(call.head.prompt_tokens + (call.head.max_tokens or 0) * call.head.n, limits.tpm))
        if counters.tokens.sum(now_s) + tokens > limits.tpm:
            waits.append((counters.tokens.wait(now_s, limits.tpm - tokens), f"({limits.tpm} tokens per minute)"))
    if waits:
        wait_s, limit = max(waits)
        raise _limited(call.identity, limit, wait_s)
    return tokens


def _take(call: Call, counters: Counters, now_s: float, wall: float, tokens: int) -> None:
    counters.requests.add(now_s, 1)
    counters.count_day(day_of(wall))
    counters.parallel += 1
    if tokens:
        counters.tokens.add(now_s, tokens)

    def release(call: Call) -> None:
        counters.parallel -= 1
        if tokens:
            used = call.usage.input + call.usage.output if call.usage is not None else 0
            counters.tokens.correct(now_s, used - tokens)

    call.releases.append(release)


def _tightest(counters: Counters, limits: Effective, now_s: float, wall: float) -> tuple[int, int, int] | None:
    """Limit, remaining, reset (unix seconds, when all of it is free again) of the window with the fewest places left."""
    minute = day = None
    if limits.rpm is not None:
        left = max(0, limits.rpm - counters.requests.sum(now_s))
        minute = limits.rpm, left, math.ceil(wall + counters.requests.empty_in(now_s))
    if limits.rpd is not None:
        today = day_of(wall)
        left = max(0, limits.rpd - counters.by_day.get(today, 0))
        day = limits.rpd, left, (today + 1) * SECONDS_A_DAY
    if minute is None or day is None:
        return minute or day
    return minute if minute[1] <= day[1] else day


def effective(identity: Identity, defaults: LimitSettings) -> Effective:
    """The key's own limits, else the configured ones; -1 is none."""
    limits = Effective(
        _or_default(identity.rpm, defaults.rpm),
        _or_default(identity.rpd, defaults.rpd),
        _or_default(identity.tpm, defaults.tpm),
        _or_default(identity.max_parallel, defaults.max_parallel),
    )
    return UNLIMITED if limits == UNLIMITED else limits


def _or_default(own: int | None, default: int | None) -> int | None:
    limit = default if own is None else own
    return None if limit is None or limit < 0 else limit


def _limited(identity: Identity, limit: str, wait_s: float) -> RateLimited:
    seconds = max(1, math.ceil(wait_s))
    name = identity.name or identity.label
    return RateLimited(f"Rate limit exceeded for key {name} {limit}; try again in {seconds} s", retry_after_s=seconds)
