"""What was kept for a key and remains when it is deleted: much, perhaps, so it goes in pieces that let settlements in between.

Nobody is shown it meanwhile: content of a deleted key is not found (store/content.py), and kept responses are found by their own key
only. What a crash has left is cleared at the next start, since it is known by its key.
"""

from __future__ import annotations

from .database import Database

#: rows that one transaction deletes: settlements wait for it
AT_ONCE = 200
#: tables, how they say whose a row is, and which member of the key that is. Those of plugins may not be there
KEPT = (("content", "key_hash", "hash"), ("feedback", "key_hash", "hash"), ("responses", "owner", "id"))


async def clear(database: Database, id: str | None = None) -> None:
    """Delete what remains of the deleted key with this id, or of all."""
    tables = {row[0] for row in await database.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    whose, given = ("", ()) if id is None else (" AND id = ?", (id,))
    for table, column, member in KEPT:
        gone = f"SELECT {member} FROM key WHERE deleted_unix IS NOT NULL{whose}"  # noqa: S608 - our own words
        remain = f"SELECT rowid FROM {table} WHERE {column} IN ({gone}) LIMIT {AT_ONCE}"  # noqa: S608 - our own words
        while table in tables and await database.one(remain, given) is not None:
            await database.write((f"DELETE FROM {table} WHERE rowid IN ({remain})", given))  # noqa: S608 - our own words
