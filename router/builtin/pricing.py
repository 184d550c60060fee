"""What a call costs: the upstream's own word where it is authoritative, else the price list."""

from __future__ import annotations

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
        if usage.cost is not None and candidate.provider.reports_cost:
            return usage.cost
        if candidate.endpoint.local:
            return 0  # our own machine: the list price is recorded, not charged
        return call.cost.total if call.cost is not None else None
