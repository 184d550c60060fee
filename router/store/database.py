"""The one SQLite file: opening it safely, reading, and the way to the writer. Stores of single tables are built on this."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import aiosqlite

from .errors import StoreError
from .lock import ServerLock
from .migrations import Migration, migrate
from .schema import CORE
from .writer import Batch, Statement, Writer, data_version

# At DEBUG it logs every statement with its values.
logging.getLogger("aiosqlite").setLevel(logging.INFO)

#: upserts, VACUUM INTO and statements with thousands of values
OLDEST = (3, 32, 0)
BUSY_S = 10.0
READERS = 2
#: room (16 MiB a connection) for all pages that settlements write again and again, and that a query comes back to: a large file
#: then costs them what an empty one does
CACHE = "PRAGMA cache_size = -16384"
#: how long the rows that are still queued may take at the end
FLUSH_S = 10.0


class Database:
    """Open with `Database.open`, close with `close` or by `async with`: each connection is a thread that has to end."""

    def __init__(
        self, path: Path, writer: Writer, readers: Sequence[aiosqlite.Connection], exit: AsyncExitStack
    ) -> None:
        self.path = path
        self._writer = writer
        self._readers = readers
        self._turn = 0
        self._exit = exit

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        synchronous: Literal["normal", "full"] = "normal",
        migrations: Iterable[Migration] = (),
        exclusive: bool = False,
    ) -> Database:
        """Open or create the file and bring it to the newest schema. `exclusive` (for the server) refuses a second one.

        Raises StoreError, with one line that says what is wrong; the file is left as it is then.
        """
        path = Path(path)
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old, {'.'.join(map(str, OLDEST))} is needed")
        async with AsyncExitStack() as stack:
            lock = ServerLock(path) if exclusive else None
            if lock is not None:
                stack.callback(lock.close)
            try:
                # What cannot be opened fails here, before there are threads that would have to end.
                sqlite3.connect(path).close()
                write = await _connect(path, stack)
                await _prepare(write, synchronous)
                if lock is not None and lock.unclean:
                    await _check(write, path)
                    lock.unclean = False
                await migrate(write, path, [*CORE, *migrations], alone=exclusive)
                version = await data_version(write)
                readers = [await _reader(path, stack) for _ in range(READERS)]
            except sqlite3.Error as error:
                raise StoreError(_explain(path, error)) from error
            return cls(path, Writer(write, version), readers, stack.pop_all())

    async def close(self) -> None:
        """Write what is queued, end the threads and let another server in."""
        try:
            await self._writer.close(FLUSH_S)
        finally:
            await self._exit.aclose()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- reading ---

    async def all(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows that a query finds."""
        self._turn = (self._turn + 1) % len(self._readers)
        try:
            return [tuple(row) for row in await self._readers[self._turn].execute_fetchall(query, parameters)]
        except sqlite3.Error as error:
            raise StoreError(f"the database cannot be read: {error}") from error

    async def one(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row that a query finds."""
        rows = await self.all(query, parameters)
        return rows[0] if rows else None

    # --- writing ---

    async def write(self, *statements: Statement) -> None:
        """Run statements as one transaction and wait for its commit. Raises sqlite3.IntegrityError, StoreError."""
        await self._writer.transaction(statements)

    def batch(self, table: str, columns: Sequence[str], *, patience_s: float = 0.0) -> Batch:
        """A queue of rows for one table; those made first are written first."""
        return self._writer.batch(table, columns, patience_s=patience_s)

    def watch(self, changed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call this whenever another process has written, within half a second."""
        self._writer.watch(changed)

    def status(self) -> str:
        """ "ok", or in a word what is wrong."""
        return "ok" if self._writer.trouble is None else "unwritable"


async def _connect(path: Path, stack: AsyncExitStack) -> aiosqlite.Connection:
    """A connection in autocommit, closed with the stack."""
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_S)
    stack.push_async_callback(connection.close)
    return connection


async def _prepare(connection: aiosqlite.Connection, synchronous: str) -> None:
    for pragma in (
        "journal_mode = WAL",
        f"synchronous = {synchronous.upper()}",
        "foreign_keys = ON",
        "journal_size_limit = 67108864",
        # Fewer and larger checkpoints than by default: they are what makes a commit slow.
        "wal_autocheckpoint = 4000",
    ):
        await connection.execute_fetchall(f"PRAGMA {pragma}")
    await connection.execute_fetchall(CACHE)


async def _reader(path: Path, stack: AsyncExitStack) -> aiosqlite.Connection:
    connection = await _connect(path, stack)
    await connection.execute_fetchall("PRAGMA query_only = ON")
    await connection.execute_fetchall(CACHE)
    return connection


async def _check(connection: aiosqlite.Connection, path: Path) -> None:
    """Look through the file; only done after an unclean end, since it takes 0.4 s for a million rows."""
    rows = list(await connection.execute_fetchall("PRAGMA quick_check(1)"))
    if rows[0][0] != "ok":
        raise StoreError(f"{path} is damaged ({rows[0][0]}); restore a copy, or move it away to start a new one")


def _explain(path: Path, error: sqlite3.Error) -> str:
    """The one line for whoever starts the program."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return f"{path} is damaged or no database ({error}); restore a copy, or move it away to start a new one"
        case sqlite3.SQLITE_CANTOPEN:
            return f"cannot open {path}: is the folder there and readable?"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"cannot write {path}: it or its folder is read-only"
        case sqlite3.SQLITE_FULL:
            return f"cannot write {path}: the disk is full"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{path} has been locked by another program for {BUSY_S:g} s"
    return f"cannot use {path}: {error}"
