"""The log: the ledger's calls and the record of changes as one list, newest first, and what was added to it (api.md 13, `GET /logs`).

`log_word` says in which rows of `generation` a trace, request, key or tag stands. It is kept behind the calls.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import aiosqlite
import msgspec
from msgspec import Struct, field

from .behind import Behind, begin, fresh
from .database import Database
from .migrations import Migration
from .traffic import first_since
from .writer import Statement

Kind = Literal["request", "admin"]

MARK = "log_seen"
#: rows that are looked at in one go, without words to find them by and with
BLOCK, FOUND_BLOCK = 5_000, 2_000
#: a page that is not full by then is given as it is: where it goes on, it says
PATIENCE_S = 0.03
#: a call's row may lie that far from where its time says
MARGIN_S = 3600.0
#: of a hash in `log_word`; the row has all of it
HASH_LETTERS = 20
BEYOND = 2**62

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_PLACE = re.compile(r"r(\d{1,18})a(\d{1,18})").fullmatch


class Place(NamedTuple):
    """Where in both tables: the numbers of rows."""

    request: int
    change: int

    def __str__(self) -> str:
        return f"r{self.request}a{self.change}"


def place_of(text: str) -> Place | None:
    """The place that this was printed from."""
    found = _PLACE(text)
    return Place(int(found[1]), int(found[2])) if found else None


class Logged(Struct, kw_only=True):
    """One line of the log: a call that has ended, or a change. `at_unix` is when. `actor` is the key, or who else made a change."""

    seq: int
    kind: Kind
    id: str
    at_unix: float
    request_id: str
    trace_id: str | None
    actor: str
    action: str
    target: str
    status: str = "ok"
    http_status: int | None = None
    error_code: str | None = None
    model: str | None = None
    provider: str | None = None
    tags: list[str] = field(default_factory=list)
    cost: int | None = None
    latency_ms: int | None = None
    tokens: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Filter(Struct, kw_only=True):
    """Which lines. `status` is ok, error or the number of an HTTP status; `hashes` whose lines (None: everybody's): calls of these
    keys, changes by and of them. `own`: changes by others are left out. Moments are unix seconds, `end` is excluded."""

    kind: Kind | None = None
    trace_id: str | None = None
    request_id: str | None = None
    hashes: Sequence[str] | None = None
    own: bool = False
    model: str | None = None
    provider: str | None = None
    tag: str | None = None
    status: str | None = None
    start: float | None = None
    end: float | None = None

    def holds(self, line: Logged) -> bool:
        """Is this line one of those?"""
        if self.kind not in (None, line.kind) or not self._of_keys(line):
            return False
        wanted = ((self.trace_id, line.trace_id), (self.request_id, line.request_id), (self.model, line.model))
        if any(asked is not None and asked != there for asked, there in (*wanted, (self.provider, line.provider))):
            return False
        if self.tag is not None and self.tag not in line.tags:
            return False
        if not (self.start or 0) <= line.at_unix < (self.end or BEYOND):
            return False
        return self.status is None or self.status == _status(line, by_number=self.status.isdigit())

    def _of_keys(self, line: Logged) -> bool:
        if self.hashes is None:
            return True
        return line.actor in self.hashes or (line.kind == "admin" and not self.own and line.target in self.hashes)

    @property
    def of_calls_only(self) -> bool:
        """Changes have none of these."""
        return self.kind == "request" or any((self.model, self.provider, self.tag))

    @property
    def words(self) -> list[str]:
        """By which words the rows can be found, the rarest kind there is; none where every row has to be looked at."""
        if self.request_id is not None:
            return [_word("r", self.request_id)]
        if self.trace_id is not None:
            return [_word("t", self.trace_id)]
        if self.hashes is not None:
            return [_word("k", hash) for hash in self.hashes]
        return [_word("g", self.tag)] if self.tag is not None else []


def _status(line: Logged, *, by_number: bool) -> str:
    if by_number:
        return str(line.http_status)
    return "ok" if line.status == "ok" else "error"


class Log:
    """Reads both tables. Use one object per database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._behind = Behind(database, MARK, _steps)
        self.keep_up = self._behind.catch_up

    async def page(self, wanted: Filter, limit: int, before: Place | None) -> tuple[list[Logged], Place | None]:
        """The newest lines before a place, and where the next page begins; None where there is none. It may have fewer lines than
        `limit`, or none, and go on: where rows are rare that pass the filter."""
        before = before or Place(BEYOND, BEYOND)
        requests, request = await self._requests(wanted, limit, before.request)
        changes = await self._changes(wanted, limit, before.change)
        change = changes[-1].seq if len(changes) == limit else 0
        if request and len(requests) < limit:
            # Older calls were not looked at: changes that are older than these wait for the next page.
            oldest = await self._ended(request)
            waiting = [line for line in changes if line.at_unix < oldest]
            changes = changes[: len(changes) - len(waiting)]
            change = (changes[-1].seq if changes else before.change) if waiting else change
        told = _merged(requests, changes, limit)
        requests_told = sum(line.kind == "request" for line in told)
        changes_told = len(told) - requests_told
        if requests_told < len(requests):
            request = requests[requests_told - 1].seq if requests_told else before.request
        if changes_told < len(changes):
            change = changes[changes_told - 1].seq if changes_told else before.change
        return told, Place(request, change) if request or change else None

    async def newest(self) -> Place:
        """The end of the log now."""
        row = await self._database.one(
            "SELECT (SELECT coalesce(max(seq), 0) FROM generation), (SELECT coalesce(max(seq), 0) FROM audit)"
        )
        assert row is not None
        return Place(*row)

    async def behind(self, place: Place, limit: int) -> tuple[list[Logged], Place]:
        """The lines that were added behind a place, oldest first, and where these end."""
        requests = await self._database.all(f"{_CALLS} WHERE seq > ? ORDER BY seq LIMIT ?", (place.request, limit))
        changes = await self._database.all(f"{_CHANGES} WHERE seq > ? ORDER BY seq LIMIT ?", (place.change, limit))
        lines = [*map(_call, requests), *map(_change, changes)]
        end = Place(requests[-1][0] if requests else place.request, changes[-1][0] if changes else place.change)
        return sorted(lines, key=lambda line: (line.at_unix, line.seq)), end

    async def place(self, id: str) -> Place | None:
        """Where the line with this id stands; None where there is none."""
        row = await self._database.one(f"{_CALLS} WHERE id = ?", (id,))
        if row is not None:
            line = _call(row)
            query = "SELECT coalesce(max(seq), 0) FROM audit WHERE created_unix <= ?"
            other = await self._database.one(query, (line.at_unix,))
            return Place(line.seq, other[0] if other else 0)
        row = await self._database.one(f"{_CHANGES} WHERE id = ?", (id,))
        if row is None:
            return None
        line = _change(row)
        newest = await self.newest()
        return Place(await first_since(self._database, line.at_unix, 1, newest.request + 1) - 1, line.seq)

    # --- calls ---

    async def _requests(self, wanted: Filter, limit: int, before: int) -> tuple[list[Logged], int]:
        """The newest calls before a row, and the row down to which all were looked at; 0 where that is all of them."""
        if wanted.kind == "admin":
            return [], 0
        if wanted.words:
            await self.keep_up()
        low, high = await self._bounds(wanted, before)
        until = time.monotonic() + PATIENCE_S
        found: list[Logged] = []
        while high > low and len(found) < limit:
            block = await self._block(wanted.words, low, high)
            query, parameters = _calls(wanted, block, high, limit - len(found))
            found += map(_call, await self._database.all(query, parameters))
            high = block
            if time.monotonic() >= until:
                break
        if len(found) >= limit:
            high = found[-1].seq
        return found, high if high > low else 0

    async def _bounds(self, wanted: Filter, before: int) -> tuple[int, int]:
        """The rows from `low` to before `high` are those of the period."""
        # Both in one SELECT would read the whole table.
        rows = await self._database.one(
            "SELECT coalesce((SELECT min(seq) FROM generation), 1), coalesce((SELECT max(seq) FROM generation), 0) + 1"
        )
        assert rows is not None
        low, high = rows
        if wanted.start is not None:
            low = await first_since(self._database, wanted.start - MARGIN_S, low, high)
        if wanted.end is not None:
            high = await first_since(self._database, wanted.end + MARGIN_S, low, high)
        return low, min(high, before)

    async def _block(self, words: Sequence[str], low: int, high: int) -> int:
        """From where on to look at rows before `high`."""
        if not words:
            return max(low, high - BLOCK)
        block = low
        for word in words:
            row = await self._database.one(
                "SELECT seq FROM log_word WHERE word = ? AND seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
                (word, high, FOUND_BLOCK),
            )
            block = max(block, row[0] if row else low)
        return block

    async def _ended(self, seq: int) -> float:
        """When the call of this row ended."""
        row = await self._database.one(f"{_CALLS} WHERE seq >= ? ORDER BY seq LIMIT 1", (seq,))
        return _call(row).at_unix if row else 0.0

    # --- changes ---

    async def _changes(self, wanted: Filter, limit: int, before: int) -> list[Logged]:
        if wanted.of_calls_only or wanted.status not in (None, "ok"):
            return []
        conditions = ["seq < ?"]
        parameters: list[Any] = [before]
        simple: Mapping[str, Any] = {
            "trace_id = ?": wanted.trace_id,
            "request_id = ?": wanted.request_id,
            "created_unix >= ?": wanted.start,
            "created_unix < ?": wanted.end,
        }
        _add(simple, conditions, parameters)
        if wanted.hashes is not None:
            marks = _marks(wanted.hashes)
            conditions.append(f"(actor IN ({marks})" + (")" if wanted.own else f" OR target IN ({marks}))"))
            parameters += [*wanted.hashes] * (1 if wanted.own else 2)
        query = f"{_CHANGES} WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
        return [_change(row) for row in await self._database.all(query, [*parameters, limit])]


def _calls(wanted: Filter, low: int, high: int, limit: int) -> tuple[str, list[Any]]:
    conditions = ["seq >= ?", "seq < ?"]
    parameters: list[Any] = [low, high]
    if words := wanted.words:
        conditions.append(f"seq IN (SELECT seq FROM log_word WHERE word IN ({_marks(words)}) AND seq >= ? AND seq < ?)")  # noqa: S608
        parameters += [*words, low, high]
    ended = "created_unix + (latency_ms + generation_ms) / 1000.0"
    simple: Mapping[str, Any] = {
        "trace_id = ?": wanted.trace_id,
        "request_id = ?": wanted.request_id,
        "model = ?": wanted.model,
        "provider = ?": wanted.provider,
        f"{ended} >= ?": wanted.start,
        f"{ended} < ?": wanted.end,
        "EXISTS (SELECT 1 FROM json_each(detail, '$.tags') WHERE value = ?)": wanted.tag,
    }
    _add(simple, conditions, parameters)
    if wanted.hashes is not None:
        conditions.append(f"key_hash IN ({_marks(wanted.hashes)})")
        parameters += wanted.hashes
    if wanted.status in ("ok", "error"):
        conditions.append("status = 'ok'" if wanted.status == "ok" else "status <> 'ok'")
    elif wanted.status is not None:
        conditions.append("http_status = ?")
        parameters.append(int(wanted.status))
    return f"{_CALLS} WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?", [*parameters, limit]


def _add(simple: Mapping[str, Any], conditions: list[str], parameters: list[Any]) -> None:
    """Take up the conditions that have a value."""
    for condition, value in simple.items():
        if value is not None:
            conditions.append(condition)
            parameters.append(value)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


_CALLS = (
    "SELECT seq, id, created_unix + (latency_ms + generation_ms) / 1000.0, request_id, trace_id, key_hash, api_type, model, provider,"
    " status, http_status, error_code, charge, latency_ms + generation_ms, input + output,"
    " CASE WHEN instr(detail, '\"tags\"') THEN json_extract(detail, '$.tags') END FROM generation"
)
_CHANGES = "SELECT seq, id, created_unix, request_id, trace_id, actor, action, target, detail FROM audit"


def _call(row: Sequence[Any]) -> Logged:
    seq, id, at_unix, request_id, trace_id, key_hash, api_type, model, provider, status, *rest = row
    http_status, error_code, cost, latency_ms, tokens, tags = rest
    return Logged(
        seq=seq,
        kind="request",
        id=id,
        at_unix=at_unix,
        request_id=request_id,
        trace_id=trace_id,
        actor=key_hash,
        action=api_type,
        target=model,
        status=status,
        http_status=http_status,
        error_code=error_code,
        model=model,
        provider=provider or None,
        tags=msgspec.json.decode(tags, type=list[str]) if tags else [],
        cost=cost,
        latency_ms=latency_ms,
        tokens=tokens,
    )


def _change(row: Sequence[Any]) -> Logged:
    seq, id, at_unix, request_id, trace_id, actor, action, target, detail = row
    return Logged(
        seq=seq,
        kind="admin",
        id=id,
        at_unix=at_unix,
        request_id=request_id,
        trace_id=trace_id,
        actor=actor,
        action=action,
        target=target,
        detail=_decode(detail),
    )


def _merged(requests: Sequence[Logged], changes: Sequence[Logged], limit: int) -> list[Logged]:
    """The newest first, each list in its own order (clocks jump)."""
    merged: list[Logged] = []
    left, right = list(reversed(requests)), list(reversed(changes))
    while (left or right) and len(merged) < limit:
        newer = left if left and (not right or left[-1].at_unix >= right[-1].at_unix) else right
        merged.append(newer.pop())
    return merged


# --- words -----------------------------------------------------------------------------------------------------------


def _word(kind: str, text: str) -> str:
    return kind + (text[:HASH_LETTERS] if kind == "k" else text)


def _words(rows: str) -> str:
    """The words of some rows of `generation`, and where they stand."""
    return f"""
        WITH chosen AS (SELECT seq, request_id, trace_id, key_hash, detail FROM generation WHERE {rows})
        SELECT 'r' || request_id, seq FROM chosen WHERE request_id <> ''
        UNION ALL SELECT 't' || trace_id, seq FROM chosen WHERE trace_id IS NOT NULL
        UNION ALL SELECT 'k' || substr(key_hash, 1, {HASH_LETTERS}), seq FROM chosen
        UNION ALL SELECT 'g' || each.value, seq
            FROM chosen, json_each(CASE WHEN instr(detail, '"tags"') THEN json_extract(detail, '$.tags') ELSE '[]' END) AS each
    """  # noqa: S608 - our own words


_FIND = f"INSERT INTO log_word (word, seq) {_words(fresh(MARK))} ORDER BY 1, 2 ON CONFLICT DO NOTHING"


def forgetting(rows: str) -> str:
    """The statement that takes away the words of rows that will be deleted: those whose `seq` this query finds."""
    return f"DELETE FROM log_word WHERE (word, seq) IN ({_words(f'seq IN ({rows})')})"  # noqa: S608 - our own words


def _steps(rows: int) -> list[Statement]:
    return [(_FIND, (rows,))]


async def _create(connection: aiosqlite.Connection) -> None:
    """The table, with the words of all calls that are there."""
    await connection.execute_fetchall(
        "CREATE TABLE log_word (word TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (word, seq)) WITHOUT ROWID"
    )
    await begin(connection, MARK, _steps)


MIGRATIONS = (Migration("log", 1, _create),)
