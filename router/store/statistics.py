"""Sums of the ledger's calls by hour, day, model, provider, key, user, app, tag and workspace: what statistics read instead of calls.

They cost a call nothing while it runs: rows of `generation` are added up behind it, many at once, and whoever asks has what is new
added first. A row of `statistic` holds the sums of one hour, or day, of one `kind`, one key (`scope`; "" is all keys) and one word.
Kinds of single keys have a `*` in front. All is in the order of time, so that adding writes a few pages, however much is there.

`until` has running totals of keys and words, by which a period is two rows and not all of its days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import aiosqlite
from msgspec import Struct, field

from . import until
from .behind import Behind, fresh, make, take_in
from .database import Database
from .migrations import Migration
from .until import DAY_HOURS, SUMS
from .writer import Statement

Kind = Literal["", "workspace", "user", "app", "tag"]
#: kinds that are kept for all keys together only
WHOLE = ("workspace",)
MARK = "statistic_seen"
#: rows that a query looks at, and more for each row that is wanted; what is older is left out, or what was used less
MOST_SCANNED, SCANNED_EACH = 20_000, 8
#: rows for each that is wanted, among which the newest are looked for first
ENOUGH_EACH = 4
#: groups of the last days among which an order is made
MOST_RANKED = 10_000
#: keys or words of which details are told where there are too many rows to look at all
HEAVIEST, ROWS_EACH = 50, 500

_SUMMED = ", ".join(f"sum({name})" for name in SUMS)


class Rank(Struct, frozen=True):
    """An order of rows: by a column that tells them apart, or by a sum (of `columns` together), divided by another (`per`)."""

    columns: tuple[str, ...]
    per: str | None = None
    descending: bool = True


class Wanted(Struct, kw_only=True):
    """Which sums: of these hours since 1970 (both included; put together `step` by `step`, or with 0 by month), apart `by` columns
    (hour, model, provider, word, scope), of calls whose columns have one of the values in `where` and none of those in `unless`. `kind`
    says what words are, `hashes` whose calls count (None: everybody's). With `most` only so many, the last hours first, or those
    that `rank` puts in front. `sums` are those that are needed."""

    first_hour: int
    last_hour: int
    step: int = 1
    by: Sequence[str] = ()
    kind: Kind = ""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unless: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hashes: Sequence[str] | None = None
    most: int | None = None
    rank: Rank | None = None
    sums: Sequence[str] = SUMS


class Sums(Struct):
    """Sums of the calls that have these values in the columns that were told apart."""

    values: dict[str, Any]
    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0
    charge: int = 0
    byok: int = 0
    latency_ms: int = 0
    generation_ms: int = 0

    def add(self, other: Sums) -> None:
        """Take other sums in."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


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
        self._behind = Behind(database, MARK, _steps)

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
        return await self._found(_with(wanted, hashes=used)) if used else Found([])

    async def _found(self, wanted: Wanted) -> Found:
        if not wanted.step and "hour" in wanted.by:
            return await self._months(wanted)
        one = wanted.hashes[0] if wanted.hashes is not None and len(wanted.hashes) == 1 else None
        told_apart = wanted.by if one is None else [name for name in wanted.by if name != "scope"]
        words = until.kind_of(wanted.kind, told_apart)
        if words is None or "hour" in wanted.by or wanted.where or wanted.unless:
            return await self._bounded(wanted)
        if wanted.hashes is None or (one is not None and await until.wide(self._database, words, one)):
            return await self._totals(wanted, words, one)
        return await self._bounded(wanted)

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
        query, parameters = await until.totals(self._database, words, days, _needed(wanted), of=of, all_words=whole)
        columns = ", ".join(f"{'word' if of is None or name == 'word' else until.KEY} AS {name}" for name in wanted.by)
        order = "word DESC" if wanted.rank is None else _ranked(wanted.rank)
        query = f"SELECT {columns}, {_told(wanted)} FROM ({query}) ORDER BY {order} LIMIT ?"  # noqa: S608 - our own words
        rows = await self._database.all(query, [*parameters, -1 if wanted.most is None else wanted.most])
        if wanted.rank is None:
            rows.reverse()
        return Found(_sums(rows, wanted.by), whole)

    # --- months ---

    async def _months(self, wanted: Wanted) -> Found:
        """Each month by itself, the newest first, until there are enough; told the oldest first."""
        found: list[Sums] = []
        whole = True
        enough = wanted.most if wanted.rank is None else MOST_RANKED
        by = [name for name in wanted.by if name != "hour"]
        for begins, first, last in await self._database.all(_MONTHS, (wanted.first_hour, wanted.last_hour)):
            if enough is not None and len(found) >= enough:
                return Found(_in_order(found, wanted), False)
            first, last = max(first, wanted.first_hour), min(last + DAY_HOURS - 1, wanted.last_hour)
            most = wanted.most if enough is None or wanted.rank is not None else enough - len(found)
            month = await self._found(_with(wanted, first_hour=first, last_hour=last, step=1, by=by, most=most))
            for each in month.sums:
                each.values = {name: begins if name == "hour" else each.values[name] for name in wanted.by}
            found = month.sums + found
            whole = whole and month.whole
        return Found(_in_order(found, wanted), whole)

    # --- rows ---

    async def _bounded(self, wanted: Wanted) -> Found:
        """Of rows that are too many the last ones, or those of the keys or words that were used most. Raises TooMuch."""
        pieces = await self._clamped(_pieces(wanted))
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
        rows = await self._database.all(*_query(wanted, pieces))
        if wanted.most is not None and wanted.rank is None:
            rows.reverse()
        return _sums(rows, wanted.by)

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
        condition, parameters = _conditions(
            Wanted(first_hour=0, last_hour=0, by=wanted.by, hashes=wanted.hashes), piece
        )
        query = f"SELECT hour FROM statistic WHERE {condition} ORDER BY hour DESC LIMIT 1 OFFSET ?"  # noqa: S608 - our own words
        too_old = await self._database.one(query, (*parameters, most))
        newest = await self._database.one(query, (*parameters, 0))
        if too_old is None or newest is None:
            return piece.first
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
        for value, requests in await self._most_used(_with(wanted, by=[column], kind=kind, where={}, unless={})):
            # A call has a row for each of its words; without words those of an hour or day that are alike share one.
            rows += requests if wanted.kind else min(requests, ROWS_EACH)
            if values and rows > MOST_SCANNED:
                break
            values.append(value)
        if column == "word":
            return _with(wanted, where={**wanted.where, "word": values})
        chosen = _with(wanted, hashes=values)
        return await self._of_the_heaviest(chosen) if wanted.kind and rows > MOST_SCANNED else chosen

    async def _most_used(self, wanted: Wanted) -> Iterable[tuple[str, int]]:
        """The keys or words that were used most, and how often."""
        words = until.kind_of(wanted.kind, wanted.by)
        if wanted.hashes is None and words is not None:
            days = wanted.first_hour // DAY_HOURS, wanted.last_hour // DAY_HOURS
            if found := await until.most_used(self._database, words, days, HEAVIEST):
                return found
        ranked = _with(wanted, rank=Rank(("requests",)), sums=("requests",), most=HEAVIEST)
        return [(each.values[wanted.by[0]], each.requests) for each in (await self._found(ranked)).sums]


def _with(wanted: Wanted, **changes: Any) -> Wanted:
    return Wanted(**{name: changes.get(name, getattr(wanted, name)) for name in Wanted.__struct_fields__})


class Piece(NamedTuple):
    """A part of the rows: of one kind, `every` hour or day from `first` to `last`."""

    kind: str
    first: int
    last: int
    every: int


def _pieces(wanted: Wanted) -> list[Piece]:
    """Words are kept by the day, all else by the hour too: a period is its whole days and the hours before and behind them."""
    first, last = wanted.first_hour, wanted.last_hour
    mine = "*" if wanted.hashes is not None or "scope" in wanted.by else ""
    hourly = wanted.step == 1 and "hour" in wanted.by
    if wanted.kind:
        return [Piece(mine + wanted.kind, first - first % DAY_HOURS, last, DAY_HOURS)]
    if hourly:
        return [Piece(mine, first, last, 1)]
    if wanted.hashes is None and mine:
        return [Piece(f"{mine}day", first - first % DAY_HOURS, last, DAY_HOURS)]
    middle, end = -(-first // DAY_HOURS) * DAY_HOURS, (last + 1) // DAY_HOURS * DAY_HOURS
    if middle >= end:
        return [Piece(mine, first, last, 1)]
    return [
        *([Piece(mine, first, middle - 1, 1)] if first < middle else []),
        Piece(f"{mine}day", middle, end - 1, DAY_HOURS),
        *([Piece(mine, end, last, 1)] if end <= last else []),
    ]


def _query(wanted: Wanted, pieces: Sequence[Piece]) -> tuple[str, list[Any]]:
    parameters: list[Any] = []
    names = _needed(wanted)
    grouped = _grouped(wanted, pieces)
    rows = []
    for piece in pieces:
        condition, given = _conditions(wanted, piece)
        columns = ", ".join([*dict.fromkeys(("hour", *grouped)), *names])
        rows.append(f"SELECT {columns} FROM statistic WHERE {condition}")  # noqa: S608 - our own words
        parameters += given
    daily = all(piece.every == DAY_HOURS for piece in pieces)
    step = wanted.step if wanted.step != DAY_HOURS or not daily else 1
    # A column as it is can be read in the order in which it lies, the newest without the others.
    hour = "hour" if step == 1 else f"hour - hour % {step}"
    told = [f"{hour} AS step" if name == "hour" else name for name in wanted.by]
    if "scope" in wanted.by and "scope" not in grouped and wanted.hashes is not None:
        # What is the same in all rows is not sorted with them.
        told[told.index("scope")] = "? AS scope"
        parameters = [*wanted.hashes, *parameters]
    query = f"SELECT {', '.join([*told, _told(wanted, 'sum({0})')])} FROM ({' UNION ALL '.join(rows)})"  # noqa: S608 - our own words
    if not wanted.by:
        return query, parameters
    columns = ", ".join(("hour" if step == 1 else "step") if name == "hour" else name for name in grouped)
    query += f" GROUP BY {columns}"
    if wanted.rank is None:
        direction = "" if wanted.most is None else " DESC"
        query += f" ORDER BY {columns.replace(', ', f'{direction}, ')}{direction} LIMIT ?"
    else:
        if "hour" in wanted.by:
            query += f" ORDER BY {columns.replace(', ', ' DESC, ')} DESC LIMIT {MOST_RANKED}"
        query = f"SELECT * FROM ({query}) ORDER BY {_ranked(wanted.rank)} LIMIT ?"  # noqa: S608 - our own words
    return query, [*parameters, -1 if wanted.most is None else wanted.most]


def _grouped(wanted: Wanted, pieces: Sequence[Piece]) -> Sequence[str]:
    """What to tell rows apart by: in the order in which they lie, where nothing is left out between, for which what is the same in all
    of them (a kind of all keys has no scope, one without words no word) must be named too. Elsewhere that would only be sorted too."""
    same = {"scope"} if wanted.hashes is None and "scope" not in wanted.by else set[str]()
    if not wanted.kind:
        same.add("word")
    ordered = [name for name in _KEY[1:] if name in wanted.by or name in same]
    while ordered and ordered[-1] not in wanted.by:
        ordered.pop()
    in_order = [name for name in ordered if name not in same] == list(wanted.by)
    if len(pieces) == 1 and in_order and ordered == list(_KEY[1 : len(ordered) + 1]):
        return ordered
    one = wanted.hashes is not None and len(wanted.hashes) == 1 and len(wanted.by) > 1
    return [name for name in wanted.by if name != "scope"] if one else wanted.by


def _conditions(wanted: Wanted, piece: Piece) -> tuple[str, list[Any]]:
    condition = "kind = ?"
    parameters: list[Any] = [piece.kind]
    if wanted.hashes is not None or "word" in wanted.where:
        # So that each hour or day is looked up, and what lies between is not read.
        condition += f" AND hour IN ({_EACH})"
        parameters += [piece.first, piece.every, piece.every, piece.last]
    else:
        condition += " AND hour BETWEEN ? AND ?"
        parameters += [piece.first, piece.last]
    if wanted.hashes is not None:
        condition += f" AND scope IN ({_marks(wanted.hashes)})"
        parameters += wanted.hashes
    elif "scope" not in wanted.by:
        # Where a word is looked up, its place begins with the scope; elsewhere the planner would lose sight of the order.
        condition += " AND scope = ''" if "word" in wanted.where else ""
    for values_of, operator in ((wanted.where, "IN"), (wanted.unless, "NOT IN")):
        for column, values in values_of.items():
            condition += f" AND {column} {operator} ({_marks(values)})"
            parameters += values
    return condition, parameters


_EACH = "WITH RECURSIVE each (n) AS (SELECT ? UNION ALL SELECT n + ? FROM each WHERE n + ? <= ?) SELECT n FROM each"
#: the first hour of an hour's month
_MONTH = "CAST(strftime('%s', hour * 3600, 'unixepoch', 'start of month') AS INTEGER) / 3600"
#: the months of a period in which there were calls, the newest first: where each begins, and what of it is in the period
_MONTHS = f"""
    WITH day (hour) AS (
        SELECT min(hour) FROM statistic WHERE kind = '*day' AND hour >= ?1 - ?1 % 24
        UNION ALL
        SELECT (SELECT min(hour) FROM statistic WHERE kind = '*day' AND statistic.hour > day.hour) FROM day WHERE hour < ?2
    )
    SELECT {_MONTH} AS begins, min(hour), max(hour) FROM day WHERE hour <= ?2 GROUP BY 1 ORDER BY 1 DESC
"""  # noqa: S608 - our own words


def _needed(wanted: Wanted) -> list[str]:
    """Those that are told or ranked by, and how many calls there were: not adding up the others saves half the time."""
    rank = wanted.rank
    named = {"requests", *wanted.sums, *(() if rank is None else (*rank.columns, rank.per))}
    return [name for name in SUMS if name in named]


def _told(wanted: Wanted, form: str = "{0}") -> str:
    """All sums in their order, 0 for those that nobody needs."""
    names = _needed(wanted)
    return ", ".join(f"{form.format(name) if name in names else 0} AS {name}" for name in SUMS)


def _ranked(rank: Rank) -> str:
    value = " + ".join("step" if name == "hour" else name for name in rank.columns)
    if rank.per is not None:
        value = f"({value}) * 1.0 / nullif({rank.per}, 0)"
    return f"{value} {'DESC' if rank.descending else 'ASC'}"


def _comparable(rank: Rank) -> Any:
    def value(each: Sums) -> tuple[bool, Any]:
        found = [each.values[name] if name in each.values else getattr(each, name) for name in rank.columns]
        total = found[0] if len(found) == 1 else sum(found)
        whole = None if rank.per is None else getattr(each, rank.per)
        return whole != 0, total if whole is None else total / whole if whole else 0

    return value


def _in_order(found: list[Sums], wanted: Wanted) -> list[Sums]:
    """What was put together from several answers, which are in this order each."""
    if wanted.rank is not None:
        found.sort(key=_comparable(wanted.rank), reverse=wanted.rank.descending)
    return found if wanted.most is None or wanted.rank is None else found[: wanted.most]


def _sums(rows: Iterable[Sequence[Any]], by: Sequence[str]) -> list[Sums]:
    width = len(by)
    return [Sums(dict(zip(by, row, strict=False)), *row[width:]) for row in rows if row[width]]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


# --- adding up -------------------------------------------------------------------------------------------------------

_KEY = ("kind", "hour", "scope", "word", "model", "provider")
_ADDED = ",\n".join(f"{name} = {name} + excluded.{name}" for name in SUMS)

#: calls that are not in the sums yet, once for each word of theirs
_FRESH = f"""
    WITH fresh AS (
        SELECT generation.key_hash, CAST(generation.created_unix / 3600 AS INTEGER) AS hour, generation.day * 24 AS day_hour,
            model, provider, user, app_title, generation.detail AS detail, coalesce(key.workspace_id, 'default') AS workspace,
            1 AS requests, status = 'error' AS errors, input, output, reasoning, cached, coalesce(charge, 0) AS charge,
            CASE WHEN is_byok THEN coalesce(list_cost, 0) ELSE 0 END AS byok, latency_ms, generation_ms
        FROM generation LEFT JOIN key ON key.hash = generation.key_hash
        WHERE {fresh(MARK)}
    ),
    worded AS (
        SELECT 'user' AS kind, user AS word, day_hour AS hour, key_hash, model, provider, {", ".join(SUMS)}
            FROM fresh WHERE user IS NOT NULL
        UNION ALL SELECT 'app', app_title, day_hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh WHERE app_title IS NOT NULL
        UNION ALL SELECT 'tag', each.value, day_hour, key_hash, model, provider, {", ".join(SUMS)}
            FROM fresh, json_each(CASE WHEN instr(detail, '"tags"') THEN json_extract(detail, '$.tags') ELSE '[]' END) AS each
    )
"""  # noqa: S608 - our own words
#: each time for all keys and for its own
_ADD = f"""
    {_FRESH}, plain AS (
        SELECT * FROM worded
        UNION ALL SELECT '', '', hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh
        UNION ALL SELECT 'day', '', day_hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh
    )
    INSERT INTO statistic ({", ".join((*_KEY, *SUMS))})
    SELECT kind, hour, scope, word, model, provider, {_SUMMED} FROM (
        SELECT kind, hour, '' AS scope, word, model, provider, {", ".join(SUMS)} FROM plain
        UNION ALL SELECT '*' || kind, hour, key_hash, word, model, provider, {", ".join(SUMS)} FROM plain
        UNION ALL SELECT 'workspace', day_hour, '', workspace, model, provider, {", ".join(SUMS)} FROM fresh
    )
    WHERE true GROUP BY kind, hour, scope, word, model, provider
    ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET {_ADDED}
"""  # noqa: S608 - our own words
_WORDS = f"""
    SELECT kind, word, hour / 24 AS day, {", ".join(SUMS)} FROM worded
    UNION ALL SELECT 'key', key_hash, day_hour / 24, {", ".join(SUMS)} FROM fresh
    UNION ALL SELECT '*' || kind, key_hash || ':' || word, hour / 24, {", ".join(SUMS)}
        FROM worded WHERE ('*' || kind, key_hash) IN (SELECT kind, scope FROM statistic_wide)
"""  # noqa: S608 - our own words
_ADD_WORDS = _FRESH + until.ADD.format(rows=_WORDS)


def _steps(rows: int) -> list[Statement]:
    return [(_ADD, (rows,)), (_ADD_WORDS, (rows,)), (until.REOPEN.format(rows=fresh(MARK)), (rows,))]


_WORDS_BEFORE = f"""
    SELECT 'key' AS kind, scope AS word, hour / 24 AS day, {", ".join(SUMS)} FROM statistic WHERE kind = '*day'
    UNION ALL SELECT kind, word, hour / 24, {", ".join(SUMS)} FROM statistic WHERE kind IN ('user', 'app', 'tag')
"""  # noqa: S608 - our own words


async def _create(connection: aiosqlite.Connection) -> None:
    """The table, as it was before it was in the order of time. The next step fills it."""
    await connection.execute_fetchall(_TABLE.format(key="scope, kind, hour, word, model, provider"))
    await make(connection, MARK)


async def _in_order_of_time(connection: aiosqlite.Connection) -> None:
    """The sums that are there in another order, and those of all calls that are not in them yet."""
    for statement in (
        "ALTER TABLE statistic RENAME TO statistic_before",
        _TABLE.format(key=", ".join(_KEY)),
        f"""
        INSERT INTO statistic ({", ".join((*_KEY, *SUMS))})
        SELECT CASE scope WHEN '' THEN kind ELSE '*' || kind END AS kind, hour, scope, word, model, provider, {", ".join(SUMS)}
        FROM statistic_before WHERE statistic_before.kind <> 'key' ORDER BY 1, 2, 3, 4, 5, 6
        """,  # noqa: S608 - our own words
        f"""
        INSERT INTO statistic ({", ".join((*_KEY, *SUMS))})
        SELECT CASE scope WHEN '' THEN 'day' ELSE '*day' END, hour - hour % 24, scope, '', model, provider, {_SUMMED}
        FROM statistic_before WHERE kind = '' GROUP BY 1, 2, 3, 4, 5, 6
        """,  # noqa: S608 - our own words
        "DROP TABLE statistic_before",
        *until.TABLES,
        until.ADD.format(rows=_WORDS_BEFORE),
    ):
        await connection.execute_fetchall(statement)


async def _words_of_wide_keys(connection: aiosqlite.Connection) -> None:
    """What is not in the sums yet, and the totals of all of them."""
    for statement in until.WIDE_TABLES:
        await connection.execute_fetchall(statement)
    await take_in(connection, MARK, _steps)
    await until.close_all(connection)


# --- checking --------------------------------------------------------------------------------------------------------

_EQUAL = " OR ".join(f"min({name}) <> max({name})" for name in SUMS)
#: what each key and word came to day by day
_DAILY = f"""
    SELECT 'key' AS kind, scope AS word, hour / 24 AS day, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
    FROM statistic WHERE kind = '*day' GROUP BY 2, 3
    UNION ALL SELECT kind, word, hour / 24, {_SUMMED} FROM statistic WHERE kind IN ('user', 'app', 'tag') GROUP BY 1, 2, 3
    UNION ALL SELECT kind, scope || ':' || word, hour / 24, {_SUMMED} FROM statistic_wide JOIN statistic USING (kind, scope)
        GROUP BY 1, 2, 3
"""  # noqa: S608 - our own words
#: each finds a number of faults, 0 where there are none
_CHECKS = (
    (
        f"""
        SELECT count(*) FROM (
            SELECT day FROM (
                SELECT kind, hour / 24 AS day, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
                FROM statistic WHERE kind IN ('', 'day', '*', '*day', 'workspace') GROUP BY 1, 2
            ) GROUP BY day HAVING count(*) <> 5 OR {_EQUAL}
        )
        """,  # noqa: S608 - our own words
        "the statistics of {0} days come to other sums by hour, by key and by workspace",
    ),
    # Only days of which no call has been forgotten, and all have been added up.
    (
        f"""
        SELECT count(*) FROM (
            SELECT day, max(seq) AS seq, count(*) AS requests, sum(status = 'error') AS errors, sum(input) AS input,
                sum(output) AS output, sum(reasoning) AS reasoning, sum(cached) AS cached, sum(coalesce(charge, 0)) AS charge,
                sum(CASE WHEN is_byok THEN coalesce(list_cost, 0) ELSE 0 END) AS byok, sum(latency_ms) AS latency_ms,
                sum(generation_ms) AS generation_ms
            FROM generation GROUP BY day
        ) AS kept JOIN (SELECT day, sum(requests) AS requests FROM usage_day GROUP BY day) AS booked USING (day, requests)
        LEFT JOIN (
            SELECT hour / 24 AS day, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
            FROM statistic WHERE kind = 'day' GROUP BY 1
        ) AS summed ON summed.day = kept.day
        WHERE seq <= (SELECT seq FROM {MARK})
            AND ({", ".join(f"kept.{name}" for name in SUMS)}) IS NOT ({", ".join(f"summed.{name}" for name in SUMS)})
        """,  # noqa: S608 - our own words
        "the statistics of {0} days are not what their calls come to",
    ),
    (
        f"""
        SELECT count(*) FROM (SELECT kind, word, {", ".join(f"sum({name}) AS {name}" for name in SUMS)} FROM ({_DAILY}) GROUP BY 1, 2)
        AS came LEFT JOIN statistic_word AS known ON known.kind = came.kind AND known.word = came.word
        WHERE ({", ".join(f"came.{name}" for name in SUMS)}) IS NOT ({", ".join(f"known.{name}" for name in SUMS)})
        """,  # noqa: S608 - our own words
        "the totals of {0} keys, users, apps or tags are not what their days come to",
    ),
    (
        f"""
        SELECT count(*) FROM (
            SELECT kind, word, day, {", ".join(f"sum({name}) OVER each AS {name}" for name in SUMS)} FROM ({_DAILY})
            WINDOW each AS (PARTITION BY kind, word ORDER BY day)
        ) AS came JOIN statistic_word AS known ON known.kind = came.kind AND known.word = came.word
        LEFT JOIN statistic_until AS upto ON upto.number = known.number AND upto.day = came.day
        WHERE came.day <= (SELECT day FROM statistic_closed)
            AND ({", ".join(f"came.{name}" for name in SUMS)}) IS NOT ({", ".join(f"upto.{name}" for name in SUMS)})
        """,  # noqa: S608 - our own words
        "{0} running totals are not what the days until then come to",
    ),
)


async def faults(database: Database) -> list[str]:
    """Do the statistics add up? A line for each sum that does not; none where there are no statistics."""
    if await database.one("SELECT 1 FROM migration WHERE owner = 'statistics' AND number = 3") is None:
        return []
    complaints = []
    for query, complaint in _CHECKS:
        row = await database.one(query)
        if row is not None and row[0]:
            complaints.append(complaint.format(*row))
    return complaints


# --- the tables ------------------------------------------------------------------------------------------------------

_TABLE = f"""
    CREATE TABLE statistic (
        kind TEXT NOT NULL,
        hour INTEGER NOT NULL,
        scope TEXT NOT NULL,
        word TEXT NOT NULL,
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)},
        PRIMARY KEY ({{key}})
    ) WITHOUT ROWID
"""

MIGRATIONS = tuple(
    Migration("statistics", number, apply)
    for number, apply in enumerate((_create, _in_order_of_time, _words_of_wide_keys), 1)
)
