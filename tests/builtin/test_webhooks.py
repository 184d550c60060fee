"""Webhooks: endpoints hear what happens, signed and at least once, and calls never wait for them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from router.builtin import DEFAULT_PLUGINS, webhooks
from router.builtin.webhooks.delivery import signature
from router.settings import EndpointSettings, FetchSettings, ModelSettings, PriceSettings
from router.store.audit import Change
from router.testing import FakeUpstream, Running, json_answer, until

from .test_compat import ANSWER

Start = Callable[..., Awaitable[Running]]
Begin = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ENDPOINTS = "/api/webhooks/endpoints"
ASK: dict[str, Any] = {"model": "test/m", "messages": [{"role": "user", "content": "a private word"}]}
PRICE = PriceSettings(prompt="0.000001", completion="0.000002", request="0.01")


@pytest.fixture
async def receiver() -> AsyncIterator[FakeUpstream]:
    """An endpoint that takes everything until it is told otherwise."""
    async with FakeUpstream().listening() as fake:
        fake.will(json_answer({}))
        yield fake


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[webhooks.Webhooks]:
    """The plugin of each router that is started behind this; it looks at the outbox without a pause worth the name."""
    made: list[webhooks.Webhooks] = []

    def make(server: Any) -> webhooks.Webhooks:
        plugin = webhooks.Webhooks(server)
        plugin.look_s = 0.02
        made.append(plugin)
        return plugin

    monkeypatch.setitem(DEFAULT_PLUGINS, "webhooks", make)
    monkeypatch.setattr("router.builtin.webhooks.states.EVERY_S", 0.02)
    return made


@pytest.fixture
def begin(start: Start, upstream: FakeUpstream, made: list[webhooks.Webhooks]) -> Begin:
    async def beginner(*, private: bool = True) -> Running:
        upstream.will(json_answer(ANSWER))
        return await start(
            providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}},
            models={"test/m": ModelSettings(endpoints=[EndpointSettings(provider="fake", model="m", pricing=PRICE)])},
            fetch=FetchSettings(allow_private=private),
        )

    return beginner


async def endpoint(router: Running, receiver: FakeUpstream, **settings: Any) -> tuple[str, str]:
    """Id and secret of a new endpoint."""
    body = {"url": receiver.url + "/hook", **settings}
    answer = await router.post(ENDPOINTS, body, key=router.management)
    assert answer.status == 201, await answer.text()
    told = await answer.json()
    return told["data"]["id"], told["secret"]


def heard(receiver: FakeUpstream) -> list[tuple[str, Any]]:
    return [(each.body["type"], each.body["data"]) for each in receiver.asked]


async def change(router: Running, id: str, **settings: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.patch(f"{router.url}{ENDPOINTS}/{id}", json=settings, headers=headers) as answer:
        body: dict[str, Any] = await answer.json()
        assert answer.status == 200, body
        return body["data"]  # type: ignore[no-any-return]


async def look(router: Running, id: str) -> dict[str, Any]:
    answer = await router.get(f"{ENDPOINTS}/{id}", key=router.management)
    data: dict[str, Any] = (await answer.json())["data"]
    return data


# --- events ----------------------------------------------------------------------------------------------------------


async def test_a_call_is_told_signed_and_without_what_was_said(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    _, secret = await endpoint(router, receiver)

    answer = await router.post(CHAT, ASK)
    await until(lambda: receiver.asked)

    told = receiver.asked[0]
    assert (told.method, told.path) == ("POST", "/hook")
    assert told.body["type"] == told.headers["X-Router-Event"] == "generation.completed"
    assert told.body["id"] == told.headers["X-Router-Delivery"]
    assert told.body["data"]["id"] == answer.headers["X-Generation-Id"]
    assert told.body["data"]["cost"] > 0.01
    assert "private word" not in json.dumps(told.body)
    parts = dict(part.split("=") for part in told.headers["X-Router-Signature"].split(","))
    sent = json.dumps(told.body, separators=(",", ":"), ensure_ascii=False)
    expected = hmac.new(secret.encode(), f"{parts['t']}.{sent}".encode(), hashlib.sha256).hexdigest()
    assert parts["v1"] == expected


async def test_failures_are_told_and_who_asks_for_less_hears_less(
    begin: Begin, upstream: FakeUpstream, receiver: FakeUpstream
) -> None:
    router = await begin()
    await endpoint(router, receiver, events=["generation.failed"])
    await router.post(CHAT, ASK)
    upstream.will(json_answer({"error": {"message": "no"}}, status=400))

    assert (await router.post(CHAT, ASK)).status == 400
    await until(lambda: receiver.asked)

    assert [(type, data["status"], data["http_status"]) for type, data in heard(receiver)] == [
        ("generation.failed", "error", 400)
    ]


async def test_events_of_some_keys_only(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    plain, other = await router.server.keys.create("other")
    await endpoint(router, receiver, api_key_hashes=[other.hash])

    await router.post(CHAT, ASK)
    await router.post(CHAT, ASK, key=plain)
    await until(lambda: receiver.asked)

    assert [data["key_hash"] for _, data in heard(receiver)] == [other.hash]

    receiver.asked.clear()
    rotated, new = await router.server.keys.rotate(other.hash)
    await router.post(CHAT, ASK, key=rotated)
    await until(lambda: receiver.asked)

    assert [data["key_hash"] for _, data in heard(receiver)] == [new.hash]


async def test_events_of_a_workspace_only(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    await router.post("/v1/workspaces", {"name": "W"}, key=router.management)
    answer = await router.post("/v1/keys", {"name": "in it", "workspace_id": "w"}, key=router.management)
    inside = await answer.json()
    await endpoint(router, receiver, workspace_id="w")

    await router.post(CHAT, ASK)
    await router.post(CHAT, ASK, key=inside["key"])
    await until(lambda: receiver.asked)

    assert [data["key_hash"] for _, data in heard(receiver)] == [inside["hash"]]


async def test_a_limit_that_is_used_up_is_told_once(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    await endpoint(router, receiver, events=["key.limit_reached"])
    plain, key = await router.server.keys.create("small", limit=10**9, limit_reset="daily")

    assert (await router.post(CHAT, ASK, key=plain)).status == 200
    await until(lambda: receiver.asked)
    assert (await router.post(CHAT, ASK, key=plain)).status == 402
    await asyncio.sleep(0.2)

    assert heard(receiver) == [
        (
            "key.limit_reached",
            {"key_hash": key.hash, "name": "small", "limit": 0.001, "limit_reset": "daily"},
        )
    ]


async def test_a_low_balance_is_told_and_again_when_it_was_well_in_between(
    begin: Begin, receiver: FakeUpstream
) -> None:
    router = await begin()
    await endpoint(router, receiver, events=["balance.low"])

    for amount in (3, 7):
        await router.post("/v1/credits", {"amount": amount}, key=router.management)
        await asyncio.sleep(0.3)

    assert heard(receiver) == [("balance.low", {"balance": 3, "threshold": 5, "currency": "USD"})]


async def test_a_provider_that_is_down_is_told(begin: Begin, upstream: FakeUpstream, receiver: FakeUpstream) -> None:
    router = await begin()
    await endpoint(router, receiver, events=["provider.down"])
    upstream.will(json_answer({"error": {"message": "bad key"}}, status=401))

    await router.post(CHAT, ASK)
    await until(lambda: receiver.asked)
    await asyncio.sleep(0.2)

    assert [(type, data["provider"]) for type, data in heard(receiver)] == [("provider.down", "fake")]


# --- delivery --------------------------------------------------------------------------------------------------------


async def test_what_is_not_taken_is_sent_again_and_calls_do_not_wait(
    begin: Begin, receiver: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.webhooks.FIRST_WAIT_S", 0.05)
    router = await begin()
    id, _ = await endpoint(router, receiver)
    receiver.will(json_answer({}, status=500), json_answer({}, status=302), json_answer({}))

    answers = [await router.post(CHAT, ASK) for _ in range(3)]
    await until(lambda: len(receiver.asked) >= 5)

    ids = [each.body["data"]["id"] for each in receiver.asked]
    sent = [each.headers["X-Generation-Id"] for each in answers]
    assert ids == [sent[0], sent[0], *sent]
    assert len({each.body["id"] for each in receiver.asked[:3]}) == 1
    data = await look(router, id)
    assert (data["failures"], data["last_status"], data["enabled"]) == (0, 200, True)


async def test_ten_failures_in_a_row_disable_and_enabling_begins_anew(
    begin: Begin, receiver: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.webhooks.FIRST_WAIT_S", 0.0)
    router = await begin()
    id, _ = await endpoint(router, receiver)
    receiver.will(json_answer({}, status=503))
    await router.post(CHAT, ASK)
    await until(lambda: len(receiver.asked) >= 10)
    await asyncio.sleep(0.2)

    data = await look(router, id)
    assert len(receiver.asked) == 10
    assert (data["enabled"], data["disabled_reason"], data["failures"]) == (False, "10 failures in a row", 10)
    assert data["last_error"] == "it answered 503"

    receiver.will(json_answer({}))
    data = await change(router, id, enabled=True)
    assert (data["enabled"], data["disabled_reason"], data["failures"]) == (True, None, 0)
    await until(lambda: len(receiver.asked) == 11)


async def test_a_clock_that_goes_back_makes_nobody_wait(
    begin: Begin, receiver: FakeUpstream, made: list[webhooks.Webhooks]
) -> None:
    router = await begin()
    id, _ = await endpoint(router, receiver)
    receiver.will(json_answer({}, status=500), json_answer({}))
    await router.post(CHAT, ASK)
    await until(lambda: receiver.asked)
    (plugin,) = made
    await until(lambda: plugin.store.one(id).failures == 1)
    assert await plugin.store.waiting() == []

    plugin.store._wall = lambda: router.server.clock.wall() - 86400

    await until(lambda: len(receiver.asked) == 2)


async def test_who_is_disabled_while_it_is_told_something_stays_so(
    begin: Begin, receiver: FakeUpstream, made: list[webhooks.Webhooks]
) -> None:
    router = await begin()
    id, _ = await endpoint(router, receiver)
    store = made[0].store
    disabled = msgspec.structs.replace(store.one(id), enabled=False)

    await asyncio.gather(
        store.put(disabled, Change(action="webhook.update", target=id)), store.refused(id, 500, "it answered 500")
    )

    assert (store.one(id).enabled, store.one(id).failures) == (False, 1)
    await store.reload()
    assert (store.one(id).enabled, store.one(id).failures) == (False, 1)


async def test_what_waits_is_on_disk(begin: Begin, receiver: FakeUpstream, made: list[webhooks.Webhooks]) -> None:
    router = await begin()
    await endpoint(router, receiver)
    receiver.will(json_answer({}, status=500))

    await router.post(CHAT, ASK)
    await until(lambda: receiver.asked)

    rows = await router.server.database.all("SELECT type, subject FROM webhook_event")
    assert [row[0] for row in rows] == ["generation.completed"]


async def test_a_slow_endpoint_holds_up_no_call_and_no_other(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    async with FakeUpstream().listening() as slow:
        slow.will(json_answer({}, delay_s=9))
        await endpoint(router, slow)
        await endpoint(router, receiver)
        async with asyncio.timeout(8):
            for _ in range(5):
                assert (await router.post(CHAT, ASK)).status == 200
            await until(lambda: len(receiver.asked) == 5)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://169.254.169.254/latest",
        "ftp://example.com/",
        "https://user:word@example.com/",
        "nonsense",
    ],
)
async def test_urls_that_lead_inside_are_refused(begin: Begin, url: str) -> None:
    router = await begin(private=False)

    for path in (ENDPOINTS, "/api/webhooks/test-connection"):
        answer = await router.post(path, {"url": url}, key=router.management)
        assert answer.status == 400, path
        assert (await answer.json())["error"]["param"] == "url"


async def test_names_that_lead_inside_are_not_connected_to(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin(private=False)
    port = receiver.url.rpartition(":")[2]

    answer = await router.post(
        "/api/webhooks/test-connection", {"url": f"https://localhost:{port}/"}, key=router.management
    )

    told = await answer.json()
    assert told["success"] is False
    assert "not public" in told["error"]
    assert receiver.asked == []


# --- the API ---------------------------------------------------------------------------------------------------------


async def test_secrets_are_shown_once_rotate_and_never_lie_in_the_database(
    begin: Begin, receiver: FakeUpstream
) -> None:
    router = await begin()
    id, secret = await endpoint(router, receiver, name="mine")

    answer = await router.post(f"{ENDPOINTS}/{id}/rotate-secret", {}, key=router.management)
    new = (await answer.json())["secret"]
    await router.post("/api/webhooks/test-event", {"id": id}, key=router.management)

    assert secret != new
    told = receiver.asked[-1]
    at = int(told.headers["X-Router-Signature"].partition(",")[0].removeprefix("t="))
    sent = json.dumps(told.body, separators=(",", ":")).encode()
    assert told.headers["X-Router-Signature"] == signature(new, sent, at)
    rows = str(await router.server.database.all("SELECT * FROM webhook"))
    rows += str(await router.server.database.all("SELECT * FROM audit"))
    assert secret not in rows
    assert new not in rows
    assert "secret" not in await look(router, id)


async def test_both_layouts_make_the_same(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    path = "/api/v1/observability/destinations"
    body = {"type": "webhook", "name": "As OpenRouter has it", "config": {"url": receiver.url}}
    sent_unasked = ("privacy_mode", "broadcast_generation_cost", "broadcast_generation_request_context")
    body |= dict.fromkeys(
        (*sent_unasked, "broadcast_generation_cost_allocation", "broadcast_generation_identity"), False
    )
    body |= {"sampling_rate": 1.0, "regions": ["global"]}

    made = await router.post(path, body, key=router.management)
    assert made.status == 201
    data = (await made.json())["data"]

    assert data["config"] == {"url": receiver.url, "method": "POST"}
    assert data["privacy_mode"] is True
    assert data["regions"] == ["global"]
    assert await look(router, data["id"]) == data
    listed = await (await router.get(path, key=router.management)).json()
    assert listed == {"data": [data], "total_count": 1}
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.delete(f"{router.url}{path}/{data['id']}", headers=headers) as answer:
        assert await answer.json() == {"deleted": True}
    assert (await router.get(f"{path}/{data['id']}", key=router.management)).status == 404
    rows = await router.server.database.all("SELECT action FROM audit WHERE action LIKE 'webhook.%' ORDER BY seq")
    assert [row[0] for row in rows] == ["webhook.create", "webhook.delete"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "https://example.com", "events": []},
        {"url": "https://example.com", "events": ["everything"]},
        {"url": "https://example.com", "config": {"url": "https://example.org"}},
        {"url": "https://example.com", "type": "langfuse"},
        {"url": "https://example.com", "sampling_rate": 0.5},
        {"url": "https://example.com", "regions": ["europe"]},
        {"url": "https://example.com", "api_key_hashes": []},
        {"url": "https://example.com", "api_key_hashes": ["a" * 64]},
        {"url": "https://example.com", "workspace_id": "nowhere"},
        {"url": "https://exam ple.com"},
    ],
)
async def test_what_makes_no_sense_is_refused(begin: Begin, body: dict[str, Any]) -> None:
    router = await begin()

    assert (await router.post(ENDPOINTS, body, key=router.management)).status == 400


async def test_a_connection_is_tried(begin: Begin, receiver: FakeUpstream) -> None:
    router = await begin()
    tried = await router.post("/api/webhooks/test-connection", {"url": receiver.url}, key=router.management)
    assert await tried.json() == {"success": True, "status": 200, "error": None}
    assert receiver.asked[0].body["type"] == "ping"

    receiver.will(json_answer({}, status=404))
    tried = await router.post("/api/webhooks/test-connection", {"url": receiver.url}, key=router.management)
    assert await tried.json() == {"success": False, "status": 404, "error": "it answered 404"}


async def test_old_events_and_too_many_are_dropped(
    begin: Begin, receiver: FakeUpstream, made: list[webhooks.Webhooks], monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await begin()
    id, _ = await endpoint(router, receiver, enabled=False)
    (plugin,) = made
    now = router.server.clock.wall()
    monkeypatch.setattr("router.store.webhooks.MOST_WAITING", 3)
    insert = "INSERT INTO webhook_event (id, webhook_id, type, created_unix) VALUES (?, ?, 'x', ?)"
    ages = (4 * 86400, 5, 4, 3, 2, 1)
    await router.server.database.write(*((insert, (f"evt_{age}", id, now - age)) for age in ages))

    await plugin.store.forget()

    rows = await router.server.database.all("SELECT id FROM webhook_event ORDER BY seq")
    assert [row[0] for row in rows] == ["evt_3", "evt_2", "evt_1"]
    await plugin.store.delete(plugin.store.one(id), Change(action="webhook.delete", target=id))
    assert await router.server.database.all("SELECT id FROM webhook_event") == []
