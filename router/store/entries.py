"""The ledger proper: every change of the balance is one immutable row with its counter side, and the balance that it led to.

Usage is booked by the settlements themselves (`generations`); what is booked by hand or by a payment comes through here.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import BadRequest, Unprocessable
from ..prices import PICODOLLARS
from .database import Database
from .generations import day_of
from .writer import Statement

Type = Literal["usage", "credit", "refund", "adjustment"]

#: SQLite adds up to 9.2 million USD; half of that may be booked, so that no sum overflows
MOST_BOOKED = 4_000_000 * PICODOLLARS
#: entries of one page
MOST_ENTRIES = 10_000
#: pages further down than this are not reached entry by entry
LEAPT_OVER = 1000
#: what was booked by hand between two entries, from the index of it (`+` hides `seq` from the planner)
_HAND = "type <> 'usage' AND +seq BETWEEN ? AND ?"


class Booking(Struct, kw_only=True):
    """A change of the balance to come. `amount` in picodollars, seen from the balance; `counter_account` is where it comes from.

    The same `idempotency_key` is booked once.
    """

    type: Type
    amount: int
    counter_account: str
    description: str | None = None
    key_hash: str | None = None
    generation_id: str | None = None
    idempotency_key: str | None = None
    created_unix: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: f"txn_{secrets.token_hex(12)}")


class Entry(Struct, kw_only=True):
    """A row. `description` of a usage entry is the model that was used."""

    id: str
    created_unix: float
    type: Type
    counter_account: str
    amount: int
    balance_after: int
    key_hash: str | None
    description: str | None
    generation_id: str | None


class Wanted(Struct, kw_only=True):
    """Which entries: of these UTC days (both included), of one type, of one key by all its hashes (None: of all keys)."""

    first_day: int = 0
    last_day: int = 2**31
    type: Type | None = None
    hashes: Sequence[str] | None = None
    limit: int = 100
    offset: int = 0


class Entries:
    """Booking by hand, looking, and adding up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def book(self, booking: Booking, *others: Statement) -> Entry:
        """Write an entry, and `others` in the same transaction. Where the idempotency key has been booked already, nothing is written
        and the earlier entry returned. Raises BadRequest for amounts beyond what can be added up, Unprocessable where the earlier one
        is another."""
        if abs(await self.booked() + booking.amount) > MOST_BOOKED or abs(booking.amount) > MOST_BOOKED:
            raise BadRequest(
                f"no more than ${MOST_BOOKED // PICODOLLARS:,} can be booked by hand in all; take a smaller amount",
                param="amount",
            )
        try:
            await self._database.write((_INSERT, _values(booking)), *others)
        except sqlite3.IntegrityError:
            if booking.idempotency_key is None:
                raise
            return await self._booked_before(booking)
        entry = await self._one("entry.id = ?", booking.id)
        assert entry is not None
        return entry

    async def refund(self, generation_id: str, *, description: str | None = None) -> Booking | None:
        """The booking that gives a generation's charge back, once; None where there is no such charge."""
        row = await self._database.one(
            "SELECT amount, key_hash FROM entry WHERE id = ? AND type = 'usage'", (generation_id,)
        )
        if row is None:
            return None
        return Booking(
            type="refund",
            amount=-row[0],
            counter_account="usage",
            description=description,
            key_hash=row[1],
            generation_id=generation_id,
            idempotency_key=f"refund:{generation_id}",
        )

    async def _booked_before(self, booking: Booking) -> Entry:
        entry = await self._one("entry.idempotency_key = ?", booking.idempotency_key)
        assert entry is not None
        same = (entry.type, entry.amount, entry.description) == (booking.type, booking.amount, booking.description)
        if not same:
            raise Unprocessable(
                "this idempotency_key was used for another booking; take a new one for a new booking",
                param="idempotency_key",
            )
        return entry

    # --- looking ---

    async def booked(self) -> int:
        """All that was booked other than usage, in picodollars."""
        row = await self._database.one("SELECT coalesce(sum(amount), 0) FROM entry WHERE type <> 'usage'")
        assert row is not None
        total: int = row[0]
        return total

    async def balance(self) -> int:
        """The balance that the newest entry led to."""
        row = await self._database.one("SELECT balance_after FROM entry ORDER BY seq DESC LIMIT 1")
        return row[0] if row else 0

    async def hashes(self, key: str) -> list[str]:
        """All hashes of the key that has or had this one, or has this id: every secret that it ever had."""
        rows = await self._database.all(
            "SELECT hash FROM key WHERE id IN (SELECT id FROM key WHERE hash = ?1 OR id = ?1) UNION SELECT ?1", (key,)
        )
        return [row[0] for row in rows]

    async def page(self, wanted: Wanted) -> tuple[list[Entry], int]:
        """The entries that are wanted, newest first, and how many there are on all pages."""
        asked = wanted
        if wanted.hashes is not None and wanted.offset > LEAPT_OVER:
            asked = await self._pass_over_days(wanted)
        query, parameters = _page_of_key(asked) if wanted.hashes is not None else await self._page_of_all(wanted)
        rows = await self._database.all(query, parameters)
        return [_entry(row) for row in rows], await self._count(wanted)

    async def _page_of_all(self, wanted: Wanted) -> tuple[str, list[Any]]:
        """The days are next to each other in the ledger, but for calls that passed midnight."""
        days = [wanted.first_day, wanted.last_day]
        row = await self._database.one(
            "SELECT min(first_seq), max(last_seq) FROM entry_day WHERE day BETWEEN ? AND ?", days
        )
        first, last = row if row is not None and row[0] is not None else (1, 0)
        offset = wanted.offset
        if offset > LEAPT_OVER and wanted.type in (None, "usage"):
            last, offset = await self._leap(wanted, first, last)
        only = ""
        if wanted.type == "usage":
            only = " AND entry.type = 'usage'"
        elif wanted.type is not None:
            only = f" AND entry.type = '{wanted.type}' AND entry.type <> 'usage'"
        return (
            f"{_SELECT} WHERE entry.seq BETWEEN ? AND ? AND entry.day BETWEEN ? AND ?{only} ORDER BY entry.seq DESC LIMIT ? OFFSET ?",
            [first, last, *days, wanted.limit, offset],
        )

    async def _leap(self, wanted: Wanted, first: int, last: int) -> tuple[int, int]:
        """Where a page far down begins, and how many entries before it are still to be passed over: `seq` has no gaps, so all that lies
        between the days that were asked for and others is counted without being read."""
        row = await self._database.one(
            "SELECT coalesce((SELECT max(last_seq) FROM entry_day WHERE day < ?), 0),"
            " (SELECT min(first_seq) FROM entry_day WHERE day > ?)",
            (wanted.first_day, wanted.last_day),
        )
        assert row is not None
        low, high = max(first, row[0] + 1), min(last, last if row[1] is None else row[1] - 1)
        days = (wanted.first_day, wanted.last_day)
        only = " AND type = 'usage'" if wanted.type else ""
        mixed = await self._number(f"seq BETWEEN ? AND ? AND day BETWEEN ? AND ?{only}", high + 1, last, *days)
        left = wanted.offset - mixed
        if left <= 0 or low > high:
            return last, wanted.offset
        # What was booked by hand lies between, and is not counted where usage is asked for.
        begin, others = high - left, -1
        while wanted.type and others != (found := await self._number(_HAND, max(begin, low - 1) + 1, high)):
            others, begin = found, high - left - found
        if begin >= low:
            return begin, 0
        passed = high - low + 1 - (max(others, 0) if wanted.type else 0)
        return low - 1, left - passed

    async def _number(self, condition: str, *parameters: Any) -> int:
        row = await self._database.one(f"SELECT count(*) FROM entry WHERE {condition}", parameters)  # noqa: S608
        return row[0] if row else 0

    async def _pass_over_days(self, wanted: Wanted) -> Wanted:
        """The same without the newest days that are passed over as a whole."""
        counts: dict[int, int] = {}
        days, hashes = [wanted.first_day, wanted.last_day], wanted.hashes or []
        if wanted.type in (None, "usage"):
            query = (
                "SELECT day, sum(charged) FROM usage_day WHERE day IN (SELECT day FROM entry_day WHERE day BETWEEN ? AND ?)"  # noqa: S608
                f" AND key_hash IN ({_marks(hashes)}) GROUP BY day"
            )
            counts = dict(await self._database.all(query, [*days, *hashes]))
        if wanted.type != "usage":
            by_hand, parameters = _by_hand(wanted)
            query = f"SELECT day, count(*) FROM entry WHERE {by_hand} GROUP BY day"  # noqa: S608 - our own words
            for day, count in await self._database.all(query, parameters):
                counts[day] = counts.get(day, 0) + count
        offset = wanted.offset
        for day in sorted(counts, reverse=True):
            if counts[day] > offset:
                return replace(wanted, last_day=day, offset=offset)
            offset -= counts[day]
        return replace(wanted, last_day=wanted.first_day - 1, offset=0)

    async def _count(self, wanted: Wanted) -> int:
        days, hashes = [wanted.first_day, wanted.last_day], wanted.hashes
        of_days = "(SELECT day FROM entry_day WHERE day BETWEEN ? AND ?)"
        queries: list[tuple[str, list[Any]]] = []
        if wanted.type in (None, "usage") and hashes is None:
            queries.append(("SELECT sum(usage) FROM entry_day WHERE day BETWEEN ? AND ?", days))
        elif wanted.type in (None, "usage") and hashes is not None:
            query = f"SELECT sum(charged) FROM usage_day WHERE day IN {of_days} AND key_hash IN ({_marks(hashes)})"  # noqa: S608
            queries.append((query, [*days, *hashes]))
        if wanted.type != "usage":
            by_hand, parameters = _by_hand(wanted)
            queries.append((f"SELECT count(*) FROM entry WHERE {by_hand}", parameters))  # noqa: S608
        rows = [await self._database.one(query, parameters) for query, parameters in queries]
        return sum(row[0] or 0 for row in rows if row is not None)

    async def _one(self, condition: str, value: Any) -> Entry | None:
        row = await self._database.one(f"{_SELECT} WHERE {condition}", (value,))
        return _entry(row) if row else None

    # --- adding up ---

    async def check(self) -> list[str]:
        """Does the ledger add up? Returns a line for each sum that does not; empty where all is well."""
        complaints = []
        for query, complaint in CHECKS:
            row = await self._database.one(query)
            if row is not None and row[0]:
                complaints.append(complaint.format(*row))
        return complaints


#: each finds a number of faults, 0 where there are none
CHECKS = (
    (
        "SELECT coalesce(sum(amount), 0) - coalesce((SELECT balance_after FROM entry ORDER BY seq DESC LIMIT 1), 0),"
        " coalesce(sum(amount), 0) FROM entry",
        "the entries of the ledger sum up to {1} picodollars, which is {0} more than the balance of the last one",
    ),
    (
        "SELECT count(*), min(seq) FROM (SELECT seq, balance_after - lag(balance_after, 1, 0) OVER (ORDER BY seq) <> amount AS wrong"
        " FROM entry) WHERE wrong",
        "{0} entries of the ledger do not lead from the balance before to the balance after (the first is {1})",
    ),
    (
        "SELECT count(*) FROM entry WHERE account <> 'balance' OR counter_account = account OR (type = 'usage' AND amount >= 0)",
        "{0} entries of the ledger have no counter side, or give money for usage",
    ),
    (
        "SELECT coalesce(-sum(amount), 0) - (SELECT coalesce(sum(charge), 0) FROM usage_day), coalesce(-sum(amount), 0)"
        " FROM entry WHERE type = 'usage'",
        "the usage entries of the ledger sum up to {1} picodollars, which is {0} more than the roll-ups of usage",
    ),
    (
        "SELECT count(*) FROM (SELECT day, sum(type = 'usage') AS usage,"
        " -sum(CASE WHEN type = 'usage' THEN amount ELSE 0 END) AS charge, min(seq) AS first, max(seq) AS last"
        " FROM entry GROUP BY day) AS summed LEFT JOIN entry_day USING (day)"
        " WHERE (summed.usage, summed.charge, first, last) IS NOT (entry_day.usage, entry_day.charge, first_seq, last_seq)",
        "the entries of {0} days do not sum up to the roll-ups of the ledger",
    ),
    (
        "SELECT (SELECT count(*) FROM entry WHERE type = 'usage')"
        " - (SELECT count(*) FROM entry WHERE previous IS NOT NULL) - (SELECT count(*) FROM usage_day WHERE last_seq IS NOT NULL)",
        "{0} usage entries cannot be reached from the roll-ups of usage",
    ),
    (
        "SELECT count(*) FROM generation WHERE charge > 0 AND NOT EXISTS"
        " (SELECT 1 FROM entry WHERE entry.id = generation.id AND entry.amount = -generation.charge)",
        "{0} generations have no entry of the same amount in the ledger",
    ),
    (
        "SELECT count(*) FROM entry WHERE type = 'refund' AND generation_id IS NOT NULL AND amount >"
        " (SELECT -usage.amount FROM entry AS usage WHERE usage.id = entry.generation_id)",
        "{0} refunds give back more than was charged",
    ),
)

_SELECT = (
    "SELECT entry.id, entry.created_unix, entry.type, counter_account, amount, balance_after, entry.key_hash,"
    " coalesce(description, generation.model), generation_id FROM entry LEFT JOIN generation ON generation.id = entry.id"
)
_INSERT = """
    INSERT INTO entry (id, created_unix, day, type, account, counter_account, amount, balance_after, key_hash, description,
        generation_id, idempotency_key)
    SELECT ?1, ?2, ?3, ?4, 'balance', ?5, ?6, coalesce((SELECT balance_after FROM entry ORDER BY seq DESC LIMIT 1), 0) + ?6,
        ?7, ?8, ?9, ?10
"""


def _values(booking: Booking) -> tuple[Any, ...]:
    return (
        booking.id,
        booking.created_unix,
        day_of(booking.created_unix),
        booking.type,
        booking.counter_account,
        booking.amount,
        booking.key_hash,
        booking.description,
        booking.generation_id,
        booking.idempotency_key,
    )


def _page_of_key(wanted: Wanted) -> tuple[str, list[Any]]:
    """From the newest entry of each roll-up backwards: `ORDER BY` makes the queue of the recursion a merge of these chains. By days
    first, so that whole days can be passed over."""
    hashes = wanted.hashes or []
    starts, parameters = [], []
    if wanted.type in (None, "usage"):
        starts.append(
            "SELECT day, seq, previous FROM entry WHERE seq IN (SELECT last_seq FROM usage_day"  # noqa: S608
            " WHERE day IN (SELECT day FROM entry_day WHERE day BETWEEN ? AND ?)"
            f" AND key_hash IN ({_marks(hashes)}) AND last_seq IS NOT NULL)"
        )
        parameters += [wanted.first_day, wanted.last_day, *hashes]
    if wanted.type != "usage":
        by_hand, more = _by_hand(wanted)
        starts.append(f"SELECT day, seq, NULL FROM entry WHERE {by_hand}")  # noqa: S608
        parameters += more
    return (
        f"WITH RECURSIVE chain (day, seq, previous) AS ({' UNION ALL '.join(starts)} UNION ALL"  # noqa: S608
        " SELECT entry.day, entry.seq, entry.previous FROM chain JOIN entry ON entry.seq = chain.previous"
        f" ORDER BY 1 DESC, 2 DESC LIMIT ? OFFSET ?) {_SELECT} WHERE entry.seq IN (SELECT seq FROM chain)"
        " ORDER BY entry.day DESC, entry.seq DESC",
        [*parameters, wanted.limit, wanted.offset],
    )


def _by_hand(wanted: Wanted) -> tuple[str, list[Any]]:
    """What is not usage; the condition names the partial index."""
    condition = "type <> 'usage' AND day BETWEEN ? AND ?"
    parameters: list[Any] = [wanted.first_day, wanted.last_day]
    if wanted.type is not None:
        condition += " AND type = ?"
        parameters.append(wanted.type)
    if wanted.hashes is not None:
        condition += f" AND key_hash IN ({_marks(wanted.hashes)})"
        parameters += wanted.hashes
    return condition, parameters


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _entry(row: Sequence[Any]) -> Entry:
    entry = Entry(**dict(zip(Entry.__struct_fields__, row, strict=True)))
    if entry.type == "usage":
        entry.generation_id = entry.id
        entry.id = f"txn_{entry.id.removeprefix('gen-')}"
    return entry
