"""Payments without any service: what core makes of a plugin's charges and notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from router import Charge, Notice, Payments, Wish, hookimpl
from router.testing import Running

Start = Callable[..., Awaitable[Running]]


class Till(Payments):
    """Takes every body for the id of a charge that was paid."""

    name = "coinbase"

    async def charge(self, wish: Wish) -> Charge:
        made = {"hosted_url": "https://till.example", "created_at": "now", "expires_at": "later"}
        return Charge(id=f"c{wish.amount_usd}", **made)

    def signed(self, headers: Mapping[str, str]) -> bool:
        return True

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        return Notice(charge_id=body.decode(), state="paid")


class Plugin:
    @hookimpl
    def router_payments(self, settings: Mapping[str, Struct]) -> Payments | None:
        return Till() if "webhooks" in settings else None


async def test_a_plugin_takes_payments(start: Start) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}}, plugins={"till": Plugin()})

    made = await router.post("/v1/credits/coinbase", {"amount": 3}, key=router.management)
    paid = await router.post("/v1/credits/coinbase/webhook", b"c3")
    again = await router.post("/v1/credits/coinbase/webhook", b"c3")

    assert (made.status, paid.status, again.status) == (200, 200, 200)
    told: Any = await (await router.get("/v1/credits", key=router.management)).json()
    assert told["data"]["total_credits"] == 3


async def test_without_a_plugin_there_is_none(start: Start) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}})

    for path in ("/v1/credits/coinbase", "/v1/credits/coinbase/webhook"):
        answer = await router.post(path, {"amount": 3}, key=router.management)
        assert answer.status == 501
        assert (await answer.json())["error"]["code"] == "not_configured"
