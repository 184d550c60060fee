"""Guardrails: what keys may ask and spend, and what is looked for in their content; and which keys and members they are assigned to.

All of them are in memory: a request looks at no file. Which guardrail a key has is a setting of the key; triggers keep the assignment's
own facts (when, by whom) beside it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from ..errors import NotFound
from .audit import Change, recorded
from .database import Database
from .writer import Statement

Action = Literal["block", "redact", "flag"]
#: how long a budget holds, from the shortest to the broadest
INTERVALS = ("daily", "weekly", "monthly", "lifetime")
#: whose models can be bound to zero data retention apart from those of others
FAMILIES = ("anthropic", "openai", "google", "xai", "other")
#: the guardrail that all keys of a workspace have besides their own is called after it; it is there once somebody has written it
DEFAULT_PREFIX = "grd_of_"


class ContentFilter(Struct, kw_only=True, omit_defaults=True):
    """A regular expression of the owner's, and what is done where it fits. `label` stands in place of what is redacted."""

    pattern: str
    action: Action
    label: str | None = None


class BuiltinFilter(Struct, kw_only=True, omit_defaults=True):
    """The same for something that the router knows by itself. `scan_scope` None: all messages."""

    slug: str
    action: Action
    scan_scope: Literal["user_only", "all_messages"] | None = None


class Rules(Struct, kw_only=True, omit_defaults=True):
    """What a guardrail says; None where it says nothing.

    `budgets` are picodollars by interval, `shown` the interval of the one that `limit_usd` stands for. `zdr` says of families of models
    whether they must retain nothing.
    """

    allowed_models: list[str] | None = None
    ignored_models: list[str] | None = None
    allowed_providers: list[str] | None = None
    ignored_providers: list[str] | None = None
    zdr: dict[str, bool] = field(default_factory=dict)
    paid_training: bool | None = None
    free_training: bool | None = None
    free_publication: bool | None = None
    content_filters: list[ContentFilter] | None = None
    builtins: list[BuiltinFilter] | None = None
    budgets: dict[str, int] = field(default_factory=dict)
    shown: str | None = None
    include_byok: bool = False


class Guardrail(Struct, kw_only=True, frozen=True):
    """One guardrail, as it stands. Replaced, never changed."""

    id: str
    name: str
    workspace_id: str
    rules: Rules
    created_unix: float
    description: str | None = None
    updated_unix: float | None = None


class Held(Struct, kw_only=True):
    """That a key has a guardrail."""

    id: str
    guardrail_id: str
    created_unix: float
    assigned_by: str | None
    key_hash: str
    key_name: str
    key_label: str


class Joined(Struct, kw_only=True):
    """That a member has a guardrail."""

    id: str
    guardrail_id: str
    created_unix: float
    assigned_by: str | None
    user_id: str


class Guardrails:
    """All guardrails. `version` grows with every change: what was made of them is made again."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall
        self._known: dict[str, Guardrail] = {}
        self._members: dict[str, Joined] = {}
        self._loading = asyncio.Lock()
        self.version = 0

    async def load(self) -> None:
        """Read all of them; and again from now on whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        await self.reload()

    async def reload(self) -> None:
        """Read all of them again."""
        async with self._loading:
            rows = await self._database.all(f"SELECT {_NAMES} FROM guardrail ORDER BY created_unix DESC, id")  # noqa: S608
            members = await self._database.all(f"SELECT {_MEMBER} FROM guardrail_member")  # noqa: S608
            known = {row[0]: _guardrail(row) for row in rows}
            joined = {row[-1]: Joined(**dict(zip(Joined.__struct_fields__, row, strict=True))) for row in members}
            if (known, joined) != (self._known, self._members):
                self._known, self._members = known, joined
                self.version += 1

    # --- looking ---

    @property
    def some(self) -> bool:
        """Is there any?"""
        return bool(self._known)

    def find(self, id: str) -> Guardrail | None:
        """The guardrail with this id."""
        return self._known.get(id)

    def all(self, workspace_id: str | None = None) -> list[Guardrail]:
        """All of them, or those of a workspace, newest first."""
        return [each for each in self._known.values() if workspace_id in (None, each.workspace_id)]

    def of_member(self, user_id: str) -> Guardrail | None:
        """The guardrail of a member."""
        joined = self._members.get(user_id)
        return None if joined is None else self._known.get(joined.guardrail_id)

    def members(self, guardrail_id: str | None = None) -> list[Joined]:
        """Which members have this guardrail, or any; the latest first."""
        found = [each for each in self._members.values() if guardrail_id in (None, each.guardrail_id)]
        return sorted(found, key=lambda each: (-each.created_unix, each.user_id))

    async def keys(self, limit: int, offset: int, guardrail_id: str | None = None) -> tuple[list[Held], int]:
        """Which live keys have this guardrail, or any, the latest first: a part of them, and how many there are in all."""
        where = f"FROM guardrail_key AS held JOIN key ON key.id = held.key_id AND {_LIVE}"
        given: list[Any] = []
        if guardrail_id is not None:
            where, given = where + " WHERE held.guardrail_id = ?", [guardrail_id]
        total = await self._database.one(f"SELECT count(*) {where}", given)
        assert total is not None
        rows = await self._database.all(
            "SELECT held.id, held.guardrail_id, held.created_unix, held.assigned_by, key.hash, key.name,"
            " coalesce(key.own_label, key.label)"
            f" {where} ORDER BY held.created_unix DESC, key.rowid DESC LIMIT ? OFFSET ?",
            (*given, limit, offset),
        )
        return [Held(**dict(zip(Held.__struct_fields__, row, strict=True))) for row in rows], total[0]

    # --- changes ---

    async def put(self, guardrail: Guardrail, change: Change) -> Guardrail:
        """Write a new guardrail, or one as it stands now."""
        row = (*(getattr(guardrail, name) for name in _PLAIN), msgspec.json.encode(guardrail.rules).decode())
        await self._write((_PUT, row), change=change)
        return guardrail

    async def delete(self, id: str, change: Change) -> None:
        """Take one away, from whoever had it too. (`Keys` are to be told by whoever calls.) Raises NotFound."""
        self._found(id)
        await self._write(
            ("UPDATE key SET guardrail_id = NULL WHERE guardrail_id = ?", (id,)),
            ("DELETE FROM guardrail_member WHERE guardrail_id = ?", (id,)),
            ("DELETE FROM guardrail WHERE id = ?", (id,)),
            change=change,
        )

    async def assign_keys(self, id: str, key_ids: Sequence[str], by: str | None, change: Change) -> int:
        """Give keys this guardrail in place of what they had. Returns how many did not have it. (`Keys` are to be told.)"""
        self._found(id)
        had = await self._having(id)
        new = [each for each in dict.fromkeys(key_ids) if each not in had]
        now = self._wall()
        await self._write(
            *(("UPDATE key SET guardrail_id = ?, updated_unix = ? WHERE id = ?", (id, now, each)) for each in new),
            *(("UPDATE guardrail_key SET assigned_by = ? WHERE key_id = ?", (by, each)) for each in new),
            change=change,
        )
        return len(new)

    async def remove_keys(self, id: str, key_ids: Sequence[str], change: Change) -> int:
        """Take this guardrail from keys. Returns how many had it. (`Keys` are to be told.)"""
        self._found(id)
        had = await self._having(id)
        old = [each for each in dict.fromkeys(key_ids) if each in had]
        now = self._wall()
        await self._write(
            *(("UPDATE key SET guardrail_id = NULL, updated_unix = ? WHERE id = ?", (now, each)) for each in old),
            change=change,
        )
        return len(old)

    async def assign_members(self, id: str, user_ids: Sequence[str], by: str | None, change: Change) -> int:
        """Give members this guardrail in place of what they had. Returns how many did not have it."""
        self._found(id)
        had = {each.user_id for each in self.members(id)}
        new = [each for each in dict.fromkeys(user_ids) if each not in had]
        now = self._wall()
        await self._write(
            *((_JOIN, (f"gma_{secrets.token_hex(10)}", id, now, by, each)) for each in new),
            change=change,
        )
        return len(new)

    async def remove_members(self, id: str, user_ids: Sequence[str], change: Change) -> int:
        """Take this guardrail from members. Returns how many had it."""
        self._found(id)
        had = {each.user_id for each in self.members(id)}
        old = [each for each in dict.fromkeys(user_ids) if each in had]
        await self._write(*(("DELETE FROM guardrail_member WHERE user_id = ?", (each,)) for each in old), change=change)
        return len(old)

    # --- helpers ---

    async def _having(self, id: str) -> set[str]:
        return {row[0] for row in await self._database.all("SELECT id FROM key WHERE guardrail_id = ?", (id,))}

    async def _write(self, *statements: Statement, change: Change) -> None:
        await self._database.write(*statements, recorded(change))
        await self.reload()

    def _found(self, id: str) -> Guardrail:
        if (guardrail := self.find(id)) is None:
            raise NotFound(f"there is no guardrail {id[:100]!r}; GET /guardrails lists what there is", param="id")
        return guardrail


def new_id() -> str:
    """The id of a new guardrail."""
    return f"grd_{secrets.token_hex(10)}"


# --- rows ------------------------------------------------------------------------------------------------------------

_LIVE = "key.deleted_unix IS NULL AND key.replaced_unix IS NULL"
_PLAIN = ("id", "name", "workspace_id", "created_unix", "description", "updated_unix")
_NAMES = ", ".join((*_PLAIN, "rules"))
_MEMBER = ", ".join(Joined.__struct_fields__)
_PUT = f"""
    INSERT INTO guardrail ({_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, workspace_id = excluded.workspace_id, description = excluded.description,
        updated_unix = excluded.updated_unix, rules = excluded.rules
"""  # noqa: S608 - our own names
_JOIN = f"""
    INSERT INTO guardrail_member ({_MEMBER}) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE SET id = excluded.id, guardrail_id = excluded.guardrail_id, created_unix = excluded.created_unix,
        assigned_by = excluded.assigned_by
"""  # noqa: S608 - our own names

_rules = msgspec.json.Decoder(Rules).decode


def _guardrail(row: tuple[Any, ...]) -> Guardrail:
    return Guardrail(**dict(zip(_PLAIN, row[:-1], strict=True)), rules=_rules(row[-1]))
