"""A plugin asks a model in the service of a client's call (`Server.ask`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest

from router import Call, RouterError, hookimpl
from router.server import Server
from router.settings import LimitSettings
from router.testing import FakeUpstream, Running, completion, json_answer

Start = Callable[..., Awaitable[Running]]
VERDICT = {"id": "modr-1", "model": "m", "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
ASK = {"model": "fake/m", "messages": [{"role": "user", "content": "Hello"}]}
ROWS = "SELECT key_hash, api_type, status, trace_id FROM generation ORDER BY created_unix"


class Asks:
    """Asks the upstream before each call of a client."""

    def __init__(self, **how: Any) -> None:
        self.how = how
        self.seen: list[str] = []
        self.body: Any = None
        self.failure: RouterError | None = None

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def kept() -> Any:
            self.app = app
            yield

        return kept()

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        self.seen.append(call.dialect.name)
        if call.within is not None:
            return
        body = {"model": "fake/judge", "input": "Hello"}
        try:
            asked = await self.app.ask("openai.moderations", body, within=call, **self.how)
        except RouterError as error:
            self.failure = error
            return
        self.body = msgspec.json.decode(asked.body)
        assert asked.call.candidate is not None


async def started(start: Start, upstream: FakeUpstream, plugin: Asks, **tables: Any) -> Running:
    providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}
    return await start(providers=providers, plugins={"asks": plugin}, **tables)


@pytest.mark.parametrize(("charged", "owner"), [(False, "router"), (True, None)], ids=["ours", "the client's"])
async def test_it_is_routed_and_booked_like_any_other(
    start: Start, upstream: FakeUpstream, charged: bool, owner: str | None
) -> None:
    upstream.will(json_answer(VERDICT), json_answer(completion()))
    plugin = Asks(charged=charged)
    router = await started(start, upstream, plugin)

    answer = await router.post("/v1/chat/completions", ASK)

    rows = await router.server.database.all(ROWS)
    assert answer.status == 200
    assert [each.path for each in upstream.asked] == ["/v1/moderations", "/v1/chat/completions"]
    assert plugin.body == VERDICT
    assert plugin.seen == ["openai.chat", "openai.moderations"]
    assert [row[1:3] for row in rows if row[1] == "moderations"] == [("moderations", "ok")]
    (inner,), (outer,) = ([row for row in rows if row[1] == kind] for kind in ("moderations", "chat"))
    assert inner[0] == (owner or outer[0])
    assert inner[3] == answer.headers["X-Request-Id"]


async def test_the_limits_of_keys_do_not_count_it(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(VERDICT), json_answer(completion()), json_answer(VERDICT), json_answer(completion()))
    plugin = Asks(charged=True)
    router = await started(start, upstream, plugin, limits=LimitSettings(rpm=2, max_parallel=1))

    first = await router.post("/v1/chat/completions", ASK)
    second = await router.post("/v1/chat/completions", ASK)
    third = await router.post("/v1/chat/completions", ASK)

    assert [first.status, second.status, third.status] == [200, 200, 429]
    assert plugin.failure is None


async def test_what_fails_is_raised(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "no"}}, status=400), json_answer(completion()))
    plugin = Asks()
    router = await started(start, upstream, plugin)

    answer = await router.post("/v1/chat/completions", ASK)

    assert answer.status == 200
    assert plugin.failure is not None
    assert plugin.failure.status == 400


async def test_it_has_a_time_of_its_own(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(VERDICT, delay_s=20), json_answer(completion()))
    plugin = Asks(seconds=0.2)
    router = await started(start, upstream, plugin)

    answer = await router.post("/v1/chat/completions", ASK)

    assert answer.status == 200
    assert plugin.failure is not None
    assert plugin.failure.status == 504


async def test_it_ends_with_the_call_that_it_serves(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(VERDICT, delay_s=20))
    router = await started(start, upstream, Asks())

    answer = await router.post("/v1/chat/completions", ASK, headers={"X-Router-Timeout": "0.3"})

    async with asyncio.timeout(10):
        await upstream.gone.wait()
    assert answer.status in (408, 504)
    assert [each.path for each in upstream.asked] == ["/v1/moderations"]
