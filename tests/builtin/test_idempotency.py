"""Idempotency keys: the same request under the same key is done once, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, MultipartWriter, web
from aiohttp.test_utils import TestServer

from router.builtin.idempotency import OVERHEAD_BYTES, Kept, Shelf
from router.prices import PICODOLLARS
from router.server import Server
from router.serving import listening
from router.settings import ResponsesSettings, Settings
from router.store.errors import StoreError
from router.store.seal import Seal
from router.tasks import spawn
from router.testing import FakeUpstream, Running, json_answer, running, sse_answer, until

from .test_compat import ANSWER

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "fake/m", "messages": [{"role": "user", "content": "hello"}]}
KEY = {"Idempotency-Key": "once-1"}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
FRAMES = [
    *(
        f"data: {json.dumps({**CHUNK, 'choices': [{'index': 0, **choice}]})}\n\n".encode()
        for choice in ({"delta": {"content": "hi"}}, {"delta": {}, "finish_reason": "stop"})
    ),
    b"data: [DONE]\n\n",
]


def replayed(answer: ClientResponse) -> bool:
    return answer.headers.get("Idempotent-Replay") == "true"


async def code(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["error"]["message"]


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_the_same_request_is_answered_once_more_and_asked_and_charged_once(
    router: Running, upstream: FakeUpstream
) -> None:
    upstream.will(json_answer(ANSWER))

    first = await router.post(CHAT, ASK, headers=KEY)
    second = await router.post(CHAT, ASK, headers=KEY)

    assert (first.status, second.status) == (200, 200)
    assert await first.text() == await second.text()
    assert (replayed(first), replayed(second)) == (False, True)
    assert first.headers["X-Generation-Id"] == second.headers["X-Generation-Id"]
    assert len(upstream.asked) == 1
    assert router.server.ledger.account(router.server.keys.find(router.key)).requests_by_day.popitem()[1] == 1  # type: ignore[arg-type]


async def test_without_the_header_everything_is_asked(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))

    for headers in ({}, {}, KEY, {"Idempotency-Key": "once-2"}):
        assert not replayed(await router.post(CHAT, ASK, headers=headers))

    assert len(upstream.asked) == 4


async def test_a_stream_is_streamed_again(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer(FRAMES))

    first = await router.post(CHAT, {**ASK, "stream": True}, headers=KEY)
    second = await router.post(CHAT, {**ASK, "stream": True}, headers=KEY)

    assert replayed(second)
    assert second.content_type == "text/event-stream"
    assert await first.text() == await second.text()
    assert (await second.text()).endswith("data: [DONE]\n\n")
    assert len(upstream.asked) == 1


async def test_another_body_under_the_key_is_refused(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))
    await router.post(CHAT, ASK, headers=KEY)

    status, message = await code(await router.post(CHAT, {**ASK, "n": 2}, headers=KEY))

    assert status == 422
    assert "another request" in message


async def test_a_path_is_a_part_of_the_request(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))
    await router.post(CHAT, ASK, headers=KEY)

    assert (await router.post("/v1/messages", {**ASK, "max_tokens": 5}, headers=KEY)).status == 422


async def test_while_the_first_one_runs_the_second_is_told_so(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER, delay_s=1.0))
    first = spawn("first", router.post(CHAT, ASK, headers=KEY))
    await until(lambda: upstream.asked)

    status, message = await code(await router.post(CHAT, ASK, headers=KEY))

    assert status == 409
    assert "still running" in message
    assert (await first).status == 200
    assert replayed(await router.post(CHAT, ASK, headers=KEY))


async def test_what_fails_may_be_tried_again(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "no"}}, status=400), json_answer(ANSWER))

    first = await router.post(CHAT, ASK, headers=KEY)
    second = await router.post(CHAT, ASK, headers=KEY)

    assert (first.status, second.status) == (400, 200)
    assert not replayed(second)


async def test_a_client_that_leaves_frees_its_key(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER, delay_s=30), json_answer(ANSWER))
    first = spawn("first", router.post(CHAT, ASK, headers=KEY))
    await until(lambda: upstream.asked)
    first.cancel()
    await asyncio.wait_for(upstream.gone.wait(), 10)

    async def another() -> ClientResponse | None:
        told = await router.post(CHAT, ASK, headers=KEY)
        return None if told.status == 409 else told

    answer = await until(another)

    assert answer.status == 200
    assert not replayed(answer)


async def test_keys_belong_to_who_sends_them(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))
    other, _ = await router.server.keys.create("other")
    await router.post(CHAT, ASK, headers=KEY)

    assert not replayed(await router.post(CHAT, {**ASK, "n": 1}, headers=KEY, key=other))


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_a_key_has_up_to_128_characters(router: Running, key: str) -> None:
    status, message = await code(await router.post(CHAT, ASK, headers={"Idempotency-Key": key}))

    assert status == 400
    assert "128" in message


async def test_a_dry_run_is_no_first_time(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))
    await router.post(CHAT, ASK, headers={**KEY, "X-Router-Dry-Run": "1"})

    assert not replayed(await router.post(CHAT, ASK, headers=KEY))
    assert len(upstream.asked) == 1


async def test_the_boundary_of_a_form_says_nothing(start: Start) -> None:
    came = 0

    async def transcribe(request: web.Request) -> web.Response:
        nonlocal came
        came += 1
        return web.json_response({"text": "hello"})

    app = web.Application()
    app.router.add_post("/v1/audio/transcriptions", transcribe)
    async with TestServer(app) as elsewhere:
        provider = {"plugin": "openai", "base_url": str(elsewhere.make_url("/v1")), "api_key": "k"}
        router = await start(providers={"fake": provider})
        answers = []
        for boundary in ("one", "another"):
            with MultipartWriter("form-data", boundary=boundary) as form:
                form.append("fake/whisper-1").set_content_disposition("form-data", name="model")
                form.append(b"sound").set_content_disposition("form-data", name="file", filename="a.wav")
            headers = {"Authorization": f"Bearer {router.key}", **KEY}
            url = router.url + "/v1/audio/transcriptions"
            async with router.session.post(url, data=form, headers=headers) as answer:
                answers.append((answer.status, replayed(answer), await answer.text()))

    assert answers[0][:2] == (200, False)
    assert answers[1] == (200, True, answers[0][2])
    assert came == 1


async def test_a_response_in_the_background_begins_once(start: Start, upstream: FakeUpstream) -> None:
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": provider}, responses=ResponsesSettings(store=True))
    upstream.will(json_answer(ANSWER))
    body = {"model": "fake/m", "input": "hello", "background": True}

    first = await router.post("/v1/responses", body, headers=KEY)
    second = await router.post("/v1/responses", body, headers=KEY)

    assert first.status == 200, await first.text()
    assert replayed(second)
    assert (await first.json())["id"] == (await second.json())["id"]


def test_the_shelf_is_bounded_in_bytes_entries_and_time() -> None:
    now = 0.0
    shelf = Shelf(lambda: now)

    def put(name: str, size: int, *, most: int = 3) -> None:
        kept = Kept(fingerprint=b"", until=now + 10, generation_id="", media_type="", body=b"x" * size)
        shelf.put(("owner", name), kept, most_bytes=8 * 1000 + 3 * OVERHEAD_BYTES, most=most)

    for name in "abcd":
        put(name, 100)
    put("e", 5000)
    assert [shelf.get(("owner", name)) is not None for name in "abcde"] == [False, True, True, True, False]
    assert shelf.bytes == 3 * (100 + OVERHEAD_BYTES)

    now = 11.0
    assert shelf.get(("owner", "b")) is None
    put("f", 1)
    assert len(shelf) == 1


# --- changes by hand -------------------------------------------------------------------------------------------------


async def test_a_key_is_made_once_and_its_secret_told_again(router: Running) -> None:
    body = {"name": "from a script"}

    first = await router.post("/v1/keys", body, key=router.management, headers=KEY)
    second = await router.post("/v1/keys", body, key=router.management, headers=KEY)
    other = await router.post("/v1/keys", {"name": "another"}, key=router.management, headers=KEY)

    assert (first.status, second.status, other.status) == (201, 201, 422)
    assert (replayed(first), replayed(second)) == (False, True)
    assert await first.json() == await second.json()
    listed = await (await router.get("/v1/keys", key=router.management)).json()
    assert [each["name"] for each in listed["data"]].count("from a script") == 1


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/auth/keys"])
async def test_it_is_told_again_after_a_restart_and_never_lies_in_the_database(tmp_path: Path, path: str) -> None:
    echo = {"echo": {"plugin": "echo"}}
    async with running(Settings(providers=echo), tmp_path) as router:
        headers = {"Authorization": f"Bearer {router.management}", **KEY}
        async with router.session.post(router.url + path, json={"name": "mine"}, headers=headers) as answer:
            made = await answer.read()
        management = router.management
    secret = json.loads(made)["key"]
    files = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.name.startswith("router.db"))
    assert secret.encode() not in files
    assert (tmp_path / "router.db.secret").stat().st_mode & 0o777 == 0o600

    settings = Settings(providers=echo)
    settings.server.database = str(tmp_path / "router.db")
    settings.server.listen = "127.0.0.1:0"
    server = Server(settings, {})
    await server.start()
    try:
        async with listening(server) as url, ClientSession() as session:
            headers = {"Authorization": f"Bearer {management}", **KEY}
            async with session.post(url + path, json={"name": "mine"}, headers=headers) as told:
                assert replayed(told)
                assert json.loads(await told.read()) == json.loads(made)
    finally:
        await server.stop()


async def test_a_change_whose_answer_is_lost_is_not_made_again(router: Running) -> None:
    made = await router.post("/v1/keys", {"name": "one"}, key=router.management, headers=KEY)
    await router.server.database.write(("UPDATE idempotency SET answer = NULL", ()))

    status, message = await code(await router.post("/v1/keys", {"name": "one"}, key=router.management, headers=KEY))

    assert status == 409
    assert f"its answer is lost (key.create of {(await made.json())['hash']})" in message


async def test_a_change_that_fails_behind_its_commit_is_not_made_again(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise StoreError("the database cannot be read") from error

    monkeypatch.setattr(router.server.ledger.balance, "reload", broken)
    first = await router.post("/v1/credits", {"amount": 5}, key=router.management, headers=KEY)
    monkeypatch.undo()
    status, message = await code(await router.post("/v1/credits", {"amount": 5}, key=router.management, headers=KEY))

    assert (first.status, status) == (503, 409)
    assert "credits.grant of txn_" in message
    assert await router.server.entries.booked() == 5 * PICODOLLARS


async def test_a_change_that_is_refused_frees_the_key(router: Running) -> None:
    await router.post("/v1/keys", {"name": "taken"}, key=router.management)

    refused = await router.post("/v1/keys", {"name": "taken"}, key=router.management, headers=KEY)
    made = await router.post("/v1/keys", {"name": "free"}, key=router.management, headers=KEY)

    assert (refused.status, made.status) == (409, 201)


async def test_many_at_once_make_one_key(router: Running) -> None:
    answers = await asyncio.gather(
        *(router.post("/v1/keys", {"name": "one"}, key=router.management, headers=KEY) for _ in range(8))
    )

    assert sorted({each.status for each in answers}) in ([201], [201, 409])
    assert sum(each.status == 201 and not replayed(each) for each in answers) == 1


def test_a_seal_opens_only_what_it_has_closed(tmp_path: Path) -> None:
    seal, other = Seal(tmp_path / "a.db"), Seal(tmp_path / "b.db")
    sealed = seal.close(b"secret \xff", "this")

    assert Seal(tmp_path / "a.db").open(sealed, "this") == b"secret \xff"
    assert seal.close(b"secret \xff", "this") != sealed
    assert seal.open(seal.close(b"", "this"), "this") == b""
    assert b"secret" not in sealed
    for wrong in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[1:], b"", b"x" * 48):
        assert seal.open(wrong, "this") is None
    assert seal.open(sealed, "that") is None
    assert other.open(sealed, "this") is None


async def test_a_grant_is_booked_once(router: Running) -> None:
    for _ in range(2):
        answer = await router.post("/v1/credits", {"amount": 5}, key=router.management, headers=KEY)
        assert answer.status == 201

    told = await (await router.get("/v1/credits", key=router.management)).json()
    assert told["data"]["total_credits"] == 5
