"""What a call costs: the upstream's own word where it is authoritative, else the price list; a fee where nobody charges us."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from ..call import Call
from ..hookspecs import hookimpl
from ..prices import Usage

if TYPE_CHECKING:
    from ..server import Server


class Pricing:
    """The last to be asked for a price."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl(trylast=True)
    def router_price(self, call: Call, usage: Usage) -> int | None:
        """Picodollars, or None where the model has no price: never a silent 0."""
        candidate = call.candidate
        if candidate is None:
            return None
        cost = call.cost.total if call.cost is not None else None
        if usage.cost is not None and candidate.provider.reports_cost:
            cost = usage.cost
        if candidate.endpoint.local or candidate.credential.byok:
            # Nobody charges us: the list price is recorded, a fee of it charged.
            percent = candidate.provider.settings.fee_percent
            return (None if cost is None else ceil(cost * percent / 100)) if percent else 0
        return cost
