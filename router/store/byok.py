"""Keys that clients bring for providers: their settings, and the keys themselves as bytes that only `byok.key` opens. All in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import NotFound
from .audit import Change, recorded
from .database import Database

LISTS = ("allowed_models", "allowed_api_key_hashes", "allowed_user_ids")


class ByokKey(Struct, kw_only=True):
    """One key. `label` is what may be shown of it; `version` counts how often it was replaced by another. The lists restrict what it
    may be used for, None does not. Lower `sort_order` goes first; `is_fallback`: behind the configured credentials."""

    id: str
    provider: str
    name: str | None
    label: str
    sealed: bytes
    version: int = 1
    disabled: bool = False
    is_fallback: bool = False
    allowed_models: list[str] | None = None
    allowed_api_key_hashes: list[str] | None = None
    allowed_user_ids: list[str] | None = None
    sort_order: int = 0
    workspace_id: str | None = None
    created_unix: float
    updated_unix: float


_COLUMNS = ByokKey.__struct_fields__
_NAMES = ", ".join(_COLUMNS)
_INSERT = f"INSERT OR REPLACE INTO byok ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - our own names


class ByokKeys:
    """All of them. `changed` is called whenever there are others."""

    def __init__(self, database: Database, changed: Callable[[], None]) -> None:
        self._database = database
        self._changed = changed
        self._known: dict[str, ByokKey] = {}
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """Read all, and again whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        await self.reload()

    async def reload(self) -> None:
        """Read all of them again."""
        async with self._turn:
            rows = await self._database.all(
                f"SELECT {_NAMES} FROM byok ORDER BY provider, sort_order, created_unix"  # noqa: S608 - our own names
            )
            known = {key.id: key for key in map(_key, rows)}
            if known != self._known:
                self._known = known
                self._changed()

    def all(self) -> list[ByokKey]:
        """By provider, and there in their order."""
        return list(self._known.values())

    def one(self, id: str) -> ByokKey:
        """The key with this id. Raises NotFound."""
        if (key := self._known.get(id)) is None:
            raise NotFound(f"there is no provider key {id[:100]!r}; GET /byok lists what there is", param="id")
        return key

    async def put(self, key: ByokKey, change: Change) -> None:
        """Write a new one, or one anew."""
        await self._database.write((_INSERT, _row(key)), recorded(change))
        await self.reload()

    async def delete(self, key: ByokKey, change: Change) -> None:
        """Take it away; nothing is left of it."""
        await self._database.write(("DELETE FROM byok WHERE id = ?", (key.id,)), recorded(change))
        await self.reload()


def _row(key: ByokKey) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(key)
    for name in LISTS:
        values[name] = None if values[name] is None else msgspec.json.encode(values[name]).decode()
    return tuple(values.values())


def _key(row: tuple[Any, ...]) -> ByokKey:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in LISTS:
        values[name] = None if values[name] is None else msgspec.json.decode(values[name], type=list[str])
    return ByokKey(**values | {"disabled": bool(values["disabled"]), "is_fallback": bool(values["is_fallback"])})
