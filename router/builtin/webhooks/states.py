"""What has a state, and is told when it changes: limits of keys that are used up, a balance that is low, providers that are down.

Looked at every few seconds instead of at every call, and only for endpoints that want to know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...account import bounds
from ...prices import picodollars, usd
from ...store.generations import day_of
from ...store.webhooks import Webhooks

if TYPE_CHECKING:
    from ...server import Server

EVERY_S = 2.0


class States:
    """Looks at a server."""

    def __init__(self, server: Server, store: Webhooks, low_usd: Callable[[], float]) -> None:
        self._server = server
        self._store = store
        self._low_usd = low_usd
        self._last_s = float("-inf")

    async def look(self) -> None:
        """Tell what has changed."""
        now = self._server.clock.monotonic()
        if now - self._last_s < EVERY_S:
            return
        self._last_s = now
        wanted = {event for each in self._store.all() if each.enabled for event in each.events}
        if "key.limit_reached" in wanted:
            await self._limits()
        if "balance.low" in wanted:
            await self._balance()
        if "provider.down" in wanted:
            await self._providers()

    async def _limits(self) -> None:
        """Once for each key, limit and window."""
        server, now = self._server, self._server.clock.wall()
        for key in server.keys.limited():
            account = server.ledger.account(key)
            left = account.left(key, now)
            held = account.held(include_byok=key.include_byok_in_limit)
            if key.limit is None or left is None or left + held > 0:
                continue
            since = bounds(key.limit_reset, day_of(now))[0] if key.limit_reset else 0
            data = {"key_hash": key.hash, "name": key.name, "limit": usd(key.limit), "limit_reset": key.limit_reset}
            await self._store.tell("key.limit_reached", f"limit {key.id or key.hash}", f"{since} {key.limit}", data)

    async def _balance(self) -> None:
        """When it falls below the mark, and again when it had been above it in between."""
        balance, low_usd = self._server.ledger.balance, self._low_usd()
        if not balance.booked:
            return  # who has never granted anything does not go by the balance
        low = balance.amount < picodollars(low_usd)
        data = {"balance": usd(balance.amount), "threshold": low_usd, "currency": "USD"} if low else None
        await self._store.tell("balance.low", "balance", "low" if low else "ok", data)

    async def _providers(self) -> None:
        """When all circuits of one are open."""
        health, now = self._server.health, self._server.clock.monotonic()
        for slug in self._server.providers:
            circuits = health.provider(slug)
            down = bool(circuits) and not any(circuit.allows(now) or circuit.probing for circuit in circuits)
            if not down and not any(circuit.allows(now) and not circuit.open_until for circuit in circuits):
                continue  # on trial: neither up nor down
            last = next((each.last_error for each in circuits if each.last_error), None)
            data = {"provider": slug, "last_error": last} if down else None
            await self._store.tell("provider.down", f"provider {slug}", "down" if down else "up", data)
