"""Running totals: what each key, user, app and tag came to until the end of a day. A period of any length is the difference of two.

Only days that are over are in here; those that are not are read as they are. A day is over an hour after its end; should a call that
was made before come in later, that day and those behind it are closed once more. `statistic_word` has the words with a number each,
by which `statistic_until` knows them, and what they have come to until now.
"""

from __future__ import annotations

from collections.abc import Sequence
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
Kind = Literal["key", "user", "app", "tag"]
_WORDS: dict[str, Kind] = {"user": "user", "app": "app", "tag": "tag"}
#: words of a period that are looked up, those used last where there are more
MOST_WORDS = 12_000


def kind_of(kind: str, by: Sequence[str]) -> Kind | None:
    """Which totals these are, where they are told apart by keys or words alone."""
    columns = [name for name in by if name != "hour"]
    if columns == ["scope"] and not kind:
        return "key"
    return _WORDS.get(kind) if columns == ["word"] else None


_LAST_WORDS = (
    "SELECT * FROM statistic_word WHERE kind = ?1 AND last_day >= ?2"  # noqa: S608 - our own words
    f" ORDER BY last_day DESC LIMIT {MOST_WORDS}"
)


#: in the order in which they lie, so that the first of them can be had without the others; the plus keeps another index out
_ALL_WORDS = "SELECT * FROM statistic_word WHERE kind = ?1 AND +last_day >= ?2"


async def totals(
    database: Database, kind: Kind, first: int, last: int, names: Sequence[str], *, all_words: bool
) -> tuple[str, list[Any]]:
    """The query for `word` and these sums of the days from `first` to `last`; not of `all_words`, where there are too many."""
    row = await database.one(
        "SELECT day, (SELECT max(hour) / 24 FROM statistic WHERE kind = '*day') FROM statistic_closed"
    )
    closed, newest = row if row is not None and row[1] is not None else (-1, -1)
    words = f"({_ALL_WORDS if all_words else _LAST_WORDS}) AS each"
    if newest <= last and first <= closed + 1:
        over = ", ".join(f"each.{name} - coalesce(before.{name}, 0) AS {name}" for name in names)
        query = f"""
            SELECT * FROM (
                SELECT each.word AS word, {over} FROM {words} LEFT JOIN statistic_until AS before ON {_at("before", "< ?2")}
            ) WHERE requests > 0
        """  # noqa: S608 - our own words
        return query, [kind, first]
    over = ", ".join(f"upto.{name} - coalesce(before.{name}, 0) AS {name}" for name in names)
    open_kind, column = ("*day", "scope") if kind == "key" else (kind, "word")
    only = "" if kind == "key" else " AND scope = ''"
    query = f"""
        SELECT word, {", ".join(f"sum({name}) AS {name}" for name in names)} FROM (
            SELECT each.word AS word, {over} FROM {words}
            JOIN statistic_until AS upto ON {_at("upto", "<= ?3")}
            LEFT JOIN statistic_until AS before ON {_at("before", "< ?2")}
            WHERE ?2 <= ?3
            UNION ALL
            SELECT {column}, {", ".join(names)} FROM statistic WHERE kind = ?4 AND hour BETWEEN ?5 AND ?6{only}
        ) GROUP BY word HAVING sum(requests) > 0
    """  # noqa: S608 - our own words
    return query, [
        *(kind, first, min(last, closed)),
        *(open_kind, max(first, closed + 1) * DAY_HOURS, last * DAY_HOURS),
    ]


def _at(name: str, moment: str) -> str:
    """The last row of a word at that moment."""
    newest = f"SELECT max(day) FROM statistic_until WHERE number = each.number AND day {moment}"  # noqa: S608 - our own words
    return f"{name}.number = each.number AND {name}.day = ({newest})"


async def used(database: Database, hashes: Sequence[str], first: int) -> list[str]:
    """Those of these keys that were used on that day or later; the plus has them looked up by name."""
    marks = ", ".join("?" * len(hashes))
    rows = await database.all(
        f"SELECT word FROM statistic_word WHERE kind = 'key' AND word IN ({marks}) AND +last_day >= ?",  # noqa: S608 - marks only
        [*hashes, first],
    )
    return [row[0] for row in rows]


async def few(database: Database, kind: Kind) -> bool:
    """Are there so few words that none is left out?"""
    row = await database.one(
        "SELECT count(*) FROM (SELECT 1 FROM statistic_word WHERE kind = ? LIMIT ?)", (kind, MOST_WORDS + 1)
    )
    return row is not None and row[0] <= MOST_WORDS


# --- closing ---------------------------------------------------------------------------------------------------------

_OPEN = (
    "(SELECT min(hour) FROM statistic WHERE kind = '*day' AND hour >= (SELECT (day + 1) * 24 FROM statistic_closed))"
)
#: the next day to close, where there is one that is over
_NEXT = f"SELECT CASE WHEN {_OPEN} + 24 < (SELECT max(hour) FROM statistic WHERE kind = '*') THEN {_OPEN} / 24 END"  # noqa: S608
_ACTIVE = f"""
    SELECT 'key' AS kind, scope AS word, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
    FROM statistic WHERE kind = '*day' AND hour = ?1 * 24 GROUP BY scope
    UNION ALL
    SELECT kind, word, {", ".join(f"sum({name})" for name in SUMS)}
    FROM statistic WHERE kind IN ('user', 'app', 'tag') AND hour = ?1 * 24 AND scope = '' GROUP BY kind, word
"""  # noqa: S608 - our own words
_SUMS_ONLY = ", ".join(SUMS)
#: what stands there from an earlier time is replaced
_CLOSE = (
    f"""
    INSERT OR REPLACE INTO statistic_until (number, day, {_SUMS_ONLY})
    SELECT each.number, ?1, {", ".join(f"active.{name} + coalesce(before.{name}, 0)" for name in SUMS)}
    FROM ({_ACTIVE}) AS active JOIN statistic_word AS each ON each.kind = active.kind AND each.word = active.word
    LEFT JOIN statistic_until AS before ON {_at("before", "< ?1")}
    """,  # noqa: S608 - our own words
    "UPDATE statistic_closed SET day = ?1",
)
#: calls are added to what their words have come to: `rows` is a query for them, with the sums of each
ADD = f"""
    INSERT INTO statistic_word (kind, word, last_day, {_SUMS_ONLY})
    SELECT kind, word, max(day), {", ".join(f"sum({name})" for name in SUMS)} FROM ({{rows}}) WHERE true GROUP BY kind, word
    ON CONFLICT (kind, word) DO UPDATE SET
        last_day = max(last_day, excluded.last_day), {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)}
"""  # noqa: S608 - our own words
#: after a call that was made on a day that has been closed
REOPEN = """
    UPDATE statistic_closed SET day = min(day, coalesce((SELECT min(day) - 1 FROM generation WHERE {rows}), day))
"""


def _close(day: int) -> list[Statement]:
    return [(statement, (day,)) for statement in _CLOSE]


async def close_days(database: Database) -> None:
    """Close the days that are over, one transaction for each."""
    while (row := await database.one(_NEXT)) is not None and row[0] is not None:
        await database.write(*_close(row[0]))


async def close_all(connection: aiosqlite.Connection) -> None:
    """In a migration: close all days that are over."""
    while (day := next(iter(await connection.execute_fetchall(_NEXT)))[0]) is not None:
        for statement, parameters in _close(day):
            await connection.execute_fetchall(statement, parameters)


_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)
TABLES = (
    f"""
    CREATE TABLE statistic_until (
        number INTEGER NOT NULL,
        day INTEGER NOT NULL,
        {_COLUMNS},
        PRIMARY KEY (number, day)
    ) WITHOUT ROWID
    """,
    f"""
    CREATE TABLE statistic_word (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        word TEXT NOT NULL,
        last_day INTEGER NOT NULL,
        {_COLUMNS},
        UNIQUE (kind, word)
    )
    """,
    "CREATE INDEX statistic_word_last ON statistic_word (kind, last_day)",
    "CREATE TABLE statistic_closed (day INTEGER NOT NULL)",
    "INSERT INTO statistic_closed VALUES (-1)",
)
