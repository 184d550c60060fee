"""Codes that apps exchange for keys (PKCE, api.md 12): each is kept as a hash, holds for ten minutes and is used once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from .audit import Change, recorded
from .database import Database
from .keys import hash_of, told
from .writer import Statement

LIFE_S = 600
#: for so long it is remembered that a code was used
KEPT_S = 86400


class Code(Struct, kw_only=True):
    """One code. `challenge` and `method` are the app's, `granted_by` the hash of the key whose owner agreed, `settings` what the new
    key shall be (members of Identity)."""

    hash: str
    created_unix: float
    expires_unix: float
    challenge: str | None
    method: str | None
    granted_by: str
    settings: dict[str, Any]
    used_unix: float | None = None


_NAMES = ", ".join(Code.__struct_fields__)


class Codes:
    """All codes of the last day."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall
        #: one exchange at a time: a code is used once
        self.turn = asyncio.Lock()

    async def make(
        self, granted_by: str, settings: dict[str, Any], change: Change, *, challenge: str | None, method: str | None
    ) -> tuple[str, Code]:
        """A new code, in clear this once, and what is kept of it."""
        now, plain = self._wall(), f"auth_code_{secrets.token_urlsafe(32)}"
        code = Code(
            hash=hash_of(plain),
            created_unix=now,
            expires_unix=now + LIFE_S,
            challenge=challenge,
            method=method,
            granted_by=granted_by,
            settings=settings,
        )
        text = msgspec.json.encode(settings).decode()
        row = (code.hash, now, code.expires_unix, challenge, method, granted_by, text, None)
        await self._database.write(
            ("DELETE FROM code WHERE created_unix < ?", (now - KEPT_S,)),
            (f"INSERT INTO code ({_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row),  # noqa: S608 - names of our own Struct
            recorded(msgspec.structs.replace(change, target=code.hash, detail=told(settings))),
        )
        return plain, code

    async def find(self, plain: str) -> Code | None:
        """What is kept of a code, in whatever state."""
        row = await self._database.one(f"SELECT {_NAMES} FROM code WHERE hash = ?", (hash_of(plain),))  # noqa: S608
        if row is None:
            return None
        members = dict(zip(Code.__struct_fields__, row, strict=True))
        return msgspec.convert({**members, "settings": msgspec.json.decode(members["settings"])}, Code)

    def used(self, code: Code) -> Statement:
        """The statement that uses a code up, for the transaction of what it is exchanged for."""
        return "UPDATE code SET used_unix = ? WHERE hash = ? AND used_unix IS NULL", (self._wall(), code.hash)
