"""Idempotency keys of changes by hand (api.md 17): what was answered, kept for a day, so that the same request gets it again.

The key is taken before the change and the answer written behind it. Where a crash has cut the first request off between the two, the
record of changes (`audit`), written in the transaction of the change, tells whether it has changed something: if so the key stays taken
and the client is told what was done, else the request is done now.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from ..errors import BadRequest, Conflict, Unprocessable
from ..tasks import spawn
from .database import Database
from .errors import StoreError
from .seal import Seal

log = logging.getLogger(__name__)

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

    async def once(self, owner: str, key: str, fingerprint: bytes, work: Callable[[str], Awaitable[Answer]]) -> Answer:
        """What `work` answers, or has answered before. It comes to its end though its client may leave. What it changes, it records
        with the claim that it is given.

        Raises Conflict while the first one runs, and where it has changed something and its answer is lost; Unprocessable for another
        request with this key; and what `work` raises: then the key is free again, unless something was changed.
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
        if row is not None and row[1] is not None:
            return self._kept(row[1])
        self._running.add(id)
        ending = self._ended(id, fingerprint, work)
        came: Answer | Exception = await asyncio.shield(spawn("idempotent request", ending))
        if isinstance(came, Exception):
            raise came
        return came

    async def _ended(
        self, id: tuple[str, str], fingerprint: bytes, work: Callable[[str], Awaitable[Answer]]
    ) -> Answer | Exception:
        """What came of it: the client may not be there to hear it."""
        try:
            return await self._work(id, fingerprint, work)
        except Exception as error:  # noqa: BLE001 - raised where the client is waited for
            return error
        finally:
            self._running.discard(id)

    async def _work(self, id: tuple[str, str], fingerprint: bytes, work: Callable[[str], Awaitable[Answer]]) -> Answer:
        now, claim = self._wall(), secrets.token_hex(12)
        old = ("DELETE FROM idempotency WHERE created_unix <= ?", (now - KEPT_S,))
        try:
            await self._database.write(old, (_FREE, id), (_TAKE, (*id, fingerprint, now, claim)))
        except sqlite3.IntegrityError:
            raise await self._taken(id) from None
        try:
            answer = await work(claim)
        except Exception:
            await self._database.write((_FREE, id))
            raise
        sealed = self._seal.close(msgspec.msgpack.encode(answer), PURPOSE)
        try:
            await self._database.write(("UPDATE idempotency SET answer = ? WHERE owner = ? AND key = ?", (sealed, *id)))
        except StoreError as error:  # what was done was done, and its answer may be the only one that shows a secret
            log.warning("the answer to a request with an Idempotency-Key cannot be kept: %s", error)
        return answer

    async def _taken(self, id: tuple[str, str]) -> Conflict:
        """What keeps the key: a request that has just ended, or one whose answer is lost."""
        row = await self._database.one("SELECT answer FROM idempotency WHERE owner = ? AND key = ?", id)
        if row is None or row[0] is not None:
            return _running()
        done = await self._database.one(_DONE, id)
        return _lost("nobody knows what it changed" if done is None else f"{done[0]} of {done[1]}")

    def _kept(self, sealed: bytes) -> Answer:
        opened = self._seal.open(sealed, PURPOSE)
        if opened is None:
            raise _lost("the file that its answer was sealed with is another one")
        answer = msgspec.msgpack.decode(opened, type=Answer)
        answer.again = True
        return answer


def _lost(what: str) -> Conflict:
    return Conflict(
        f"the first request with this Idempotency-Key was done, but its answer is lost ({what}): look at what it did, then send "
        "another key for anything more"
    )


def _running() -> Conflict:
    return Conflict(
        "the first request with this Idempotency-Key is still running; ask again when it has ended", retry_after_s=1
    )


_FIND = "SELECT fingerprint, answer FROM idempotency WHERE owner = ? AND key = ? AND created_unix > ?"
_TAKE = "INSERT INTO idempotency (owner, key, fingerprint, created_unix, claim) VALUES (?, ?, ?, ?, ?)"
#: a key under which nothing was changed
_FREE = """
    DELETE FROM idempotency WHERE owner = ? AND key = ? AND answer IS NULL AND claim IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM audit WHERE audit.claim = idempotency.claim)
"""
_DONE = """
    SELECT action, target FROM idempotency JOIN audit ON audit.claim = idempotency.claim WHERE owner = ? AND key = ? ORDER BY audit.seq
"""
