"""What the ledger has committed, read by a connection of our own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.testing import until

COLUMNS = (
    *("id", "request_id", "status", "http_status", "error_code", "streamed", "finish_reason", "provider"),
    *("charge", "estimated", "input", "output", "detail"),
)


@dataclass(frozen=True)
class Row:
    """A generation. `charge` is picodollars."""

    id: str
    request_id: str
    status: str
    http_status: int
    error_code: str | None
    streamed: bool
    finish_reason: str | None
    provider: str
    charge: int | None
    estimated: bool
    input: int
    output: int
    attempts: list[dict[str, Any]] = field(default_factory=list)
    cancelled: bool = False
    trace_id: str | None = None


class Books:
    """The database of a router, running or not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[Row]:
        """All generations, oldest first."""
        found = self.all(f"SELECT {', '.join(COLUMNS)}, trace_id FROM generation ORDER BY seq")
        return [self._row(*values) for values in found]

    def _row(self, *values: Any) -> Row:
        *plain, detail, trace = values
        told = json.loads(detail or "{}")
        names = dict(zip(COLUMNS, plain, strict=False))
        names |= {"streamed": bool(names["streamed"]), "estimated": bool(names["estimated"])}
        return Row(**names, attempts=told.get("attempts", []), cancelled=told.get("cancelled", False), trace_id=trace)

    def reservations(self) -> list[str]:
        """The ids of the calls that are reserved for."""
        return [id for (id,) in self.all("SELECT id FROM reservation")]

    def sound(self) -> None:
        """No row is double, and all sums are those of the rows."""
        rows = self.rows()
        charged = {row.id: row.charge for row in rows if row.charge}
        assert len({row.id for row in rows}) == len(rows)
        assert dict(self.all("SELECT id, -amount FROM entry WHERE type = 'usage'")) == charged
        assert self.all("SELECT coalesce(sum(charge), 0) FROM usage_day") == [(sum(charged.values()),)]

    async def come(self, count: int, seconds: float = 1.0) -> list[Row]:
        """Wait for this many rows."""
        await until(lambda: len(self.rows()) >= count, seconds)
        rows = self.rows()
        assert len(rows) == count
        return rows

    def all(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with closing(sqlite3.connect(self._path, timeout=5)) as connection:
            return connection.execute(query).fetchall()
