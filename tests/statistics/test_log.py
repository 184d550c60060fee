"""The log of calls and changes: found by every filter, page by page, seen by who may, and live."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse

from router.settings import StreamSettings
from router.store import log as module
from router.store.audit import Change
from router.store.audit import recorded as record
from router.testing import Running, until

from .records import TODAY, ask, recorded
from .test_statistics import date

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
ASK = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO, stream=StreamSettings(keepalive_seconds=0.3))


async def ids(router: Running, query: str, *, key: str | None = None) -> list[str]:
    return [line["id"] for line in (await ask(router, f"/api/v1/logs?{query}", key=key))["data"]]


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_calls_and_changes_stand_in_one_list_newest_first(router: Running) -> None:
    headers = {"X-Router-Tags": "red,blue", "X-AnyRouter-Trace-Id": "trace-1"}
    answer = await router.post("/v1/chat/completions", ASK, headers=headers)
    made = await router.post(
        "/api/v1/keys", {"name": "new"}, key=router.management, headers={"X-Request-Id": "trace-2"}
    )

    change, call = (await ask(router, "/api/v1/logs?limit=2"))["data"]

    assert (call["kind"], call["id"]) == ("request", answer.headers["X-Generation-Id"])
    assert (call["trace_id"], call["tags"], call["http_status"]) == ("trace-1", ["red", "blue"], 200)
    assert (call["model"], call["provider_name"], call["action"], call["status"]) == ("echo/echo", "echo", "chat", "ok")
    assert call["generation_id"] == call["id"]
    assert (change["kind"], change["action"], change["trace_id"]) == ("admin", "key.create", "trace-2")
    assert change["target"] == (await made.json())["hash"]
    assert change["key_hash"] == (await ask(router, "/api/v1/key"))["data"]["hash"]
    assert change["created_at"] >= call["created_at"]


async def test_changes_by_the_command_line_have_no_key(router: Running) -> None:
    (first, *_) = (await ask(router, "/api/v1/logs?kind=admin"))["data"]
    assert (first["actor"], first["key_hash"]) == ("command line", None)


async def test_what_was_refused_before_it_became_a_call_does_not_fill_the_log(router: Running) -> None:
    before = await ids(router, "")
    refused = ((b"{", None), (ASK | {"model": "no/such"}, None), (ASK, "sk-rt-v1-nobody"), (ASK, router.management))
    statuses = [(await router.post("/v1/chat/completions", body, key=key)).status for body, key in refused]

    assert statuses == [400, 404, 401, 403]
    assert await ids(router, "") == before


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=request", ["d", "c", "b", "a"]),
        ("trace_id=t1", ["a"]),
        ("request_id=req_b", ["b"]),
        (f"api_key_hash={OTHER}", ["d", "c"]),
        ("model=acme/n", ["b"]),
        ("provider=other", ["c"]),
        ("tag=red", ["d", "a"]),
        ("tag=re", []),
        ("status=error", ["c", "b"]),
        ("status=ok&kind=request", ["d", "a"]),
        ("status=429", ["b"]),
        (f"start_date={date(1)}&kind=request", ["d", "c"]),
        (f"end_date={date(2)}", ["b", "a"]),
        (f"start_date={date(2)}&end_date={date(2)}", ["b"]),
        (f"tag=red&api_key_hash={OTHER}", ["d"]),
        ("trace_id=nobody", []),
    ],
)
async def test_each_filter_finds_its_lines(router: Running, query: str, expected: list[str]) -> None:
    await recorded(router, ONE, id="a", days_ago=3, trace_id="t1", tags=["red"])
    await recorded(router, ONE, id="b", days_ago=2, request_id="req_b", model="acme/n", status="error", http_status=429)
    await recorded(router, OTHER, id="c", days_ago=1, provider="other", status="cancelled", http_status=499)
    await recorded(router, OTHER, id="d", tags=["blue", "red"])

    assert await ids(router, query) == expected


@pytest.mark.parametrize("block", [1, 3, 20_000])
async def test_pages_have_every_line_once(router: Running, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    for number in range(20):
        await recorded(
            router, ONE, id=f"gen-{number}", days_ago=1 - number / 100, tags=["even"] if number % 2 == 0 else []
        )
        change = Change(action="demo", target="x", created_unix=TODAY - (1 - number / 100) * 86400)
        await router.server.database.write(record(change))

    async def every(query: str) -> list[dict[str, Any]]:
        lines, token = [], ""
        for _ in range(100):
            page = await ask(router, f"/api/v1/logs?{query}&limit=3{token}")
            assert len(page["data"]) <= 3
            lines += page["data"]
            if page["next_page_token"] is None:
                return lines
            token = f"&page_token={page['next_page_token']}"
        raise AssertionError("the pages never end")

    lines = await every(f"end_date={date(0)}")
    assert len(lines) == len({line["id"] for line in lines}) == 42
    times = [line["created_at"] for line in lines if line["action"] != "key.create"]
    assert times == sorted(times, reverse=True)
    assert [line["id"] for line in await every("tag=even&kind=request")] == [f"gen-{n}" for n in range(18, -1, -2)]
    assert len(await every("kind=admin&status=ok")) == 22


async def test_an_inference_key_with_the_scope_sees_its_own_lines(router: Running) -> None:
    plain, identity = await router.server.keys.create("reader", scopes=frozenset({"inference", "logs:read"}))
    await recorded(router, identity.hash, id="mine")
    await recorded(router, ONE, id="foreign")

    assert await ids(router, "", key=plain) == ["mine"]
    assert await ids(router, f"api_key_hash={ONE}", key=plain) == []
    await ask(router, "/api/v1/logs", key=router.key, status=403)


async def test_the_log_as_csv(router: Running) -> None:
    await recorded(router, ONE, id="a", tags=["red", "blue"], usd=0.25)

    answer = await router.get("/api/v1/logs?format=csv&kind=request", key=router.management)

    (row,) = csv.DictReader(io.StringIO(await answer.text()))
    assert (row["id"], row["tags"], row["cost"], row["kind"]) == ("a", "red,blue", "0.25", "request")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("kind=other", "kind"),
        ("status=fine", "status"),
        ("limit=0", "limit"),
        ("page_token=next", "page_token"),
        ("start_date=soon", "start_date"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_name(router: Running, query: str, param: str) -> None:
    assert (await ask(router, f"/api/v1/logs?{query}", status=400))["error"]["param"] == param


# --- live ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(
    router: Running, query: str = "", *, key: str | None = None, last: str | None = None
) -> AsyncIterator[ClientResponse]:
    """A client of the feed, which has been told that it is listening."""
    headers = {"Authorization": f"Bearer {key or router.management}", **({"Last-Event-ID": last} if last else {})}
    async with router.session.get(f"{router.url}/api/v1/logs?stream=true{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readline() == b": ROUTER LISTENING\n"
        yield answer


async def line(answer: ClientResponse) -> dict[str, Any]:
    """The next line of the log."""
    async with asyncio.timeout(20):
        while not (text := await answer.content.readline()).startswith(b"data: "):
            assert text, "the feed has ended"
        found: dict[str, Any] = json.loads(text[6:])
        return found


async def test_the_feed_has_calls_and_changes_as_they_come(router: Running) -> None:
    await recorded(router, ONE, id="before")
    async with listening(router) as feed, listening(router, "&kind=admin") as changes:
        answer = await router.post("/v1/chat/completions", ASK)
        call = await line(feed)
        await router.post("/api/v1/keys", {"name": "new"}, key=router.management)

        assert call["id"] == answer.headers["X-Generation-Id"]
        assert (await line(feed))["action"] == "key.create"
        assert (await line(changes))["action"] == "key.create"


async def test_the_head_of_the_feed_has_an_end(router: Running) -> None:
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.head(f"{router.url}/v1/logs?stream=true", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")

    assert router.server.plugins._manager.get_plugin("log").feed.listeners == 0


async def test_who_comes_back_gets_what_it_has_missed(router: Running) -> None:
    for id in ("a", "b", "c"):
        await recorded(router, ONE, id=id)

    async with listening(router, last="a") as feed:
        assert [(await line(feed))["id"] for _ in range(2)] == ["b", "c"]


async def test_the_feed_of_an_inference_key_has_its_own_calls_only(router: Running) -> None:
    plain, identity = await router.server.keys.create("reader", scopes=frozenset({"inference", "logs:read"}))
    async with listening(router, key=plain) as feed:
        await recorded(router, ONE, id="foreign")
        await recorded(router, identity.hash, id="mine")

        assert (await line(feed))["id"] == "mine"


async def test_the_feed_says_that_it_lives_and_ends_with_its_key(router: Running) -> None:
    plain, identity = await router.server.keys.create("boss", management=True)
    async with listening(router, key=plain) as feed:
        async with asyncio.timeout(20):
            assert await feed.content.readline() == b"\n"
            assert await feed.content.readline() == b": ROUTER LISTENING\n"
            await router.server.keys.delete(identity.hash)
            await feed.content.read()


async def test_a_client_that_leaves_is_forgotten(router: Running) -> None:
    feed = router.server.plugins._manager.get_plugin("log").feed
    async with listening(router):
        assert feed.listeners == 1

    await until(lambda: not feed.listeners)
