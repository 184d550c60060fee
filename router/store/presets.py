"""Presets: configurations of requests under a name, with all their versions; those in force are kept in memory.

A version is never changed. The newest one is in force until the next is added.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import aiosqlite
import msgspec
from msgspec import Struct

from ..errors import NotFound
from .audit import Change, recorded
from .database import Database
from .migrations import Migration

#: the owner of the migrations, which the names of the tables begin with
OWNER = "presets"
#: what `update` may change
CHANGEABLE = ("name", "description", "status")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Version(Struct, kw_only=True):
    """One version. `given` are the members of the request that it was made of, in the words of the API `source` (the name of a
    dialect); `config` says the same in the words of chat. `creator` is the id of the key that made it."""

    id: str
    preset_id: str
    number: int
    created_unix: float
    creator: str
    source: str
    given: dict[str, Any]
    config: dict[str, Any]
    system_prompt: str | None = None


class Preset(Struct, kw_only=True):
    """A preset with the version that is in force."""

    id: str
    slug: str
    name: str
    description: str | None
    status: str
    status_unix: float | None
    created_unix: float
    updated_unix: float
    creator: str
    version: Version


class Presets:
    """All presets. Looking one up reads no file."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall
        self._known: dict[str, Preset] = {}
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read all presets; and again from now on whenever another process has changed the file. Once."""
        self._database.watch(self.reload)
        await self.reload()

    async def reload(self) -> None:
        """Read all presets again."""
        async with self._loading:
            rows = await self._database.all(_NEWEST)
            self._known = {preset.slug: preset for preset in map(_preset, rows)}

    def find(self, slug: str) -> Preset | None:
        """The preset of this name, whatever its status."""
        return self._known.get(slug)

    def all(self) -> list[Preset]:
        """All of them, the one that was changed last first."""
        return sorted(self._known.values(), key=lambda each: (-each.updated_unix, each.slug))

    async def versions(self, slug: str) -> list[Version]:
        """All versions, the oldest first. Raises NotFound."""
        preset = self._found(slug)
        rows = await self._database.all(
            f"SELECT {_VERSION} FROM presets_version AS version WHERE preset_id = ? ORDER BY number",  # noqa: S608
            (preset.id,),
        )
        return [_version(row) for row in rows]

    # --- changes ---

    async def add(self, slug: str, version: Version, change: Change) -> Preset:
        """Add a version, which is in force from now on, and the preset where there is none. Its id, number and time are set here."""
        now, known = self._wall(), str(uuid.uuid4())
        await self._database.write(
            (
                "INSERT INTO presets (id, slug, name, status, created_unix, updated_unix, creator)"
                " VALUES (?, ?, ?, 'active', ?, ?, ?)"
                " ON CONFLICT (slug) DO UPDATE SET updated_unix = excluded.updated_unix",
                (known, slug, slug, now, now, version.creator),
            ),
            (
                "INSERT INTO presets_version (id, preset_id, number, created_unix, creator, source, given, config, system_prompt)"
                " SELECT ?, presets.id, 1 + coalesce(max(number), 0), ?, ?, ?, ?, ?, ?"
                " FROM presets LEFT JOIN presets_version ON preset_id = presets.id WHERE slug = ? GROUP BY presets.id",
                (
                    *(str(uuid.uuid4()), now, version.creator, version.source),
                    *(_encode(version.given).decode(), _encode(version.config).decode()),
                    *(version.system_prompt, slug),
                ),
            ),
            recorded(change),
        )
        await self.reload()
        return self._found(slug)

    async def update(self, slug: str, change: Change, **changes: Any) -> Preset:
        """Change name, description or status. Raises NotFound."""
        preset, now = self._found(slug), self._wall()
        values = {name: changes.get(name, getattr(preset, name)) for name in CHANGEABLE}
        since = preset.status_unix if values["status"] == preset.status else now
        await self._database.write(
            (
                "UPDATE presets SET name = ?, description = ?, status = ?, status_unix = ?, updated_unix = ? WHERE id = ?",
                (*values.values(), since, now, preset.id),
            ),
            recorded(change),
        )
        await self.reload()
        return self._found(slug)

    async def delete(self, slug: str, change: Change) -> None:
        """Take a preset away with all its versions. Raises NotFound."""
        preset = self._found(slug)
        await self._database.write(
            ("DELETE FROM presets_version WHERE preset_id = ?", (preset.id,)),
            ("DELETE FROM presets WHERE id = ?", (preset.id,)),
            recorded(change),
        )
        await self.reload()

    def _found(self, slug: str) -> Preset:
        if (preset := self.find(slug)) is None:
            raise NotFound(f"there is no preset {slug[:100]!r}; GET /v1/presets lists what there is", param="slug")
        return preset


# --- rows ------------------------------------------------------------------------------------------------------------

_PRESET_COLUMNS = (
    "id",
    "slug",
    "name",
    "description",
    "status",
    "status_unix",
    "created_unix",
    "updated_unix",
    "creator",
)
_VERSION_COLUMNS = Version.__struct_fields__
_PRESET = ", ".join(f"presets.{name}" for name in _PRESET_COLUMNS)
_VERSION = ", ".join(f"version.{name}" for name in _VERSION_COLUMNS)
_NEWEST = f"""
    SELECT {_PRESET}, {_VERSION} FROM presets JOIN presets_version AS version ON version.preset_id = presets.id
    WHERE version.number = (SELECT max(number) FROM presets_version WHERE preset_id = presets.id)
"""  # noqa: S608 - our own names


def _preset(row: tuple[Any, ...]) -> Preset:
    count = len(_PRESET_COLUMNS)
    return Preset(**dict(zip(_PRESET_COLUMNS, row[:count], strict=True)), version=_version(row[count:]))


def _version(row: tuple[Any, ...]) -> Version:
    values = dict(zip(_VERSION_COLUMNS, row, strict=True))
    values["given"], values["config"] = _decode(values["given"]), _decode(values["config"])
    return Version(**values)


# --- schema ----------------------------------------------------------------------------------------------------------

_FIRST = (
    """
    CREATE TABLE presets (
        id TEXT NOT NULL PRIMARY KEY,
        slug TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        description TEXT,
        status TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'archived')),
        status_unix REAL,
        created_unix REAL NOT NULL,
        updated_unix REAL NOT NULL,
        creator TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE presets_version (
        id TEXT NOT NULL,
        preset_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        created_unix REAL NOT NULL,
        creator TEXT NOT NULL,
        source TEXT NOT NULL,
        given TEXT NOT NULL,
        config TEXT NOT NULL,
        system_prompt TEXT,
        PRIMARY KEY (preset_id, number)
    ) WITHOUT ROWID
    """,
)


async def _first(connection: aiosqlite.Connection) -> None:
    for statement in _FIRST:
        await connection.execute_fetchall(statement)


MIGRATIONS = [Migration(OWNER, 1, _first)]
