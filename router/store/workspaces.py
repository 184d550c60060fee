"""Workspaces: groups of keys with budgets of their own. One, `default`, is always there. All of them are in memory."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct, field

from ..errors import Conflict, NotFound
from ..identity import DEFAULT_WORKSPACE
from .audit import Change, recorded
from .database import Database
from .writer import Statement


class Amount(Struct, kw_only=True, frozen=True):
    """A budget of a workspace, in picodollars."""

    id: str
    amount: int
    created_unix: float
    updated_unix: float


class Workspace(Struct, kw_only=True, frozen=True):
    """One workspace, as it stands. Replaced, never changed. `settings` are words that clients keep there, which nothing here goes by;
    `budgets` are by interval (daily, weekly, monthly, lifetime)."""

    id: str
    slug: str
    name: str
    created_unix: float
    description: str | None = None
    updated_unix: float | None = None
    created_by: str | None = None
    include_byok: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, Amount] = field(default_factory=dict)


class Workspaces:
    """All workspaces."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall
        self._known: dict[str, Workspace] = {}
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read all of them; and again from now on whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        await self.reload()

    async def reload(self) -> None:
        """Read all of them again."""
        async with self._loading:
            budgets: dict[str, dict[str, Amount]] = {}
            for workspace, interval, *rest in await self._database.all(
                'SELECT workspace_id, "interval", id, amount, created_unix, updated_unix FROM workspace_budget'
            ):
                amount = Amount(**dict(zip(Amount.__struct_fields__, rest, strict=True)))
                budgets.setdefault(workspace, {})[interval] = amount
            rows = await self._database.all(f"SELECT {_NAMES} FROM workspace ORDER BY created_unix, id")  # noqa: S608
            self._known = {row[0]: _workspace(row, budgets.get(row[0], {})) for row in rows}

    def find(self, reference: str) -> Workspace | None:
        """The workspace with this id or slug."""
        found = self._known.get(reference)
        return found or next((each for each in self._known.values() if each.slug == reference), None)

    def get(self, id: str | None) -> Workspace | None:
        """The workspace with this id, None standing for the default one."""
        return self._known.get(id or DEFAULT_WORKSPACE)

    def all(self) -> list[Workspace]:
        """All of them, the oldest first."""
        return list(self._known.values())

    # --- changes ---

    async def put(self, workspace: Workspace, change: Change) -> Workspace:
        """Write a new workspace, or one as it stands now, without its budgets. Raises Conflict where its slug is taken."""
        row = (*(getattr(workspace, name) for name in _PLAIN), msgspec.json.encode(workspace.settings).decode())
        try:
            await self._write((_PUT, row), change=change)
        except sqlite3.IntegrityError:
            raise Conflict(f"there is a workspace {workspace.slug!r} already; slugs are unique") from None
        return self.known(workspace.id)

    async def delete(self, id: str, change: Change) -> None:
        """Take one away that nothing lies in. Raises NotFound, Conflict."""
        self.known(id)
        if id == DEFAULT_WORKSPACE:
            raise Conflict("the default workspace stays")
        try:
            await self._write(
                ("DELETE FROM workspace_budget WHERE workspace_id = ?", (id,)),
                ("DELETE FROM workspace WHERE id = ?", (id,)),
                change=change,
            )
        except sqlite3.IntegrityError:
            keys, guardrails = (await self._database.all(_LIE_THERE, (id, id)))[0]
            raise Conflict(
                f"this workspace still has {keys} keys and {guardrails} guardrails; delete them or move them to another one"
            ) from None

    async def set_budget(self, id: str, interval: str, amount: int, include_byok: bool | None, change: Change) -> None:
        """Set the budget of this interval, and whether the list price of calls with clients' own keys counts."""
        now = self._wall()
        including = (
            ()
            if include_byok is None
            else (("UPDATE workspace SET include_byok = ? WHERE id = ?", (include_byok, id)),)
        )
        row = (id, interval, f"wsb_{secrets.token_hex(10)}", amount, now, now)
        await self._write((_SET, row), *including, change=change)

    async def drop_budget(self, id: str, interval: str, change: Change) -> None:
        """Take the budget of this interval away."""
        await self._write(
            ('DELETE FROM workspace_budget WHERE workspace_id = ? AND "interval" = ?', (id, interval)), change=change
        )

    def known(self, reference: str) -> Workspace:
        """The workspace with this id or slug. Raises NotFound."""
        if (workspace := self.find(reference)) is None:
            raise NotFound(
                f"there is no workspace {reference[:100]!r}; GET /workspaces lists what there is", param="id"
            )
        return workspace

    async def _write(self, *statements: Statement, change: Change) -> None:
        await self._database.write(*statements, recorded(change))
        await self.reload()


def new_id() -> str:
    """The id of a new workspace."""
    return f"ws_{secrets.token_hex(10)}"


# --- rows ------------------------------------------------------------------------------------------------------------

_PLAIN = ("id", "slug", "name", "created_unix", "description", "updated_unix", "created_by", "include_byok")
_NAMES = ", ".join((*_PLAIN, "settings"))
_PUT = f"""
    INSERT INTO workspace ({_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, name = excluded.name, description = excluded.description,
        updated_unix = excluded.updated_unix, include_byok = excluded.include_byok, settings = excluded.settings
"""  # noqa: S608 - our own names
_SET = """
    INSERT INTO workspace_budget (workspace_id, "interval", id, amount, created_unix, updated_unix) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (workspace_id, "interval") DO UPDATE SET amount = excluded.amount, updated_unix = excluded.updated_unix
"""
_LIE_THERE = """
    SELECT (SELECT count(*) FROM key WHERE workspace_id = ? AND deleted_unix IS NULL AND replaced_unix IS NULL),
        (SELECT count(*) FROM guardrail WHERE workspace_id = ?)
"""

_settings = msgspec.json.Decoder(dict[str, Any]).decode


def _workspace(row: tuple[Any, ...], budgets: dict[str, Amount]) -> Workspace:
    values = dict(zip(_PLAIN, row[:-1], strict=True))
    values["include_byok"] = bool(values["include_byok"])
    return Workspace(**values, settings=_settings(row[-1]), budgets=budgets)
