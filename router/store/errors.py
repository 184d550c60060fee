"""What goes wrong with the database itself."""

from __future__ import annotations

import sqlite3


class StoreError(Exception):
    """The database cannot be used. The message is one line that says what to do."""


#: primary result codes that speak of the disk, the file or other processes, never of the row: waiting may help
_CONDITIONS = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def is_condition(error: BaseException | None) -> bool:
    """True where the database is in trouble, False where the statement or a row is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CONDITIONS
