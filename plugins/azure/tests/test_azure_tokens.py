"""Tokens of Entra ID: fetched once, renewed before they end, never shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from router_azure.tokens import EARLY, Tokens

from router import UpstreamUnauthorized, UpstreamUnavailable


class Entra:
    """Gives tokens that hold for an hour, or answers with `status`. `forms` are the requests."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        await asyncio.sleep(0.05)
        if self.status == 200:
            return web.json_response({"access_token": f"token-{len(self.forms)}", "expires_in": 3600})
        told = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace ID: 1"}
        return web.json_response(told, status=self.status)


@pytest.fixture
async def entra() -> AsyncIterator[Entra]:
    entra, app = Entra(), web.Application()
    app.router.add_post("/{path:.*}", entra.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    entra.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    yield entra
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        yield session


def tokens_of(entra: Entra, now: Callable[[], float]) -> Tokens:
    return Tokens(f"{entra.url}/t/token", client_id="app", client_secret="a-secret", scope="s/.default", now=now)


async def test_a_token_is_fetched_once(session: aiohttp.ClientSession, entra: Entra) -> None:
    tokens = tokens_of(entra, lambda: 0.0)

    several = await asyncio.gather(*(tokens.token(session) for _ in range(5)))

    assert set(several) == {"token-1"}
    granted = {"client_id": "app", "client_secret": "a-secret", "scope": "s/.default"}
    assert entra.forms == [{"grant_type": "client_credentials", **granted}]


async def test_it_is_renewed_before_it_ends(session: aiohttp.ClientSession, entra: Entra) -> None:
    clock = [0.0]
    tokens = tokens_of(entra, lambda: clock[0])

    seen = []
    for clock[0] in (0.0, 3600 - EARLY - 1, 3600 - EARLY + 1):
        seen.append(await tokens.token(session))

    assert seen == ["token-1", "token-1", "token-2"]


async def test_an_old_one_is_used_while_nobody_gives_new_ones(session: aiohttp.ClientSession, entra: Entra) -> None:
    clock = [0.0]
    tokens = tokens_of(entra, lambda: clock[0])
    await tokens.token(session)
    entra.status, clock[0] = 503, 3500.0

    assert await tokens.token(session) == "token-1"

    clock[0] = 3601.0
    with pytest.raises(UpstreamUnavailable, match="503"):
        await tokens.token(session)


async def test_a_refusal_says_why_in_one_line(session: aiohttp.ClientSession, entra: Entra) -> None:
    entra.status = 401

    with pytest.raises(UpstreamUnauthorized) as caught:
        await tokens_of(entra, lambda: 0.0).token(session)

    assert caught.value.message == "Entra ID gives no access token: AADSTS7000215: Invalid client secret."


async def test_a_service_principal_asks_with_its_token(start: Any, upstream: Any, entra: Entra, recording: Any) -> None:
    from router.testing import json_answer

    who = {"tenant_id": "our-tenant", "client_id": "app", "client_secret": "a-secret", "authority": entra.url}
    router = await start(api_key="", **who)
    upstream.will(
        json_answer(recording("text")["body"]),
        json_answer({"error": {"message": "no role for token-1 of a-secret"}}, status=401),
    )
    ask = {"model": "azure/gpt-4o", "messages": [{"role": "user", "content": "hi"}]}

    good, bad = await router.post("/v1/chat/completions", ask), await router.post("/v1/chat/completions", ask)

    assert good.status == 200
    assert entra.paths == ["/our-tenant/oauth2/v2.0/token"]
    assert {each.headers["Authorization"] for each in upstream.asked} == {"Bearer token-1"}
    assert not any("api-key" in each.headers for each in upstream.asked)
    told = await bad.text()
    assert "token-1" not in told
    assert "a-secret" not in told
