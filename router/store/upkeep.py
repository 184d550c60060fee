"""Copies of the database, and a look through all of its pages: work on the file itself, beside whoever has it open."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import aiosqlite

from .errors import StoreError

MOST_FAULTS = 20


async def copy(path: Path, target: Path) -> None:
    """Write the database as it is at this moment into a new file. Raises StoreError."""
    try:
        async with aiosqlite.connect(path, isolation_level=None, timeout=10) as connection:
            await connection.execute_fetchall("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be copied to {target}: {error}") from error


async def faults(path: Path) -> list[str]:
    """What is damaged in the file, a line each; empty where it is whole."""
    try:
        async with aiosqlite.connect(path, isolation_level=None, timeout=10) as connection:
            rows = [*await connection.execute_fetchall(f"PRAGMA integrity_check({MOST_FAULTS})")]
            strays = [*await connection.execute_fetchall("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    damaged = [str(row[0]) for row in rows if row[0] != "ok"]
    return damaged + [
        f"a row of {row[0]} points to a row of {row[2]} that is not there" for row in strays[:MOST_FAULTS]
    ]


async def steps(path: Path) -> set[tuple[str, int]]:
    """The migrations that the file has behind it: owner and number. Raises StoreError."""
    try:
        async with aiosqlite.connect(path, timeout=10) as connection:
            return {
                (row[0], row[1]) for row in await connection.execute_fetchall("SELECT owner, number FROM migration")
            }
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
