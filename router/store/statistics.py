"""Sums of the ledger's calls by hour, day, model, provider, key, user, app, tag and workspace: what statistics read instead of calls.

They cost a call nothing: rows of `generation` are added up behind it, many at once, and whoever asks has what is new added first. A
row of `statistic` holds the sums of one key (`scope`; "" is all keys), of one `kind` of words ("" for none) and one of its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiosqlite
from msgspec import Struct, field

from .behind import Behind, begin, fresh
from .database import Database
from .migrations import Migration
from .writer import Statement

#: what is added up: tokens, picodollars (`byok`: list price of calls with the client's own provider keys), milliseconds
SUMS = (
    *("requests", "errors", "input", "output", "reasoning", "cached", "charge", "byok"),
    *("latency_ms", "generation_ms"),
)
Kind = Literal["", "key", "workspace", "user", "app", "tag"]
#: kinds that are kept for all keys together only, the first of them without models and providers
WHOLE = ("key", "workspace")
#: words are kept by the day, everything else by the hour
DAY_HOURS = 24
MARK = "statistic_seen"

_SUMMED = ", ".join(f"sum({name})" for name in SUMS)


class Wanted(Struct, kw_only=True):
    """Which sums: of these hours since 1970 (both included; put together `step` by `step`, or with 0 by month), apart `by` columns
    (hour, model, provider, word, scope), of calls whose columns have one of the values in `where` and none of those in `unless`. `kind`
    says what words are, `hashes` whose calls count (None: everybody's); with `newest` only so many, the last hours first."""

    first_hour: int
    last_hour: int
    step: int = 1
    by: Sequence[str] = ()
    kind: Kind = ""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unless: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hashes: Sequence[str] | None = None
    newest: int | None = None


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


class Statistics:
    """Adding up and reading. Use one object per database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._behind = Behind(database, MARK, _steps)
        self.add_up = self._behind.catch_up

    async def sums(self, wanted: Wanted) -> list[Sums]:
        """The sums that are wanted, in the order of what tells them apart."""
        await self.add_up()
        query, parameters = _query(wanted)
        by = list(wanted.by)
        rows = await self._database.all(query, parameters)
        if wanted.newest is not None:
            rows.reverse()
        found = [Sums(dict(zip(by, row, strict=False)), *row[len(by) :]) for row in rows]
        return [each for each in found if each.requests]

    async def hashes(self, key: str) -> list[str]:
        """All hashes of the key that has or had this one, or has this id: every secret that it ever had."""
        rows = await self._database.all(
            "SELECT hash FROM key WHERE id IN (SELECT id FROM key WHERE hash = ?1 OR id = ?1) UNION SELECT ?1", (key,)
        )
        return [row[0] for row in rows]


def _query(wanted: Wanted) -> tuple[str, list[Any]]:
    first, last = wanted.first_hour, wanted.last_hour
    if wanted.kind:
        first -= first % DAY_HOURS
    parameters: list[Any]
    if wanted.hashes is not None:
        scope, parameters = f"scope IN ({_marks(wanted.hashes)})", list(wanted.hashes)
    elif "scope" in wanted.by:
        scope = "scope IN (SELECT word FROM statistic WHERE scope = '' AND kind = 'key' AND hour BETWEEN ? AND ?)"
        parameters = [first - first % DAY_HOURS, last]
    else:
        scope, parameters = "scope = ''", []
    # Words are kept by the day, in this order: so the newest can be read without the others.
    hour = "hour AS step" if wanted.kind else f"hour - hour % {wanted.step or 1} AS step"
    if not wanted.step:
        hour = f"{_MONTH} AS step"
    told = ", ".join(hour if name == "hour" else name for name in (*wanted.by, _SUMMED))
    query = f"SELECT {told} FROM statistic WHERE {scope} AND kind = ? AND hour BETWEEN ? AND ?"  # noqa: S608 - our own words
    parameters += [wanted.kind, first, last]
    for values_of, operator in ((wanted.where, "IN"), (wanted.unless, "NOT IN")):
        for column, values in values_of.items():
            query += f" AND {column} {operator} ({_marks(values)})"
            parameters += values
    if wanted.by:
        hour = "hour" if wanted.kind and wanted.step else "step"
        columns = [hour if name == "hour" else name for name in wanted.by]
        query += f" GROUP BY {', '.join(columns)} ORDER BY "
        if wanted.newest is None:
            query += ", ".join(columns)
        else:
            query += ", ".join(f"{column} DESC" for column in columns) + " LIMIT ?"
            parameters.append(wanted.newest)
    return query, parameters


#: the first hour of an hour's month
_MONTH = "CAST(strftime('%s', hour * 3600, 'unixepoch', 'start of month') AS INTEGER) / 3600"


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


# --- adding up -------------------------------------------------------------------------------------------------------

_KEY = ("scope", "kind", "hour", "word", "model", "provider")
_ADDED = ",\n".join(f"{name} = {name} + excluded.{name}" for name in SUMS)

#: calls that are not in the sums yet, each as often as it has words, and each time for all keys and for its own
_ADD = f"""
    WITH fresh AS (
        SELECT generation.key_hash, CAST(generation.created_unix / 3600 AS INTEGER) AS hour, generation.day * 24 AS day_hour,
            model, provider, user, app_title, generation.detail AS detail, coalesce(key.workspace_id, 'default') AS workspace,
            1 AS requests, status = 'error' AS errors, input, output, reasoning, cached, coalesce(charge, 0) AS charge,
            CASE WHEN is_byok THEN coalesce(list_cost, 0) ELSE 0 END AS byok, latency_ms, generation_ms
        FROM generation LEFT JOIN key ON key.hash = generation.key_hash
        WHERE {fresh(MARK)}
    ),
    worded AS (
        SELECT '' AS kind, '' AS word, hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh
        UNION ALL SELECT 'user', user, day_hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh WHERE user IS NOT NULL
        UNION ALL SELECT 'app', app_title, day_hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh WHERE app_title IS NOT NULL
        UNION ALL SELECT 'tag', each.value, day_hour, key_hash, model, provider, {", ".join(SUMS)}
            FROM fresh, json_each(CASE WHEN instr(detail, '"tags"') THEN json_extract(detail, '$.tags') ELSE '[]' END) AS each
    )
    INSERT INTO statistic ({", ".join((*_KEY, *SUMS))})
    SELECT scope, kind, hour, word, model, provider, {_SUMMED} FROM (
        SELECT '' AS scope, * FROM worded
        UNION ALL SELECT key_hash, * FROM worded
        UNION ALL SELECT '', 'key', key_hash, day_hour, key_hash, '', '', {", ".join(SUMS)} FROM fresh
        UNION ALL SELECT '', 'workspace', workspace, day_hour, key_hash, model, provider, {", ".join(SUMS)} FROM fresh
    )
    WHERE true GROUP BY scope, kind, hour, word, model, provider
    ON CONFLICT (scope, kind, hour, word, model, provider) DO UPDATE SET {_ADDED}
"""  # noqa: S608 - our own words


def _steps(rows: int) -> list[Statement]:
    return [(_ADD, (rows,))]


async def _create(connection: aiosqlite.Connection) -> None:
    """The tables, with the sums of all calls that are there."""
    columns = ",\n".join(f"{name} INTEGER NOT NULL" for name in SUMS)
    await connection.execute_fetchall(
        f"""
        CREATE TABLE statistic (
            scope TEXT NOT NULL,
            kind TEXT NOT NULL,
            hour INTEGER NOT NULL,
            word TEXT NOT NULL,
            model TEXT NOT NULL,
            provider TEXT NOT NULL,
            {columns},
            PRIMARY KEY (scope, kind, hour, word, model, provider)
        ) WITHOUT ROWID
        """
    )
    await begin(connection, MARK, _steps)


MIGRATIONS = (Migration("statistics", 1, _create),)
