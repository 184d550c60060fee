"""Access tokens: fetched off the loop, kept, renewed, and never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from router_vertex.tokens import SCOPES, Tokens, _credentials

from router.errors import UpstreamUnauthorized, UpstreamUnavailable
from router.tasks import spawn
from router.testing import FakeUpstream


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Google:
    """Hands out tokens that hold for so many seconds. `forms` are the requests."""

    def __init__(self, upstream: FakeUpstream, *, holds_s: int = 3600, status: int = 200, delay_s: float = 0.0) -> None:
        self.forms: list[dict[str, str]] = []
        self.status = status
        self._holds_s = holds_s
        self._delay_s = delay_s
        # the fake upstream reads JSON, and this is a form
        upstream._handle = self._answer  # type: ignore[method-assign]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        await asyncio.sleep(self._delay_s)
        if self.status != 200:
            return web.json_response({"error": "invalid_grant", "error_description": "Invalid JWT"}, status=self.status)
        token = f"ya29.token-{len(self.forms)}"
        return web.json_response({"access_token": token, "expires_in": self._holds_s, "token_type": "Bearer"})


@pytest.fixture
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[FakeUpstream]:
    """One whose handler is looked up at each request, so that it can be another."""
    fake = FakeUpstream()
    app = web.Application()

    async def handle(asked: web.Request) -> web.StreamResponse:
        return await fake._handle(asked)

    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    yield fake
    await runner.cleanup()


async def test_a_token_is_fetched_once(
    session: aiohttp.ClientSession, upstream: FakeUpstream, key_file: dict[str, str]
) -> None:
    google, tokens = Google(upstream, delay_s=0.1), Tokens(key_file)

    several = await asyncio.gather(*(tokens.token(session) for _ in range(5)))

    assert set(several) == {"ya29.token-1"}
    (form,) = google.forms
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
    assert claims["iss"] == key_file["client_email"]
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] > time.time()


async def test_the_loop_goes_on_meanwhile(
    session: aiohttp.ClientSession, upstream: FakeUpstream, key_file: dict[str, str]
) -> None:
    Google(upstream, delay_s=0.3)
    fetching = spawn("token", Tokens(key_file).token(session))
    turns = 0

    while not fetching.done():
        await asyncio.sleep(0.01)
        turns += 1

    assert await fetching == "ya29.token-1"
    assert turns > 5


async def test_it_is_renewed_before_it_expires(
    session: aiohttp.ClientSession, upstream: FakeUpstream, key_file: dict[str, str]
) -> None:
    tokens = Tokens(key_file)
    Google(upstream, holds_s=60)

    assert [await tokens.token(session) for _ in range(2)] == ["ya29.token-1", "ya29.token-2"]


async def test_the_old_one_is_used_while_google_is_away(
    session: aiohttp.ClientSession, upstream: FakeUpstream, key_file: dict[str, str]
) -> None:
    google, tokens = Google(upstream, holds_s=100), Tokens(key_file)
    first = await tokens.token(session)
    google.status = 400

    assert await tokens.token(session) == first


async def test_google_refuses(session: aiohttp.ClientSession, upstream: FakeUpstream, key_file: dict[str, str]) -> None:
    Google(upstream, status=400)

    with pytest.raises(UpstreamUnauthorized, match="invalid_grant") as failed:
        await Tokens(key_file).token(session)

    assert key_file["private_key"][40:80] not in failed.value.message


async def test_google_cannot_be_reached(session: aiohttp.ClientSession, key_file: dict[str, str]) -> None:
    with pytest.raises(UpstreamUnavailable):
        await Tokens({**key_file, "token_uri": "http://127.0.0.1:9/token"}).token(session)


async def test_a_key_that_is_none(session: aiohttp.ClientSession, key_file: dict[str, str]) -> None:
    with pytest.raises(UpstreamUnauthorized):
        await Tokens({**key_file, "private_key": "nonsense"}).token(session)


async def test_nobody(session: aiohttp.ClientSession) -> None:
    with pytest.raises(UpstreamUnauthorized, match="default credentials"):
        await Tokens(None).token(session)


def test_a_user() -> None:
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}

    made = _credentials(user)

    assert (made.client_id, made.refresh_token, made.scopes) == ("c", "r", SCOPES)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, router_vertex; print([name for name in sys.modules if name.startswith(('google', 'cryptography'))])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)

    assert done.stdout.strip() == "[]"
