"""What was changed by hand is recorded with the change itself, and stays as it was."""

from __future__ import annotations

import sqlite3

import pytest

from router.store import Database
from router.store.audit import Change, recorded


async def test_a_change_is_recorded_with_what_it_changes(database: Database) -> None:
    change = Change(action="key.create", target="k", actor="a" * 64, detail={"name": "n"})

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(recorded(change), ("INSERT INTO audit (id) VALUES (NULL)", ()))
    assert await database.all("SELECT * FROM audit") == []

    await database.write(recorded(change))
    row = await database.one("SELECT id, actor, action, target, detail FROM audit")
    assert row == (change.id, "a" * 64, "key.create", "k", '{"name":"n"}')


async def test_what_was_recorded_is_never_changed(database: Database) -> None:
    await database.write(recorded(Change(action="key.create", target="k")))

    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        await database.write(("UPDATE audit SET actor = 'me'", ()))
