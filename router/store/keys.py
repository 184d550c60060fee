"""Keys: made here, shown once, kept as hashes; every lookup of a request is answered from memory.

A rotated key keeps its id, name and settings; its old hash stays as a row of its own until its grace is over.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from ..errors import BadRequest, Conflict, NotFound
from ..identity import DEFAULT_WORKSPACE, INFERENCE_SCOPES, MANAGEMENT_SCOPES, Identity
from ..prices import usd
from .audit import Change, recorded
from .database import Database
from .errors import StoreError
from .remains import clear
from .schema.managing import NOWHERE
from .writer import Statement

log = logging.getLogger(__name__)

#: the shortest management key that the environment may bring
SHORTEST_SECRET = 32
LONGEST_NAME = 100
RESETS = ("daily", "weekly", "monthly")
#: what SQLite numbers rows by
Row = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
#: a reload of more keys than this lets others in between
ROWS_AT_A_TIME = 200

#: columns of `key` that are JSON
_JSON = frozenset({"scopes", "allowed_providers", "allowed_models", "allowed_endpoints", "tags", "compat"})
_COLUMNS = Identity.__struct_fields__
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_MARKS = ", ".join("?" * len(_COLUMNS))
_LIVE = "deleted_unix IS NULL AND replaced_unix IS NULL"
_SELECT = f"SELECT {_NAMES} FROM key"  # noqa: S608 - names of our own Struct
_INSERT = f"INSERT INTO key ({_NAMES}) VALUES ({_MARKS})"  # noqa: S608 - names of our own Struct

#: what `update` may change
SETTINGS = frozenset(_COLUMNS) - {"hash", "id", "label", "management", "created_unix", "updated_unix"}


class KeyPage(NamedTuple):
    """A part of the list of keys. `total`: how many there are in all parts; `next`: the token of the next part, None at the end."""

    keys: list[Identity]
    total: int
    next: str | None


class Keys:
    """All keys of this router. `environment_key` (ROUTER_MANAGEMENT_KEY) is a management key that is never stored.

    Changes stand on record (`store.audit`) in the transaction that makes them: `change` says who asks, else it was the command line.
    Raises StoreError where the environment's key is too short.
    """

    def __init__(
        self,
        database: Database,
        *,
        prefix: str = "sk-rt",
        environment_key: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._prefix = prefix
        self._wall = wall
        self._known: dict[str, Identity] = {}
        #: told of every secret that was deleted, when that is written
        self.gone: Callable[[Identity], None] = lambda identity: None
        #: changes one at a time, so that what is in memory is what was written last
        self._turn = asyncio.Lock()
        self._environment = _environment_identity(environment_key) if environment_key else None

    async def load(self) -> None:
        """Read all keys into memory; and again from now on whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        await self.reload()

    async def reload(self) -> None:
        """Read all keys again."""
        async with self._turn:
            rows = await self._database.all(f"{_SELECT} WHERE deleted_unix IS NULL")
            known = {}
            for number, row in enumerate(rows, 1):
                known[row[0]] = _identity(row)
                if number % ROWS_AT_A_TIME == 0:
                    await asyncio.sleep(0)  # calls go on meanwhile
            if self._environment is not None:
                known[self._environment.hash] = self._environment
            before, self._known = self._known, known
            for hash in before.keys() - known.keys():
                self.gone(before[hash])

    def find(self, key: str) -> Identity | None:
        """Whose key this is, in whatever state (disabled, expired); None for one that is not ours."""
        return self._known.get(hash_of(key))

    def get(self, hash: str) -> Identity | None:
        """The key with this hash, in whatever state."""
        return self._known.get(hash)

    def limited(self) -> list[Identity]:
        """The keys in force that have a limit to spend, each once."""
        return [each for each in self._known.values() if each.limit is not None and not each.disabled]

    # --- changes ---

    async def create(
        self,
        name: str,
        *,
        management: bool = False,
        change: Change | None = None,
        also: Sequence[Statement] = (),
        another: bool = False,
        **settings: Any,
    ) -> tuple[str, Identity]:
        """Make a key: the plain key, which nobody can show again, and what is stored of it.

        `settings` are members of Identity (`limit` in picodollars); `also` is written in the same transaction; `another` adds to
        the name where it is taken. Raises BadRequest, Conflict where a live key has this name.
        """
        async with self._turn:
            if another and await self._database.one(f"{_SELECT} WHERE name = ? AND {_LIVE}", (name,)):
                name = f"{name[: LONGEST_NAME - 9]} {secrets.token_hex(4)}"
            self.check(management=management, name=name, **settings)
            plain, identity = self._new(name, management, settings)
            note = _note(change, "key.create", identity, {"name": name, "management": management, **settings})
            await self._write(identity, (_INSERT, _values(identity)), note, *also)
        return plain, identity

    async def create_first(self) -> tuple[str, str] | None:
        """One management and one inference key where there has never been any key; else None."""
        if await self._database.one("SELECT 1 FROM key LIMIT 1") is not None:
            return None
        management, first = self._new("management", True, {})
        inference, second = self._new("inference", False, {})
        await self._database.write(
            *((_INSERT, _values(each)) for each in (first, second)),
            *(_note(None, "key.create", each, {"name": each.name}) for each in (first, second)),
        )
        await self.reload()
        return management, inference

    async def update(self, reference: str, *, change: Change | None = None, **settings: Any) -> Identity:
        """Change settings of a key; the counters stay. A secret that rotation has left in force goes along.

        Raises NotFound, BadRequest, Conflict.
        """
        async with self._turn:
            old = await self.show(reference)
            self.check(management=old.management, **settings)
            now = self._wall()
            new = msgspec.structs.replace(old, **settings, updated_unix=now)
            shared = [name for name in (*settings, "updated_unix") if name != "expires_unix"]
            setting = ", ".join(f'"{name}" = ?' for name in shared)
            values = [_to_column(name, getattr(new, name)) for name in shared]
            note = _note(change, "key.update", new, settings)
            await self._write(
                new,
                (f"UPDATE key SET {setting} WHERE id = ? AND deleted_unix IS NULL", (*values, old.id)),  # noqa: S608
                ("UPDATE key SET expires_unix = ? WHERE hash = ?", (new.expires_unix, old.hash)),
                (
                    "UPDATE key SET expires_unix = min(expires_unix, ?) WHERE id = ? AND hash <> ? AND ? IS NOT NULL",
                    (new.expires_unix, old.id, old.hash, new.expires_unix),
                ),
                note,
            )
        return new

    async def disable(self, reference: str, *, disabled: bool = True) -> Identity:
        """Refuse the key from now on, or (False) take it again. Raises NotFound."""
        return await self.update(reference, disabled=disabled)

    async def delete(self, reference: str, *, change: Change | None = None) -> Identity:
        """Take the key away for good, and what is held for it: by the stores' triggers, and what may be much in pieces after that.

        What it did stays in the ledger under its hash. Raises NotFound.
        """
        async with self._turn:
            identity = await self.show(reference)
            gone = "UPDATE key SET deleted_unix = ? WHERE id = ? AND deleted_unix IS NULL"
            note = _note(change, "key.delete", identity, {"name": identity.name})
            await self._write(identity, (gone, (self._wall(), identity.id)), note)
        try:
            await clear(self._database, identity.id)
        except StoreError as error:
            log.error("what remains of the key %s is deleted at the next start: %s", identity.label, error)
        return identity

    async def rotate(
        self, reference: str, *, grace_s: float = 0.0, change: Change | None = None
    ) -> tuple[str, Identity]:
        """A new secret with the same settings and counters; the old one holds for `grace_s` seconds more. Raises NotFound."""
        async with self._turn:
            old = await self.show(reference)
            now = self._wall()
            plain = new_key(self._prefix, management=old.management)
            new = msgspec.structs.replace(old, hash=hash_of(plain), label=label_of(plain), updated_unix=now)
            until = now + grace_s
            if old.expires_unix is not None:
                until = min(until, old.expires_unix)
            await self._write(
                new,
                ("UPDATE key SET replaced_unix = ?, expires_unix = ? WHERE hash = ?", (now, until, old.hash)),
                (_INSERT, _values(new)),
                _note(change, "key.rotate", new, {"old_hash": old.hash, "grace_seconds": grace_s}),
            )
        return plain, new

    # --- looking ---

    async def list(self, *, include_disabled: bool = True) -> Sequence[Identity]:
        """The live keys, newest first, as the file has them."""
        rows = await self._database.all(f"{_SELECT} WHERE {_LIVE} ORDER BY created_unix DESC, rowid DESC")
        return [identity for row in rows if not (identity := _identity(row)).disabled or include_disabled]

    async def page(
        self,
        limit: int,
        *,
        offset: int = 0,
        after: str | None = None,
        include_disabled: bool = False,
        include_expired: bool = True,
        workspace_id: str | None = None,
    ) -> KeyPage:
        """A part of the live keys, newest first, behind the one that the token `after` stands for. Raises BadRequest."""
        where, given = _LIVE, list[Any]()
        if not include_disabled:
            where += " AND disabled = 0"
        if not include_expired:
            where += " AND (expires_unix IS NULL OR expires_unix > ?)"
            given.append(self._wall())
        if workspace_id is not None:
            where += " AND coalesce(workspace_id, ?) = ?"
            given += [DEFAULT_WORKSPACE, workspace_id]
        total = await self._database.one(f"SELECT count(*) FROM key WHERE {where}", given)  # noqa: S608
        assert total is not None
        if after is not None:
            where += " AND (created_unix, rowid) < (?, ?)"
            given += _place(after)
        rows = await self._database.all(
            f"SELECT {_NAMES}, rowid FROM key WHERE {where}"  # noqa: S608 - names of our own Struct
            " ORDER BY created_unix DESC, rowid DESC LIMIT ? OFFSET ?",
            (*given, limit + 1, offset),
        )
        found = [_identity(row[:-1]) for row in rows[:limit]]
        return KeyPage(found, total[0], _token(found[-1], rows[limit - 1][-1]) if len(rows) > limit else None)

    async def belongings(self) -> Sequence[tuple[Any, ...]]:
        """Id, workspace and creator of all keys that there have ever been."""
        return await self._database.all("SELECT id, workspace_id, creator_user_id FROM key ORDER BY rowid")

    async def one(self, reference: str) -> Identity:
        """The live key with this hash or id. Raises NotFound."""
        row = await self._database.one(f"{_SELECT} WHERE (hash = ? OR id = ?) AND {_LIVE}", (reference, reference))
        if row is None:
            raise NotFound(f"there is no key {reference[:100]!r}; GET /keys lists what there is")
        return _identity(row)

    async def show(self, reference: str) -> Identity:
        """The live key with this hash, id, name or label. Raises NotFound, and Conflict where a label fits several."""
        found = await self._database.all(f"{_SELECT} WHERE ? IN (hash, id, name, label) AND {_LIVE}", (reference,))
        # what a key is comes before what it is called: nobody hides one behind another with its hash for a name
        exact = (
            [row for row in found if reference in (row[0], row[1])]
            or [row for row in found if reference == row[2]]
            or found
        )
        if not exact:
            raise NotFound(f"there is no key {reference[:100]!r}; `router keys list` shows what there is")
        if len(exact) > 1:
            raise Conflict(f"{reference!r} fits {len(exact)} keys; give the hash or the name")
        return _identity(exact[0])

    # --- helpers ---

    async def _write(self, identity: Identity, *statements: Statement) -> None:
        """Write a change of this key, and take all of its secrets into memory as they stand now. Raises BadRequest, Conflict."""
        try:
            await self._database.write(*statements)
        except sqlite3.IntegrityError as error:
            if str(error) == NOWHERE:
                raise BadRequest(
                    f"there is no workspace {(identity.workspace_id or '')[:100]!r} any more; GET /workspaces lists what there is",
                    param="workspace_id",
                ) from None
            raise Conflict(
                f"there is a key named {identity.name!r} already; names are unique among live keys"
            ) from None
        for *row, deleted in await self._database.all(
            f"SELECT {_NAMES}, deleted_unix FROM key WHERE id = ?",  # noqa: S608
            (identity.id,),
        ):
            if deleted is None:
                self._known[row[0]] = _identity(row)
            elif (gone := self._known.pop(row[0], None)) is not None:
                self.gone(gone)

    def _new(self, name: str, management: bool, settings: dict[str, Any]) -> tuple[str, Identity]:
        plain = new_key(self._prefix, management=management)
        settings.setdefault("scopes", MANAGEMENT_SCOPES if management else INFERENCE_SCOPES)
        identity = Identity(
            hash=hash_of(plain),
            id=f"key_{secrets.token_hex(10)}",
            name=name,
            label=label_of(plain),
            management=management,
            created_unix=self._wall(),
            **settings,
        )
        return plain, identity

    def check(self, *, management: bool, **settings: Any) -> None:
        """The values that the database cannot check. Raises BadRequest with `param`."""
        if unknown := settings.keys() - SETTINGS:
            raise BadRequest(f"a key has no setting {min(unknown)!r}", param=min(unknown))
        name = settings.get("name", "-")
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise BadRequest(f"the name of a key has 1 to {LONGEST_NAME} printable characters", param="name")
        if not (settings.get("own_label") or "-").isprintable():
            raise BadRequest("the label of a key has printable characters only", param="label")
        if wrong := settings.get("scopes", frozenset()) - scopes_of(management=management):
            kind, may = ("a management", "manage") if management else ("an inference", "make calls and read")
            raise BadRequest(f"{kind} key can only {may}: it cannot have the scope {min(wrong)!r}", param="scopes")
        if (reset := settings.get("limit_reset")) is not None and reset not in RESETS:
            raise BadRequest(f"limit_reset is one of {', '.join(RESETS)}", param="limit_reset")
        if (limit := settings.get("limit")) is not None and not 0 <= limit < 2**62:
            raise BadRequest("the limit of a key is at least 0 USD and less than 4,000,000", param="limit")
        if (expires := settings.get("expires_unix")) is not None and expires <= self._wall():
            raise BadRequest("the end of a key must lie in the future", param="expires_at")
        for path in settings.get("allowed_endpoints") or ():
            if not isinstance(path, str) or not path.startswith("/"):
                raise BadRequest(
                    f"allowed_endpoints holds paths such as '/chat/completions', not {path!r}",
                    param="allowed_endpoints",
                )
        for member in ("rpm", "tpm", "rpd", "max_parallel"):
            if (number := settings.get(member)) is not None and not -1 <= number < 2**53:
                raise BadRequest(f"{member} is a number from 0 on, or -1 for none", param=member)


def scopes_of(*, management: bool) -> frozenset[str]:
    """All that a key of this kind can have: who manages cannot make calls, who makes calls cannot manage (but look at its own)."""
    return MANAGEMENT_SCOPES if management else INFERENCE_SCOPES | {"logs:read"}


def new_key(prefix: str, *, management: bool) -> str:
    """A new secret: prefix, kind, version and 32 random bytes as 43 characters."""
    token = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    return f"{prefix}-mgmt-v1-{token}" if management else f"{prefix}-v1-{token}"


def hash_of(key: str) -> str:
    """What is stored of a key, and its public name."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def label_of(key: str) -> str:
    """What may be shown of a key."""
    return f"{key[:12]}...{key[-3:]}"


def _note(change: Change | None, action: str, identity: Identity, detail: dict[str, Any]) -> Statement:
    """The record of a change of this key."""
    change = change or Change(action=action, target="")
    return recorded(msgspec.structs.replace(change, target=identity.hash, detail=told(detail)))


def told(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a key as the record has them: money in USD, as everywhere outside."""
    plain: dict[str, Any] = {
        name: sorted(value) if isinstance(value, frozenset) else value for name, value in settings.items()
    }
    return plain | {"limit": usd(plain["limit"])} if plain.get("limit") is not None else plain


def _token(last: Identity, rowid: int) -> str:
    """What stands for the end of a page."""
    return base64.urlsafe_b64encode(msgspec.json.encode((last.created_unix, rowid))).rstrip(b"=").decode()


def _place(token: str) -> tuple[float, int]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "==="), type=tuple[float, Row])
    except (ValueError, msgspec.MsgspecError):
        raise BadRequest("this page_token is not one of ours; take next_page_token", param="page_token") from None


def _environment_identity(key: str) -> Identity:
    if len(key) < SHORTEST_SECRET:
        raise StoreError(f"ROUTER_MANAGEMENT_KEY must have at least {SHORTEST_SECRET} characters")
    return Identity(
        hash=hash_of(key),
        id=hash_of(key),
        name="environment",
        label="ROUTER_MANAGEMENT_KEY",
        management=True,
        scopes=MANAGEMENT_SCOPES,
    )


def _values(identity: Identity) -> tuple[Any, ...]:
    return tuple(_to_column(name, getattr(identity, name)) for name in _COLUMNS)


def _to_column(name: str, value: Any) -> Any:
    if name not in _JSON or value is None:
        return value
    return msgspec.json.encode(sorted(value) if isinstance(value, frozenset) else value).decode()


def _identity(row: Sequence[Any]) -> Identity:
    """A row as an identity. Raises StoreError where the row has been edited into nonsense."""
    values = {
        name: msgspec.json.decode(value) if name in _JSON else value
        for name, value in zip(_COLUMNS, row, strict=True)
        if value is not None
    }
    try:
        return msgspec.convert(values, Identity, strict=False)
    except msgspec.ValidationError as error:
        raise StoreError(f"the key {row[0]} in the database is damaged: {error}") from error
