"""The one writer: everything that is written goes through this task and its connection.

Rows wait in batches and are written many at a time, by one statement that commits by itself: what is queued while one commit runs
shares the next, so batches form under load and a lone row never waits for a timer.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain, islice
from typing import Any

import aiosqlite

from ..tasks import spawn
from .errors import StoreError, is_condition

log = logging.getLogger(__name__)

Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]

#: rows of one statement
MOST_ROWS = 256
#: settlements that wait for the disk before new calls are refused
BACKLOG = 20_000
RETRY_S = 1.0
#: the writer looks this often whether another process has written
POLL_S = 0.2
#: what the binding of a row may raise: wrong types, lone surrogates, integers beyond 64 bits
ROW_ERRORS = (sqlite3.Error, OverflowError, ValueError, TypeError)


class Batch:
    """Rows on their way into one table, each known by the id in its first column.

    Without `patience_s` a row is written as soon as the writer is free. With it, a row waits that long for company, in the hope that
    it is dropped before; those younger than half of it are left for the next time.
    """

    def __init__(self, writer: Writer, table: str, columns: Sequence[str], *, patience_s: float = 0.0) -> None:
        self._writer = writer
        self._table = table
        self._columns = columns
        self._patience_s = patience_s
        self._padding = (None,) * len(columns)
        self._statements: dict[int, str] = {}
        self._loop = asyncio.get_running_loop()
        #: id -> row, when it came, who waits for it; in order
        self._waiting: dict[str, tuple[Row, float, asyncio.Future[None]]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._most = MOST_ROWS
        self.due = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def stuck(self) -> bool:
        """True while nothing more should be queued: the disk is in trouble, or too much waits for it."""
        return self._writer.trouble is not None or len(self._waiting) > BACKLOG

    def add(self, row: Row) -> asyncio.Future[None]:
        """Queue a row. The future is done when it is committed. The same id again changes nothing, but gives a new future where
        somebody has cancelled the first one."""
        id = row[0]
        future: asyncio.Future[None]
        if (known := self._waiting.get(id)) is not None:
            row, came, future = known
            if future.cancelled():
                future = self._loop.create_future()
                self._waiting[id] = (row, came, future)
            return future
        future = self._loop.create_future()
        if self._patience_s:
            now = self._loop.time()
            self._waiting[id] = (row, now, future)
            if self._alarm is None:
                self._alarm = self._loop.call_at(now + self._patience_s, self._ring)
        else:
            self._waiting[id] = (row, 0.0, future)
            if not self.due:
                self.due = True
                self._writer.wake()
        return future

    async def caught_up(self, timeout_s: float) -> None:
        """Wait, for this long at most, until all rows that are queued now are written."""
        if self._waiting:
            newest = next(reversed(self._waiting.values()))[2]
            await asyncio.wait([newest], timeout=timeout_s)

    def drop(self, id: str) -> None:
        """Forget a row that need not be written any more."""
        self._waiting.pop(id, None)

    async def write(self, connection: aiosqlite.Connection) -> None:
        """Write what is due, at most 256 rows. Raises sqlite3.Error where the disk or the file is the reason; then nothing is lost."""
        taken = self._take()
        if taken:
            try:
                await connection.execute_fetchall(self._statement(len(taken)), self._parameters(taken))
            except ROW_ERRORS as error:
                if is_condition(error):
                    raise
                self._narrow(taken, error)
            else:
                self._most = min(self._most * 2, MOST_ROWS)
                for id in taken:
                    # Not there any more: a reservation that was dropped meanwhile.
                    if (written := self._waiting.pop(id, None)) is not None and not written[2].done():
                        written[2].set_result(None)
        self._arm()

    def _take(self) -> list[str]:
        """The ids of the rows to write now. They stay in the queue until they are written."""
        latest = self._loop.time() - self._patience_s / 2
        return [id for id, (_, came, _) in islice(self._waiting.items(), self._most) if came <= latest]

    def _parameters(self, taken: list[str]) -> Row:
        rows = [self._waiting[id][0] for id in taken]
        return tuple(chain(chain.from_iterable(rows), self._padding * (_size(len(rows)) - len(rows))))

    def _statement(self, rows: int) -> str:
        """One INSERT for this many rows, rounded up to a power of two so that only nine texts are ever prepared. A JSON array
        taken apart by `json_each` costs 20 microseconds a row more than bound values (measured with SQLite 3.40)."""
        size = _size(rows)
        if size not in self._statements:
            marks = "(" + ", ".join("?" * len(self._columns)) + ")"
            self._statements[size] = (
                f"INSERT INTO {self._table} ({', '.join(self._columns)}) "  # noqa: S608 - names from our own code
                f"SELECT * FROM (VALUES {', '.join([marks] * size)}) WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING"
            )
        return self._statements[size]

    def _narrow(self, taken: list[str], error: Exception) -> None:
        """A row cannot be written: halve the batch until it stands alone, then give it up, so that it holds up nobody else."""
        if len(taken) > 1:
            self._most = len(taken) // 2
            return
        (id,) = taken
        log.critical("row %s of %s cannot be written and is lost: %s", id, self._table, error)
        lost = self._waiting.pop(id, None)
        if lost is not None and not (future := lost[2]).done():
            future.set_exception(StoreError(f"the record of {id} cannot be written"))
            future.exception()  # it has been logged; nobody has to look at it

    def _ring(self) -> None:
        self._alarm = None
        self.due = True
        self._writer.wake()

    def _arm(self) -> None:
        """After a write: due again at once, later, or not at all."""
        if not self._patience_s:
            self.due = bool(self._waiting)
            return
        self.due = False
        if self._waiting and self._alarm is None:
            came = next(iter(self._waiting.values()))[1]
            self._alarm = self._loop.call_at(came + self._patience_s, self._ring)

    def hurry(self) -> None:
        """The end is near: no more patience, no more alarms."""
        self._patience_s = 0.0
        self.due = bool(self._waiting)
        if self._alarm is not None:
            self._alarm.cancel()


class Writer:
    """Owns the write connection. `trouble` is None, or what keeps rows from being written right now."""

    def __init__(self, connection: aiosqlite.Connection, version: int) -> None:
        """`version` is the connection's `data_version` before anybody has read."""
        self._connection = connection
        self._version = version
        self._batches: list[Batch] = []
        self._transactions: deque[tuple[Sequence[Statement], asyncio.Future[None]]] = deque()
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._watchers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._poll_due = False
        self._poll: asyncio.TimerHandle | None = None
        self._logged_s = float("-inf")
        self.trouble: str | None = None
        self._task = spawn("store writer", self._run())

    def batch(self, table: str, columns: Sequence[str], *, patience_s: float = 0.0) -> Batch:
        """A queue of rows for one table. Earlier ones are written first."""
        batch = Batch(self, table, columns, patience_s=patience_s)
        self._batches.append(batch)
        return batch

    async def transaction(self, statements: Sequence[Statement]) -> None:
        """Run statements as one transaction and wait for its commit. Raises sqlite3.IntegrityError, StoreError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transactions.append((statements, future))
        self.wake()
        await future

    def watch(self, changed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call this whenever another process has written, within half a second."""
        self._watchers.append(changed)
        if self._poll is None:
            self._look_later()

    def wake(self) -> None:
        """There is something to do."""
        self._awake.set()

    async def close(self, timeout_s: float) -> None:
        """Write what is left and end. Whatever cannot be written in time is counted in the log."""
        if self._poll is not None:
            self._poll.cancel()
        self._watchers.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._work_left() and not self._task.done():
                    for batch in self._batches:
                        batch.hurry()
                    self._idle.clear()
                    self.wake()
                    await self._idle.wait()
        except TimeoutError:
            log.critical("%s records could not be written: %s", sum(map(len, self._batches)), self.trouble)
        self._task.cancel()
        await asyncio.wait([self._task])

    def _work_left(self) -> bool:
        return bool(self._transactions) or any(map(len, self._batches))

    # --- the task ---

    async def _run(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                while await self._step():
                    self._recovered()
            except sqlite3.Error as error:
                await self._wait_out(error)
                self.wake()
            else:
                self._recovered()
                self._idle.set()

    async def _step(self) -> bool:
        """Do one thing, the most urgent first. False when there is nothing to do."""
        for batch in self._batches:
            if batch.due:
                await batch.write(self._connection)
                return True
        if self._transactions:
            await self._transact(*self._transactions.popleft())
            return True
        if self._poll_due:
            self._poll_due = False
            await self._look()
        return False

    async def _transact(self, statements: Sequence[Statement], future: asyncio.Future[None]) -> None:
        execute = self._connection.execute_fetchall
        try:
            await execute("BEGIN IMMEDIATE")
            try:
                for sql, parameters in statements:
                    await execute(sql, parameters)
                await execute("COMMIT")
            except sqlite3.Error:
                # SQLite itself has rolled back after some errors (disk full).
                if self._connection.in_transaction:
                    await execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError as error:
            _reject(future, error)
        except sqlite3.Error as error:
            refusal = StoreError(f"the database cannot be written: {error}")
            refusal.__cause__ = error
            _reject(future, refusal)
        else:
            if not future.done():
                future.set_result(None)

    # --- trouble ---

    async def _wait_out(self, error: sqlite3.Error) -> None:
        """Keep everything and try again in a second."""
        self.trouble = str(error)
        now = asyncio.get_running_loop().time()
        if now - self._logged_s >= 60:
            self._logged_s = now
            log.error(
                "the database cannot be written (%s); new calls are refused, it is tried again each second", error
            )
        await asyncio.sleep(RETRY_S)

    def _recovered(self) -> None:
        if self.trouble is not None:
            log.warning("the database can be written again")
            self.trouble = None
            self._logged_s = float("-inf")

    # --- other processes ---

    def _look_later(self) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL_S, self._look_now)

    def _look_now(self) -> None:
        self._poll_due = True
        self.wake()
        self._look_later()

    async def _look(self) -> None:
        """Tell the watchers when another connection has committed; our own writes do not count."""
        version = await data_version(self._connection)
        if version != self._version:
            self._version = version
            for watcher in self._watchers:
                spawn("reload from the database", watcher())


async def data_version(connection: aiosqlite.Connection) -> int:
    """A number that changes when another connection has committed."""
    rows = await connection.execute_fetchall("PRAGMA data_version")
    version: int = next(iter(rows))[0]
    return version


def _size(rows: int) -> int:
    return 1 << (rows - 1).bit_length()


def _reject(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
