"""Responses that are kept for their keys (`responses.store`): the one place where the router keeps content.

A response that runs in the background is first a row of `responses_run`; its end is a row of `responses`, whose trigger removes the
first one and notes which items it holds. So all writing is adding rows, and nothing that waits for the disk holds up a call.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from .database import Database
from .migrations import Migration, runs

#: the owner of the migrations, which the names of the tables begin with
OWNER = "responses"
#: responses that one can go on from; more are an endless chain
LONGEST_CHAIN = 1000
COLUMNS = ("id", "owner", "created_unix", "previous", "status", "background", "input", "response")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_items = msgspec.json.Decoder(list[dict[str, Any]]).decode


class KeptResponse(Struct, kw_only=True):
    """One response. `owner` is the id of a key; `input` are the items of its own request, `response` is the object as the client
    has got it; `previous` is the id of the response that it went on from."""

    id: str
    owner: str
    created_unix: float
    status: str
    previous: str | None = None
    background: bool = False
    input: list[dict[str, Any]] = []
    response: dict[str, Any] = {}

    @property
    def items(self) -> list[dict[str, Any]]:
        """What was said: the request's items, then the answer's."""
        return [*self.input, *self.response.get("output", [])]


class Responses:
    """Every look-up is for an owner: what belongs to another key is not there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._runs = database.batch("responses_run", COLUMNS)
        self._ends = database.batch("responses", COLUMNS)
        #: rows on their way to the disk, and what waits for them to be there
        self._pending: dict[str, tuple[KeptResponse, asyncio.Future[None]]] = {}

    # --- writing ---

    def begin(self, row: KeptResponse) -> asyncio.Future[None]:
        """Queue a response that runs in the background. The future is done when a crash would find it."""
        return self._runs.add(_columns(row))

    def add(self, row: KeptResponse) -> None:
        """Queue a response that has come to its end, and return at once. It can be found from now on."""
        future = self._ends.add(_columns(row))
        self._pending[row.id] = (row, future)
        future.add_done_callback(lambda _: self._pending.pop(row.id, None))

    async def delete(self, id: str, owner: str) -> bool:
        """Forget a response and its items; False where there is none."""
        if id in self._pending:
            await asyncio.wait([self._pending[id][1]])
        if await self.find(id, owner) is None:
            return False
        await self._database.write(("DELETE FROM responses WHERE id = ? AND owner = ?", (id, owner)))
        return True

    async def expire(self, before_unix: float) -> None:
        """Forget what was made before this time."""
        await self._database.write(("DELETE FROM responses WHERE created_unix < ?", (before_unix,)))

    async def interrupt(self, error: dict[str, Any]) -> int:
        """Let the runs that a crash or an end of the router has cut off be failed responses with this error. Returns how many."""
        rows = await self._database.all(f"SELECT {', '.join(COLUMNS)} FROM responses_run")  # noqa: S608 - our own names
        for row in map(_row, rows):
            row.status = "failed"
            row.response |= {"status": "failed", "error": error}
            self.add(row)
        return len(rows)

    # --- reading ---

    async def find(self, id: str, owner: str) -> KeptResponse | None:
        """A response of this owner that has ended."""
        if (waiting := self._pending.get(id)) is not None:
            return waiting[0] if waiting[0].owner == owner else None
        row = await self._database.one(
            f"SELECT {', '.join(COLUMNS)} FROM responses WHERE id = ? AND owner = ?",  # noqa: S608 - our own names
            (id, owner),
        )
        return None if row is None else _row(row)

    async def chain(self, id: str, owner: str, most_chars: int = 1 << 62) -> list[KeptResponse]:
        """A response and those before it, the oldest first; about as many as have `most_chars` characters of JSON. The first one's
        `previous` is set where one of them is missing."""
        found: list[KeptResponse] = []
        wanted: str | None = id
        while wanted is not None and len(found) < LONGEST_CHAIN and wanted in self._pending:
            row = await self.find(wanted, owner)
            if row is None:
                return found[::-1]
            found.append(row)
            wanted = row.previous
        if wanted is not None and len(found) < LONGEST_CHAIN:
            rows = await self._database.all(_CHAIN, (wanted, owner, owner, LONGEST_CHAIN, most_chars))
            found.extend(map(_row, rows))
        return found[::-1]

    async def item(self, id: str, owner: str) -> dict[str, Any] | None:
        """An item of one of this owner's responses."""
        for row, _ in reversed(self._pending.values()):
            if row.owner == owner and (item := _item(row, id)) is not None:
                return item
        held = await self._database.one("SELECT response FROM responses_item WHERE id = ? AND owner = ?", (id, owner))
        row_found = None if held is None else await self.find(held[0], owner)
        return None if row_found is None else _item(row_found, id)


_CHAIN = f"""
    WITH RECURSIVE chain AS (
        SELECT *, 0 AS depth, length(input) + length(response) AS chars FROM responses WHERE id = ? AND owner = ?
        UNION ALL
        SELECT older.*, depth + 1, chars + length(older.input) + length(older.response)
        FROM responses AS older JOIN chain ON older.id = chain.previous
        WHERE older.owner = ? AND depth < ? AND chars < ?
    )
    SELECT {", ".join(COLUMNS)} FROM chain ORDER BY depth
"""  # noqa: S608 - our own names


def _item(row: KeptResponse, id: str) -> dict[str, Any] | None:
    return next((item for item in row.items if item.get("id") == id), None)


def _columns(row: KeptResponse) -> tuple[Any, ...]:
    made = (row.id, row.owner, row.created_unix, row.previous, row.status, row.background)
    return (*made, _encode(row.input).decode(), _encode(row.response).decode())


def _row(columns: tuple[Any, ...]) -> KeptResponse:
    values = dict(zip(COLUMNS, columns, strict=True))
    values["background"] = bool(values["background"])
    values["input"], values["response"] = _decode_items(values["input"]), _decode(values["response"])
    return KeptResponse(**values)


# --- schema ----------------------------------------------------------------------------------------------------------

_TABLE = """
    CREATE TABLE {name} (
        id TEXT NOT NULL PRIMARY KEY,
        owner TEXT NOT NULL,
        created_unix REAL NOT NULL,
        previous TEXT,
        status TEXT NOT NULL,
        background INTEGER NOT NULL,
        input TEXT NOT NULL,
        response TEXT NOT NULL
    )
"""

_FIRST = (
    _TABLE.format(name="responses"),
    "CREATE INDEX responses_created ON responses (created_unix)",
    _TABLE.format(name="responses_run"),
    # Which response holds an item, for those that are referred to; the newest, where clients send items again or upstreams repeat ids.
    """
    CREATE TABLE responses_item (
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        response TEXT NOT NULL,
        PRIMARY KEY (owner, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX responses_item_response ON responses_item (response)",
    """
    CREATE TRIGGER responses_ends AFTER INSERT ON responses
    BEGIN
        DELETE FROM responses_run WHERE id = new.id;
        INSERT OR REPLACE INTO responses_item (id, owner, response)
        SELECT json_extract(value, '$.id'), new.owner, new.id
        FROM (SELECT value FROM json_each(new.input) UNION ALL SELECT value FROM json_each(new.response, '$.output'))
        WHERE json_type(value, '$.id') = 'text';
    END
    """,
    """
    CREATE TRIGGER responses_goes AFTER DELETE ON responses
    BEGIN DELETE FROM responses_item WHERE response = old.id; END
    """,
)


_GONE = "EXISTS (SELECT 1 FROM key WHERE id = new.owner AND deleted_unix IS NOT NULL)"
#: with a key go its responses, and what still runs for it leaves none
_FORGOTTEN = (
    """
    CREATE TRIGGER responses_are_forgotten AFTER UPDATE OF deleted_unix ON key WHEN new.deleted_unix IS NOT NULL
    BEGIN
        DELETE FROM responses_run WHERE owner = new.id;
        DELETE FROM responses WHERE owner = new.id;
    END
    """,
    *(
        f"CREATE TRIGGER {table}_is_owned BEFORE INSERT ON {table} WHEN {_GONE} BEGIN SELECT RAISE(IGNORE); END"
        for table in ("responses", "responses_run")
    ),
    "CREATE INDEX responses_owner ON responses (owner)",
    "DELETE FROM responses WHERE owner IN (SELECT id FROM key WHERE deleted_unix IS NOT NULL)",
)

#: those that have ended go in pieces: store/remains.py
_CLEARED = (
    "DROP TRIGGER responses_are_forgotten",
    """
    CREATE TRIGGER runs_are_forgotten AFTER UPDATE OF deleted_unix ON key WHEN new.deleted_unix IS NOT NULL
    BEGIN DELETE FROM responses_run WHERE owner = new.id; END
    """,
)


MIGRATIONS = [
    Migration(OWNER, number, runs(statements)) for number, statements in enumerate((_FIRST, _FORGOTTEN, _CLEARED), 1)
]
