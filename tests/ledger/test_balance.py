"""The credits of the box: they only count, or (limits.enforce_balance) nobody spends more than there is."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from router.account import Amount
from router.errors import Forbidden, InsufficientCredits
from router.generation import Generation
from router.identity import Identity
from router.prices import PICODOLLARS, Price, Usage
from router.store import Database, Entries
from router.store.entries import Booking
from router.testing import until

from .desk import Desk, opened

MICRO = 10**6


async def grant(desk: Desk, amount: int) -> None:
    """As the management API does."""
    await desk.server.entries.book(Booking(type="credit", amount=amount, counter_account="grants"))
    await desk.ledger.balance.reload()


async def test_the_balance_only_counts_unless_it_is_enforced(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        key = await desk.key()
        desk.finish(desk.start(desk.call(key)), Usage(input=100, output=0))
        assert desk.ledger.balance.amount == -100 * MICRO
    async with opened(tmp_path, enforce_balance=True) as desk:
        with pytest.raises(InsufficientCredits, match=r"credits of this router are used up: `router credits grant"):
            await desk.admit(desk.call(key))
        await grant(desk, 150 * MICRO)
        call = desk.start(await desk.admit(desk.call(key)))
        with pytest.raises(InsufficientCredits, match=r"used up \(\$0\.0002 is held for calls under way\)"):
            desk.ledger.reserve(desk.call(key))
        desk.finish(call, Usage(input=20, output=10))
        assert desk.ledger.balance.amount == 20 * MICRO
        await desk.admit(desk.call(key))


async def test_strict_limits_hold_for_the_balance_too(tmp_path: Path) -> None:
    async with opened(tmp_path, enforce_balance=True, strict=True) as desk:
        key = await desk.key()
        await grant(desk, 150 * MICRO)
        with pytest.raises(InsufficientCredits, match=r"up to \$0\.0002, and \$0\.00015 of credits is left"):
            desk.start(desk.call(key))
        desk.start(desk.call(key, max_tokens=50))


async def test_credits_that_another_process_grants_hold_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, enforce_balance=True) as desk:
        key = await desk.key()
        async with await Database.open(tmp_path / "router.db") as other:
            await Entries(other).book(Booking(type="credit", amount=5, counter_account="grants"))
        await until(lambda: desk.ledger.balance.booked == 5)
        await desk.admit(desk.call(key))


async def test_a_balance_that_does_not_agree_is_told_at_the_start(tmp_path: Path, caplog: Any) -> None:
    async with opened(tmp_path) as desk:
        desk.finish(desk.start(desk.call(await desk.key())), Usage(input=100, output=0))
    connection = sqlite3.connect(tmp_path / "router.db")
    connection.execute("UPDATE usage_day SET charge = 7")
    connection.commit()
    connection.close()

    with caplog.at_level(logging.ERROR):
        async with opened(tmp_path):
            pass

    assert "make a balance of $-0.000000000007, the newest entry says $-0.0001" in caplog.text


# --- many at once ----------------------------------------------------------------------------------------------------

#: a call costs 10 cents at most
DEAR = Price(prompt=PICODOLLARS // 2000, completion=PICODOLLARS // 2000)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("limited", ["key", "balance"])
async def test_200_at_once_book_no_more_than_a_limit_of_1_usd_and_one_call(
    tmp_path: Path, limited: str, strict: bool
) -> None:
    async with opened(tmp_path, strict=strict, enforce_balance=limited == "balance") as desk:
        keys = [await desk.key(limit=PICODOLLARS)] if limited == "key" else [await desk.key("a"), await desk.key("b")]
        if limited == "balance":
            await grant(desk, PICODOLLARS)

        went = await asyncio.gather(*(run(desk, keys[number % len(keys)], number) for number in range(200)))

        booked = -(await desk.server.entries.balance()) + (PICODOLLARS if limited == "balance" else 0)
        assert booked == sum(went)
        dearest = PICODOLLARS // 10
        assert PICODOLLARS - dearest < booked <= PICODOLLARS + (0 if strict else dearest)
        assert desk.ledger.balance.total.reserved == 0
        assert await desk.server.entries.check() == []


async def run(desk: Desk, key: Identity, number: int) -> int:
    """One call that waits at each step, again and again until it goes or the money is gone; what it cost."""
    for turn in range(50):
        call = desk.call(key, price=DEAR)
        try:
            await desk.admit(call)
            await asyncio.sleep(0.001 * ((number * 7 + turn) % 5))
            desk.start(call)
        except InsufficientCredits:
            desk.ledger.settle(call)
            await asyncio.sleep(0.002)
            continue
        await asyncio.sleep(0.001 * (number % 3))
        # Every other one costs less than was held for it.
        desk.ledger.price(call, Usage(input=100, output=100 if number % 2 else 37))
        await desk.ledger.commit(call)
        row: Generation = call.state["generation"]
        assert row.cost is not None
        return row.cost
    return 0


# --- budgets ---------------------------------------------------------------------------------------------------------


class Noting:
    """A budget that notes what it is asked, and refuses when told to."""

    def __init__(self, notes: list[Any], refusal: Exception | None = None) -> None:
        self.notes = notes
        self.refusal = refusal

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        self.notes.append(("check", identity.name, amount))
        if self.refusal is not None:
            raise self.refusal

    def hold(self, identity: Identity, amount: Amount) -> None:
        self.notes.append(("hold", amount))

    def book(self, identity: Identity, row: Generation) -> None:
        self.notes.append(("book", row.cost))


async def test_a_budget_is_asked_held_and_booked(tmp_path: Path) -> None:
    async with opened(tmp_path, strict=True) as desk:
        notes: list[Any] = []
        desk.ledger.budgets.insert(0, Noting(notes))
        call = desk.start(await desk.admit(desk.call(await desk.key())))
        desk.finish(call, Usage(input=1, output=1))

    held = Amount(200 * MICRO)
    assert notes == [
        ("check", "one", Amount()),
        ("check", "one", held),
        ("hold", held),
        ("hold", -held),
        ("book", 2 * MICRO),
    ]


@pytest.mark.parametrize(
    ("limit", "refusing", "kind"),
    [(0, True, InsufficientCredits), (None, True, Forbidden), (None, False, InsufficientCredits)],
)
async def test_the_limit_of_the_key_comes_first_and_the_balance_last(
    tmp_path: Path, limit: int | None, refusing: bool, kind: type[Exception]
) -> None:
    async with opened(tmp_path, enforce_balance=True) as desk:
        budgets: Sequence[Any] = [Noting([], Forbidden("the budget is used up") if refusing else None)]
        desk.ledger.budgets[:0] = budgets
        with pytest.raises(kind) as caught:
            await desk.admit(desk.call(await desk.key(limit=limit)))
    words = "limit of" if limit == 0 else "the budget" if refusing else "credits of this router"
    assert words in str(caught.value)
