"""How the file comes to the newest schema: by numbered steps, of which each owner has a counter of its own.

Core's are listed in `schema`, plugins bring their own. A step that has been released is never edited: the next one changes what
it made.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from .errors import StoreError
from .lock import ServerLock

log = logging.getLogger(__name__)


class Migration(NamedTuple):
    """Step `number` (from 1, without gaps) of `owner` ("core", or a plugin's name, which its tables begin with).

    `apply` runs inside a transaction on the write connection; it must not commit.
    """

    owner: str
    number: int
    apply: Callable[[aiosqlite.Connection], Awaitable[None]]


def runs(statements: Sequence[str]) -> Callable[[aiosqlite.Connection], Awaitable[None]]:
    """What a step does that is statements only."""

    async def apply(connection: aiosqlite.Connection) -> None:
        for statement in statements:
            await connection.execute_fetchall(statement)

    return apply


async def migrate(connection: aiosqlite.Connection, path: Path, wanted: Sequence[Migration], *, alone: bool) -> None:
    """Bring the file to the newest schema, after a copy of it where there is something to lose. Raises StoreError.

    `wanted`: all steps there are, core's first. `alone`: the caller holds the server's lock. Else it is taken for a change of an
    existing file, since a running server knows only the schema that it found.
    """
    steps = in_order(wanted)
    done = await _done(connection)
    pending = _pending(steps, done)
    if not pending:
        return
    with nullcontext() if alone or not done else closing(ServerLock(path)):
        if done:
            await _copy(connection, path)
        await _apply(connection, path, steps)
    for step in pending if done else ():
        log.info("migrated the database: %s %s", step.owner, step.number)


async def _apply(connection: aiosqlite.Connection, path: Path, steps: Sequence[Migration]) -> None:
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    # Another process may have been faster.
    pending = _pending(steps, await _done(connection))
    step = None
    try:
        for step in pending:
            await step.apply(connection)
            await connection.execute_fetchall(
                "INSERT INTO migration (owner, number, applied_unix) VALUES (?, ?, ?)",
                (step.owner, step.number, time.time()),
            )
        await connection.execute_fetchall("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            await connection.execute_fetchall("ROLLBACK")
        at = f"migration {step.owner} {step.number}" if step is not None else "the migration"
        raise StoreError(f"{path}: {at} failed, nothing was changed: {error}") from error


def in_order(steps: Sequence[Migration]) -> list[Migration]:
    """The steps as they are given. Raises StoreError where an owner's numbers have gaps."""
    counters: dict[str, int] = {}
    for step in steps:
        counters[step.owner] = counters.get(step.owner, 0) + 1
        if step.number != counters[step.owner]:
            raise StoreError(f"migration {step.owner} {step.number}: expected number {counters[step.owner]}")
    return list(steps)


def _pending(steps: Sequence[Migration], done: dict[str, int]) -> list[Migration]:
    newest = {step.owner: step.number for step in steps}
    for owner, number in done.items():
        # Tables of a plugin that is not there now are left alone.
        if owner in newest and number > newest[owner]:
            raise StoreError(
                f"the database was made by a newer version ({owner} {number}, this one knows {newest[owner]}): "
                "update, or restore the copy made before the migration"
            )
    return [step for step in steps if step.number > done.get(step.owner, 0)]


async def _done(connection: aiosqlite.Connection) -> dict[str, int]:
    """The newest step of each owner. Raises StoreError where the tables are not ours."""
    tables = {
        row[0] for row in await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not tables:
        return {}
    if "migration" not in tables:
        raise StoreError("this is the database of another program; set server.database to a file of our own")
    return {
        row[0]: row[1]
        for row in await connection.execute_fetchall("SELECT owner, max(number) FROM migration GROUP BY 1")
    }


async def _copy(connection: aiosqlite.Connection, path: Path) -> None:
    target = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.bak")
    try:
        await connection.execute_fetchall("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot make the copy {target.name} before the migration ({error})") from error
    log.info("copied the database to %s before its migration", target)
