"""Logins of devices without a browser: the short code on a page, the long one in hand (RFC 8628)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.settings import ServerSettings
from router.testing import Running, StillClock

from .browser import Form, browsing
from .test_keys import ECHO, called

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


@pytest.fixture
def clock(router: Running) -> StillClock:
    """The clock of device logins."""
    still = StillClock()
    still.unix = router.server.clock.wall()
    router.server.devices._wall = still.wall  # type: ignore[attr-defined]
    return still


async def begin(router: Running, **body: str) -> Any:
    async with router.session.post(router.url + "/api/v1/auth/cli/device/start", json=body) as answer:
        assert answer.status == 200
        return await answer.json()


async def poll(router: Running, device_code: str) -> str:
    """The key, or the code of the error."""
    async with router.session.post(
        router.url + "/v1/auth/cli/device/token", json={"device_code": device_code}
    ) as answer:
        found = await answer.json()
        assert answer.status in (200, 400)
        key: str = found["key"] if answer.status == 200 else found["error"]["code"]
        return key


async def test_a_device_gets_a_key_when_the_owner_agrees(router: Running, clock: StillClock) -> None:
    device = await begin(router, client_name="my terminal")
    assert (device["expires_in"], device["interval"]) == (600, 5)
    assert device["verification_uri"] == f"{router.url}/auth/device"
    assert await poll(router, device["device_code"]) == "authorization_pending"

    async with browsing(router) as browser:
        page = await browser.log_in(device["verification_uri_complete"].removeprefix(router.url))
        assert "my terminal" in Form(await page.text()).text
        assert device["user_code"] in Form(await page.text()).text
        done = await browser.send(page, decision="allow", limit="4", limit_reset="monthly")
        assert "The device gets its key" in await done.text()
    clock.unix += 5
    key = await poll(router, device["device_code"])

    assert await called(router, key) == 200
    data = (await (await router.get("/api/v1/key", key=key)).json())["data"]
    assert (data["name"], data["limit"], data["limit_reset"]) == ("my terminal", 4, "monthly")
    assert await poll(router, device["device_code"]) == "expired_token"


async def test_behind_a_proxy_the_link_is_the_one_that_is_configured(start: Start) -> None:
    """Whatever the request says of itself."""
    router = await start(providers=ECHO, server=ServerSettings(public_url="https://llm.example.org"))
    said = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Host": "other.example"}

    async with router.session.post(router.url + "/v1/auth/cli/device/start", json={}, headers=said) as answer:
        device = await answer.json()

    assert device["verification_uri"] == "https://llm.example.org/auth/device"
    assert device["verification_uri_complete"].startswith("https://llm.example.org/auth/device?user_code=")


async def test_a_proxy_is_not_believed_what_it_says_of_itself(router: Running) -> None:
    said = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "proto=https;host=evil.example",
    }

    async with router.session.post(router.url + "/v1/auth/cli/device/start", json={}, headers=said) as answer:
        assert (await answer.json())["verification_uri"] == f"{router.url}/auth/device"


async def test_the_code_is_typed_in_as_people_do(router: Running) -> None:
    device = await begin(router)
    async with browsing(router) as browser:
        page = await browser.log_in("/auth/device")
        assert Form(await page.text()).method == "get"
        sloppy = device["user_code"].lower().replace("-", " ")
        found = await browser.get(f"/auth/device?user_code={sloppy}")
        wrong = await browser.get("/auth/device?user_code=XXXX-XXXX")

    assert Form(await found.text()).fields["user_code"] == device["user_code"]
    assert "no device waits with this code" in await wrong.text()


async def test_the_owner_says_no(router: Running) -> None:
    device = await begin(router)
    async with browsing(router) as browser:
        page = await browser.log_in(f"/auth/device?user_code={device['user_code']}")
        await browser.send(page, decision="deny")
        again = await browser.send(page, decision="allow")

    assert again.status == 404
    assert await poll(router, device["device_code"]) == "access_denied"
    assert await poll(router, device["device_code"]) == "expired_token"


async def test_who_asks_too_often_is_told_to_slow_down(router: Running, clock: StillClock) -> None:
    code = (await begin(router))["device_code"]

    found = []
    for wait in (0, 1, 5, 15, 15):
        clock.unix += wait
        found.append(await poll(router, code))

    pending, slow = "authorization_pending", "slow_down"
    assert found == [pending, slow, slow, pending, pending]


async def test_a_login_lasts_ten_minutes(router: Running, clock: StillClock) -> None:
    device = await begin(router)
    clock.unix += 600

    async with browsing(router) as browser:
        page = await browser.log_in(f"/auth/device?user_code={device['user_code']}")

    assert "no device waits" in await page.text()
    assert await poll(router, device["device_code"]) == "expired_token"
    assert await poll(router, "nobody") == "expired_token"


async def test_a_form_without_its_token_agrees_to_nothing(router: Running) -> None:
    device = await begin(router)
    async with browsing(router) as browser:
        page = await browser.log_in(f"/auth/device?user_code={device['user_code']}")
        assert (await browser.send(page, decision="allow", csrf="x")).status == 403

    assert await poll(router, device["device_code"]) == "authorization_pending"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 91])
async def test_names_that_make_no_sense(router: Running, name: str) -> None:
    async with router.session.post(router.url + "/v1/auth/cli/device/start", json={"client_name": name}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == "client_name"


async def test_starts_are_counted(router: Running) -> None:
    for _ in range(30):
        await begin(router)
    async with router.session.post(router.url + "/v1/auth/cli/device/start", json={}) as answer:
        assert answer.status == 429
