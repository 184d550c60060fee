"""Idempotency keys of changes by hand (api.md 17): what was answered, kept for a day, so that the same request gets it again.

The key is taken before the change and the answer written behind it. A key whose first request a crash has cut off stays taken: whether
that one has changed something, nobody can tell but its owner.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from ..errors import BadRequest, Conflict, Unprocessable
from ..tasks import spawn
from .database import Database
from .seal import Seal

KEPT_S = 86400.0
LONGEST_KEY = 128
PURPOSE = "idempotency"


class Answer(Struct, kw_only=True):
    """An answer: status, media type and body. `again`: it was kept."""

    status: int
    media_type: str
    body: bytes
    again: bool = False


def key_of(given: str) -> str:
    """The key of the header. Raises BadRequest."""
    if not 1 <= len(given) <= LONGEST_KEY or not given.isprintable():
        raise BadRequest(f"Idempotency-Key has 1 to {LONGEST_KEY} printable characters", param="Idempotency-Key")
    return given


def fingerprint_of(path: str, body: bytes) -> bytes:
    """What two requests have in common that are the same."""
    return hashlib.sha256(b"%d %s%s" % (len(path), path.encode(errors="replace"), body)).digest()


class Idempotency:
    """All keys of the last day. Answers are sealed: some of them show a secret for the only time."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall
        self._seal = Seal(database.path)
        self._running: set[tuple[str, str]] = set()

    async def once(self, owner: str, key: str, fingerprint: bytes, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `work` answers, or has answered before. It comes to its end though its client may leave.

        Raises Conflict while the first one runs, Unprocessable for another request with this key, and what `work` raises: then the
        key is free again.
        """
        id = (owner, key)
        row = await self._database.one(_FIND, (owner, key, self._wall() - KEPT_S))
        if row is not None and row[0] != fingerprint:
            raise Unprocessable(
                "this Idempotency-Key was used for another request; use one key for each request",
                param="Idempotency-Key",
            )
        if id in self._running:
            raise _running()
        if row is not None:
            return self._kept(row[1])
        self._running.add(id)
        came: Answer | Exception = await asyncio.shield(spawn("idempotent request", self._ended(id, fingerprint, work)))
        if isinstance(came, Exception):
            raise came
        return came

    async def _ended(
        self, id: tuple[str, str], fingerprint: bytes, work: Callable[[], Awaitable[Answer]]
    ) -> Answer | Exception:
        """What came of it: the client may not be there to hear it."""
        try:
            return await self._work(id, fingerprint, work)
        except Exception as error:  # noqa: BLE001 - raised where the client is waited for
            return error
        finally:
            self._running.discard(id)

    async def _work(self, id: tuple[str, str], fingerprint: bytes, work: Callable[[], Awaitable[Answer]]) -> Answer:
        now = self._wall()
        try:
            await self._database.write(
                ("DELETE FROM idempotency WHERE created_unix <= ?", (now - KEPT_S,)),
                (
                    "INSERT INTO idempotency (owner, key, fingerprint, created_unix) VALUES (?, ?, ?, ?)",
                    (*id, fingerprint, now),
                ),
            )
        except sqlite3.IntegrityError:
            raise _running() from None  # it has just ended
        try:
            answer = await work()
        except Exception:
            await self._database.write(("DELETE FROM idempotency WHERE owner = ? AND key = ?", id))
            raise
        sealed = self._seal.close(msgspec.msgpack.encode(answer), PURPOSE)
        await self._database.write(("UPDATE idempotency SET answer = ? WHERE owner = ? AND key = ?", (sealed, *id)))
        return answer

    def _kept(self, sealed: bytes | None) -> Answer:
        opened = None if sealed is None else self._seal.open(sealed, PURPOSE)
        if opened is None:
            raise Conflict(
                "the first request with this Idempotency-Key did not come to its end before the router stopped; look whether it has "
                "changed anything, then send another key"
            )
        answer = msgspec.msgpack.decode(opened, type=Answer)
        answer.again = True
        return answer


def _running() -> Conflict:
    return Conflict(
        "the first request with this Idempotency-Key is still running; ask again when it has ended", retry_after_s=1
    )


_FIND = "SELECT fingerprint, answer FROM idempotency WHERE owner = ? AND key = ? AND created_unix > ?"
