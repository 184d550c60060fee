"""Keys for apps (PKCE): codes, their exchange, and the pages on which the owner agrees."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from router.api.grants import app_of
from router.errors import BadRequest
from router.settings import AuthSettings, ServerSettings
from router.testing import Running, StillClock

from .browser import Browser, Form, browsing
from .test_keys import ECHO, ask, called

Start = Callable[..., Awaitable[Running]]

#: the example of RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://localhost:3000/callback?state=1"
S256 = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


async def code(router: Running, **members: Any) -> str:
    body = {"callback_url": "https://app.example/back", **members}
    made = (await ask(router, "POST", "/api/v1/auth/keys/code", body))["data"]
    assert made["app_id"] == 1
    assert re.fullmatch(r"auth_code_[\w-]{43}", made["id"])
    assert made["created_at"].endswith("Z")
    id: str = made["id"]
    return id


async def exchanged(router: Running, path: str = "/api/v1/auth/keys", status: int = 200, **body: Any) -> Any:
    """Without any key."""
    async with router.session.post(router.url + path, json=body) as answer:
        assert answer.status == status, await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        return await answer.json()


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/auth/keys", "/v1/auth/keys", "/api/v1/auth/keys/exchange"])
@pytest.mark.parametrize("method", ["S256", None])
async def test_a_code_is_exchanged_for_a_key(router: Running, path: str, method: str | None) -> None:
    id = await code(router, **S256, key_label="My app", limit=5, usage_limit_type="weekly", expires_at="2999-01-02")

    found = await exchanged(router, path, code=id, code_verifier=VERIFIER, code_challenge_method=method)

    assert found == {"key": found["key"], "user_id": None, "data": {"key": found["key"]}}
    assert await called(router, found["key"]) == 200
    data = (await (await router.get("/api/v1/key", key=found["key"])).json())["data"]
    assert (data["name"], data["limit"], data["limit_reset"]) == ("My app", 5, "weekly")
    assert data["expires_at"] == "2999-01-02T00:00:00.000Z"
    assert not data["is_management_key"]


DIGEST = hashlib.sha256(VERIFIER.encode()).digest()
FORMS = {
    "plain": ({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, VERIFIER),
    "plain, unsaid": ({"code_challenge": VERIFIER}, VERIFIER),
    "base64 with padding": (S256 | {"code_challenge": base64.b64encode(DIGEST).decode()}, VERIFIER),
    "base64url with padding": (S256 | {"code_challenge": base64.urlsafe_b64encode(DIGEST).decode()}, VERIFIER),
    "none": ({}, None),
}


@pytest.mark.parametrize(("members", "verifier"), FORMS.values(), ids=FORMS)
async def test_forms_of_challenges(router: Running, members: dict[str, str], verifier: str | None) -> None:
    found = await exchanged(router, code=await code(router, **members), code_verifier=verifier)

    assert await called(router, found["key"]) == 200


async def test_plain_base64_is_taken_where_it_differs(router: Running) -> None:
    """Of this verifier the digest has + and / in it."""
    verifier = next(f"verifier-{n}" for n in range(999) if _both(f"verifier-{n}"))
    digest = base64.b64encode(hashlib.sha256(verifier.encode()).digest()).decode()

    await exchanged(router, code=await code(router, **S256 | {"code_challenge": digest}), code_verifier=verifier)


def _both(verifier: str) -> bool:
    text = base64.b64encode(hashlib.sha256(verifier.encode()).digest()).decode()
    return "+" in text and "/" in text


async def test_what_is_wrong_with_an_exchange(router: Running) -> None:
    id = await code(router, **S256)
    right = {"code": id, "code_verifier": VERIFIER}

    for status, body, param in (
        (403, right | {"code": "auth_code_nobody"}, "code"),
        (403, right | {"code_verifier": VERIFIER + "x"}, "code_verifier"),
        (403, {"code": id}, "code_verifier"),
        (400, right | {"code_challenge_method": "plain"}, "code_challenge_method"),
        (400, right | {"code_challenge_method": "S512"}, "code_challenge_method"),
        (400, {"code": await code(router), "code_verifier": VERIFIER}, "code_verifier"),
    ):
        assert (await exchanged(router, status=status, **body))["error"]["param"] == param
    await exchanged(router, **right)
    assert (await exchanged(router, status=409, **right))["error"]["code"] == "conflict"


async def test_a_code_holds_for_ten_minutes(router: Running) -> None:
    clock = StillClock()
    router.server.codes._wall = clock.wall  # type: ignore[attr-defined]
    clock.unix = router.server.clock.wall() - 599
    late = await code(router)
    clock.unix -= 2
    later = await code(router)

    await exchanged(router, code=late)
    error = await exchanged(router, status=403, code=later)

    assert "is over" in error["error"]["message"]


async def test_a_code_is_used_once_however_many_come_at_once(router: Running) -> None:
    id = await code(router)

    async def once() -> int:
        async with router.session.post(router.url + "/api/v1/auth/keys", json={"code": id}) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*(once() for _ in range(8)))) == [200] + [409] * 7


async def test_codes_are_not_in_the_database(router: Running) -> None:
    id = await code(router, **S256)

    rows = await router.server.database.all("SELECT * FROM code")
    record = await router.server.database.all("SELECT * FROM audit WHERE action = 'code.create'")

    assert len(rows) == len(record) == 1
    assert id not in str(rows) + str(record)


async def test_the_record_says_who_has_allowed_the_key(router: Running) -> None:
    boss = router.server.keys.find(router.management)
    assert boss is not None

    key = (await exchanged(router, code=await code(router)))["key"]

    found = router.server.keys.find(key)
    assert found is not None
    rows = await router.server.database.all("SELECT actor, action FROM audit WHERE target = ?", (found.hash,))
    assert rows == [(boss.hash, "key.create")]


async def test_a_code_of_a_key_that_is_gone_is_worth_nothing(router: Running) -> None:
    boss = await ask(router, "POST", "/api/v1/keys", {"name": "boss", "key_type": "management"}, status=201)
    made = await ask(router, "POST", "/api/v1/auth/keys/code", {"callback_url": "https://app.example"}, key=boss["key"])
    await ask(router, "DELETE", f"/api/v1/keys/{boss['hash']}")

    await exchanged(router, status=403, code=made["data"]["id"])


async def in_workspace(router: Running) -> tuple[str, str]:
    """A new workspace, and a code for a key in it."""
    id = (await ask(router, "POST", "/api/v1/workspaces", {"name": "Lab"}, status=201))["data"]["id"]
    return id, await code(router, workspace_id=id)


async def test_a_code_for_a_workspace_that_is_gone_is_worth_nothing(router: Running) -> None:
    id, plain = await in_workspace(router)
    await ask(router, "DELETE", f"/api/v1/workspaces/{id}")

    refused = await exchanged(router, status=403, code=plain)

    assert "the workspace that this key was to lie in was deleted" in refused["error"]["message"]
    rows = await router.server.database.all(
        "SELECT used_unix FROM code UNION ALL SELECT 1 FROM key WHERE workspace_id = ?", (id,)
    )
    assert rows == [(None,)]


async def test_a_code_is_exchanged_or_its_workspace_deleted_whichever_is_first(router: Running) -> None:
    seen = set()
    for number in range(8):
        id, plain = await in_workspace(router)
        asking = [exchange_status(router, plain), delete_status(router, id)]
        statuses = await asyncio.gather(*asking[:: 1 if number % 2 else -1])
        seen.add(tuple(sorted(statuses)))
        if 409 in statuses:
            key = (await ask(router, "GET", f"/api/v1/keys?workspace_id={id}"))["data"][0]
            await ask(router, "DELETE", f"/api/v1/keys/{key['hash']}")
            await ask(router, "DELETE", f"/api/v1/workspaces/{id}")

    assert seen <= {(200, 409), (200, 403)}


async def exchange_status(router: Running, plain: str) -> int:
    async with router.session.post(router.url + "/v1/auth/keys/exchange", json={"code": plain}) as answer:
        return answer.status


async def delete_status(router: Running, id: str) -> int:
    bearer = {"Authorization": f"Bearer {router.management}"}
    async with router.session.delete(f"{router.url}/v1/workspaces/{id}", headers=bearer) as answer:
        return answer.status


async def test_keys_of_one_app_have_names_of_their_own(router: Running) -> None:
    for _ in range(2):
        await exchanged(router, code=await code(router))

    names = [each["name"] for each in (await ask(router, "GET", "/api/v1/keys"))["data"][:2]]

    assert names[1] == "app.example"
    assert re.fullmatch(r"app\.example [0-9a-f]{8}", names[0])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"callback_url": "http://app.example"}, "callback_url"),
        ({}, "code_challenge"),
        ({"callback_url": "https://app.example", "code_challenge_method": "S256"}, "code_challenge"),
        ({"callback_url": "https://app.example", "limit": -1}, "limit"),
        ({"callback_url": "https://app.example", "usage_limit_type": "hourly"}, "usage_limit_type"),
        ({"callback_url": "https://app.example", "expires_at": "2001-01-01"}, "expires_at"),
        ({"callback_url": "https://app.example", "key_label": "a\nb"}, "name"),
    ],
)
async def test_codes_that_make_no_sense(router: Running, body: dict[str, Any], param: str) -> None:
    assert (await ask(router, "POST", "/api/v1/auth/keys/code", body, status=400))["error"]["param"] == param


async def test_who_tries_codes_is_slowed_down(router: Running) -> None:
    statuses = []
    for _ in range(31):
        async with router.session.post(router.url + "/v1/auth/keys/exchange", json={"code": "auth_code_x"}) as answer:
            statuses.append(answer.status)
            wait = answer.headers.get("Retry-After")

    assert statuses == [403] * 30 + [429]
    assert wait is not None
    assert 0 < int(wait) <= 60


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://app.example", "app.example"),
        ("https://app.example:443/x", "app.example:443"),
        ("HTTPS://App.Example:3000/x?y=z", "app.example:3000"),
        ("http://localhost/x", "localhost"),
        ("http://localhost:51234/x", "localhost:51234"),
        ("https://127.0.0.1:8443", "127.0.0.1:8443"),
        ("http://[::1]:9", "[::1]:9"),
        ("http://app.example", None),
        ("https://app.example:8443", None),
        ("https://[2001:db8::1]:3000/back", "[2001:db8::1]:3000"),
        ("https://[2001:db8::1]:8443", None),
        ("https://app.example:x", None),
        ("https://user@app.example", None),
        ("https://app.example#x", None),
        ("https://app.example\\@other.example", None),
        ("https://app.exämple", None),
        ("https://app.example/\n", None),
        ("http://localhost.app.example", None),
        ("http://127.0.0.2", None),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("//app.example", None),
        ("https://app.example;script-src *", None),
        ("", None),
    ],
)
def test_where_a_code_may_go(url: str, name: str | None) -> None:
    if name is not None:
        assert app_of(url, None, None).name == name
        return
    with pytest.raises(BadRequest, match="callback_url must be"):
        app_of(url, None, None)


# --- pages -----------------------------------------------------------------------------------------------------------


def consent(**query: str) -> str:
    return "/auth?" + urlencode({"callback_url": CALLBACK, **S256, **query})


async def test_an_owner_logs_in_agrees_and_is_sent_back_with_a_code(router: Running) -> None:
    async with browsing(router) as browser:
        page = await browser.log_in(consent(key_label="Mine", limit="2.5"))
        text = await page.text()
        form = Form(text)
        assert "localhost:3000" in form.text
        assert (form.fields["key_label"], form.fields["limit"]) == ("Mine", "2.5")

        back = await browser.send(page, decision="allow", limit="3", limit_reset="daily")

    assert back.status == 302
    where = urlsplit(back.headers["Location"])
    assert where.geturl().startswith(CALLBACK + "&code=")
    found = await exchanged(router, code=parse_qs(where.query)["code"][0], code_verifier=VERIFIER)
    data = (await (await router.get("/api/v1/key", key=found["key"])).json())["data"]
    assert (data["name"], data["limit"], data["limit_reset"]) == ("Mine", 3, "daily")


async def test_an_owner_says_no(router: Running) -> None:
    async with browsing(router) as browser:
        back = await browser.send(await browser.log_in(consent()), decision="deny")

    assert (back.status, back.headers["Location"]) == (302, CALLBACK + "&error=access_denied")
    assert await router.server.database.all("SELECT 1 FROM code") == []


async def test_without_a_callback_the_code_is_shown(router: Running) -> None:
    async with browsing(router) as browser:
        page = await browser.send(await browser.log_in("/auth?" + urlencode(S256)), decision="allow", limit="")

        shown = re.search(r"auth_code_[\w-]+", await page.text())

    assert shown is not None
    await exchanged(router, code=shown[0], code_verifier=VERIFIER)


async def test_pages_are_strict_and_escaped(router: Running) -> None:
    evil = '"><script>alert(1)</script>'
    async with browsing(router) as browser:
        login = await browser.get(consent(key_label=evil, limit="1"))
        page = await browser.log_in(consent(key_label=evil, limit="1"))
        wrong = await browser.get("/auth?" + urlencode({"callback_url": evil}))

    for answer in (login, page, wrong):
        text = await answer.text()
        assert "<script" not in text
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
        assert style is not None
        assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert Form(await page.text()).fields["key_label"] == evil
    assert "form-action 'self' http://localhost:3000;" in page.headers["Content-Security-Policy"]
    assert wrong.status == 400


@pytest.mark.parametrize("query", [{"callback_url": "http://app.example"}, {}, {"limit": "much"}, {"limit": "-1"}])
async def test_requests_that_make_no_sense_are_a_page(router: Running, query: dict[str, str]) -> None:
    async with browsing(router) as browser:
        query = {"callback_url": CALLBACK, **query} if "limit" in query else query
        page = await browser.get("/auth?" + urlencode(query))

    assert page.status == 400
    assert "This did not work" in await page.text()


async def test_the_cookie_is_kept_from_scripts_and_other_sites(router: Running) -> None:
    async with browsing(router) as browser:
        answer = await browser.send(await browser.get(consent()), key=router.management)

    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert router.management not in cookie


@pytest.mark.parametrize(
    ("public_url", "secure"), [("https://llm.example.org", True), ("http://box.lan", False), ("", False)]
)
async def test_the_cookie_is_secure_where_people_come_by_https(start: Start, public_url: str, secure: bool) -> None:
    router = await start(providers=ECHO, server=ServerSettings(public_url=public_url))
    async with browsing(router) as browser:
        form = Form(await (await browser.get(consent())).text())
        fields = form.fields | {"key": router.management}
        answer = await browser.post(form.action, fields, **{"X-Forwarded-Proto": "http" if secure else "https"})

    assert answer.status == 303
    assert ("Secure" in answer.headers["Set-Cookie"].split("; ")) is secure


async def test_who_comes_from_another_site_is_asked_again_for_the_cookie(router: Running) -> None:
    """Browsers keep strict cookies to themselves there."""
    async with browsing(router) as browser:
        page = await browser.get(consent(), **{"Sec-Fetch-Site": "cross-site"})
        again = await browser.get(consent(), **{"Sec-Fetch-Site": "same-origin"})

    assert '<meta http-equiv="refresh" content="0">' in await page.text()
    assert "refresh" not in await again.text()


@pytest.mark.parametrize("key", ["", "sk-rt-mgmt-v1-nobody", "inference"])
async def test_only_management_keys_log_in(router: Running, key: str) -> None:
    async with browsing(router) as browser:
        answer = await browser.send(await browser.get(consent()), key=router.key if key == "inference" else key)

        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
        assert Form(await answer.text()).action == "/auth/login"


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/\r\nX: y"])
async def test_a_login_leads_nowhere_else(router: Running, back: str) -> None:
    async with browsing(router) as browser:
        answer = await browser.post("/auth/login", {"key": router.management, "next": back})

    assert (answer.status, answer.headers["Location"]) == (303, "/auth/device")


async def test_a_login_from_another_site_is_refused(router: Running) -> None:
    async with browsing(router) as browser:
        answer = await browser.post("/auth/login", {"key": router.management}, **{"Sec-Fetch-Site": "cross-site"})

    assert answer.status == 403


async def test_a_form_without_its_token_is_refused(router: Running) -> None:
    async with browsing(router) as browser:
        page = await browser.log_in(consent())
        form = Form(await page.text())
        for token in ("", "x", "ä"):
            answer = await browser.post("/auth", form.fields | {"csrf": token, "decision": "allow"})
            assert answer.status == 403
    async with browsing(router) as other:
        assert (await other.post("/auth", form.fields | {"decision": "allow"})).status == 401
    assert await router.server.database.all("SELECT 1 FROM code") == []


async def test_a_session_ends_with_its_key_and_by_logging_out(router: Running) -> None:
    boss = await ask(router, "POST", "/api/v1/keys", {"name": "boss", "key_type": "management"}, status=201)
    async with browsing(router) as browser:
        page = await browser.log_in(consent(), boss["key"])
        assert Form(await page.text()).action == "/auth"
        await ask(router, "PATCH", f"/api/v1/keys/{boss['hash']}", {"disabled": True})
        assert Form(await (await browser.get(consent())).text()).action == "/auth/login"

        token = Form(await (await browser.log_in(consent())).text()).fields["csrf"]
        assert (await browser.post("/auth/logout", {"csrf": "x"})).status == 403
        assert (await browser.post("/auth/logout", {"csrf": token})).status == 200
        assert Form(await (await browser.get(consent())).text()).action == "/auth/login"


async def test_a_session_manages_with_its_token_and_makes_no_calls(router: Running) -> None:
    async with browsing(router) as browser:
        token = Form(await (await browser.log_in(consent())).text()).fields["csrf"]
        session, url = browser.session, router.url

        async def status(path: str, body: Any, **headers: str) -> int:
            async with session.post(url + path, json=body, headers=headers) as answer:
                return answer.status

        callback = {"callback_url": "https://app.example"}
        assert (await browser.get("/api/v1/keys")).status == 200
        assert await status("/api/v1/auth/keys/code", callback) == 403
        assert await status("/api/v1/auth/keys/code", callback, **{"X-CSRF-Token": token}) == 200
        assert await status("/api/v1/auth/keys", {"name": "x"}, **{"X-CSRF-Token": token}) == 201
        chat = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
        assert await status("/v1/chat/completions", chat, **{"X-CSRF-Token": token}) == 401


async def test_a_session_does_no_more_than_its_key(router: Running) -> None:
    reader = await ask(
        router,
        "POST",
        "/api/v1/keys",
        {"name": "reader", "key_type": "management", "scopes": ["logs:read"]},
        status=201,
    )
    async with browsing(router) as browser:
        page = await browser.log_in(consent(), reader["key"])
        assert (await browser.send(page, decision="allow")).status == 403
        assert (await browser.get("/api/v1/keys")).status == 403


async def test_in_open_mode_codes_need_no_key_either(start: Start) -> None:
    router = await start(providers=ECHO, auth=AuthSettings(mode="open"))
    body = {"callback_url": "https://app.example"}
    async with router.session.post(router.url + "/v1/auth/keys/code", json=body) as answer:
        id = (await answer.json())["data"]["id"]

    await exchanged(router, code=id)


async def test_forms_are_small(router: Running) -> None:
    async with browsing(router) as browser:
        assert (await browser.post("/auth/login", {"key": "x" * 70_000})).status == 413
        async with browser.session.post(router.url + "/auth/login", json={}) as answer:
            assert answer.status == 400


async def test_logins_are_slowed_down(router: Running, start: Start) -> None:
    async with browsing(router) as browser:
        for _ in range(30):
            assert (await _attempt(browser)) == 401
        assert (await _attempt(browser)) == 429


async def _attempt(browser: Browser) -> int:
    return (await browser.post("/auth/login", {"key": "x", "next": "/"})).status
