"""The account of a key: what was charged to it in all and by day, and in the windows in which limits count.

Windows are UTC days, weeks from Monday, and months; a call counts in those of the moment at which it was made. Money is picodollars.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from .identity import Identity
from .store.generations import Generations, day_of

#: days whose sums are kept one by one; no window is longer
KEPT_DAYS = 70
#: windows whose sums an account remembers: a day, a week and a month, and room for those that follow
KEPT_SUMS = 6
EPOCH = date(1970, 1, 1)


class Amount(NamedTuple):
    """What a call may cost, in picodollars: `charge`, and `byok`, the list price of what goes by a client's own key of the provider."""

    charge: int = 0
    byok: int = 0

    def counted(self, *, include_byok: bool) -> int:
        """What counts against a limit that includes the one or only the other."""
        return self.charge + self.byok if include_byok else self.charge

    def __neg__(self) -> Amount:
        return Amount(-self.charge, -self.byok)


NOTHING = Amount()


class Account:
    """The counters of one key, whatever its secret: charged in all and by day, and held back for calls under way."""

    __slots__ = (
        "_sums",
        "byok_by_day",
        "byok_total",
        "charged_by_day",
        "charged_total",
        "last_unix",
        "requests_by_day",
        "reserved",
        "reserved_byok",
    )

    def __init__(self) -> None:
        self.reserved = 0
        self.reserved_byok = 0
        self.charged_total = 0
        self.byok_total = 0
        self.charged_by_day: dict[int, int] = {}
        self.byok_by_day: dict[int, int] = {}
        self.requests_by_day: dict[int, int] = {}
        #: when the last call ended, 0 for never
        self.last_unix = 0.0
        #: what was charged from a first to a last day, kept as it grows: each call asks for it, however many days there are
        self._sums: dict[tuple[int, int], int] = {}

    def hold(self, amount: Amount) -> None:
        """Hold this much back for a call, or (negative) give it back."""
        self.reserved += amount.charge
        self.reserved_byok += amount.byok

    def held(self, *, include_byok: bool) -> int:
        """What is held back for calls under way."""
        return self.reserved + self.reserved_byok if include_byok else self.reserved

    def add(self, day: int, charge: int, byok: int, requests: int) -> None:
        """Count what was booked. `day` -1: long ago."""
        self.charged_total += charge
        self.byok_total += byok
        if day < 0:
            return
        if day not in self.requests_by_day and len(self.requests_by_day) > KEPT_DAYS:
            for by_day in (self.charged_by_day, self.byok_by_day, self.requests_by_day):
                by_day.pop(min(by_day), None)
            self._sums.clear()
        self.charged_by_day[day] = self.charged_by_day.get(day, 0) + charge
        self.byok_by_day[day] = self.byok_by_day.get(day, 0) + byok
        self.requests_by_day[day] = self.requests_by_day.get(day, 0) + requests
        for first, last in self._sums:
            if first <= day <= last:
                self._sums[first, last] += charge

    def include(self, other: Account) -> None:
        """Count all that the other one has counted."""
        for day, requests in other.requests_by_day.items():
            self.add(day, other.charged_by_day[day], other.byok_by_day[day], requests)
        charged, byok = sum(other.charged_by_day.values()), sum(other.byok_by_day.values())
        self.add(-1, other.charged_total - charged, other.byok_total - byok, 0)

    def charged(self, window: str | None, day: int) -> int:
        """What was charged in the daily, weekly or monthly window that this day lies in, or (None) ever."""
        if window is None:
            return self.charged_total
        days = bounds(window, day)
        charged = self._sums.get(days)
        if charged is None:
            if len(self._sums) >= KEPT_SUMS:
                self._sums.clear()
            charged = self._sums[days] = _within(self.charged_by_day, window, day)
        return charged

    def byok(self, window: str | None, day: int) -> int:
        """The same for the list price of calls with the client's own provider keys."""
        return self.byok_total if window is None or not self.byok_total else _within(self.byok_by_day, window, day)

    def left(self, identity: Identity, at_unix: float) -> int | None:
        """What is left of the key's limit, with what is held back taken off; None without a limit."""
        if identity.limit is None:
            return None
        day = day_of(at_unix)
        used = self.charged(identity.limit_reset, day) + self.held(include_byok=identity.include_byok_in_limit)
        if identity.include_byok_in_limit:
            used += self.byok(identity.limit_reset, day)
        return identity.limit - used


async def accounts(generations: Generations, now: float) -> dict[str, Account]:
    """The accounts of all keys that have ever made a call, by id, as the file has them."""
    found: dict[str, Account] = {}
    for row in await generations.spent(day_of(now) - KEPT_DAYS):
        found.setdefault(row.account, Account()).add(row.day, row.charge, row.byok, row.requests)
    for id, last_unix in (await generations.last_used()).items():
        found[id].last_unix = last_unix
    return found


# --- windows ---------------------------------------------------------------------------------------------------------


def _within(by_day: dict[int, int], window: str, day: int) -> int:
    first, last = bounds(window, day)
    if first == last:
        return by_day.get(day, 0)
    return sum(amount for each, amount in by_day.items() if first <= each <= last)


@lru_cache(maxsize=256)
def bounds(window: str, day: int) -> tuple[int, int]:
    """First and last day of the daily, weekly (from Monday) or monthly window that this day lies in."""
    if window == "daily":
        return day, day
    if window == "weekly":
        monday = day - (day + 3) % 7  # 1970-01-01 was a Thursday
        return monday, monday + 6
    start = (EPOCH + timedelta(days=day)).replace(day=1)
    following = (start + timedelta(days=31)).replace(day=1)
    return (start - EPOCH).days, (following - EPOCH).days - 1


def resets_at(window: str, at_unix: float) -> datetime:
    """When the next window begins."""
    last = bounds(window, day_of(at_unix))[1]
    return datetime.combine(EPOCH + timedelta(days=last + 1), datetime.min.time(), UTC)
