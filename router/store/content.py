"""What was said in calls, where `retention.content` is "full", and what people thought of it; and that old calls are forgotten."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import NamedTuple

from .database import Database
from .log import MARK as WORDS
from .log import Log, forgetting
from .migrations import Migration, runs
from .statistics import Statistics
from .sums import MARK as STATISTICS
from .writer import Statement

COLUMNS = ("id", "created_unix", "key_hash", "request", "answer", "error_code", "error_message")
#: rows that one transaction deletes: settlements wait for it
AT_ONCE = 500


class Content(NamedTuple):
    """A call's request and answer, byte for byte as the client sent and got them, and why it failed."""

    id: str
    created_unix: float
    key_hash: str
    request: bytes
    answer: bytes
    error_code: str | None = None
    error_message: str | None = None


class Contents:
    """Writing never waits: rows are queued for the writer, behind the settlements."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch = database.batch("content", COLUMNS)
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def add(self, row: Content) -> None:
        """Queue what was said in a call and return at once."""
        future = self._waiting[row.id] = self._batch.add(tuple(row))
        future.add_done_callback(lambda _: self._waiting.pop(row.id, None))

    async def find(self, id: str) -> Content | None:
        """What was said in the call with this id."""
        if (future := self._waiting.get(id)) is not None:
            await asyncio.wait([future])
        row = await self._database.one(_FIND, (id,))
        return Content(*row) if row is not None else None

    async def judge(self, generation_id: str, key_hash: str, category: str, comment: str | None) -> None:
        """Note what the owner of a key thinks of an answer."""
        row = (f"fbk_{secrets.token_hex(12)}", time.time(), generation_id, key_hash, category, comment)
        await self._database.write((_JUDGE, row))

    async def forget(self, before_unix: float) -> int:
        """Delete the details of calls made before this moment and what was said in them; returns how many calls these were.

        The newest call stays, since others are counted from it. Sums are added up before; they and the ledger's entries stay for ever.
        """
        rows = await self._database.all("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {row[0] for row in rows}
        newest = await self._database.one("SELECT coalesce(max(seq), 0) FROM generation")
        # Calls that are booked from now on may not have been taken in.
        old = (before_unix, newest[0] if newest else 0, AT_ONCE)
        deleting: list[Statement] = [(f"DELETE FROM generation WHERE seq IN ({_OLD})", old)]  # noqa: S608
        if STATISTICS in tables:
            await Statistics(self._database).add_up()
        if WORDS in tables:
            await Log(self._database).keep_up()
            deleting.insert(0, (forgetting(_OLD), old))
        forgotten = 0
        while True:
            row = await self._database.one(f"SELECT count(*) FROM ({_OLD})", old)  # noqa: S608
            if row is None or not row[0]:
                break
            await self._database.write(*deleting)
            forgotten += row[0]
        for table in ("content", "feedback"):
            await self._database.write((f"DELETE FROM {table} WHERE created_unix < ?", (before_unix,)))  # noqa: S608
        return forgotten


#: what remains of a deleted key (store/remains.py) is not there any more
_FIND = f"""
    SELECT {", ".join(COLUMNS)} FROM content
    WHERE id = ? AND NOT EXISTS (SELECT 1 FROM key WHERE hash = content.key_hash AND deleted_unix IS NOT NULL)
"""  # noqa: S608 - our own words
_JUDGE = """
    INSERT INTO feedback (id, created_unix, generation_id, key_hash, category, comment) VALUES (?, ?, ?, ?, ?, ?)
"""
#: old rows lie at the beginning of the table, where they are looked for
_OLD = """
    SELECT seq FROM generation
    WHERE created_unix < ? AND seq < ? AND seq < (SELECT min(seq) FROM generation) + 5000
    ORDER BY seq LIMIT ?
"""


_FIRST = (
    """
    CREATE TABLE content (
        id TEXT NOT NULL PRIMARY KEY,
        created_unix REAL NOT NULL,
        key_hash TEXT NOT NULL,
        request BLOB NOT NULL,
        answer BLOB NOT NULL,
        error_code TEXT,
        error_message TEXT
    )
    """,
    "CREATE INDEX content_created ON content (created_unix)",
    """
    CREATE TABLE feedback (
        id TEXT NOT NULL PRIMARY KEY,
        created_unix REAL NOT NULL,
        generation_id TEXT NOT NULL,
        key_hash TEXT NOT NULL,
        category TEXT NOT NULL,
        comment TEXT
    )
    """,
    "CREATE INDEX feedback_generation ON feedback (generation_id)",
)

#: with a key goes what was said in its calls; those that are still under way leave nothing
_FORGOTTEN = (
    "CREATE INDEX content_key ON content (key_hash)",
    """
    CREATE TRIGGER content_is_forgotten AFTER UPDATE OF deleted_unix ON key WHEN new.deleted_unix IS NOT NULL
    BEGIN
        DELETE FROM content WHERE key_hash = new.hash;
        DELETE FROM feedback WHERE key_hash = new.hash;
    END
    """,
    """
    CREATE TRIGGER content_is_owned BEFORE INSERT ON content
    WHEN EXISTS (SELECT 1 FROM key WHERE hash = new.key_hash AND deleted_unix IS NOT NULL)
    BEGIN SELECT RAISE(IGNORE); END
    """,
    "DELETE FROM content WHERE key_hash IN (SELECT hash FROM key WHERE deleted_unix IS NOT NULL)",
    "DELETE FROM feedback WHERE key_hash IN (SELECT hash FROM key WHERE deleted_unix IS NOT NULL)",
)

#: in pieces: store/remains.py
_CLEARED = ("DROP TRIGGER content_is_forgotten", "CREATE INDEX feedback_key ON feedback (key_hash)")

MIGRATIONS = tuple(
    Migration("content", number, runs(statements))
    for number, statements in enumerate((_FIRST, _FORGOTTEN, _CLEARED), 1)
)
