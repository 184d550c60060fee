"""The balance of the box, and what else may be used up besides the limit of a key: the ledger asks all of them in one order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from .account import Account, Amount
from .errors import InsufficientCredits
from .generation import Generation
from .identity import Identity
from .prices import usd_text
from .store.entries import Entries
from .store.generations import day_of

log = logging.getLogger(__name__)


class Layer(Struct, kw_only=True):
    """Something that a key may use up, as `GET /key` shows it. `scope` as OpenRouter names it; `interval` None: for ever; money in
    picodollars, `left` with what is held back for calls under way taken off."""

    scope: str
    interval: str | None
    limit: int
    spent: int
    left: int
    include_byok: bool
    guardrail_id: str | None = None
    budget_id: str | None = None


class Budget(Protocol):
    """What may be used up besides the limit of a key: a guardrail's budget, a workspace's, the balance.

    All of it is synchronous, and called without an await in between, so that concurrent calls cannot overspend.
    """

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        """Raise where nothing is left for this key, or less than `amount` (nothing where it is not known or does not matter)."""

    def hold(self, identity: Identity, amount: Amount) -> None:
        """Hold this much back for a call; negative: give back."""

    def book(self, identity: Identity, row: Generation) -> None:
        """A call has ended, and this is charged."""

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """What `check` looks at for this key, as far as a key is told of it: what refuses first stands first."""


class Balance:
    """The credits of the whole box: what was booked by hand, less what all keys were charged. The last of the budgets.

    Nothing else writes usage, so that is counted here; what was booked by hand is read again whenever somebody has booked.
    """

    def __init__(self, entries: Entries, total: Account, enforced: Callable[[], bool]) -> None:
        self._entries = entries
        self._enforced = enforced
        self._reading = asyncio.Lock()
        #: all keys together
        self.total = total
        #: credits, refunds and adjustments
        self.booked = 0

    @property
    def amount(self) -> int:
        """The balance, in picodollars; negative where more was used than granted."""
        return self.booked - self.total.charged_total

    async def reload(self) -> None:
        """Read what was booked by hand."""
        async with self._reading:
            self.booked = await self._entries.booked()

    async def load(self) -> None:
        """Read it for the first time, and compare the balance with that of the newest entry."""
        await self.reload()
        written = await self._entries.balance()
        if written != self.amount:
            log.error(
                "the roll-ups and entries of the ledger make a balance of $%s, the newest entry says $%s: "
                "`router db check` tells more",
                usd_text(self.amount),
                usd_text(written),
            )

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        """Raise InsufficientCredits where it is used up and `limits.enforce_balance` is on."""
        if not self._enforced():
            return
        left = self.amount - self.total.reserved
        if left > 0 and left >= amount.charge:
            return
        how = "`router credits grant AMOUNT` or POST /api/v1/credits adds some (limits.enforce_balance)"
        if left <= 0:
            held = self.total.reserved
            raise InsufficientCredits(
                f"the credits of this router are used up{f' (${usd_text(held)} is held for calls under way)' if held else ''}: {how}"
            )
        raise InsufficientCredits(
            f"this call may cost up to ${usd_text(amount.charge)}, and ${usd_text(left)} of credits is left (limits.strict): "
            f"send a smaller max_tokens; {how}"
        )

    def hold(self, identity: Identity, amount: Amount) -> None:
        """For any key."""
        self.total.hold(amount)

    def book(self, identity: Identity, row: Generation) -> None:
        """Of any key."""
        self.total.add(day_of(row.created_unix), row.cost or 0, byok_of(row), 1)

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """`GET /credits` tells of it."""
        return []


def byok_of(row: Generation) -> int:
    """The list price of a call with the client's own key of the provider."""
    return (row.list_cost or 0) if row.is_byok else 0
