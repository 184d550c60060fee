"""Running totals: what each key, user, app and tag came to until the end of a day. A period of any length is the difference of two.

Only days that are over are in here; those that are not are read as they are. A day is over an hour after its end; should a call that
was made before come in later, that day and those behind it are closed once more. `statistic_word` has the words with a number each,
by which `statistic_until` knows them, and what they have come to until now.

The words of one key are read as they are too, as long as there are few of them. A key that has had many in one day (`WIDE`) has running
totals of its own words from then on: kinds with a `*`, whose words are `hash:word`. So a key with thousands of users costs a row for
each of them, and not one for each of their days, while nothing is kept for all the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import aiosqlite

from .database import Database
from .writer import Statement

DAY_HOURS = 24
#: what is added up: tokens, picodollars (`byok`: list price of calls with the client's own provider keys), milliseconds
SUMS = (
    *("requests", "errors", "input", "output", "reasoning", "cached", "charge", "byok"),
    *("latency_ms", "generation_ms"),
)
#: the same in SQL: named, added up, and declared
COLUMNS = ", ".join(SUMS)
SUMMED = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
DECLARED = ", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)
Kind = Literal["key", "user", "app", "tag"]
_WORDS: dict[str, Kind] = {"user": "user", "app": "app", "tag": "tag"}
#: sums by word of one key in one day (they are apart by model and provider too), from which on it is wide: a month of them takes 10 ms
WIDE = 300
#: words of a period that are looked up, those used last where there are more
MOST_WORDS = 12_000
#: those used most ever, among which those used most in a period are looked for
MOST_COMPARED = 200


def kind_of(kind: str, by: Sequence[str]) -> Kind | None:
    """Which totals these are, where they are told apart by keys or words alone."""
    columns = [name for name in by if name != "hour"]
    if columns == ["scope"] and not kind:
        return "key"
    return _WORDS.get(kind) if columns == ["word"] else None


async def totals(
    database: Database,
    kind: Kind,
    days: tuple[int, int],
    names: Sequence[str],
    *,
    of: str | None = None,
    all_words: bool,
) -> tuple[str, list[Any]]:
    """The query for `word` and these sums of the days from the first to the last; of the words `of` a wide key; not of `all_words`,
    where there are too many."""
    first, last = days
    row = await database.one(
        "SELECT day, (SELECT max(hour) / 24 FROM statistic WHERE kind = '*day') FROM statistic_closed"
    )
    closed, newest = row if row is not None and row[1] is not None else (-1, -1)
    # In the order in which they lie, so that the first of them can be had without the others; the plus keeps another index out.
    which, order = ("+last_day", "") if all_words else ("last_day", f" ORDER BY last_day DESC LIMIT {MOST_WORDS}")
    stored, beginning, condition = _place(kind, of)
    words = f"(SELECT * FROM statistic_word WHERE {condition} AND {which} >= ?3{order}) AS each"  # noqa: S608 - our own words
    parameters: list[Any] = [stored, beginning, first]
    word = f"{'each.word' if of is None else 'substr(each.word, length(?2) + 1)'} AS word"
    if newest <= last and first <= closed + 1:
        over = ", ".join(f"each.{name} - coalesce(before.{name}, 0) AS {name}" for name in names)
        query = f"""
            SELECT * FROM (
                SELECT {word}, {over} FROM {words} LEFT JOIN statistic_until AS before ON {_at("before", "< ?3")}
            ) WHERE requests > 0
        """  # noqa: S608 - our own words
        return query, parameters
    over = ", ".join(f"upto.{name} - coalesce(before.{name}, 0) AS {name}" for name in names)
    open_kind, column = ("*day", "scope") if kind == "key" else (stored, "word")
    query = f"""
        SELECT word, {", ".join(f"sum({name}) AS {name}" for name in names)} FROM (
            SELECT {word}, {over} FROM {words}
            JOIN statistic_until AS upto ON {_at("upto", "<= ?4")}
            LEFT JOIN statistic_until AS before ON {_at("before", "< ?3")}
            WHERE ?3 <= ?4
            UNION ALL
            SELECT {column}, {", ".join(names)} FROM statistic
            WHERE kind = ?5 AND hour BETWEEN ?6 AND ?7{"" if kind == "key" else " AND scope = ?8"}
        ) GROUP BY word HAVING sum(requests) > 0
    """  # noqa: S608 - our own words
    parameters += [min(last, closed), open_kind, max(first, closed + 1) * DAY_HOURS, last * DAY_HOURS]
    return query, parameters if kind == "key" else [*parameters, of or ""]


async def most_used(database: Database, kind: Kind, days: tuple[int, int], most: int) -> list[tuple[str, int]] | None:
    """The keys or words that were used most on these days, and how often; None where that is not seen at once.

    Nothing was used more often on some days than ever: they are looked for among those that were used most of all.
    """
    first, last = days
    rows = await database.all(_MOST_USED, (kind, first, MOST_COMPARED, last))
    if not rows or (len(rows) == MOST_COMPARED and rows[min(most, len(rows)) - 1][1] < min(row[2] for row in rows)):
        return None
    return [(word, requests) for word, requests, _ in rows[:most] if requests]


def _place(kind: Kind, of: str | None) -> tuple[str, str, str]:
    """Where words are: their kind (?1), what they begin with (?2), and the condition for both."""
    if of is None:
        return kind, "", "kind = ?1"
    return f"*{kind}", f"{of}:", f"kind = ?1 AND word >= ?2 AND word < {ITS_HASH} || ';'"


#: of a wide key, in a query for its words
ITS_HASH = "rtrim(?2, ':')"


def _at(name: str, moment: str) -> str:
    """The last row of a word at that moment."""
    newest = f"SELECT max(day) FROM statistic_until WHERE number = each.number AND day {moment}"  # noqa: S608 - our own words
    return f"{name}.number = each.number AND {name}.day = ({newest})"


_MOST_USED = f"""
    SELECT word, each.requests - coalesce(before.requests, 0) AS during, each.requests FROM (
        SELECT * FROM statistic_word WHERE kind = ?1 AND +last_day >= ?2 ORDER BY requests DESC LIMIT ?3
    ) AS each LEFT JOIN statistic_until AS before ON {_at("before", "< ?2")}
    WHERE (SELECT max(hour) / 24 FROM statistic WHERE kind = '*day') <= ?4 AND ?2 <= (SELECT day + 1 FROM statistic_closed)
    ORDER BY during DESC
"""  # noqa: S608 - our own words


async def used(database: Database, hashes: Sequence[str], first: int) -> list[str]:
    """Those of these keys that were used on that day or later; the plus has them looked up by name."""
    marks = ", ".join("?" * len(hashes))
    rows = await database.all(
        f"SELECT word FROM statistic_word WHERE kind = 'key' AND word IN ({marks}) AND +last_day >= ?",  # noqa: S608 - marks only
        [*hashes, first],
    )
    return [row[0] for row in rows]


async def few(database: Database, kind: Kind, of: str | None = None) -> bool:
    """Are there so few words that none is left out?"""
    stored, beginning, condition = _place(kind, of)
    row = await database.one(
        f"SELECT count(*) FROM (SELECT 1 FROM statistic_word WHERE {condition} LIMIT ?3)",  # noqa: S608 - our own words
        (stored, beginning, MOST_WORDS + 1),
    )
    return row is not None and row[0] <= MOST_WORDS


async def wide(database: Database, kind: Kind, hash: str) -> bool:
    """Has this key so many words that they have totals?"""
    return (
        await database.one("SELECT 1 FROM statistic_wide WHERE kind = ? AND scope = ?", ("*" + kind, hash)) is not None
    )


# --- closing ---------------------------------------------------------------------------------------------------------

_OPEN = (
    "(SELECT min(hour) FROM statistic WHERE kind = '*day' AND hour >= (SELECT (day + 1) * 24 FROM statistic_closed))"
)
#: the next day to close, where there is one that is over
_NEXT = f"SELECT CASE WHEN {_OPEN} + 24 < (SELECT max(hour) FROM statistic WHERE kind = '*') THEN {_OPEN} / 24 END"  # noqa: S608
_ACTIVE = f"""
    SELECT 'key' AS kind, scope AS word, {SUMMED}
    FROM statistic WHERE kind = '*day' AND hour = ?1 * 24 GROUP BY scope
    UNION ALL
    SELECT kind, word, {SUMMED}
    FROM statistic WHERE kind IN ('user', 'app', 'tag') AND hour = ?1 * 24 AND scope = '' GROUP BY kind, word
    UNION ALL
    SELECT kind, scope || ':' || word, {SUMMED}
    FROM statistic_wide CROSS JOIN statistic USING (kind, scope) WHERE hour = ?1 * 24 GROUP BY kind, scope, word
"""  # noqa: S608 - our own words
#: what stands there from an earlier time is replaced
_CLOSE = (
    f"""
    INSERT OR REPLACE INTO statistic_until (number, day, {COLUMNS})
    SELECT each.number, ?1, {", ".join(f"active.{name} + coalesce(before.{name}, 0)" for name in SUMS)}
    FROM ({_ACTIVE}) AS active JOIN statistic_word AS each ON each.kind = active.kind AND each.word = active.word
    LEFT JOIN statistic_until AS before ON {_at("before", "< ?1")}
    """,  # noqa: S608 - our own words
    "UPDATE statistic_closed SET day = ?1",
)
#: calls are added to what their words have come to: `rows` is a query for them, with the sums of each
ADD = f"""
    INSERT INTO statistic_word (kind, word, last_day, {COLUMNS})
    SELECT kind, word, max(day), {SUMMED} FROM ({{rows}}) WHERE true GROUP BY kind, word
    ON CONFLICT (kind, word) DO UPDATE SET
        last_day = max(last_day, excluded.last_day), {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608 - our own words
#: after a call that was made on a day that has been closed
REOPEN = """
    UPDATE statistic_closed SET day = min(day, coalesce((SELECT min(day) - 1 FROM generation WHERE {rows}), day))
"""


#: keys that have become wide on a day
_WIDENED = """
    SELECT kind, scope FROM statistic WHERE kind IN ('*user', '*app', '*tag') AND hour = ?1 * 24
    GROUP BY kind, scope HAVING count(*) > ?2
    EXCEPT SELECT kind, scope FROM statistic_wide
"""
#: the sums of one of them day by day, of all days or those before one; each day is looked up, so that other keys are not read
_ITS_DAYS = f"""
    SELECT kind, scope || ':' || word AS word, hour / 24 AS day, {SUMMED} FROM statistic
    WHERE kind = ?1 AND scope = ?2 AND hour IN (
        WITH RECURSIVE each (n) AS (
            SELECT min(hour) FROM statistic WHERE kind = ?1 UNION ALL SELECT n + 24 FROM each WHERE n + 24 <= {{last}}
        ) SELECT n FROM each
    ) GROUP BY word, hour
"""  # noqa: S608 - our own words
_NOW = _ITS_DAYS.format(last="(SELECT max(hour) FROM statistic WHERE kind = ?1)")
#: what they have come to until now, and day by day before the one that is being closed
_WIDEN = (
    f"""
    INSERT INTO statistic_word (kind, word, last_day, {COLUMNS})
    SELECT kind, word, max(day), {SUMMED} FROM ({_NOW}) WHERE true GROUP BY word
    ON CONFLICT (kind, word) DO UPDATE SET last_day = excluded.last_day, {", ".join(f"{name} = excluded.{name}" for name in SUMS)}
    """,  # noqa: S608 - our own words
    f"""
    INSERT OR REPLACE INTO statistic_until (number, day, {COLUMNS})
    SELECT each.number, daily.day, {", ".join(f"sum(daily.{name}) OVER its" for name in SUMS)}
    FROM ({_ITS_DAYS.format(last="(?3 - 1) * 24")}) AS daily
    JOIN statistic_word AS each ON each.kind = daily.kind AND each.word = daily.word
    WINDOW its AS (PARTITION BY each.number ORDER BY daily.day)
    """,  # noqa: S608 - our own words
    "INSERT OR IGNORE INTO statistic_wide (kind, scope) VALUES (?1, ?2)",
)


def _close(day: int, widened: Iterable[Sequence[Any]]) -> list[Statement]:
    now, before, known = _WIDEN
    return [
        *(
            statement
            for kind, scope in widened
            for statement in ((now, (kind, scope)), (before, (kind, scope, day)), (known, (kind, scope)))
        ),
        *((statement, (day,)) for statement in _CLOSE),
    ]


async def close_days(database: Database) -> None:
    """Close the days that are over, one transaction for each."""
    while (row := await database.one(_NEXT)) is not None and row[0] is not None:
        await database.write(*_close(row[0], await database.all(_WIDENED, (row[0], WIDE))))


async def close_all(connection: aiosqlite.Connection) -> None:
    """In a migration: close all days that are over."""
    while (day := next(iter(await connection.execute_fetchall(_NEXT)))[0]) is not None:
        for statement, parameters in _close(day, await connection.execute_fetchall(_WIDENED, (day, WIDE))):
            await connection.execute_fetchall(statement, parameters)


TABLES = (
    f"""
    CREATE TABLE statistic_until (
        number INTEGER NOT NULL,
        day INTEGER NOT NULL,
        {DECLARED},
        PRIMARY KEY (number, day)
    ) WITHOUT ROWID
    """,
    f"""
    CREATE TABLE statistic_word (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        word TEXT NOT NULL,
        last_day INTEGER NOT NULL,
        {DECLARED},
        UNIQUE (kind, word)
    )
    """,
    "CREATE INDEX statistic_word_last ON statistic_word (kind, last_day)",
    "CREATE TABLE statistic_closed (day INTEGER NOT NULL)",
    "INSERT INTO statistic_closed VALUES (-1)",
)
#: keys that have totals of their own words; all days are closed once more for them
WIDE_TABLES = (
    "CREATE TABLE statistic_wide (kind TEXT NOT NULL, scope TEXT NOT NULL, PRIMARY KEY (kind, scope)) WITHOUT ROWID",
    "UPDATE statistic_closed SET day = -1",
)
