"""The ledger's tables: reservations of calls under way, and one row per call that has ended, never updated.

Triggers do the rest in the same transaction: a settlement deletes its reservation, books the entry and keeps the day's roll-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from ..generation import Generation
from ..identity import Identity
from .database import Database

log = logging.getLogger(__name__)

#: a reservation may wait this long for company; a call that ends before is never reserved on disk
PATIENCE_S = 0.1
#: who looks for a row waits for those under way for so long
SETTLING_S = 2.0
SECONDS_A_DAY = 86400

RESERVATION = (
    "id",
    "created_unix",
    "day",
    "key_hash",
    "model",
    "requested_model",
    "api_type",
    "streamed",
    "request_id",
    "amount",
)
#: columns of `generation` with the same name in the Struct
_PLAIN = (
    "id",
    "created_unix",
    "key_hash",
    "request_id",
    "api_type",
    "model",
    "requested_model",
    "provider",
    "status",
    "http_status",
    "error_code",
    "streamed",
    "finish_reason",
    "upstream_id",
    "list_cost",
    "is_byok",
    "latency_ms",
    "generation_ms",
    "session_id",
    "trace_id",
    "user",
    "app_title",
)
#: columns made of other members
_MADE = ("charge", "day", "estimated", "input", "output", "reasoning", "cached")
_COLUMNS = (*_PLAIN, *_MADE)


def _default(info: FieldInfo) -> Any:
    if info.default_factory is not msgspec.NODEFAULT:
        return info.default_factory()
    return info.default


#: members that live in the JSON column `detail`, with their defaults, which are left out
_DETAILS = {info.name: _default(info) for info in fields(Generation) if info.name not in _PLAIN and info.name != "cost"}
_FOUND = ", ".join((*_PLAIN, "charge", "detail"))
#: the rows with an id of an upstream, part by part of the index
OF_UPSTREAM = """
    WITH RECURSIVE part (number) AS (
        SELECT max(seq) / 4096 FROM generation
        UNION ALL SELECT number - 1 FROM part WHERE number > (SELECT min(seq) / 4096 FROM generation)
    )
    SELECT seq FROM part CROSS JOIN generation ON seq / 4096 = number AND upstream_id = ? AND upstream_id <> ''
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Spent(Struct, frozen=True):
    """What a key spent on one UTC day, in picodollars, and in how many requests. `byok`: list price of calls with own keys."""

    account: str
    day: int
    charge: int
    byok: int
    requests: int


class Generations:
    """Reservations and settlements. Writing never waits: rows are queued for the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Settlements first: they are what clients wait for.
        self._settlements = database.batch("generation", (*_COLUMNS, "detail"))
        self._reservations = database.batch("reservation", RESERVATION, patience_s=PATIENCE_S)

    @property
    def refusing(self) -> bool:
        """True while no new calls should be taken, since their records could not be written."""
        return self._settlements.stuck

    def reserve(self, row: tuple[Any, ...]) -> None:
        """Queue a reservation (`RESERVATION`) and return at once. It is not written at all where the settlement comes soon."""
        self._reservations.add(row)

    def add(self, row: Generation) -> asyncio.Future[None]:
        """Queue a settlement and return at once. The future is done when it is committed; a second row with the same id is ignored."""
        self._reservations.drop(row.id)
        return self._settlements.add(_values(row))

    async def find(self, id: str, caller: Identity) -> Generation | None:
        """A generation by our id or by the upstream's. Inference keys see their own only (those of earlier secrets too)."""
        query = f"SELECT {_FOUND} FROM generation WHERE (id = ? OR seq IN ({OF_UPSTREAM}))"  # noqa: S608
        parameters = [id, id]
        if not caller.management:
            query += " AND key_hash IN (SELECT hash FROM key WHERE id = ? UNION SELECT ?)"
            parameters += [caller.id, caller.hash]
        return await self._first(query + " ORDER BY seq DESC", parameters)

    async def one(self, id: str) -> Generation | None:
        """A generation by our id, whoever's it is."""
        return await self._first(f"SELECT {_FOUND} FROM generation WHERE id = ?", (id,))  # noqa: S608

    async def _first(self, query: str, parameters: Sequence[Any]) -> Generation | None:
        """The first row that a query finds. What is on its way to the disk counts: an error does not wait for its row."""
        under_way = len(self._settlements) > 0  # asked before the look: what is written during it is not seen by it
        row = await self._database.one(query, parameters)
        if row is None and under_way:
            await self._settlements.caught_up(SETTLING_S)
            row = await self._database.one(query, parameters)
        return _generation(row) if row else None

    async def interrupt(self) -> int:
        """Record what a crash has left under way: interrupted, charge 0. Returns how many calls these were."""
        rows = await self._database.all("SELECT id, key_hash, amount FROM reservation")
        for id, key_hash, amount in rows:
            log.warning("interrupted: %s of key %s; reserved %s picodollars, charged 0", id, key_hash[:12], amount)
        if rows:
            await self._database.write(
                (
                    "INSERT INTO generation (id, created_unix, day, key_hash, request_id, api_type, model, requested_model,"
                    " streamed, status, http_status, charge, finish_reason)"
                    " SELECT id, created_unix, day, key_hash, request_id, api_type, model, requested_model, streamed,"
                    " 'interrupted', 500, 0, NULL FROM reservation WHERE true ON CONFLICT (id) DO NOTHING",
                    (),
                ),
                ("DELETE FROM reservation", ()),
            )
        return len(rows)

    async def spent(self, since_day: int) -> list[Spent]:
        """What each account (a key with all its secrets) spent, day by day from `since_day` on; all earlier days as day -1."""
        rows = await self._database.all(
            "SELECT coalesce(key.id, key_hash), CASE WHEN day < ? THEN -1 ELSE day END, sum(charge), sum(byok), sum(requests)"
            " FROM usage_day LEFT JOIN key ON key.hash = usage_day.key_hash GROUP BY 1, 2",
            (since_day,),
        )
        return [Spent(*row) for row in rows]

    async def last_used(self) -> dict[str, float]:
        """When each account made its last call, in unix seconds."""
        rows = await self._database.all(
            "SELECT coalesce(key.id, key_hash), max(last_unix)"
            " FROM usage_day LEFT JOIN key ON key.hash = usage_day.key_hash GROUP BY 1"
        )
        return dict(rows)

    async def tokens(self, since_unix: float) -> dict[str, int]:
        """How many tokens went through each model from this UTC day on."""
        rows = await self._database.all(
            "SELECT model, sum(input + output) FROM usage_day WHERE day >= ? GROUP BY model", (day_of(since_unix),)
        )
        return dict(rows)


def day_of(unix: float) -> int:
    """The UTC day of a moment, counted from 1970-01-01."""
    return int(unix // SECONDS_A_DAY)


def _values(row: Generation) -> tuple[Any, ...]:
    usage = row.usage
    detail = {name: value for name, default in _DETAILS.items() if (value := getattr(row, name)) != default}
    return (
        row.id,
        row.created_unix,
        row.key_hash,
        row.request_id,
        row.api_type,
        row.model,
        row.requested_model,
        row.provider,
        row.status,
        row.http_status,
        row.error_code,
        row.streamed,
        row.finish_reason,
        row.upstream_id,
        row.list_cost,
        row.is_byok,
        row.latency_ms,
        row.generation_ms,
        row.session_id,
        row.trace_id,
        row.user,
        row.app_title,
        row.cost,
        day_of(row.created_unix),
        usage.source == "estimated",
        usage.input,
        usage.output,
        usage.reasoning,
        usage.cache_read,
        _encode(detail).decode(),
    )


def _generation(row: tuple[Any, ...]) -> Generation:
    values = dict(zip(_PLAIN, row, strict=False))
    values["cost"] = row[-2]
    values.update(_decode(row[-1]) if row[-1] else {})
    return msgspec.convert(
        {name: value for name, value in values.items() if value is not None}, Generation, strict=False
    )
