"""With a key goes all that is held for it, at once; what it did and what that cost stays (api.md 11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router import Identity, hookimpl
from router.builtin import DEFAULT_PLUGINS
from router.builtin.idempotency import Idempotency
from router.server import Server
from router.settings import ResponsesSettings, RetentionSettings, Settings
from router.store import Database, remains
from router.store.keys import Keys
from router.tasks import spawn
from router.testing import FakeUpstream, Running, json_answer, running, until
from tests.builtin.test_compat import ANSWER

from .browser import browsing
from .test_devices import begin, poll
from .test_keys import ASK, ECHO, ask, made

Start = Callable[..., Awaitable[Running]]
KEPT = {"responses": ResponsesSettings(store=True), "retention": RetentionSettings(content="full")}
HELD = {
    "content": "key_hash",
    "feedback": "key_hash",
    "responses": "owner",
    "responses_item": "owner",
    "responses_run": "owner",
    "idempotency": "owner",
    "code": "granted_by",
    "guardrail_key": "key_id",
}


async def held(router: Running, data: dict[str, Any]) -> dict[str, int]:
    """How many rows of each table there are for a key."""
    database = router.server.database
    found = {
        table: await database.all(f"SELECT * FROM {table} WHERE {owner} IN (?, ?)", (data["hash"], data["id"]))
        for table, owner in HELD.items()
    }
    return {table: len(rows) for table, rows in found.items()}


async def used(router: Running, key: str) -> str:
    """Make calls that leave something of every kind; the id of the last."""
    cached = {"X-OpenRouter-Cache": "true", "Idempotency-Key": "once"}
    assert (await router.post("/v1/chat/completions", ASK, key=key, headers=cached)).status == 200
    answer = await router.post("/v1/responses", {"model": "echo/echo", "input": "my secret"}, key=key)
    id = answer.headers["X-Generation-Id"]
    told = {"generation_id": id, "category": "other", "comment": "not my taste"}
    assert (await router.post("/api/v1/generation/feedback", told, key=key)).status == 200
    assert (await router.get(f"/api/v1/generation/content?id={id}", key=router.management)).status == 200
    return id


async def test_what_is_held_for_a_key_goes_with_it_and_its_history_stays(start: Start) -> None:
    router = await start(providers=ECHO, **KEPT)
    guardrail = (await ask(router, "POST", "/api/v1/guardrails", {"name": "g"}, status=201))["data"]["id"]
    new, other = await made(router, guardrail_id=guardrail), await made(router, name="other")
    id, stays = await used(router, new["key"]), await used(router, other["key"])
    before = await held(router, new["data"])
    await ask(router, "DELETE", f"/api/v1/keys/{new['hash']}")

    assert [table for table, count in before.items() if count] == [
        "content", "feedback", "responses", "responses_item", "guardrail_key",
    ]  # fmt: skip
    assert not any((await held(router, new["data"])).values())
    assert await held(router, other["data"]) == {**before, "guardrail_key": 0}
    content = "/api/v1/generation/content?id="
    assert (await router.get(content + id, key=router.management)).status == 404
    assert (await router.get(content + stays, key=router.management)).status == 200
    assert (await ask(router, "GET", f"/api/v1/generation?id={id}"))["data"]["id"] == id


async def much(database: Database, data: dict[str, Any], rows: int) -> None:
    """Very much was said in calls of a key."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    content = (
        "INSERT INTO content (id, created_unix, key_hash, request, answer) SELECT 'much-' || i, 0, ?, '{}', '{}' FROM n"
    )
    responses = """
        INSERT INTO responses (id, owner, created_unix, status, background, input, response)
        SELECT 'resp-' || i, ?, 0, 'completed', 0, '[]', '{"output": [{"id": "item-' || i || '"}]}' FROM n
    """
    await database.write(
        (f"{numbers} {content}", (rows, data["hash"])),
        (f"{numbers} {responses}", (rows, data["id"])),
    )


async def test_while_much_of_a_key_is_deleted_others_write_and_nobody_sees_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "AT_ONCE", 1)
    router = await start(providers=ECHO, **KEPT)
    new = await made(router)
    id = await used(router, new["key"])
    await much(router.server.database, new["data"], 500)
    path = f"/api/v1/generation/content?id={id}"
    deleting = spawn("delete", ask(router, "DELETE", f"/api/v1/keys/{new['hash']}"))
    await until(lambda: router.server.keys.get(new["hash"]) is None)

    seen = await router.get(path, key=router.management)
    await made(router, name="other")
    left = await held(router, new["data"])
    await deleting

    assert seen.status == 404
    assert left["content"] > 0
    assert left["responses"] > 0
    assert not any((await held(router, new["data"])).values())


async def test_what_a_crash_has_left_of_a_key_goes_at_the_next_start(tmp_path: Path) -> None:
    settings = Settings(providers={"echo": {"plugin": "echo"}}, **KEPT)
    async with running(settings, tmp_path) as router:
        new, other = await made(router), await made(router, name="other")
        for each in (new, other):
            await used(router, each["key"])
        await much(router.server.database, new["data"], 500)
        # as after the first transaction of a deletion
        await router.server.database.write(("UPDATE key SET deleted_unix = 1 WHERE hash = ?", (new["hash"],)))
        assert (await held(router, new["data"]))["content"] > 500
        stays = await held(router, other["data"])

    router.server = server = Server(settings, {})
    server.load_plugins()
    await server.start()

    async def gone() -> bool:
        return not any((await held(router, new["data"])).values())

    try:
        await until(gone)
        assert await held(router, other["data"]) == stays
    finally:
        await server.stop()


async def test_what_a_manager_has_allowed_goes_with_his_key(start: Start) -> None:
    router = await start(providers=ECHO)
    new = await made(router, key_type="management")
    challenge = {"code_challenge": "x" * 43, "code_challenge_method": "plain"}
    code = await ask(router, "POST", "/api/v1/auth/keys/code", challenge, key=new["key"])
    device = await begin(router)
    login = router.server.devices.find(device["user_code"])
    assert login is not None
    login.state, login.granted_by = "approved", new["hash"]
    await router.post("/api/v1/keys", {"name": "a"}, key=new["key"], headers={"Idempotency-Key": "once"})
    before = await held(router, new["data"])
    async with browsing(router) as browser:
        await browser.log_in("/auth/device", key=new["key"])
        assert len(router.server.sessions._open) == 1  # type: ignore[attr-defined]
        await ask(router, "DELETE", f"/api/v1/keys/{new['hash']}")

    assert (before["code"], before["idempotency"]) == (1, 1)
    assert not any((await held(router, new["data"])).values())
    assert not router.server.sessions._open  # type: ignore[attr-defined]
    assert await poll(router, device["device_code"]) == "expired_token"
    exchange = {"code": code["data"]["id"], "code_verifier": "x" * 43}
    await ask(router, "POST", "/api/v1/auth/keys/exchange", exchange, status=403)


async def test_what_still_runs_for_a_key_that_goes_leaves_nothing(start: Start, upstream: FakeUpstream) -> None:
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": provider}, **KEPT)
    upstream.will(json_answer({}, delay_s=60))
    new = await made(router)
    answer = await router.post("/v1/responses", {"model": "fake/m", "input": "x", "background": True}, key=new["key"])
    assert (await answer.json())["status"] == "queued"
    await ask(router, "DELETE", f"/api/v1/keys/{new['hash']}")

    path = f"/api/v1/generation?id={answer.headers['X-Generation-Id']}"

    async def known() -> bool:
        return (await router.get(path, key=router.management)).status != 404

    await until(known)

    assert (await ask(router, "GET", path))["data"]["cancelled"]
    assert not any((await held(router, new["data"])).values())


async def test_answers_under_idempotency_keys_go_too(
    start: Start, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins: list[Idempotency] = []

    def make(server: Server) -> Idempotency:
        plugins.append(Idempotency(server))
        return plugins[-1]

    monkeypatch.setitem(DEFAULT_PLUGINS, "idempotency", make)
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": provider})
    upstream.will(json_answer(ANSWER), json_answer(ANSWER, delay_s=0.5))
    new = await made(router)
    body = {**ASK, "model": "fake/m"}
    await router.post("/v1/chat/completions", body, key=new["key"], headers={"Idempotency-Key": "first"})
    late = spawn(
        "late", router.post("/v1/chat/completions", body, key=new["key"], headers={"Idempotency-Key": "second"})
    )
    await until(lambda: len(upstream.asked) == 2)
    assert len(plugins[0].shelf) == 1
    await ask(router, "DELETE", f"/api/v1/keys/{new['hash']}")

    assert len(plugins[0].shelf) == 0
    assert (await late).status == 200
    assert (len(plugins[0].shelf), plugins[0].shelf.bytes) == (0, 0)


class Listening:
    def __init__(self) -> None:
        self.gone: list[str] = []

    @hookimpl
    def router_forget(self, identity: Identity) -> None:
        self.gone.append(identity.hash)
        raise KeyError("oops")


async def test_plugins_are_told_of_every_secret_that_goes(start: Start) -> None:
    router = await start(providers=ECHO, plugins={"mine": (mine := Listening())})
    new = await made(router)
    fresh = await ask(router, "POST", f"/api/v1/keys/{new['hash']}/rotate", {"grace_seconds": 60})
    await ask(router, "DELETE", f"/api/v1/keys/{fresh['data']['hash']}")

    assert sorted(mine.gone) == sorted([new["hash"], fresh["data"]["hash"]])


async def test_plugins_are_told_of_what_another_process_deletes(start: Start) -> None:
    router = await start(providers=ECHO, plugins={"mine": (mine := Listening())})
    new = await made(router)
    async with await Database.open(router.server.database.path) as other:
        await Keys(other).delete(new["hash"])
        await until(lambda: mine.gone)

    assert mine.gone == [new["hash"]]
