"""`responses.store`: what it costs, who counts it, and what becomes of it. The SDK's view is in tests/clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from router import Call, hookimpl
from router.builtin.responses import KEPT_S
from router.settings import PluginSettings, ResponsesSettings, ServerSettings, Settings
from router.store.responses import Responses
from router.testing import FakeUpstream, Running, json_answer, running, until

Start = Callable[..., Awaitable[Running]]
KEEPING = ResponsesSettings(store=True)
ECHO = {"echo": {"plugin": "echo"}}
ASK: dict[str, Any] = {"model": "echo/echo", "input": "hello"}
PATIENCE_S = 20.0


async def ended(router: Running, id: str, key: str | None = None) -> dict[str, Any]:
    """The response, when it has ended."""

    async def found() -> dict[str, Any] | None:
        told: dict[str, Any] = await (await router.get(f"/v1/responses/{id}", key=key)).json()
        return None if told["status"] in ("queued", "in_progress") else told

    response: dict[str, Any] = await until(found)
    return response


async def rows(router: Running) -> list[tuple[Any, ...]]:
    return await router.server.database.all("SELECT id, status FROM generation ORDER BY seq")


async def test_off_says_which_setting_to_switch_on(start: Start) -> None:
    router = await start(providers=ECHO)

    for members in (
        {"store": True},
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ):
        answer = await router.post("/v1/responses", {**ASK, **members})
        assert answer.status == 400
        assert "responses.store" in (await answer.json())["error"]["message"]
    answer = await router.get("/v1/responses/resp_1")
    assert (answer.status, "responses.store" in await answer.text()) == (404, True)
    whole = await (await router.post("/v1/responses", ASK)).json()
    assert (await router.get(f"/v1/responses/{whole['id']}")).status == 404
    assert await router.server.database.all("SELECT id FROM responses") == []


async def test_without_the_plugin_nothing_is_passed_on_that_needs_it(tmp_path: Path, upstream: FakeUpstream) -> None:
    provider = {"plugin": "openai", "base_url": upstream.url, "api_key": "k"}
    settings = Settings(
        providers={"openai": provider}, responses=KEEPING, plugins=PluginSettings(disabled=["responses"])
    )
    async with running(settings, tmp_path) as router:
        answer = await router.post(
            "/v1/responses", {"model": "openai/gpt-5-mini", "input": "x", "previous_response_id": "resp_of_somebody"}
        )

    assert answer.status == 400
    assert upstream.asked == []


async def test_a_call_that_names_no_earlier_response_reads_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await start(providers=ECHO, responses=KEEPING)
    first = await (await router.post("/v1/responses", ASK)).json()
    asked: list[str] = []
    reading = router.server.database.all

    async def counted(query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        asked.append(query)
        return await reading(query, parameters)

    monkeypatch.setattr(router.server.database, "all", counted)
    assert (await router.post("/v1/responses", ASK)).status == 200
    assert asked == []
    await router.post("/v1/responses", {**ASK, "previous_response_id": first["id"]})
    assert len(asked) <= 1


async def test_a_conversation_may_not_grow_beyond_what_one_request_may_have(start: Start) -> None:
    router = await start(providers=ECHO, responses=KEEPING, server=ServerSettings(max_body_mb=0.1))
    previous, answers = None, []
    for _ in range(4):
        answers.append(
            await router.post("/v1/responses", {**ASK, "input": "x" * 30_000, "previous_response_id": previous})
        )
        previous = (await answers[-1].json()).get("id")

    assert [each.status for each in answers[:2]] == [200, 200]
    refused = next(each for each in answers if each.status != 200)
    assert (refused.status, "server.max_body_mb" in await refused.text()) == (413, True)


class Web:
    """A plugin that answers to `web`."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        return ("web",)

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        self.asked.append(any(each["id"] == "web" for each in call.head.plugins))


async def test_a_variant_of_the_model_holds_when_a_conversation_goes_on(start: Start) -> None:
    web = Web()
    router = await start(providers=ECHO, responses=KEEPING, plugins={"web": web})
    first = await (await router.post("/v1/responses", {**ASK, "model": "echo/echo:online"})).json()

    await router.post("/v1/responses", {**ASK, "model": "echo/echo:online", "previous_response_id": first["id"]})

    assert web.asked == [True, True]


async def test_a_response_in_the_background_is_one_call(start: Start) -> None:
    router = await start(providers=ECHO, responses=KEEPING)
    key, identity = await router.server.keys.create("limited", rpm=2, allowed_endpoints=["/responses*"])

    answer = await router.post("/v1/responses", {**ASK, "background": True}, key=key)
    made = await answer.json()
    found = await ended(router, made["id"], key)
    again = await router.post("/v1/responses", ASK, key=key)
    refused = await router.post("/v1/responses", {**ASK, "background": True}, key=key)

    assert (made["status"], found["status"]) == ("queued", "completed")
    assert found["usage"]["output_tokens"] > 0
    assert again.status == 200
    assert (refused.status, "Retry-After" in refused.headers) == (429, True)
    booked = await rows(router)
    assert booked[0] == (answer.headers["X-Generation-Id"], "ok")
    assert len(booked) == 2
    assert router.server.ledger.account(identity).reserved == 0


async def test_a_key_that_may_not_ask_may_not_do_so_in_the_background(start: Start) -> None:
    router = await start(providers=ECHO, responses=KEEPING)
    key, _ = await router.server.keys.create("chats", allowed_endpoints=["/chat/*"])

    assert (await router.post("/v1/responses", {**ASK, "background": True}, key=key)).status == 403


async def test_a_cancelled_run_is_booked_as_cancelled(start: Start, upstream: FakeUpstream) -> None:
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": provider}, responses=KEEPING)
    upstream.will(json_answer({}, delay_s=60))

    made = await (await router.post("/v1/responses", {"model": "fake/m", "input": "x", "background": True})).json()
    cancelled = await (await router.post(f"/v1/responses/{made['id']}/cancel", {})).json()
    booked = await until(lambda: rows(router))

    assert cancelled["status"] == "cancelled"
    assert [status for _, status in booked] == ["cancelled"]


async def test_guards_see_the_whole_conversation(start: Start) -> None:
    class Guard:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        @hookimpl
        async def router_admit(self, call: Call) -> None:
            self.seen.append(json.loads(bytes(call.head.members["input"])))

    guard = Guard()
    router = await start(providers=ECHO, responses=KEEPING, plugins={"guard": guard})
    first = await (await router.post("/v1/responses", {**ASK, "input": "my secret"})).json()
    await router.post("/v1/responses", {**ASK, "previous_response_id": first["id"]})

    assert "my secret" in json.dumps(guard.seen[1])
    assert len(guard.seen[1]) == 3


async def test_a_rotated_key_keeps_its_responses(start: Start) -> None:
    router = await start(providers=ECHO, responses=KEEPING)
    key, identity = await router.server.keys.create("turning")
    made = await (await router.post("/v1/responses", ASK, key=key)).json()
    fresh, _ = await router.server.keys.rotate(identity.id)

    assert (await router.get(f"/v1/responses/{made['id']}", key=fresh)).status == 200


async def test_old_responses_are_deleted(start: Start) -> None:
    router = await start(providers=ECHO, responses=KEEPING)
    made = await (await router.post("/v1/responses", ASK)).json()
    store: Responses = router.server.plugins._manager.get_plugin("responses").store
    now = router.server.clock.wall()

    await store.expire(now - KEPT_S)
    assert (await router.get(f"/v1/responses/{made['id']}")).status == 200
    await store.expire(now + 60)
    assert (await router.get(f"/v1/responses/{made['id']}")).status == 404
