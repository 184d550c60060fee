"""The period that a query names, in whole hours: dates, date-times or unix seconds; without any the last 30 UTC days."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from ...api.moments import moment, unix_of
from ...errors import BadRequest

DEFAULT_DAYS = 30
HOUR_S, DAY_HOURS = 3600, 24
#: the last hour that has another one behind it
LAST_HOUR = 70_389_526
Granularity = Literal["hourly", "daily", "monthly"]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}").fullmatch
_SECONDS = re.compile(r"\d{1,12}(\.\d+)?").fullmatch


class Period(Struct):
    """Hours since 1970, both included."""

    first: int
    last: int


def period(now: float, start: str | None, end: str | None, names: tuple[str, str]) -> Period:
    """From `start` on until `end`, whose day or hour still counts. Raises BadRequest."""
    last = _hour(end, names[1], whole_day=True) if end else int(now // HOUR_S)
    first = _hour(start, names[0]) if start else (last // DAY_HOURS - DEFAULT_DAYS + 1) * DAY_HOURS
    if first > last:
        raise BadRequest(f"{names[0]}: {start} is later than the end of the period", param=names[0])
    return Period(first, last)


def day(date: str, name: str = "date") -> Period:
    """One UTC day. Raises BadRequest."""
    if not _DATE(date):
        raise BadRequest(f"{name}: {date[:50]!r} is no date such as 2027-01-31", param=name)
    first = _hour(date, name)
    return Period(first, first + DAY_HOURS - 1)


@lru_cache(maxsize=4096)
def timestamp(hour: int) -> str:
    """The beginning of an hour as RFC 3339."""
    return moment(hour * HOUR_S)


def _hour(text: str, name: str, *, whole_day: bool = False) -> int:
    """The hour of a moment; of a date its first, or with `whole_day` its last. Raises BadRequest with the name of the parameter."""
    try:
        unix = float(text) if _SECONDS(text) else unix_of(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None
    hour = int(unix // HOUR_S)
    if whole_day and _DATE(text):
        hour += DAY_HOURS - 1
    if not 0 <= hour <= LAST_HOUR:
        raise BadRequest(f"{name}: {text[:50]} is out of range", param=name)
    return hour
