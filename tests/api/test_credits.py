"""Credits, balance, transactions and grants over sockets, in the forms that each service's clients know."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.api.credits import CreditsAnswer, Transactions, transactions
from router.api.sheets import _cell
from router.api.typed import signature
from router.settings import EndpointSettings, LimitSettings, ModelSettings, PriceSettings
from router.testing import FakeUpstream, Running, completion, json_answer

Start = Callable[..., Awaitable[Running]]
ASK: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
#: a token costs 1 micro-USD
COST = 0.00015


@pytest.fixture
def begin(start: Start, upstream: FakeUpstream) -> Start:
    """Starts a router with one model that has a price, served by the fake upstream."""
    upstream.will(json_answer(completion(tokens=(100, 50))))
    endpoint = EndpointSettings(
        provider="fake", model="m", pricing=PriceSettings(prompt="0.000001", completion="0.000001")
    )

    async def beginner(**tables: Any) -> Running:
        providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}
        return await start(providers=providers, models={"acme/m": ModelSettings(endpoints=[endpoint])}, **tables)

    return beginner


async def ask(router: Running, key: str | None = None) -> str:
    """Make one call; its generation's id."""
    answer = await router.post("/v1/chat/completions", ASK, key=key)
    assert answer.status == 200, await answer.text()
    return answer.headers["X-Generation-Id"]


async def grant(router: Running, status: int = 201, **body: Any) -> Any:
    """Book credits; the transaction, or the error."""
    answer = await router.post("/api/v1/credits", body, key=router.management)
    assert answer.status == status, await answer.text()
    told = await answer.json()
    return told if status == 201 else told["error"]


async def got(router: Running, path: str, key: str | None = None) -> Any:
    """What a path answers."""
    answer = await router.get(path, key=key)
    assert answer.status == 200, await answer.text()
    return await answer.json()


# --- what is left ----------------------------------------------------------------------------------------------------


async def test_credits_and_balance_in_every_form(begin: Start) -> None:
    router = await begin()
    await grant(router, amount=2.5)
    await ask(router)
    left = 2.5 - COST

    data = (await got(router, "/v1/credits"))["data"]
    balance = await got(router, "/api/v1/balance", router.management)
    number = await router.get("/api/v1/credits?format=number")
    plain = await router.get("/api/v1/credits", headers={"Accept": "text/plain"})

    assert data == {
        "total_credits": 2.5,
        "total_usage": pytest.approx(COST),
        "credits": pytest.approx(left),
        "usage": {"daily": pytest.approx(COST), "weekly": pytest.approx(COST), "monthly": pytest.approx(COST)},
    }
    assert balance == {
        "balance": pytest.approx(left),
        "currency": "USD",
        "object": "balance",
        "data": {"balance": pytest.approx(left), "currency": "USD"},
    }
    assert await got(router, "/v1/user/balance") == balance
    assert (number.content_type, plain.content_type) == ("application/json", "text/plain")
    assert json.loads(await number.text()) == json.loads(await plain.text()) == pytest.approx(left)


async def test_without_grants_the_balance_only_counts(begin: Start) -> None:
    router = await begin()
    await ask(router)
    assert (await got(router, "/api/v1/balance"))["balance"] == pytest.approx(-COST)


async def test_who_has_no_credits_is_refused_until_there_are_some(begin: Start, upstream: FakeUpstream) -> None:
    router = await begin(limits=LimitSettings(enforce_balance=True))

    answer = await router.post("/v1/chat/completions", ASK)
    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (402, "insufficient_credits")
    assert "router credits grant" in error["message"]
    assert not upstream.asked

    await grant(router, amount=1)
    await ask(router)


async def test_a_format_that_is_none_is_told(begin: Start) -> None:
    router = await begin()
    answer = await router.get("/api/v1/credits?format=xml")
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == "format"


# --- grants ----------------------------------------------------------------------------------------------------------


async def test_a_grant_is_a_transaction_and_on_record(begin: Start) -> None:
    router = await begin()

    made = await grant(router, amount=10, description="for June")

    assert made == {
        "id": made["id"],
        "type": "credit",
        "amount": 10,
        "balance_after": 10,
        "description": "for June",
        "generation_id": None,
        "key_hash": None,
        "created_at": made["created_at"],
    }
    assert made["id"].startswith("txn_")
    row = await router.server.database.one("SELECT action, target, detail FROM audit WHERE action = 'credits.grant'")
    assert row is not None
    assert row[:2] == ("credits.grant", made["id"])
    assert json.loads(row[2]) == {"amount": 10, "description": "for June"}


async def test_the_same_idempotency_key_books_once(begin: Start) -> None:
    router = await begin()
    bodies = [{"amount": 5, "description": "a", "idempotency_key": "k"} for _ in range(8)]

    made = await asyncio.gather(*(grant(router, **body) for body in bodies))
    error = await grant(router, 422, amount=6, description="a", idempotency_key="k")

    assert len({each["id"] for each in made}) == 1
    assert (await got(router, "/v1/credits"))["data"]["total_credits"] == 5
    assert error["param"] == "idempotency_key"
    assert len(await router.server.database.all("SELECT 1 FROM audit WHERE action = 'credits.grant'")) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -3}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"amount": 1_000_000.5}, "amount"),
        ({"amount": 1, "description": 7}, "description"),
        ({"amount": 1, "description": "x" * 501}, "description"),
        ({"amount": 1, "idempotency_key": ""}, "idempotency_key"),
        ({"amount": 1, "idempotencykey": "k"}, "idempotencykey"),
    ],
)
async def test_a_grant_that_is_none_is_told(begin: Start, body: Any, param: str) -> None:
    router = await begin()
    assert (await grant(router, 400, **body))["param"] == param
    assert (await got(router, "/v1/credits"))["data"]["total_credits"] == 0


async def test_all_grants_together_have_a_bound(begin: Start) -> None:
    router = await begin()
    for _ in range(4):
        await grant(router, amount=1_000_000)
    assert (await grant(router, 400, amount=0.01))["param"] == "amount"


# --- transactions ----------------------------------------------------------------------------------------------------


async def test_the_ledger_newest_first(begin: Start) -> None:
    router = await begin()
    granted = await grant(router, amount=1)
    id = await ask(router)

    told = await got(router, "/api/v1/transactions", router.management)

    assert told["transactions"] == told["data"]
    assert told["total_count"] == 2
    usage, credit = told["data"]
    assert credit == granted
    assert (usage["type"], usage["amount"], usage["generation_id"]) == ("usage", pytest.approx(-COST), id)
    assert (usage["balance_after"], usage["description"]) == (pytest.approx(1 - COST), "acme/m")
    assert usage["id"] == "txn_" + id.removeprefix("gen-")
    assert usage["created_at"].endswith("Z")
    (only,) = (await got(router, "/v1/transactions?limit=1&offset=1", router.management))["data"]
    assert only == credit
    assert (await got(router, "/v1/transactions?type=credit", router.management))["data"] == [credit]


async def test_an_inference_key_sees_its_own_only(begin: Start) -> None:
    router = await begin()
    await grant(router, amount=1)
    other, identity = await router.server.keys.create("other", scopes=frozenset({"inference", "usage:read"}))
    mine, theirs = await ask(router), await ask(router, other)

    assert [each["generation_id"] for each in (await got(router, "/v1/transactions"))["data"]] == [mine]
    (row,) = (await got(router, "/v1/transactions", other))["data"]
    assert (row["generation_id"], row["balance_after"]) == (theirs, None), "the balance is no business of this key"
    assert (await got(router, f"/v1/transactions?api_key_hash={identity.hash}"))["total_count"] == 0

    plain, rotated = await router.server.keys.rotate("other")
    assert (await got(router, "/v1/transactions", plain))["total_count"] == 1
    assert (await got(router, f"/v1/transactions?api_key_hash={rotated.id}", plain))["total_count"] == 1
    assert (await got(router, f"/v1/transactions?api_key_hash={rotated.id}"))["total_count"] == 0
    for hash in (identity.hash, rotated.hash, rotated.id):
        told = await got(router, f"/v1/transactions?api_key_hash={hash}", router.management)
        assert [each["generation_id"] for each in told["data"]] == [theirs]


async def test_days(begin: Start) -> None:
    router = await begin()
    made = await grant(router, amount=1)
    today = made["created_at"][:10]

    async def count(query: str) -> int:
        told: int = (await got(router, f"/v1/transactions?{query}", router.management))["total_count"]
        return told

    assert await count(f"start_date={today}&end_date={today}") == 1
    assert await count(f"start_date={made['created_at']}") == 1
    assert await count("end_date=2020-01-01") == 0
    assert await count("start_date=2999-01-01") == 0


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("type=gift", "type"),
        ("start_date=yesterday", "start_date"),
        ("end_date=0001-01-01T00:00:00%2B23:00", "end_date"),
        ("start_date=2026-02-02&end_date=2026-02-01", "end_date"),
        ("format=pdf", "format"),
    ],
)
async def test_a_question_that_is_none_is_told(begin: Start, query: str, param: str) -> None:
    router = await begin()
    answer = await router.get(f"/v1/transactions?{query}")
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == param


async def test_transactions_as_csv(begin: Start) -> None:
    router = await begin()
    await grant(router, amount=0.000001, description='=SUM(A1), a "note"\nof two lines')
    await ask(router)

    answer = await router.get("/v1/transactions?format=csv", key=router.management)
    rows = list(csv.DictReader(io.StringIO(await answer.text())))

    assert (answer.content_type, answer.charset) == ("text/csv", "utf-8")
    assert [row["type"] for row in rows] == ["usage", "credit"]
    assert [row["amount"] for row in rows] == ["-0.00015", "0.000001"]
    assert rows[1]["description"] == '\'=SUM(A1), a "note"\nof two lines'
    assert rows[1]["generation_id"] == ""


def test_numbers_are_no_text() -> None:
    assert [_cell(value) for value in (-0.5, 1e-12, 0.0, 2.0, None, "-a", 7)] == [
        "-0.5", "0.000000000001", "0", "2", None, "'-a", 7,
    ]  # fmt: skip


def test_what_is_no_json_is_not_described() -> None:
    assert signature(transactions).answer is Transactions
    assert CreditsAnswer.__struct_fields__ == ("data",)
