"""What is derived from the ledger's rows behind the calls, many rows at once: a call does not wait for it and pays little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiosqlite

from .database import Database
from .writer import Statement

#: rows that one transaction takes in: settlements wait for it (10 ms)
AT_ONCE = 1000
#: the same in a migration, for which everybody waits anyway
MIGRATED_AT_ONCE = 100_000

Steps = Callable[[int], Sequence[Statement]]


class Behind:
    """Keeps up with `generation`. `mark` is a table of one row with the `seq` that was taken in last; `steps` are the statements that
    take in so many rows behind it. One object per database and mark: it works alone."""

    def __init__(self, database: Database, mark: str, steps: Steps) -> None:
        self._database = database
        self._mark = mark
        self._steps = steps
        self._working = asyncio.Lock()

    async def catch_up(self) -> None:
        """Take in all rows that were committed before this moment."""
        newest = await self._number("SELECT coalesce(max(seq), 0) FROM generation")
        async with self._working:
            while (seen := await self.seen()) < newest:
                await self._database.write(*self._steps(AT_ONCE), advance(self._mark, AT_ONCE))
                if await self.seen() <= seen:
                    return

    async def seen(self) -> int:
        """The newest row that was taken in."""
        return await self._number(f"SELECT seq FROM {self._mark}")  # noqa: S608 - our own words

    async def _number(self, query: str) -> int:
        row = await self._database.one(query)
        return row[0] if row else 0


def advance(mark: str, rows: int) -> Statement:
    """The last of the statements: the mark moves on."""
    newest = "(SELECT coalesce(max(seq), 0) FROM generation)"
    return f"UPDATE {mark} SET seq = min(seq + ?, max(seq, {newest}))", (rows,)  # noqa: S608 - our own words


async def begin(connection: aiosqlite.Connection, mark: str, steps: Steps) -> None:
    """In a migration: make the mark, and take in what is there."""
    await make(connection, mark)
    await take_in(connection, mark, steps)


async def make(connection: aiosqlite.Connection, mark: str) -> None:
    """In a migration: make the mark, at the beginning."""
    await connection.execute_fetchall(f"CREATE TABLE {mark} (seq INTEGER NOT NULL)")
    await connection.execute_fetchall(f"INSERT INTO {mark} VALUES (0)")  # noqa: S608 - our own words


async def take_in(connection: aiosqlite.Connection, mark: str, steps: Steps) -> None:
    """In a migration: take in what is behind the mark."""
    newest = "SELECT coalesce(max(seq), 0) FROM generation"
    rows = await connection.execute_fetchall(f"SELECT ({newest}) - seq FROM {mark}")  # noqa: S608 - our own words
    for _ in range(0, next(iter(rows))[0], MIGRATED_AT_ONCE):
        for sql, parameters in (*steps(MIGRATED_AT_ONCE), advance(mark, MIGRATED_AT_ONCE)):
            await connection.execute_fetchall(sql, parameters)


def fresh(mark: str) -> str:
    """The condition that a row is among those that are taken in; has one parameter, how many."""
    return f"seq > (SELECT seq FROM {mark}) AND seq <= (SELECT seq FROM {mark}) + ?"  # noqa: S608 - our own words
