"""Anthropic's surface over sockets: prefixes, headers, errors, keep-alives, fall-over between families, limits, the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web

from router.settings import EndpointSettings, LimitSettings, ModelSettings, StreamSettings
from router.testing import FakeUpstream, Running, completion, json_answer, sse_answer

from .anthropic_making import content_of, events_of, said, sse, whole_message

Start = Callable[..., Any]

ASK: dict[str, Any] = {"max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
CLAUDE, CHAT = "claude/claude-sonnet-4-5", "chat/small-1"
COMPLETION = completion("Hi", tokens=(3, 1))
MESSAGE = whole_message("Hi", tokens=(3, 1))


@pytest.fixture
def serve(start: Start, upstream: FakeUpstream) -> Callable[..., Any]:
    """Starts a router with a provider of two families behind one upstream."""

    async def serve(**tables: Any) -> Running:
        providers = {
            "claude": {"plugin": "anthropic", "base_url": upstream.url, "api_key": "upstream-key"},
            "chat": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "upstream-key"},
        }
        router: Running = await start(providers=providers, **tables)
        return router

    return serve


async def body_of(answer: ClientResponse) -> bytes:
    """The bytes of an answer that was read before."""
    return (await answer.text()).encode()


@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/messages", "/anthropic/v1/messages", "/v1/messages/"])
@pytest.mark.parametrize("credential", ["Authorization", "x-api-key", "x-goog-api-key", "query"])
async def test_every_path_and_credential(serve: Any, upstream: FakeUpstream, path: str, credential: str):
    router = await serve()
    upstream.will(json_answer(MESSAGE))
    headers = {credential: f"Bearer {router.key}" if credential == "Authorization" else router.key}
    query = f"?beta=true&key={router.key}" if credential == "query" else "?beta=true"

    async with router.session.post(
        router.url + path + query, json={"model": CLAUDE, **ASK}, headers={} if credential == "query" else headers
    ) as answer:
        told = await answer.json()

    assert (answer.status, told) == (200, MESSAGE)
    assert upstream.asked[0].path == "/v1/messages"
    assert router.key not in str(upstream.asked[0].headers)


async def test_the_ledger_knows_the_call(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(json_answer(MESSAGE))

    answer = await router.post("/v1/messages", {"model": CLAUDE, **ASK})

    row = (await (await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")).json())["data"]
    assert (row["api_type"], row["model"], row["provider_name"], row["upstream_id"]) == (
        "messages",
        CLAUDE,
        "claude",
        "msg_1",
    )
    assert (row["native_tokens_prompt"], row["native_tokens_completion"], row["finish_reason"]) == (3, 1, "stop")
    assert (await (await router.get("/v1/generation?id=msg_1")).json())["data"]["id"] == row["id"]


async def test_it_falls_over_to_another_family(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(
        json_answer({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, status=429),
        json_answer(COMPLETION),
    )

    answer = await router.post("/v1/messages", {"model": CLAUDE, "fallbacks": [{"model": CHAT}], **ASK})

    told = await answer.json()
    assert (told["model"], told["content"]) == (CHAT, [{"type": "text", "text": "Hi"}])
    assert [each.path for each in upstream.asked] == ["/v1/messages", "/v1/chat/completions"]
    assert "fallbacks" not in upstream.asked[0].body
    assert answer.headers["X-Router-Attempts"] == "2"


async def test_max_tokens_is_a_bound_and_no_wish(serve: Any, upstream: FakeUpstream):
    """Clients have to name one, and name the largest of the models they know."""
    small = ModelSettings(
        endpoints=[EndpointSettings(provider="chat", model="small-1")], context_length=8000, max_output=1000
    )
    router = await serve(models={"me/small": small})
    upstream.will(json_answer(COMPLETION))

    answer = await router.post("/v1/messages", {**ASK, "model": "me/small", "max_tokens": 64000})
    chat = await router.post("/v1/chat/completions", {**ASK, "model": "me/small", "max_tokens": 64000})

    assert (answer.status, chat.status) == (200, 404)
    assert upstream.asked[0].body["max_tokens"] == 1000


async def test_max_tokens_is_optional_for_other_families(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(json_answer(COMPLETION))
    messages = ASK["messages"]

    other = await router.post("/v1/messages", {"model": CHAT, "messages": messages})
    claude = await router.post("/v1/messages", {"model": CLAUDE, "messages": messages})

    assert (other.status, claude.status) == (200, 400)
    assert "max_tokens" in (await claude.json())["error"]["message"]
    assert len(upstream.asked) == 1


# --- errors ----------------------------------------------------------------------------------------------------------


async def test_errors_before_the_call_have_the_same_shape(serve: Any):
    router = await serve()

    wrong_key = await router.post("/v1/messages", {"model": CLAUDE, **ASK}, key="sk-rt-v1-nobody")
    wrong_method = await router.get("/v1/messages")
    no_path = await router.get("/anthropic/v1/nothing")
    no_model = await router.post("/v1/messages", {"model": "no/such", **ASK})
    nonsense = await router.post("/v1/messages", b"{")

    answers = (wrong_key, wrong_method, no_path, no_model, nonsense)
    assert [each.status for each in answers] == [401, 405, 404, 404, 400]
    assert wrong_method.headers["Allow"] == "POST"
    for each in answers:
        told = await each.json()
        assert told["type"] == "error"
        assert told["request_id"] == each.headers["request-id"] == each.headers["X-Request-Id"]
        assert told["error"]["type"].endswith("_error")
        assert told["error"]["message"]
        assert "anthropic-ratelimit-requests-limit" in each.headers


async def test_limits_are_told_in_anthropics_headers(serve: Any, upstream: FakeUpstream):
    router = await serve(limits=LimitSettings(rpm=1))
    upstream.will(json_answer(MESSAGE))

    first = await router.post("/v1/messages", {"model": CLAUDE, **ASK})
    second = await router.post("/v1/messages", {"model": CLAUDE, **ASK})

    assert (first.status, second.status) == (200, 429)
    for each in (first, second):
        assert each.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert each.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert each.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert (await second.json())["error"]["type"] == "rate_limit_error"
    assert int(second.headers["Retry-After"]) > 0


async def test_upstreams_limits_are_not_passed_on(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(json_answer(MESSAGE, headers={"anthropic-ratelimit-requests-limit": "7", "request-id": "req_theirs"}))

    answer = await router.post("/v1/messages", {"model": CLAUDE, **ASK})

    assert answer.headers["anthropic-ratelimit-requests-limit"] == "2147483647"
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["request-id"] != "req_theirs"


async def test_metadata_on_demand(serve: Any, upstream: FakeUpstream):
    router = await serve()
    headers = {"X-OpenRouter-Metadata": "enabled"}
    upstream.will(json_answer(MESSAGE), sse_answer([sse(said("Hi"))]), json_answer(COMPLETION))

    plain = await router.post("/v1/messages", {"model": CLAUDE, **ASK}, headers=headers)
    streamed = await router.post("/v1/messages", {"model": CLAUDE, "stream": True, **ASK}, headers=headers)
    other = await router.post("/v1/messages", {"model": CHAT, **ASK}, headers=headers)

    assert (await plain.json())["provider"] == "claude"
    assert (await plain.json())["usage"]["cost"] > 0
    assert b'"cost":' in await body_of(streamed)
    assert (await other.json())["provider"] == "chat"


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_pings_come_behind_the_start_and_comments_before_it(serve: Any, upstream: FakeUpstream):
    router = await serve(stream=StreamSettings(keepalive_seconds=1, header_delay_seconds=1))
    whole = sse([each for each in said("Hi", " there") if each["type"] != "ping"])
    head, _, rest = whole.partition(b"there")

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(2.5)
        await response.write(head)
        await asyncio.sleep(1.5)
        await response.write(b"there" + rest)
        return response

    upstream.will(answer)

    raw = await body_of(await router.post("/v1/messages", {"model": CLAUDE, "stream": True, **ASK}))

    frames = raw.split(b"\n\n")
    start = next(number for number, frame in enumerate(frames) if b"message_start" in frame)
    assert set(frames[:start]) == {b": ROUTER PROCESSING"}
    assert b'event: ping\ndata: {"type": "ping"}' in frames[start:]
    assert b"\n\n".join(frame for frame in frames[start:] if b"ping" not in frame) == whole


@pytest.mark.parametrize("content", [True, False])
async def test_an_error_in_a_stream(serve: Any, upstream: FakeUpstream, content: bool):
    router = await serve()
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "sorry"}}
    upstream.will(sse_answer([sse([*said("Hi")[: 4 if content else 2], error])]))

    answer = await router.post("/v1/messages", {"model": CLAUDE, "stream": True, **ASK})

    raw = await body_of(answer)
    if not content:
        assert answer.status == 529
        assert json.loads(raw)["error"]["type"] == "overloaded_error"
        return
    assert answer.status == 200
    name, data = raw.split(b"\n\n")[-2].split(b"\n")
    told = json.loads(data.removeprefix(b"data: "))
    assert name == b"event: error"
    assert (told["type"], told["error"]["type"], told["request_id"]) == (
        "error",
        "overloaded_error",
        answer.headers["request-id"],
    )
    assert b"message_stop" not in raw


async def test_a_plain_answer_for_a_client_that_wants_a_stream(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(json_answer(MESSAGE))

    raw = await body_of(await router.post("/v1/messages", {"model": CLAUDE, "stream": True, **ASK}))

    events = events_of(raw)
    assert content_of(events) == [{"type": "text", "text": "Hi"}]
    assert events[-2]["usage"]["input_tokens"] == 3


async def test_a_stream_for_a_client_that_wants_a_plain_answer(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(sse_answer([sse(said("Hi", " there"))]))

    told = await (await router.post("/v1/messages", {"model": CLAUDE, **ASK})).json()

    assert told["content"] == [{"type": "text", "text": "Hi there"}]
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (9, 4)


# --- counting --------------------------------------------------------------------------------------------------------


async def test_counting_is_free_and_never_in_vain(serve: Any, upstream: FakeUpstream):
    router = await serve()
    upstream.will(json_answer({"error": "no"}, status=500))

    native = await router.post("/v1/messages/count_tokens", {"model": CLAUDE, **ASK})
    unknown = await router.post(
        "/anthropic/v1/messages/count_tokens", {"model": "no/such", "messages": ASK["messages"]}
    )
    nobody = await router.post("/v1/messages/count_tokens", {"model": CLAUDE, **ASK}, key="sk-rt-v1-nobody")
    nonsense = await router.post("/v1/messages/count_tokens", {"model": CLAUDE})

    assert [each.status for each in (native, unknown, nobody, nonsense)] == [200, 200, 401, 400]
    for each in (native, unknown):
        assert each.headers["X-Router-Estimate"] == "true"
        assert each.headers["request-id"].startswith("req_")
        assert (await each.json())["input_tokens"] > 0
    assert (await nonsense.json())["type"] == "error"
    key = (await (await router.get("/v1/key")).json())["data"]
    assert key["usage"] == 0


async def test_claude_itself_judges_the_length_of_a_prompt(serve: Any, upstream: FakeUpstream):
    """Betas make its context longer than the catalogue says; for others the catalogue holds."""
    long = [{"role": "user", "content": "word" * 201_000}]
    endpoints = [EndpointSettings(provider="chat", model="small-1")]
    router = await serve(models={"me/small": ModelSettings(endpoints=endpoints, context_length=8000)})
    upstream.will(json_answer(MESSAGE))

    own = await router.post("/v1/messages", {"model": "claude/claude-haiku-4-5", "max_tokens": 50, "messages": long})
    other = await router.post("/v1/messages", {"model": "me/small", "max_tokens": 50, "messages": long})

    assert (own.status, other.status) == (200, 404)
