"""Credits paid by Coinbase: charges made at a Coinbase of our own, over sockets, and what its webhooks book."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from router.testing import FakeUpstream, Running, json_answer

Start = Callable[..., Awaitable[Running]]
KEY, SECRET = "commerce-key-1234", "shared-secret-5678"
PATH, HOOK = "/v1/credits/coinbase", "/v1/credits/coinbase/webhook"
SENDER = "0x" + "aB" * 20
CHARGE = {
    "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
    "code": "WX2AYZ",
    "hosted_url": "https://commerce.example/pay/WX2AYZ",
    "created_at": "2026-11-28T10:00:00Z",
    "expires_at": "2026-11-30T10:00:00Z",
    "pricing_type": "fixed_price",
}
WEB3 = {"transfer_intent": {"metadata": {"chain_id": 8453, "sender": SENDER}, "call_data": {"signature": "0x1"}}}


@pytest.fixture
async def coinbase() -> AsyncIterator[FakeUpstream]:
    """A Coinbase that makes every charge."""
    async with FakeUpstream().listening() as fake:
        fake.will(json_answer({"data": CHARGE}, status=201))
        yield fake


@pytest.fixture
async def router(start: Start, coinbase: FakeUpstream) -> Running:
    table = {"api_key": KEY, "webhook_secret": SECRET, "base_url": coinbase.url}
    return await start(providers={"echo": {"plugin": "echo"}}, plugin_tables={"coinbase": table})


async def charge(router: Running, **members: Any) -> tuple[int, Any]:
    answer = await router.post(PATH, {"amount": 12.5, **members}, key=router.management)
    return answer.status, await answer.json()


async def notice(
    router: Running, type: str, *, id: str = CHARGE["id"], secret: str | None = SECRET, event: str = "e1"
) -> int:
    """The status by which a notice of Coinbase is answered."""
    told = {"id": 1, "event": {"id": event, "type": type, "data": {"id": id, "code": "WX2AYZ", "payments": []}}}
    body = json.dumps(told).encode()
    signature = (
        {} if secret is None else {"X-CC-Webhook-Signature": hmac.new(secret.encode(), body, "sha256").hexdigest()}
    )
    headers = {"Content-Type": "application/json", **signature}
    async with router.session.post(router.url + HOOK, data=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def credits(router: Running) -> float:
    answer = await router.get("/v1/credits", key=router.management)
    total: float = (await answer.json())["data"]["total_credits"]
    return total


async def test_a_charge_is_made_and_booked_when_it_is_paid(router: Running, coinbase: FakeUpstream) -> None:
    status, told = await charge(router)

    assert status == 200
    assert told["data"]["id"] == CHARGE["id"]
    assert told["data"]["hosted_url"] == CHARGE["hosted_url"]
    assert told["data"]["expires_at"] == CHARGE["expires_at"]
    (asked,) = coinbase.asked
    assert (asked.method, asked.path) == ("POST", "/charges")
    assert asked.headers["X-CC-Api-Key"] == KEY
    assert asked.body["pricing_type"] == "fixed_price"
    assert asked.body["local_price"] == {"amount": "12.5", "currency": "USD"}
    assert await credits(router) == 0

    assert await notice(router, "charge:confirmed") == 200

    assert await credits(router) == 12.5
    booked = await (await router.get("/v1/transactions?type=credit", key=router.management)).json()
    assert [(each["amount"], each["description"]) for each in booked["data"]] == [(12.5, "coinbase charge WX2AYZ")]
    rows = await router.server.database.all(
        "SELECT actor, action FROM audit WHERE action LIKE 'credits.%' ORDER BY seq"
    )
    assert [row[1] for row in rows] == ["credits.charge", "credits.paid"]
    assert rows[1][0] == "coinbase"
    assert await router.server.entries.check() == []


async def test_who_pays_by_a_contract_gets_what_the_wallet_signs(router: Running, coinbase: FakeUpstream) -> None:
    coinbase.will(json_answer({"data": CHARGE}), json_answer({"data": CHARGE | {"web3_data": WEB3}}))

    status, told = await charge(router, sender=SENDER, chain_id=8453)

    assert status == 200
    assert told["data"]["web3_data"] == WEB3
    assert (told["data"]["sender"], told["data"]["chain_id"]) == (SENDER, 8453)
    hydrated = coinbase.asked[1]
    assert (hydrated.method, hydrated.path) == ("PUT", f"/charges/{CHARGE['id']}/hydrate")
    assert hydrated.body == {"sender": SENDER, "chain_id": 8453}


async def test_a_notice_that_comes_often_books_once(router: Running) -> None:
    await charge(router)

    statuses = await asyncio.gather(*(notice(router, "charge:confirmed", event=f"e{n}") for n in range(5)))
    assert await notice(router, "charge:resolved", event="e9") == 200

    assert set(statuses) == {200}
    assert await credits(router) == 12.5


@pytest.mark.parametrize(
    "order",
    [
        ["charge:confirmed", "charge:pending", "charge:created"],
        ["charge:failed", "charge:confirmed"],
        ["charge:confirmed", "charge:failed", "charge:confirmed"],
        ["charge:pending", "charge:delayed", "charge:resolved"],
    ],
)
async def test_notices_come_in_any_order(router: Running, order: list[str]) -> None:
    await charge(router)

    for type in order:
        assert await notice(router, type) == 200

    assert await credits(router) == 12.5
    assert await router.server.database.all("SELECT state FROM charge") == [("paid",)]


async def test_what_is_not_paid_is_not_booked(router: Running) -> None:
    await charge(router)

    for type in ("charge:created", "charge:pending", "charge:failed", "charge:delayed", "charge:new-in-2027"):
        assert await notice(router, type) == 200

    assert await credits(router) == 0


@pytest.mark.parametrize("secret", [None, "", "another", SECRET.upper()])
async def test_a_notice_that_coinbase_has_not_signed_is_refused(router: Running, secret: str | None) -> None:
    await charge(router)

    assert await notice(router, "charge:confirmed", secret=secret) == 401
    assert await credits(router) == 0


async def test_a_signature_is_of_its_own_body_only(router: Running) -> None:
    await charge(router)
    signed = b'{"event":{"type":"charge:created","data":{"id":"x"}}}'
    other = json.dumps({"event": {"type": "charge:confirmed", "data": {"id": CHARGE["id"]}}}).encode()
    headers = {"X-CC-Webhook-Signature": hmac.new(SECRET.encode(), signed, "sha256").hexdigest()}

    async with router.session.post(router.url + HOOK, data=other, headers=headers) as answer:
        assert answer.status == 401
    assert await credits(router) == 0


async def test_charges_of_others_are_not_booked(router: Running) -> None:
    assert await notice(router, "charge:confirmed", id="somebody-else's") == 404
    assert await notice(router, "charge:created", id="somebody-else's") == 200
    assert await credits(router) == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"event":1}', b"\xff", b"[" * 100_000])
async def test_nonsense_with_a_good_signature_is_refused(router: Running, body: bytes) -> None:
    headers = {"X-CC-Webhook-Signature": hmac.new(SECRET.encode(), body, "sha256").hexdigest()}

    async with router.session.post(router.url + HOOK, data=body, headers=headers) as answer:
        assert answer.status == 400


async def test_a_long_notice_is_refused(router: Running) -> None:
    headers = {"X-CC-Webhook-Signature": "0" * 64}

    async with router.session.post(router.url + HOOK, data=b"x" * 300_000, headers=headers) as answer:
        assert answer.status == 413


@pytest.mark.parametrize(
    "members",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 0.001},
        {"amount": 25_001},
        {"amount": "much"},
        {"sender": SENDER},
        {"chain_id": 1},
        {"sender": "0x1", "chain_id": 1},
        {"sender": SENDER, "chain_id": 2},
        {"colour": "red"},
    ],
)
async def test_wishes_that_make_no_sense_are_refused(
    router: Running, coinbase: FakeUpstream, members: dict[str, Any]
) -> None:
    assert (await charge(router, **members))[0] == 400
    assert coinbase.asked == []


async def test_what_coinbase_refuses_is_told_without_our_key(router: Running, coinbase: FakeUpstream) -> None:
    coinbase.will(json_answer({"error": {"type": "authorization_error", "message": f"no such key {KEY}"}}, status=401))

    status, told = await charge(router)

    assert status == 502
    assert "no such key ***" in told["error"]["message"]
    assert KEY not in json.dumps(told)


@pytest.mark.parametrize("answer", [json_answer([]), json_answer(b"<html>"), json_answer({"data": {}})])
async def test_an_answer_that_is_no_charge_is_502(router: Running, coinbase: FakeUpstream, answer: Any) -> None:
    coinbase.will(answer)

    assert (await charge(router))[0] == 502


async def test_the_same_charge_is_made_once_under_an_idempotency_key(router: Running, coinbase: FakeUpstream) -> None:
    headers = {"Idempotency-Key": "charge-1"}
    for _ in range(2):
        answer = await router.post(PATH, {"amount": 5}, key=router.management, headers=headers)
        assert answer.status == 200

    assert answer.headers["Idempotent-Replay"] == "true"
    assert len(coinbase.asked) == 1


@pytest.mark.parametrize("table", [None, {}, {"api_key": KEY}, {"webhook_secret": SECRET}])
async def test_without_both_secrets_it_says_what_is_missing(start: Start, table: dict[str, str] | None) -> None:
    tables = {} if table is None else {"coinbase": table}
    router = await start(providers={"echo": {"plugin": "echo"}}, plugin_tables=tables)

    status, told = await charge(router)

    assert (status, told["error"]["code"]) == (501, "not_configured")
    assert "plugins.coinbase" in told["error"]["message"]
    assert await notice(router, "charge:confirmed") == 501
