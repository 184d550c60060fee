"""What was said in calls, kept where it is wanted, in whatever API and however they ended; feedback; and that old calls go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.builtin.content.said import asked, told
from router.settings import RetentionSettings
from router.testing import FakeUpstream, Running, json_answer, sse_answer, until

from .records import ask, recorded
from .test_log import ids

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
HELLO = [{"role": "user", "content": "hello there"}]
FULL = RetentionSettings(content="full")
ONE = "1" * 64


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO, retention=FULL)


async def content(router: Running, id: str, *, key: str | None = None) -> Any:
    return (await ask(router, f"/api/v1/generation/content?id={id}", key=key))["data"]


async def booked(router: Running, id: str) -> None:
    """Wait until the router has noticed that a client is gone."""

    async def known() -> bool:
        return (await router.get(f"/api/v1/generation?id={id}")).status != 404

    await until(known)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 100}),
        ("/v1/responses", {"input": HELLO}),
        ("/v1/responses", {"input": "hello there"}),
        ("/v1/completions", {"prompt": "hello there"}),
        ("/v1beta/models/echo/echo:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}),
    ],
    ids=["chat", "messages", "responses", "responses of text", "completions", "gemini"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_prompt_and_completion_are_kept(router: Running, path: str, body: dict[str, Any], stream: bool) -> None:
    if "verb" in path:
        path = path.replace("{verb}", "streamGenerateContent" if stream else "generateContent")
    else:
        body = {**body, "model": "echo/echo", "stream": stream}
    answer = await router.post(path, body)

    found = await content(router, answer.headers["X-Generation-Id"])

    assert answer.status == 200
    assert found["input"] in ({"prompt": "hello there"}, {"messages": HELLO}, {"messages": body.get("contents")})
    assert found["output"]["completion"] == "hello there"
    assert found["error"] is None


async def test_a_call_that_failed_says_why(start: Start, upstream: FakeUpstream) -> None:
    fake = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": fake}, retention=FULL)
    upstream.will(json_answer({"error": {"message": "no such thing", "type": "invalid_request_error"}}, status=400))
    answer = await router.post("/v1/chat/completions", {"model": "fake/m", "messages": HELLO})

    found = await content(router, answer.headers["X-Generation-Id"])

    assert answer.status == 400
    assert found["input"] == {"messages": HELLO}
    assert found["output"] == {"completion": None, "reasoning": None}
    assert found["error"]["status"] == 400
    assert "no such thing" in found["error"]["message"]


async def test_of_a_stream_that_the_client_left_what_it_got_is_kept(start: Start, upstream: FakeUpstream) -> None:
    fake = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    router = await start(providers={"fake": fake}, retention=FULL)
    frames = [
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"part %d "}}]}\n\n' % number for number in range(600)
    ]
    upstream.will(sse_answer(frames, pause_s=0.05))
    body = {"model": "fake/m", "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {router.key}"}
    async with router.session.post(f"{router.url}/v1/chat/completions", json=body, headers=headers) as answer:
        id = answer.headers["X-Generation-Id"]
        while b"part 2" not in await answer.content.readline():
            pass
        answer.close()

    await booked(router, id)
    found = await content(router, id)

    assert (found["output"]["completion"] or "").startswith("part 0 part 1 part 2")


@pytest.mark.parametrize("setting", ["off", "metadata"])
async def test_nothing_is_kept_unless_it_is_wanted(start: Start, setting: Any) -> None:
    router = await start(providers=ECHO, retention=RetentionSettings(content=setting))
    answer = await router.post("/v1/chat/completions", {"model": "echo/echo", "messages": HELLO})
    id = answer.headers["X-Generation-Id"]

    error = (await ask(router, f"/api/v1/generation/content?id={id}", status=404))["error"]

    assert "retention.content" in error["message"]
    assert await router.server.database.all("SELECT * FROM content") == []


async def test_content_needs_its_scope_and_belongs_to_its_key(router: Running) -> None:
    reader, _ = await router.server.keys.create("reader", scopes=frozenset({"inference", "logs:read"}))
    answer = await router.post("/v1/chat/completions", {"model": "echo/echo", "messages": HELLO}, key=reader)
    path = f"/api/v1/generation/content?id={answer.headers['X-Generation-Id']}"
    other, _ = await router.server.keys.create("other", scopes=frozenset({"logs:read"}))

    await ask(router, path, key=reader)
    await ask(router, path, key=router.key, status=403)
    await ask(router, path, key=other, status=404)
    await ask(router, "/api/v1/generation/content?id=gen-nobody", status=404)
    await ask(router, "/api/v1/generation/content", status=400)


def test_what_is_read_of_streams() -> None:
    stream = b": hello\n\ndata: " + b"\n\ndata: ".join(
        [
            b'{"choices":[{"index":0,"delta":{"reasoning":"Hm. "}}]}',
            b'{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"other"}}]}',
            b'{"choices":[{"index":0,"delta":{"content":"b"}}]}',
            b'[DONE]\n\ndata: {"cut',
        ]
    )
    thinking = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm."}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}\n\n'
    )

    assert told(stream) == {"completion": "ab", "reasoning": "Hm. "}
    assert told(thinking) == {"completion": "a", "reasoning": "Hm."}
    assert told(b'[{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true},{"text":"a"}]}}]}]') == {
        "completion": "a",
        "reasoning": "Hm.",
    }
    assert told(b"") == told(b"\x00\xff") == {"completion": None, "reasoning": None}
    assert asked(b'{"system":"Be kind.","messages":[]}') == {"messages": [{"role": "system", "content": "Be kind."}]}
    assert asked(b"--form") == asked(b"[]") == {"prompt": ""}


# --- feedback --------------------------------------------------------------------------------------------------------


async def test_feedback_is_noted(router: Running) -> None:
    answer = await router.post("/v1/chat/completions", {"model": "echo/echo", "messages": HELLO})
    id = answer.headers["X-Generation-Id"]
    body = {"generation_id": id, "category": "incorrect_response", "comment": "It repeats me."}

    found = await ask(router, "/api/v1/generation/feedback", body=body, key=router.key)

    assert found == {"data": {"success": True}}
    rows = await router.server.database.all("SELECT generation_id, category, comment FROM feedback")
    assert rows == [(id, "incorrect_response", "It repeats me.")]


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"category": "rude"}, 400, "category"),
        ({"generation_id": ""}, 400, "generation_id"),
        ({"comment": "x" * 1001}, 400, "comment"),
        ({"stars": 5}, 400, "stars"),
        ({"generation_id": "gen-nobody"}, 404, None),
    ],
)
async def test_feedback_that_cannot_be_noted(router: Running, changed: Any, status: int, param: str | None) -> None:
    body = {"generation_id": "gen-1", "category": "other", **changed}
    error = (await ask(router, "/api/v1/generation/feedback", body=body, key=router.key, status=status))["error"]
    assert error.get("param") == param


# --- retention -------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_is_forgotten_and_the_ledger_is_not(start: Start) -> None:
    router = await start(providers=ECHO, retention=RetentionSettings(content="full", generations_days=10))
    keeper = router.server.plugins._manager.get_plugin("content")
    for number in range(3):
        await recorded(router, ONE, id=f"old-{number}", days_ago=20, trace_id="t", tags=["red"])
    await recorded(router, ONE, id="young", days_ago=5, trace_id="t")
    answer = await router.post("/v1/chat/completions", {"model": "echo/echo", "messages": HELLO})
    await content(router, answer.headers["X-Generation-Id"])
    await router.server.database.write(("UPDATE content SET created_unix = ?", (time.time() - 11 * 86400,)))

    await keeper.forget()

    await ask(router, "/api/v1/generation?id=old-1", status=404)
    assert (await ask(router, "/api/v1/generation?id=young"))["id"] == "young"
    assert await ids(router, "trace_id=t") == ["young"]
    assert await router.server.database.all("SELECT seq FROM log_word WHERE word = 'gred'") == []
    assert await router.server.database.all("SELECT id FROM content") == []
    (usage,) = (await ask(router, "/api/v1/usage?granularity=monthly&start_date=2020-01-01&model=acme/m&group_by=tag"))[
        "data"
    ]
    assert usage["requests"] == 3
    assert (await ask(router, "/api/v1/transactions?limit=10"))["total_count"] == 4
    assert await router.server.entries.check() == []


async def test_the_newest_call_stays_so_that_later_ones_are_counted(start: Start) -> None:
    router = await start(providers=ECHO, retention=RetentionSettings(generations_days=1))
    keeper = router.server.plugins._manager.get_plugin("content")
    for number in range(3):
        await recorded(router, ONE, id=f"old-{number}", days_ago=20)

    await keeper.forget()
    await recorded(router, ONE, id="new")

    assert await ids(router, "kind=request") == ["new", "old-2"]
    found = await ask(router, "/api/v1/usage?start_date=2020-01-01&granularity=monthly&group_by=model")
    assert sum(row["requests"] for row in found["data"]) == 4
