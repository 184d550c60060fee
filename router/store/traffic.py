"""The logged calls of a period as sums of calls that are alike, for simulations: read in pages, added up by SQLite in its own thread.

Calls are alike where nothing that routing or prices look at differs between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Sized
from typing import Any

from msgspec import Struct, field

from ..errors import BadRequest
from ..prices import Usage
from .database import Database

#: rows that one query reads: other readers wait for it (0.1 s)
PAGE = 20_000
#: rows are in the order in which calls ended, give or take this (a clock that was set, writers that waited)
MARGIN_S = 3600.0
#: kinds of calls that are held in memory
MOST = 50_000
SIMULATED = "status IN ('ok', 'cancelled')"
#: counts of `Usage` that have no column of their own; most rows have none of them
_RARE = (
    *("cache_write", "cache_write_1h", "audio_input", "audio_output", "image_input", "image_output"),
    *("searches", "images", "billed_input", "billed_output"),
)
Progress = Callable[[int, int], None]


class Bounds(Struct, kw_only=True):
    """Where prices and lengths of models change: tokens of prompt and answer together, of each alone, minutes of the UTC day."""

    total: Sequence[int] = ()
    input: Sequence[int] = ()
    output: Sequence[int] = ()
    minute: Sequence[int] = ()


class Seen(Struct):
    """How an endpoint did: sums over `requests` calls that it served, times in milliseconds."""

    requested: str
    model: str
    provider: str
    requests: int = 0
    latency_ms: int = 0
    generation_ms: int = 0
    output: int = 0


class Alike(Struct):
    """Calls that are alike. `usage`, `charge` and `list_cost` (picodollars) are sums; `priced` of them had a charge. `longest`,
    `most_input`, `most_output` (tokens) and `at_unix` are the largest of one call."""

    requested: str
    model: str
    provider: str
    api_type: str
    tools: bool
    key_hash: str
    requests: int = 0
    priced: int = 0
    charge: int = 0
    longest: int = 0
    most_input: int = 0
    most_output: int = 0
    at_unix: float = 0.0
    usage: Usage = field(default_factory=Usage)


class Traffic:
    """Calls made from `start` to before `end` (unix seconds), of one account or of all (None). `find` them before reading."""

    def __init__(self, database: Database, start: float, end: float, account: str | None = None) -> None:
        self._database = database
        self._where = "created_unix >= ? AND created_unix < ?"
        self._parameters: list[Any] = [start, end]
        if account is not None:
            self._where += " AND key_hash IN (SELECT hash FROM key WHERE id = ?)"
            self._parameters.append(account)
        self._span = (start - MARGIN_S, end + MARGIN_S)
        self._first, self._last = 0, -1

    async def find(self) -> int:
        """Find out where in the table the period lies. Returns how many rows have to be looked at."""
        newest = await self._database.one("SELECT coalesce(max(seq), 0) FROM generation")
        assert newest is not None
        self._first = await first_since(self._database, self._span[0], 1, newest[0] + 1)
        self._last = await first_since(self._database, self._span[1], self._first, newest[0] + 1) - 1
        return max(0, self._last - self._first + 1)

    async def seen(self, progress: Progress) -> tuple[list[Seen], dict[str, int]]:
        """What was asked for and who served it; and how many calls came to nothing, by status."""
        sums: dict[tuple[str, ...], Seen] = {}
        failed: dict[str, int] = {}
        status = f"CASE WHEN {SIMULATED} THEN '' ELSE status END"
        select = (
            f"{status}, requested_model, model, provider, count(*), sum(latency_ms), sum(generation_ms), sum(output)"
        )
        rows = "SELECT requested_model, model, provider, status, latency_ms, generation_ms, output FROM generation WHERE true"
        async for row in self._pages(select, [], rows, 4, progress):
            if row[0]:
                failed[row[0]] = failed.get(row[0], 0) + row[4]
                continue
            known = sums.setdefault(row[1:4], Seen(row[1], row[2], row[3]))
            known.requests += row[4]
            known.latency_ms += row[5]
            known.generation_ms += row[6]
            known.output += row[7]
            _bounded(sums)
        return list(sums.values()), failed

    async def alike(self, bounds: Bounds, *, by_key: bool, progress: Progress) -> list[Alike]:
        """All calls, those alike added up; those of different keys apart where `by_key`."""
        sums: dict[tuple[Any, ...], Alike] = {}
        select, parameters = _adding(bounds, by_key=by_key)
        async for row in self._pages(select, parameters, _ROWS, _KEYS, progress):
            known = sums.get(row[:_KEYS])
            if known is None:
                known = sums[row[:_KEYS]] = Alike(row[0], row[1], row[2], row[3], bool(row[4]), row[5])
                _bounded(sums)
            _add(known, row[_KEYS:])
        return list(sums.values())

    async def _pages(
        self, select: str, parameters: Sequence[Any], rows: str, groups: int, progress: Progress
    ) -> AsyncIterator[tuple[Any, ...]]:
        """The rows, grouped by the first columns of `select`, page by page: the same group may come in each of them."""
        # With a LIMIT SQLite computes the columns of the inner query once, not at each mention.
        rows += f" AND seq BETWEEN ? AND ? AND {self._where} LIMIT -1"
        by = ", ".join(map(str, range(1, groups + 1)))
        query = f"SELECT {select} FROM ({rows}) GROUP BY {by}"  # noqa: S608 - our own words
        for first in range(self._first, self._last + 1, PAGE):
            last = min(first + PAGE - 1, self._last)
            for row in await self._database.all(query, [*parameters, first, last, *self._parameters]):
                yield row
            progress(last - self._first + 1, self._last - self._first + 1)


async def first_since(database: Database, unix: float, low: int, high: int) -> int:
    """The first row of a call that ended at this time or later; `high` where there is none."""
    ended = "created_unix + (latency_ms + generation_ms) / 1000.0"
    while low < high:
        middle = (low + high) // 2
        row = await database.one(
            f"SELECT seq, {ended} FROM generation WHERE seq >= ? ORDER BY seq LIMIT 1",  # noqa: S608 - our own words
            [middle],
        )
        if row is None or row[1] >= unix:
            high = middle
        else:
            low = row[0] + 1
    return low


def _bounded(sums: Sized) -> None:
    """Raises BadRequest where the calls are too different to be held in memory."""
    if len(sums) > MOST:
        raise BadRequest(f"the calls of this period are of more than {MOST} kinds; choose a shorter one", param="end")


#: columns by which rows are told apart, the bounds and `billed` included
_KEYS = 11


def _adding(bounds: Bounds, *, by_key: bool) -> tuple[str, list[Any]]:
    """The columns that add up what is alike, and the values that stand in them."""
    places: list[str] = []
    parameters: list[Any] = []
    for expression, steps in (
        ("input + output", bounds.total),
        ("input", bounds.input),
        ("output", bounds.output),
        ("CAST(created_unix / 60 AS INTEGER) % 1440", bounds.minute),
    ):
        places.append(" + ".join([f"({expression} >= ?)"] * len(steps)) or "0")
        parameters.extend(steps)
    rare = ", ".join(
        f"coalesce(sum(CASE WHEN rare IS NOT NULL THEN json_extract(rare, '$.{name}') END), 0)" for name in _RARE
    )
    select = (
        "requested_model, model, provider, api_type, coalesce(finish_reason, '') = 'tool_calls',"
        f" {'key_hash' if by_key else repr('')}, {', '.join(places)}, json_extract(rare, '$.billed_input') > 0,"
        " count(*), count(charge), coalesce(sum(charge), 0), max(input + output), max(input), max(output), max(created_unix),"
        f" sum(input), sum(output), sum(reasoning), sum(cached), {rare}"
    )
    return select, parameters


#: the rows that are simulated. `rare` is the usage of one that has rare counts, NULL of the others: reading JSON takes the time
_COLUMNS = (
    *("requested_model", "model", "provider", "api_type", "finish_reason", "key_hash"),
    *("input", "output", "reasoning", "cached", "charge", "created_unix"),
)
_HAS_RARE = " OR ".join(
    f"instr(detail, '\"{name}')" for name in ("cache_write", "audio_", "image", "searches", "billed_")
)
_ROWS = (
    f"SELECT {', '.join(_COLUMNS)}, CASE WHEN {_HAS_RARE} THEN json_extract(detail, '$.usage') END AS rare"  # noqa: S608
    f" FROM generation WHERE {SIMULATED}"
)


def _add(known: Alike, row: Iterable[Any]) -> None:
    requests, priced, charge, longest, most_input, most_output, at_unix, *counts = row
    known.requests += requests
    known.priced += priced
    known.charge += charge
    known.longest = max(known.longest, longest)
    known.most_input = max(known.most_input, most_input)
    known.most_output = max(known.most_output, most_output)
    known.at_unix = max(known.at_unix, at_unix)
    names = ("input", "output", "reasoning", "cache_read", *_RARE)
    known.usage = known.usage + Usage(**dict(zip(names, counts, strict=True)))


__all__ = ["Alike", "Bounds", "Progress", "Seen", "Traffic", "first_since"]
