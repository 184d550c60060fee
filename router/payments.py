"""Paying for credits elsewhere: what a payments plugin makes and says (hook `router_payments`). Core books, once per charge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct


class Wish(Struct, kw_only=True):
    """What somebody wants to pay. `amount_usd` is a decimal string; `sender` and `chain_id` say from which address on which chain."""

    amount_usd: str
    sender: str | None = None
    chain_id: int | None = None


class Charge(Struct, kw_only=True):
    """Where it can be paid. Times are RFC 3339 as the service gives them; `web3_data` is handed on as it is."""

    id: str
    hosted_url: str
    created_at: str
    expires_at: str
    code: str = ""
    web3_data: dict[str, Any] | None = None


class Notice(Struct, kw_only=True):
    """What the service says of a charge: it was paid, it cannot be paid any more, or something that changes nothing."""

    charge_id: str
    event_id: str = ""
    state: Literal["paid", "failed", "other"] = "other"


class Payments:
    """A service that takes payments. Subclasses name it and speak to it; nothing here touches the ledger."""

    #: below it in the paths of the API, and in the ledger
    name: str = ""

    async def charge(self, wish: Wish) -> Charge:
        """Make a charge. Raises a RouterError."""
        raise TypeError(f"{type(self).__name__} makes no charges")

    def signed(self, headers: Mapping[str, str]) -> bool:
        """Does a webhook's request bring a signature at all? Asked before its body is read."""
        raise TypeError(f"{type(self).__name__} has no webhook")

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """What a webhook says. Raises Unauthenticated where the signature is not the service's, BadRequest for nonsense."""
        raise TypeError(f"{type(self).__name__} has no webhook")
