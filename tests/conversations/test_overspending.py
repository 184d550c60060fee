"""200 requests at once, over sockets, for something that holds 1 USD: no more than that and one request is ever booked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from router.settings import EndpointSettings, LimitSettings, ModelSettings, PriceSettings, Settings
from router.testing import FakeUpstream, Running, completion, running

CHAT = "/v1/chat/completions"
#: each holds 30 cents and costs 30 or 11
ASK = {"model": "test/m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 30}
PRICE = PriceSettings(prompt="0", completion="0.01")
CENT = 10**10
USD, DEAREST = 100 * CENT, 30 * CENT


async def of_key(router: Running, keys: list[str]) -> None:
    hash_ = router.server.keys.find(keys[0]).hash  # type: ignore[union-attr]
    await manage(router, "PATCH", f"/keys/{hash_}", {"limit": 1})
    del keys[1:]


async def of_balance(router: Running, keys: list[str]) -> None:
    await manage(router, "POST", "/credits", {"amount": 1})


async def of_workspace(router: Running, keys: list[str]) -> None:
    await manage(router, "PUT", "/workspaces/default/budgets/monthly", {"limit_usd": 1})


def of_guardrail(whose: str) -> Callable[[Running, list[str]], Awaitable[None]]:
    """Of one that is given to a key or a member."""

    async def limit(router: Running, keys: list[str]) -> None:
        body = {"name": "one", "limit_usd": 1, "reset_interval": "weekly"}
        id = (await manage(router, "POST", "/guardrails", body))["data"]["id"]
        if whose == "key":
            del keys[1:]
            hash_ = router.server.keys.find(keys[0]).hash  # type: ignore[union-attr]
            await manage(router, "POST", f"/guardrails/{id}/keys", {"keys": [hash_]})
        else:
            await manage(router, "POST", f"/guardrails/{id}/members", {"members": ["local"]})

    return limit


async def manage(router: Running, method: str, path: str, body: Any) -> Any:
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.request(method, f"{router.url}/api/v1{path}", json=body, headers=headers) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()


@pytest.mark.long
@pytest.mark.parametrize(
    ("limit", "status", "strict"),
    [
        (of_key, 402, False),
        (of_key, 402, True),
        (of_balance, 402, False),
        (of_workspace, 403, False),
        (of_guardrail("key"), 403, False),
        (of_guardrail("member"), 403, True),
    ],
    ids=["key", "key, strict", "balance", "workspace", "guardrail of a key", "guardrail of a member, strict"],
)
async def test_200_at_once_book_no_more_than_1_usd_and_one_request(
    tmp_path: Path, upstream: FakeUpstream, limit: Callable[..., Awaitable[None]], status: int, strict: bool
) -> None:
    upstream.will(answering())
    settings = Settings(
        providers={"p": {"plugin": "openai-compatible", "base_url": upstream.url, "api_key": "k"}},
        models={"test/m": ModelSettings(endpoints=[EndpointSettings(provider="p", model="m", pricing=PRICE)])},
        limits=LimitSettings(strict=strict, enforce_balance=limit is of_balance),
    )
    async with running(settings, tmp_path) as router:
        keys = [router.key, (await router.server.keys.create("another"))[0]]
        await limit(router, keys)
        turn = cycle(keys)

        statuses = await asyncio.gather(*(ask(router, next(turn)) for _ in range(200)))
        while (last := await ask(router, next(turn))) == 200:
            statuses.append(last)

        assert set(statuses) == {200, status}
        server = router.server
        rows = await server.database.all("SELECT charge FROM generation WHERE charge > 0")
        assert len(rows) == statuses.count(200)
        booked = sum(charge for (charge,) in rows)
        assert USD - DEAREST < booked <= USD + (0 if strict else DEAREST)
        assert server.ledger.balance.total.reserved == 0
        assert {account.reserved for account in server.ledger.accounts.values()} == {0}
        assert server.groups.members.account(server.keys.find(keys[0])).reserved == 0  # type: ignore[arg-type]
        assert await server.entries.check() == []


async def ask(router: Running, key: str) -> int:
    return (await router.post(CHAT, ASK, key=key)).status


def answering() -> Callable[[web.Request], Awaitable[web.Response]]:
    """An upstream that takes a moment and sometimes says more, sometimes less."""
    said = cycle([30, 11])

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.json_response(completion(tokens=(3, next(said))))

    return answer
