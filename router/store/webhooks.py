"""Webhooks: who wants to be told of what, and what they have not been told yet (the outbox).

The transaction that books a call puts its events into the outbox (a trigger, in `schema`), so that none is lost and no call waits.
Secrets are not stored: they are made of the id, a salt and the secret beside the database.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import NotFound
from .audit import Change, recorded
from .database import Database
from .generations import Generations
from .seal import Seal

#: how long somebody may be unable to hear of an event
KEPT_S = 3 * 86400.0
#: failures in a row that disable an endpoint, and the waits between them
MOST_FAILURES = 10
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 3600.0
#: events that wait for one endpoint; the oldest give way
MOST_WAITING = 100_000


class Webhook(Struct, kw_only=True):
    """An endpoint. `events` are their names; `api_key_hashes` restrict those of calls, None does not. `failures` in a row;
    `retry_unix`: not before then."""

    id: str
    name: str | None
    url: str
    events: list[str]
    api_key_hashes: list[str] | None = None
    workspace_id: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    salt: str
    failures: int = 0
    retry_unix: float = 0.0
    last_status: int | None = None
    last_error: str | None = None
    last_unix: float | None = None
    created_unix: float
    updated_unix: float


class Waiting(Struct, kw_only=True):
    """An event that an endpoint has not taken yet. `subject` is the generation that it tells of, `data` what it says otherwise."""

    seq: int
    id: str
    type: str
    subject: str | None
    data: dict[str, Any] | None
    created_unix: float


_COLUMNS = Webhook.__struct_fields__
_NAMES = ", ".join(_COLUMNS)
_LISTS = ("events", "api_key_hashes")
_INSERT = f"INSERT OR REPLACE INTO webhook ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - our own names


class Webhooks:
    """All of them, in memory, and the outbox, on disk."""

    def __init__(self, database: Database, generations: Generations, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self.generations = generations
        self._wall = wall
        self._seal = Seal(database.path)
        self._known: dict[str, Webhook] = {}
        self._turn = asyncio.Lock()
        #: what was told last of each thing that has a state
        self._told: dict[str, str] = {}

    async def load(self) -> None:
        """Read all, and again whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        self._told = dict(await self._database.all("SELECT subject, token FROM webhook_told"))
        await self.reload()

    async def reload(self) -> None:
        """Read them again."""
        async with self._turn:
            await self._read()

    async def _read(self) -> None:
        rows = await self._database.all(
            f"SELECT {_NAMES} FROM webhook ORDER BY created_unix DESC, id"  # noqa: S608 - our own names
        )
        self._known = {each.id: each for each in map(_webhook, rows)}

    def all(self) -> list[Webhook]:
        """The newest first."""
        return list(self._known.values())

    def one(self, id: str) -> Webhook:
        """The endpoint with this id. Raises NotFound."""
        if (found := self._known.get(id)) is None:
            raise NotFound(
                f"there is no webhook {id[:100]!r}; GET /api/webhooks/endpoints lists what there is", param="id"
            )
        return found

    def secret(self, webhook: Webhook) -> str:
        """What its events are signed with."""
        made = hmac.digest(self._seal.derived("webhook"), f"{webhook.id} {webhook.salt}".encode(), "sha256")
        return "whsec_" + base64.urlsafe_b64encode(made).decode().rstrip("=")

    # --- changes ---

    async def put(self, webhook: Webhook, change: Change) -> None:
        """Write a new one, or one anew."""
        async with self._turn:
            await self._database.write((_INSERT, _row(webhook)), recorded(change))
            await self._read()

    async def delete(self, webhook: Webhook, change: Change) -> None:
        """Take it away, with what it was still to be told."""
        async with self._turn:
            await self._database.write(
                ("DELETE FROM webhook_event WHERE webhook_id = ?", (webhook.id,)),
                ("DELETE FROM webhook WHERE id = ?", (webhook.id,)),
                recorded(change),
            )
            await self._read()

    # --- the outbox ---

    async def waiting(self) -> list[str]:
        """The ids of enabled endpoints that have something to be told now."""
        now = self._wall()
        # No wait is longer than the longest, unless the clock has gone back.
        able = [
            each.id
            for each in self._known.values()
            if each.enabled and not now < each.retry_unix <= now + LONGEST_WAIT_S
        ]
        if not able:
            return []
        rows = await self._database.all("SELECT DISTINCT webhook_id FROM webhook_event")
        found = {row[0] for row in rows}
        return [id for id in able if id in found]

    async def next(self, id: str, most: int) -> list[Waiting]:
        """What this endpoint is to be told next, the oldest first."""
        rows = await self._database.all(
            "SELECT seq, id, type, subject, data, created_unix FROM webhook_event WHERE webhook_id = ? ORDER BY seq LIMIT ?",
            (id, most),
        )
        return [
            Waiting(
                seq=row[0],
                id=row[1],
                type=row[2],
                subject=row[3],
                data=None if row[4] is None else msgspec.json.decode(row[4], type=dict[str, Any]),
                created_unix=row[5],
            )
            for row in rows
        ]

    async def taken(self, id: str, event: Waiting, status: int) -> None:
        """The endpoint has taken this event."""
        await self._noted(id, ("DELETE FROM webhook_event WHERE seq = ?", (event.seq,)), status=status)

    async def refused(self, id: str, status: int | None, error: str) -> Webhook | None:
        """It has not: wait, longer each time, and disable it after ten times. Returns the endpoint as it is now."""
        return await self._noted(id, None, status=status, error=error)

    async def _noted(
        self, id: str, statement: tuple[str, Sequence[Any]] | None, *, status: int | None, error: str | None = None
    ) -> Webhook | None:
        # in turn with reading and changes: none of them may put back what another has just written
        async with self._turn:
            return await self._note(id, statement, status=status, error=error)

    async def _note(
        self, id: str, statement: tuple[str, Sequence[Any]] | None, *, status: int | None, error: str | None = None
    ) -> Webhook | None:
        old, now = self._known.get(id), self._wall()
        if old is None:
            return None
        failures = 0 if error is None else old.failures + 1
        enabled = old.enabled and failures < MOST_FAILURES
        wait_s = min(FIRST_WAIT_S * 2 ** max(0, failures - 1), LONGEST_WAIT_S) if failures else 0.0
        values = {
            "failures": failures,
            "retry_unix": now + wait_s if failures else 0.0,
            "last_status": status,
            "last_error": error,
            "last_unix": now,
            "enabled": enabled,
            "disabled_reason": old.disabled_reason if enabled == old.enabled else f"{MOST_FAILURES} failures in a row",
        }
        setting = ", ".join(f"{name} = ?" for name in values)
        update = (f"UPDATE webhook SET {setting} WHERE id = ?", (*values.values(), id))  # noqa: S608 - our own names
        await self._database.write(*([update] if statement is None else [statement, update]))
        self._known[id] = msgspec.structs.replace(old, **values)
        return self._known[id]

    async def tell(self, type: str, subject: str, token: str, data: dict[str, Any] | None) -> None:
        """Something has this state now: tell who wants to know, once for each state. Without `data` it is only kept in mind."""
        if self._told.get(subject) == token:
            return
        now = self._wall()
        wanted = [each.id for each in self._known.values() if each.enabled and type in each.events]
        text = msgspec.json.encode(data).decode()
        events = [
            (
                "INSERT INTO webhook_event (id, webhook_id, type, data, created_unix) VALUES (?, ?, ?, ?, ?)",
                (f"evt_{secrets.token_hex(12)}", id, type, text, now),
            )
            for id in wanted
            if data is not None
        ]
        told = ("INSERT OR REPLACE INTO webhook_told (subject, token) VALUES (?, ?)", (subject, token))
        await self._database.write(*events, told)
        self._told[subject] = token

    async def forget(self) -> None:
        """Drop what nobody has taken for three days, and what is too much."""
        statements: list[tuple[str, Sequence[Any]]] = [
            ("DELETE FROM webhook_event WHERE created_unix < ?", (self._wall() - KEPT_S,))
        ]
        statements += [
            (
                "DELETE FROM webhook_event WHERE webhook_id = ? AND seq <= "
                "(SELECT seq FROM webhook_event WHERE webhook_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (id, id, MOST_WAITING),
            )
            for id in self._known
        ]
        await self._database.write(*statements)


def _row(webhook: Webhook) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(webhook)
    for name in _LISTS:
        values[name] = None if values[name] is None else msgspec.json.encode(values[name]).decode()
    return tuple(values.values())


def _webhook(row: tuple[Any, ...]) -> Webhook:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _LISTS:
        values[name] = None if values[name] is None else msgspec.json.decode(values[name], type=list[str])
    return Webhook(**values | {"enabled": bool(values["enabled"])})
