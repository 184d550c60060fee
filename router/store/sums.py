"""Adding up calls behind them, and whether it was done right: the tables of the statistics."""

from __future__ import annotations

import aiosqlite

from . import until
from .behind import fresh, make, take_in
from .database import Database
from .migrations import Migration
from .until import COLUMNS, DECLARED, SUMMED, SUMS
from .writer import Statement

MARK = "statistic_seen"
KEY = ("kind", "hour", "scope", "word", "model", "provider")
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
        SELECT 'user' AS kind, user AS word, day_hour AS hour, key_hash, model, provider, {COLUMNS}
            FROM fresh WHERE user IS NOT NULL
        UNION ALL SELECT 'app', app_title, day_hour, key_hash, model, provider, {COLUMNS} FROM fresh WHERE app_title IS NOT NULL
        UNION ALL SELECT 'tag', each.value, day_hour, key_hash, model, provider, {COLUMNS}
            FROM fresh, json_each(CASE WHEN instr(detail, '"tags"') THEN json_extract(detail, '$.tags') ELSE '[]' END) AS each
    )
"""  # noqa: S608 - our own words
#: each time for all keys and for its own
_ADD = f"""
    {_FRESH}, plain AS (
        SELECT * FROM worded
        UNION ALL SELECT '', '', hour, key_hash, model, provider, {COLUMNS} FROM fresh
        UNION ALL SELECT 'day', '', day_hour, key_hash, model, provider, {COLUMNS} FROM fresh
    )
    INSERT INTO statistic ({", ".join((*KEY, *SUMS))})
    SELECT kind, hour, scope, word, model, provider, {SUMMED} FROM (
        SELECT kind, hour, '' AS scope, word, model, provider, {COLUMNS} FROM plain
        UNION ALL SELECT '*' || kind, hour, key_hash, word, model, provider, {COLUMNS} FROM plain
        UNION ALL SELECT 'workspace', day_hour, '', workspace, model, provider, {COLUMNS} FROM fresh
    )
    WHERE true GROUP BY kind, hour, scope, word, model, provider
    ON CONFLICT ({", ".join(KEY)}) DO UPDATE SET {_ADDED}
"""  # noqa: S608 - our own words
_WORDS = f"""
    SELECT kind, word, hour / 24 AS day, {COLUMNS} FROM worded
    UNION ALL SELECT 'key', key_hash, day_hour / 24, {COLUMNS} FROM fresh
    UNION ALL SELECT '*' || kind, key_hash || ':' || word, hour / 24, {COLUMNS}
        FROM worded WHERE ('*' || kind, key_hash) IN (SELECT kind, scope FROM statistic_wide)
"""  # noqa: S608 - our own words
_ADD_WORDS = _FRESH + until.ADD.format(rows=_WORDS)


def steps(rows: int) -> list[Statement]:
    """The statements that add up so many of the calls that have not been."""
    return [(_ADD, (rows,)), (_ADD_WORDS, (rows,)), (until.REOPEN.format(rows=fresh(MARK)), (rows,))]


_WORDS_BEFORE = f"""
    SELECT 'key' AS kind, scope AS word, hour / 24 AS day, {COLUMNS} FROM statistic WHERE kind = '*day'
    UNION ALL SELECT kind, word, hour / 24, {COLUMNS} FROM statistic WHERE kind IN ('user', 'app', 'tag')
"""  # noqa: S608 - our own words


async def _create(connection: aiosqlite.Connection) -> None:
    """The table, as it was before it was in the order of time. The next step fills it."""
    await connection.execute_fetchall(_TABLE.format(key="scope, kind, hour, word, model, provider"))
    await make(connection, MARK)


async def _in_order_of_time(connection: aiosqlite.Connection) -> None:
    """The sums that are there in another order, and those of all calls that are not in them yet."""
    for statement in (
        "ALTER TABLE statistic RENAME TO statistic_before",
        _TABLE.format(key=", ".join(KEY)),
        f"""
        INSERT INTO statistic ({", ".join((*KEY, *SUMS))})
        SELECT CASE scope WHEN '' THEN kind ELSE '*' || kind END AS kind, hour, scope, word, model, provider, {COLUMNS}
        FROM statistic_before WHERE statistic_before.kind <> 'key' ORDER BY 1, 2, 3, 4, 5, 6
        """,  # noqa: S608 - our own words
        f"""
        INSERT INTO statistic ({", ".join((*KEY, *SUMS))})
        SELECT CASE scope WHEN '' THEN 'day' ELSE '*day' END, hour - hour % 24, scope, '', model, provider, {SUMMED}
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
    await take_in(connection, MARK, steps)
    await until.close_all(connection)


# --- checking --------------------------------------------------------------------------------------------------------

_EQUAL = " OR ".join(f"min({name}) <> max({name})" for name in SUMS)
#: what each key and word came to day by day
_DAILY = f"""
    SELECT 'key' AS kind, scope AS word, hour / 24 AS day, {SUMMED}
    FROM statistic WHERE kind = '*day' GROUP BY 2, 3
    UNION ALL SELECT kind, word, hour / 24, {SUMMED} FROM statistic WHERE kind IN ('user', 'app', 'tag') GROUP BY 1, 2, 3
    UNION ALL SELECT kind, scope || ':' || word, hour / 24, {SUMMED} FROM statistic_wide JOIN statistic USING (kind, scope)
        GROUP BY 1, 2, 3
"""  # noqa: S608 - our own words
#: each finds a number of faults, 0 where there are none
_CHECKS = (
    (
        f"""
        SELECT count(*) FROM (
            SELECT day FROM (
                SELECT kind, hour / 24 AS day, {SUMMED}
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
            SELECT hour / 24 AS day, {SUMMED}
            FROM statistic WHERE kind = 'day' GROUP BY 1
        ) AS summed ON summed.day = kept.day
        WHERE seq <= (SELECT seq FROM {MARK})
            AND ({", ".join(f"kept.{name}" for name in SUMS)}) IS NOT ({", ".join(f"summed.{name}" for name in SUMS)})
        """,  # noqa: S608 - our own words
        "the statistics of {0} days are not what their calls come to",
    ),
    (
        f"""
        SELECT count(*) FROM (SELECT kind, word, {SUMMED} FROM ({_DAILY}) GROUP BY 1, 2)
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
        {DECLARED},
        PRIMARY KEY ({{key}})
    ) WITHOUT ROWID
"""

MIGRATIONS = tuple(
    Migration("statistics", number, apply)
    for number, apply in enumerate((_create, _in_order_of_time, _words_of_wide_keys), 1)
)
