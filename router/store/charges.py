"""Charges of payment services: what was to be paid, so that what is booked does not depend on what a webhook says."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .audit import Change, recorded
from .database import Database
from .entries import Booking
from .writer import Statement

State = Literal["open", "paid", "failed"]


class Charged(Struct, kw_only=True):
    """A charge: `amount` in picodollars; `made_by` the hash of the key that asked for it."""

    service: str
    id: str
    code: str
    amount: int
    made_by: str
    created_unix: float
    state: State = "open"


class Charges:
    """All charges that were ever made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, charge: Charged, change: Change) -> None:
        """Remember a new one."""
        await self._database.write(
            (
                "INSERT OR IGNORE INTO charge (service, id, code, amount, made_by, created_unix, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    charge.service,
                    charge.id,
                    charge.code,
                    charge.amount,
                    charge.made_by,
                    charge.created_unix,
                    charge.state,
                ),
            ),
            recorded(change),
        )

    async def find(self, service: str, id: str) -> Charged | None:
        """The charge with this id of this service."""
        row = await self._database.one(
            "SELECT service, id, code, amount, made_by, created_unix, state FROM charge WHERE service = ? AND id = ?",
            (service, id),
        )
        return Charged(**dict(zip(Charged.__struct_fields__, row, strict=True))) if row else None

    def booking(self, charge: Charged, at_unix: float) -> Booking:
        """The booking that credits what was paid, once."""
        return Booking(
            type="credit",
            amount=charge.amount,
            counter_account=f"payments:{charge.service}",
            description=f"{charge.service} charge {charge.code or charge.id}",
            idempotency_key=f"charge:{charge.service}:{charge.id}",
            created_unix=at_unix,
        )

    def now(self, charge: Charged, state: State) -> Statement:
        """The statement that says how it ended. What is paid stays paid, whatever comes late."""
        return (
            "UPDATE charge SET state = ? WHERE service = ? AND id = ? AND state <> 'paid'",
            (state, charge.service, charge.id),
        )

    async def failed(self, charge: Charged) -> None:
        """It cannot be paid any more, unless it is after all."""
        await self._database.write(self.now(charge, "failed"))
