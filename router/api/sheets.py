"""What tables of the API have in common: the days that are asked for, and answers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from aiohttp import web

from ..errors import BadRequest

EPOCH = date(1970, 1, 1)
#: beyond every day that can be written down
LAST_DAY = (date.max - EPOCH).days
#: what a spreadsheet takes for the beginning of a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def days_of(start: str | None, end: str | None) -> tuple[int, int]:
    """The first and last UTC day of `start_date` and `end_date`, both included; all days where they are absent. Raises BadRequest."""
    first = 0 if start is None else _day(start, "start_date")
    last = LAST_DAY if end is None else _day(end, "end_date")
    if first > last:
        raise BadRequest("end_date lies before start_date", param="end_date")
    return first, last


def _day(text: str, name: str) -> int:
    """A date, or the UTC day of a date-time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{name} is a date such as 2027-01-31, not {text[:50]!r}", param=name) from None
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise BadRequest(f"{name} lies outside of all calendars", param=name) from None
    return (moment.date() - EPOCH).days


def sheet(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> web.Response:
    """Rows as CSV with a line of headings, as a file to save. Text that a spreadsheet would run is marked as text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return web.Response(text=text.getvalue(), content_type="text/csv", charset="utf-8", headers=headers)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".")
    return value
