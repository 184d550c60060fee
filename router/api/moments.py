"""Moments as the API writes and reads them: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def moment(unix: float) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def date_of(day: int) -> str:
    """The date of a UTC day since 1970-01-01."""
    return datetime.fromtimestamp(day * 86400, UTC).date().isoformat()


def unix_of(text: str) -> float:
    """Unix seconds of an ISO date (its beginning) or date-time; UTC where it names no zone. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
        # astimezone: what lies beyond the calendar in UTC could never be printed again
        return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:50]!r} is no ISO date or date-time, such as 2027-01-31 or 2027-01-31T12:00Z"
        ) from None
