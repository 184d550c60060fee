"""The ledger's entries: booked once, never changed, found newest first by day, type and key, and adding up."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from router.errors import BadRequest, Unprocessable
from router.generation import Generation
from router.store import Database, Entries, Generations, Keys, StoreError
from router.store import entries as module
from router.store.entries import MOST_BOOKED, Booking, Type, Wanted
from router.store.schema import CORE
from router.store.schema.booking import FIRST

DAY = 86400


def credit(amount: int, **members: object) -> Booking:
    """A grant."""
    return Booking(type="credit", amount=amount, counter_account="grants", **members)  # type: ignore[arg-type]


async def used(database: Database, *rows: tuple[str, int, str, int], model: str = "a/b") -> None:
    """Settlements: id, day, hash of the key, charge."""
    generations = Generations(database)
    for id, day, hash, charge in rows:
        row = Generation(id=id, created_unix=day * DAY + 60.0, key_hash=hash, cost=charge, model=model, provider="a")
        await generations.add(row)


async def found(entries: Entries, **wanted: object) -> list[int]:
    """The amounts of a page; the number of all pages must fit."""
    page, total = await entries.page(Wanted(**wanted))  # type: ignore[arg-type]
    assert total >= len(page)
    if "limit" not in wanted and "offset" not in wanted:
        assert total == len(page)
    return [entry.amount for entry in page]


# --- booking ---------------------------------------------------------------------------------------------------------


async def test_each_entry_knows_the_balance_that_it_led_to(database: Database) -> None:
    entries = Entries(database)

    granted = await entries.book(credit(100, description="first"))
    await used(database, ("gen-1", 5, "k", 30), ("gen-2", 5, "k", 0))
    taken = await entries.book(Booking(type="adjustment", amount=-20, counter_account="adjustments"))

    assert (granted.balance_after, taken.balance_after, await entries.balance()) == (100, 50, 50)
    assert await entries.booked() == 80
    (third, second, first), total = await entries.page(Wanted())
    assert total == 3
    assert (first.id, first.description) == (granted.id, "first")
    assert (second.id, second.type, second.amount, second.balance_after) == ("txn_1", "usage", -30, 70)
    assert (second.generation_id, second.description) == ("gen-1", "a/b")
    assert third == taken
    assert await entries.check() == []


async def test_an_idempotency_key_is_booked_once(database: Database) -> None:
    entries = Entries(database)
    earlier = await entries.book(credit(5, idempotency_key="a"))

    assert await entries.book(credit(5, idempotency_key="a")) == earlier
    with pytest.raises(Unprocessable, match="was used for another booking"):
        await entries.book(credit(6, idempotency_key="a"))
    both = await asyncio.gather(*(entries.book(credit(1, idempotency_key="b")) for _ in range(5)))

    assert len({entry.id for entry in both}) == 1
    assert await entries.balance() == 6


async def test_more_than_can_be_added_up_is_refused(database: Database) -> None:
    entries = Entries(database)
    await entries.book(credit(MOST_BOOKED - 1))
    with pytest.raises(BadRequest, match=r"no more than \$4,000,000"):
        await entries.book(credit(2))
    await entries.book(credit(1))


async def test_a_charge_is_given_back_once(database: Database) -> None:
    entries = Entries(database)
    await used(database, ("gen-1", 5, "k", 30), ("gen-2", 5, "k", 0))

    booking = await entries.refund("gen-1", description="sorry")
    assert booking is not None
    entry = await entries.book(booking)
    again = await entries.refund("gen-1", description="sorry")
    assert again is not None

    assert (entry.amount, entry.key_hash, entry.generation_id) == (30, "k", "gen-1")
    assert (await entries.book(again)).id == entry.id
    assert await entries.refund("gen-2") is None
    assert await entries.balance() == 0


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE entry SET amount = 1", "never changed"),
        ("DELETE FROM entry", "never deleted"),
        ("UPDATE entry SET balance_after = 1", "never changed"),
    ],
)
async def test_an_entry_stays_as_it_is(database: Database, statement: str, message: str) -> None:
    await Entries(database).book(credit(1))
    with pytest.raises((sqlite3.IntegrityError, StoreError), match=message):
        await database.write((statement, ()))


@pytest.mark.parametrize(("type", "amount"), [("usage", 5), ("credit", -5), ("refund", -5)])
async def test_the_sign_of_an_amount_fits_its_type(database: Database, type: Type, amount: int) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await Entries(database).book(Booking(type=type, amount=amount, counter_account="x"))


async def test_a_generation_cannot_be_charged_twice(database: Database) -> None:
    await used(database, ("gen-1", 5, "k", 30), ("gen-1", 5, "k", 30), ("gen-1", 6, "j", 10))
    assert await Entries(database).balance() == -30


# --- looking ---------------------------------------------------------------------------------------------------------


async def test_entries_are_found_by_day_type_and_key(database: Database) -> None:
    entries = Entries(database)
    await entries.book(credit(100, created_unix=4.0 * DAY))
    await used(database, ("gen-1", 5, "k", 1), ("gen-2", 5, "j", 2), ("gen-3", 6, "k", 3))
    await used(database, ("gen-4", 6, "k", 4), ("gen-5", 8, "k", 5), model="c/d")
    await used(database, ("gen-6", 6, "k", 6))  # began before midnight, ended long after
    refund = await entries.refund("gen-3")
    assert refund is not None
    refund.created_unix = 9.0 * DAY
    await entries.book(refund)

    assert await found(entries) == [3, -6, -5, -4, -3, -2, -1, 100]
    assert await found(entries, first_day=6, last_day=8) == [-6, -5, -4, -3]
    assert await found(entries, first_day=6, last_day=6) == [-6, -4, -3]
    assert await found(entries, type="usage") == [-6, -5, -4, -3, -2, -1]
    assert await found(entries, type="credit") == [100]
    assert await found(entries, type="adjustment") == []
    # Of keys by day first, then in the order of the ledger.
    assert await found(entries, hashes=["k"]) == [3, -5, -6, -4, -3, -1]
    assert await found(entries, hashes=["k", "j"]) == [3, -5, -6, -4, -3, -2, -1]
    assert await found(entries, hashes=["k"], type="usage", first_day=6, last_day=7) == [-6, -4, -3]
    assert await found(entries, hashes=["k"], type="refund") == [3]
    assert await found(entries, hashes=["k"], last_day=7, type="refund") == []
    assert await found(entries, hashes=[]) == []
    assert await found(entries, first_day=100) == []
    assert await found(entries, limit=2, offset=1) == [-6, -5]
    assert await found(entries, limit=2, offset=1, hashes=["k"]) == [-5, -6]
    assert await entries.check() == []


@pytest.mark.parametrize("asked", [{}, {"type": "usage"}, {"hashes": ["k"]}, {"hashes": ["k"], "type": "usage"}])
@pytest.mark.parametrize("days", [{}, {"first_day": 5}, {"first_day": 5, "last_day": 6}, {"last_day": 6}])
async def test_a_page_far_down_is_where_it_would_be(
    database: Database, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], days: dict[str, int]
) -> None:
    monkeypatch.setattr(module, "LEAPT_OVER", -1)
    entries = Entries(database)
    # Days pass slowly: calls of both sides of midnight end in turns, and somebody grants something.
    for number in range(1, 41):
        await used(database, (f"gen-{number}", 4 + (number + number % 3 * 4) // 12, "jk"[number % 2], number))
        if number % 9 == 0:
            await entries.book(credit(number, created_unix=(4.0 + number // 12) * DAY, key_hash="k"))
    whole = await found(entries, **asked, **days)

    for offset in range(len(whole) + 2):
        assert await found(entries, offset=offset, limit=3, **asked, **days) == whole[offset : offset + 3]


async def test_all_secrets_of_a_key_are_one_key(database: Database) -> None:
    keys, entries = Keys(database), Entries(database)
    _, old = await keys.create("one")
    _, new = await keys.rotate("one")

    assert set(await entries.hashes(new.hash)) == set(await entries.hashes(old.hash)) == {old.hash, new.hash}
    assert await entries.hashes("of no key") == ["of no key"]


# --- adding up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE usage_day SET charge = charge + 1", "1 more|-1 more"),
        ("UPDATE entry_day SET charge = charge + 1", "entries of 1 days"),
        ("DELETE FROM entry_day", "entries of 1 days"),
        ("UPDATE entry SET amount = -31 WHERE id = 'gen-1'", "do not lead from"),
        ("UPDATE entry SET balance_after = 0 WHERE id = 'gen-1'", "do not lead from"),
        ("UPDATE entry SET previous = NULL", "cannot be reached"),
        ("DELETE FROM entry WHERE id = 'gen-2'", "generations have no entry"),
        ("UPDATE entry SET account = 'x'", "no counter side"),
    ],
)
async def test_sums_that_do_not_agree_are_told(database: Database, path: Path, damage: str, words: str) -> None:
    entries = Entries(database)
    await entries.book(credit(100, created_unix=5.0 * DAY))
    await used(database, ("gen-1", 5, "k", 30), ("gen-2", 5, "k", 10))
    assert await entries.check() == []

    connection = sqlite3.connect(path)
    for statement in ("DROP TRIGGER entry_stays", "DROP TRIGGER entry_remains", damage):
        connection.execute(statement)
    connection.commit()
    connection.close()

    assert any(any(word in line for word in words.split("|")) for line in await entries.check())


async def test_a_ledger_of_the_first_version_is_taken_over(path: Path) -> None:
    assert CORE[0].number == 1
    connection = sqlite3.connect(path)
    for statement in FIRST:
        connection.execute(statement)
    connection.execute("INSERT INTO migration VALUES ('core', 1, 0)")
    for number in range(1, 41):
        connection.execute(
            "INSERT INTO generation (id, created_unix, day, key_hash, status, charge, model) VALUES (?, ?, ?, ?, 'ok', ?, ?)",
            (
                f"gen-{number}",
                (number % 4) * DAY + 3600.0,
                number % 4,
                "kj"[number % 2],
                number % 5,
                "ab"[number % 3 > 1],
            ),
        )
    connection.commit()
    connection.close()

    async with await Database.open(path) as database:
        entries = Entries(database)
        assert await entries.check() == []
        assert await entries.balance() == -80
        await used(database, ("gen-41", 3, "k", 7), ("gen-42", 9, "k", 0))
        assert len(await found(entries)) == 33
        assert len(await found(entries, hashes=["k"])) == 17
        assert await found(entries, hashes=["k"], first_day=3, last_day=3) == [-7]
        assert await found(entries, hashes=["j"], first_day=3) == await found(
            entries, hashes=["j"], first_day=3, last_day=3
        )
        assert await entries.check() == []
