"""Sums of the ledger's calls by hour, day, model, provider, key, user, app, tag and workspace: what statistics read instead of calls.

They cost a call nothing while it runs: rows of `generation` are added up behind it, many at once, and whoever asks has what is new
added first. A row of `statistic` holds the sums of one hour, or day, of one `kind`, one key (`scope`; "" is all keys) and one word.
Kinds of single keys have a `*` in front. All is in the order of time, so that adding writes a few pages, however much is there.

`until` has running totals of keys and words, by which a period is two rows and not all of its days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from . import until
from .behind import Behind
from .database import Database
from .sums import MARK, steps
from .until import DAY_HOURS
from .wanted import (
    MONTHS,
    MOST_RANKED,
    Kind,
    Piece,
    Rank,
    Sums,
    Wanted,
    conditions_of,
    in_order,
    needed,
    order_of,
    pieces_of,
    query_for,
    sums_of,
    told,
)

#: rows that a query looks at, and more for each row that is wanted; what is older is left out, or what was used less
MOST_SCANNED, SCANNED_EACH = 20_000, 8
#: rows for each that is wanted, among which the newest are looked for first
ENOUGH_EACH = 4
#: keys or words of which details are told where there are too many rows to look at all
HEAVIEST, ROWS_EACH = 50, 500


class Found(NamedTuple):
    """Sums in the order of what tells them apart, or of their rank. Not `whole`: there are others, which took too long to look at."""

    sums: list[Sums]
    whole: bool = True


class TooMuch(Exception):
    """There are too many rows to add up, and none of them can be left out."""


class Statistics:
    """Adding up and reading. Use one object per database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._behind = Behind(database, MARK, steps)

    async def add_up(self) -> None:
        """Take in all calls that were committed before this moment."""
        await self._behind.catch_up()
        await until.close_days(self._database)

    async def sums(self, wanted: Wanted) -> list[Sums]:
        """The sums that are wanted."""
        return (await self.find(wanted)).sums

    async def find(self, wanted: Wanted) -> Found:
        """The sums that are wanted, as far as they can be had in time. Raises TooMuch."""
        await self.add_up()
        if wanted.hashes is None:
            return await self._found(wanted)
        # Of one key rows lie in order, of several they must be sorted: secrets that were never used are left out.
        used = await until.used(self._database, wanted.hashes, wanted.first_hour // DAY_HOURS)
        return await self._found(replace(wanted, hashes=used)) if used else Found([])

    async def _found(self, wanted: Wanted) -> Found:
        if not wanted.step and "hour" in wanted.by:
            return await self._months(wanted)
        one = wanted.hashes[0] if wanted.hashes is not None and len(wanted.hashes) == 1 else None
        told_apart = wanted.by if one is None else [name for name in wanted.by if name != "scope"]
        words = until.kind_of(wanted.kind, told_apart)
        if words is None or "hour" in wanted.by or wanted.where or wanted.unless:
            return await self._bounded(wanted)
        has_totals = wanted.hashes is None or (one is not None and await until.wide(self._database, words, one))
        return await self._totals(wanted, words, one) if has_totals else await self._bounded(wanted)

    async def hashes(self, key: str) -> list[str]:
        """All hashes of the key that has or had this one, or has this id: every secret that it ever had."""
        rows = await self._database.all(
            "SELECT hash FROM key WHERE id IN (SELECT id FROM key WHERE hash = ?1 OR id = ?1) UNION SELECT ?1", (key,)
        )
        return [row[0] for row in rows]

    # --- running totals ---

    async def _totals(self, wanted: Wanted, words: until.Kind, of: str | None = None) -> Found:
        """One row for each key or word, or for each word `of` a wide key."""
        days = wanted.first_hour // DAY_HOURS, wanted.last_hour // DAY_HOURS
        whole = await until.few(self._database, words, of)
        query, parameters = await until.totals(self._database, words, days, needed(wanted), of=of, all_words=whole)
        columns = ", ".join(
            f"{'word' if of is None or name == 'word' else until.ITS_HASH} AS {name}" for name in wanted.by
        )
        order = "word DESC" if wanted.rank is None else order_of(wanted.rank)
        query = f"SELECT {columns}, {told(wanted)} FROM ({query}) ORDER BY {order} LIMIT ?"  # noqa: S608 - our own words
        rows = await self._database.all(query, [*parameters, -1 if wanted.most is None else wanted.most])
        if wanted.rank is None:
            rows.reverse()
        return Found(sums_of(rows, wanted.by), whole)

    # --- months ---

    async def _months(self, wanted: Wanted) -> Found:
        """Each month by itself, the newest first, until there are enough; told the oldest first."""
        found: list[Sums] = []
        whole = True
        enough = wanted.most if wanted.rank is None else MOST_RANKED
        by = [name for name in wanted.by if name != "hour"]
        for begins, first, last in await self._database.all(MONTHS, (wanted.first_hour, wanted.last_hour)):
            if enough is not None and len(found) >= enough:
                return Found(in_order(found, wanted), False)
            first, last = max(first, wanted.first_hour), min(last + DAY_HOURS - 1, wanted.last_hour)
            most = wanted.most if enough is None or wanted.rank is not None else enough - len(found)
            month = await self._found(replace(wanted, first_hour=first, last_hour=last, step=1, by=by, most=most))
            for each in month.sums:
                each.values = {name: begins if name == "hour" else each.values[name] for name in wanted.by}
            found = month.sums + found
            whole = whole and month.whole
        return Found(in_order(found, wanted), whole)

    # --- rows ---

    async def _bounded(self, wanted: Wanted) -> Found:
        """Of rows that are too many the last ones, or those of the keys or words that were used most. Raises TooMuch."""
        pieces = await self._clamped(pieces_of(wanted))
        of_all = wanted.hashes is None
        many = wanted.kind or (of_all and "scope" in wanted.by)
        if not pieces or not many or ("word" in wanted.where and not (of_all and "scope" in wanted.by)):
            return Found(await self._read(wanted, pieces))
        if "hour" in wanted.by:
            return await self._newest(wanted, pieces[0])
        # Of one key words alone are told whole, since that is asked for to charge them.
        bounded = of_all or ("word" in wanted.by and len(wanted.by) > 1)
        if bounded and await self._first_of_last(wanted, pieces[0], MOST_SCANNED) > pieces[0].first:
            return Found(await self._read(await self._of_the_heaviest(wanted), pieces), False)
        return Found(await self._read(wanted, pieces))

    async def _newest(self, wanted: Wanted, piece: Piece) -> Found:
        """Of the last hours or days: of a few where there is enough in them, else of as many as can be looked at."""
        if wanted.most is None or wanted.rank is not None:
            return await self._last(wanted, piece, MOST_SCANNED)
        found = await self._last(wanted, piece, ENOUGH_EACH * wanted.most)
        if found.whole or len(found.sums) == wanted.most:
            return found
        return await self._last(wanted, piece, MOST_SCANNED + SCANNED_EACH * wanted.most)

    async def _last(self, wanted: Wanted, piece: Piece, most: int) -> Found:
        first = await self._first_of_last(wanted, piece, most)
        return Found(await self._read(wanted, [piece._replace(first=first)]), first == piece.first)

    async def _read(self, wanted: Wanted, pieces: Sequence[Piece]) -> list[Sums]:
        if not pieces:
            return []
        rows = await self._database.all(*query_for(wanted, pieces))
        if wanted.most is not None and wanted.rank is None:
            rows.reverse()
        return sums_of(rows, wanted.by)

    async def _clamped(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Only hours that there are: a period may be thousands of years."""
        found = []
        for piece in pieces:
            row = await self._database.one(
                "SELECT (SELECT min(hour) FROM statistic WHERE kind = ?1), (SELECT max(hour) FROM statistic WHERE kind = ?1)",
                (piece.kind,),
            )
            if row is not None and row[0] is not None:
                first, last = max(piece.first, row[0]), min(piece.last, row[1])
                if first <= last:
                    found.append(piece._replace(first=first, last=last))
        return found

    async def _first_of_last(self, wanted: Wanted, piece: Piece, most: int) -> int:
        """The hour from which on there are at most so many rows; the last one has as many as it has."""
        condition, parameters = conditions_of(
            Wanted(first_hour=0, last_hour=0, by=wanted.by, hashes=wanted.hashes), piece
        )
        query = f"SELECT hour FROM statistic WHERE {condition} ORDER BY hour DESC LIMIT 1 OFFSET ?"  # noqa: S608 - our own words
        too_old = await self._database.one(query, (*parameters, most))
        if too_old is None:
            return piece.first
        newest = await self._database.one(query, (*parameters, 0))
        assert newest is not None
        first: int = min(too_old[0] + piece.every, newest[0])
        return first

    async def _of_the_heaviest(self, wanted: Wanted) -> Wanted:
        """The same of the keys, or words, that were used most. Raises TooMuch."""
        column = "scope" if wanted.hashes is None and "scope" in wanted.by else "word"
        kind: Kind = wanted.kind if column == "word" else ""
        if column not in wanted.by or until.kind_of(kind, [column]) is None:
            raise TooMuch
        values: list[str] = []
        rows = 0
        for value, requests in await self._most_used(replace(wanted, by=[column], kind=kind, where={}, unless={})):
            # A call has a row for each of its words; without words those of an hour or day that are alike share one.
            rows += requests if wanted.kind else min(requests, ROWS_EACH)
            if values and rows > MOST_SCANNED:
                break
            values.append(value)
        if column == "word":
            return replace(wanted, where={**wanted.where, "word": values})
        chosen = replace(wanted, hashes=values)
        return await self._of_the_heaviest(chosen) if wanted.kind and rows > MOST_SCANNED else chosen

    async def _most_used(self, wanted: Wanted) -> Iterable[tuple[str, int]]:
        """The keys or words that were used most, and how often."""
        words = until.kind_of(wanted.kind, wanted.by)
        if wanted.hashes is None and words is not None:
            days = wanted.first_hour // DAY_HOURS, wanted.last_hour // DAY_HOURS
            if found := await until.most_used(self._database, words, days, HEAVIEST):
                return found
        ranked = replace(wanted, rank=Rank(("requests",)), sums=("requests",), most=HEAVIEST)
        return [(each.values[wanted.by[0]], each.requests) for each in (await self._found(ranked)).sums]
