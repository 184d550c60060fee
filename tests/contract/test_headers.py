"""Headers: what every answer carries, what a client may say in them, and what never goes upstream."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse

from router.errors import RouterError
from router.settings import (
    EndpointSettings,
    LimitSettings,
    ModelSettings,
    PriceSettings,
    RoutingSettings,
    ServerSettings,
)
from router.testing import FakeUpstream, Running, completion, json_answer, sse_answer

from .envelopes import openai_error

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ASK = {"model": "fake/m", "messages": [{"role": "user", "content": "hello"}]}
WHOLE = completion()
STREAM = [
    b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}\n\n',
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n',
    b"data: [DONE]\n\n",
]
PRICE = PriceSettings(prompt="0.000001", completion="0.000002")
PRICED = {"fake/m": ModelSettings(endpoints=[EndpointSettings(provider="fake", model="m", pricing=PRICE)])}
NEVER_CHANGES = re.compile(r"req_[0-9a-f]{20}")


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    upstream.will(json_answer(WHOLE))
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "upstream-key"}
    return await start(providers={"fake": provider, "echo": {"plugin": "echo"}}, models=PRICED)


def assert_common(answer: ClientResponse) -> None:
    """The headers of every answer, whatever it is."""
    headers = answer.headers
    assert NEVER_CHANGES.fullmatch(headers["X-Request-Id"])
    assert headers["x-oneapi-request-id"] == headers["X-Request-Id"]
    for name in ("Limit", "Remaining", "Reset"):
        assert headers[f"X-RateLimit-{name}"].isdigit()
    assert headers["Server"] == "onebox-router"
    assert "no-store" in headers["Cache-Control"] or answer.url.path.startswith(("/v1/models", "/api/v1/models"))
    assert len(headers.getall("X-Request-Id")) == 1


# --- every answer ----------------------------------------------------------------------------------------------------

REQUESTS: list[tuple[str, str, Any, int]] = [
    ("GET", "/healthz", None, 200),
    ("GET", "/health", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/v1/models", None, 200),
    ("GET", "/v1/models/echo/echo", None, 200),
    ("GET", "/v1/models/count", None, 200),
    ("GET", "/v1/models/nobody/nothing", None, 404),
    ("GET", "/v1/providers", None, 200),
    ("GET", "/v1/key", None, 200),
    ("GET", "/v1/generation?id=gen-none", None, 404),
    ("GET", "/v1/generation", None, 400),
    ("GET", "/nowhere", None, 404),
    ("GET", "/", None, 404),
    ("DELETE", "/v1/models", None, 405),
    ("HEAD", "/healthz", None, 200),
    ("OPTIONS", CHAT, None, 405),
    ("POST", CHAT, ASK, 200),
    ("POST", CHAT, ASK | {"stream": True}, 200),
    ("POST", CHAT, ASK | {"temperature": 3}, 400),
    ("POST", CHAT, ASK | {"model": "nobody/nothing"}, 404),
    ("POST", CHAT, ASK | {"model": "echo/error-429"}, 429),
    ("POST", CHAT, ASK | {"model": "echo/cut-0", "stream": True}, 502),
    ("POST", CHAT, [], 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REQUESTS)
async def test_every_answer_has_its_headers(router: Running, method: str, path: str, body: Any, status: int) -> None:
    headers = {"Authorization": f"Bearer {router.key}"}
    async with router.session.request(method, router.url + path, json=body, headers=headers) as answer:
        await answer.read()

    assert answer.status == status
    assert_common(answer)
    assert ("X-Generation-Id" in answer.headers) is (method == "POST")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/key", "/api/v1/providers", CHAT, "/v1/generation"])
async def test_answers_to_strangers_have_them_too(router: Running, path: str) -> None:
    answer = await router.get(path, key="nobody") if path != CHAT else await router.post(path, ASK, key="nobody")

    assert answer.status == 401
    assert_common(answer)


async def test_ids_are_unique(router: Running) -> None:
    answers = [await router.post(CHAT, ASK) for _ in range(20)] + [await router.get("/healthz") for _ in range(20)]

    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 40
    assert len({answer.headers["X-Generation-Id"] for answer in answers[:20]}) == 20


async def test_models_may_be_kept_and_nothing_else(router: Running) -> None:
    for path in ("/v1/models", "/v1/models/echo/echo", "/api/v1/models/count"):
        assert "no-store" not in (await router.get(path)).headers["Cache-Control"]
        assert "private" in (await router.get(path)).headers["Cache-Control"]
    assert (await router.get("/v1/models", key="nobody")).headers["Cache-Control"] == "no-store"
    assert (await router.get("/v1/models/nobody/nothing")).headers["Cache-Control"] == "no-store"


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_a_plain_answer_tells_who_served_it(router: Running) -> None:
    answer = await router.post(CHAT, ASK)
    body = await answer.json()

    headers = answer.headers
    assert headers["X-Generation-Id"] == body["id"]
    assert (headers["X-Router-Provider"], headers["X-Router-Model"]) == ("fake", "fake/m")
    assert headers["X-Router-Attempts"] == "1"
    assert headers["X-Router-Cost"] == "0.00002"
    assert body["usage"]["cost"] == pytest.approx(0.00002)
    assert headers["Content-Type"].startswith("application/json")
    timing = r"queue;dur=\d+\.\d, upstream_ttfb;dur=\d+\.\d, router;dur=\d+\.\d"
    assert re.fullmatch(timing, headers["Server-Timing"])


async def test_a_stream_has_the_head_of_a_stream(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer(STREAM))

    answer = await router.post(CHAT, ASK | {"stream": True})

    headers = answer.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Transfer-Encoding"] == "chunked"
    assert not {"Content-Length", "X-Router-Cost", "Content-Encoding"} & set(headers)
    assert (headers["X-Router-Provider"], headers["X-Router-Attempts"]) == ("fake", "1")


async def test_an_answer_of_the_second_endpoint_says_so(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "no"}}, status=429), json_answer(WHOLE))
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    endpoints = [EndpointSettings(provider=slug, model="m", priority=at) for at, slug in enumerate(("one", "two"))]
    router = await start(
        providers={"one": table, "two": table},
        models={"test/m": ModelSettings(endpoints=endpoints)},
        routing=RoutingSettings(deterministic=True),
    )

    answer = await router.post(CHAT, ASK | {"model": "test/m"})

    assert (answer.headers["X-Router-Attempts"], answer.headers["X-Router-Provider"]) == ("2", "two")
    assert answer.headers["X-Router-Model"] == (await answer.json())["model"] == "test/m"


async def test_the_window_of_a_limit(start: Start) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}}, limits=LimitSettings(rpm=3))
    ask = ASK | {"model": "echo/echo"}

    left = [(await router.post(CHAT, ask)).headers["X-RateLimit-Remaining"] for _ in range(3)]
    refused = await router.post(CHAT, ask)

    assert left == ["2", "1", "0"]
    assert refused.headers["X-RateLimit-Limit"] == "3"
    assert 0 < int(refused.headers["X-RateLimit-Reset"]) - time.time() < 62
    assert 50 <= int(refused.headers["Retry-After"]) <= 60
    await openai_error(refused, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("model", "expected"), [("echo/error-429", "1"), ("echo/error-503", "1"), ("echo/error-400", None)]
)
async def test_retry_after_where_it_is_known(router: Running, model: str, expected: str | None) -> None:
    assert (await router.post(CHAT, ASK | {"model": model})).headers.get("Retry-After") == expected


@pytest.mark.parametrize("said", ["0.4", "7.2", "1e9", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_retry_after_is_whole_seconds(router: Running, upstream: FakeUpstream, said: str) -> None:
    busy = json_answer({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": said})
    upstream.will(busy)

    value = (await router.post(CHAT, ASK)).headers["Retry-After"]

    assert value.isdigit()
    assert 1 <= int(value) <= 86400  # nobody is believed who wants to be left alone for longer than a day


# --- the client's ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-AnyRouter-Trace-Id", "X-Request-Id", "traceparent"])
@pytest.mark.parametrize(
    ("path", "status"), [(CHAT, 200), (CHAT, 400), ("/v1/models", 200), ("/v1/key", 401), ("/no", 404)]
)
async def test_the_clients_trace_id_comes_back(router: Running, name: str, path: str, status: int) -> None:
    sent = {name: "client-id-1"}
    key = "nobody" if status == 401 else None
    body = [] if status == 400 else ASK
    answer = (
        await router.post(path, body, key=key, headers=sent)
        if path == CHAT
        else await router.get(path, key=key, headers=sent)
    )

    assert answer.status == status
    assert answer.headers.getall(name) == ["client-id-1"]
    assert answer.headers["x-oneapi-request-id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("value", ["x" * 257, "a\u200bb", ""])
async def test_odd_trace_ids_are_not_repeated(router: Running, value: str) -> None:
    answer = await router.post(CHAT, ASK, headers={"X-AnyRouter-Trace-Id": value, "traceparent": value})

    assert answer.status == 200
    assert not {answer.headers.get("X-AnyRouter-Trace-Id"), answer.headers.get("traceparent")} & {"x" * 257, "a\u200bb"}


async def test_what_a_client_says_of_itself_is_on_record(router: Running) -> None:
    sent = {
        "HTTP-Referer": "https://app.example.com",
        "X-Title": "My App",
        "User-Agent": "my-agent/1",
        "x-session-id": "session-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Router-Tags": "a, b",
    }
    id = (await router.post(CHAT, ASK | {"user": "somebody"}, headers=sent)).headers["X-Generation-Id"]

    row = (await (await router.get(f"/v1/generation?id={id}")).json())["data"]

    assert (row["http_referer"], row["origin"]) == (sent["HTTP-Referer"], sent["HTTP-Referer"])
    assert (row["app_title"], row["user_agent"]) == ("My App", "my-agent/1")
    assert (row["session_id"], row["trace_id"]) == ("session-1", sent["traceparent"])
    assert (row["tags"], row["external_user"]) == (["a", "b"], "somebody")


# --- what a client may ask for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Router-Provider", "X-AnyRouter-Provider"])
async def test_a_forced_provider(router: Running, name: str) -> None:
    right = await router.post(CHAT, ASK, headers={name: "fake"})
    wrong = await router.post(CHAT, ASK, headers={name: "echo"})

    assert right.status == 200
    error = await openai_error(wrong, "not_found")
    assert error["availability"]["code"] == "model_unavailable_upstream"


async def test_a_time_of_the_clients_own(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(WHOLE, delay_s=5))
    started = time.monotonic()

    late = await router.post(CHAT, ASK, headers={"X-Router-Timeout": "0.1"})

    assert time.monotonic() - started < 2
    await openai_error(late, "timeout")


@pytest.mark.parametrize("seconds", ["soon", "nan", "-1", "inf", "", "0", "1e400"])
async def test_times_that_are_none(router: Running, seconds: str) -> None:
    answer = await router.post(CHAT, ASK, headers={"X-Router-Timeout": seconds})

    error = await openai_error(answer, "invalid_request")
    assert "X-Router-Timeout" in error["message"]


async def test_number_codes_by_the_setting_of_a_key(router: Running) -> None:
    plain, _ = await router.server.keys.create("numbers", compat={"error_code": "number"})

    answer = await router.post(CHAT, ASK | {"temperature": 3}, key=plain)

    assert (await answer.json())["error"]["code"] == 400


# --- what goes upstream ----------------------------------------------------------------------------------------------

#: what a client may send that is not for upstreams
OURS_ALONE = {
    "Cookie": "session=secret-cookie",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "Connection": "keep-alive, X-Hop",
    "X-Hop": "hop",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Proxy-Authorization": "Basic c2VjcmV0",
    "HTTP-Referer": "https://app.example.com",
    "X-Title": "My App",
    "X-Request-Id": "client-id-1",
    "X-Router-Tags": "a",
    "OpenAI-Organization": "org-of-the-client",
    "User-Agent": "my-agent/1",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "nn",
    "anthropic-beta": "b1",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_only_our_own_headers_go_upstream(router: Running, upstream: FakeUpstream, stream: bool) -> None:
    upstream.will(sse_answer(STREAM) if stream else json_answer(WHOLE))

    answer = await router.post(CHAT, ASK | {"stream": stream}, headers=OURS_ALONE)

    assert answer.status == 200
    (asked,) = upstream.asked
    sent = {name.lower(): value for name, value in asked.headers.items()}
    assert sent.pop("host") == upstream.url.removeprefix("http://")
    assert int(sent.pop("content-length")) > 0
    assert sent == {
        "authorization": "Bearer upstream-key",
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "onebox-router",
    }


async def test_headers_of_the_upstream_stay_there(router: Running, upstream: FakeUpstream) -> None:
    secret = {
        "Set-Cookie": "upstream=1",
        "X-Internal": "10.0.0.7",
        "openai-organization": "org-ours",
        "Server": "nginx/1",
    }
    upstream.will(json_answer(WHOLE, headers=secret))

    answer = await router.post(CHAT, ASK)

    assert not {"Set-Cookie", "X-Internal", "openai-organization"} & set(answer.headers)
    assert_common(answer)


async def test_a_host_that_a_client_names_gets_nothing(router: Running, upstream: FakeUpstream) -> None:
    """Neither a header nor a member of the body moves our credential elsewhere."""
    body = ASK | {"api_base": "http://evil.example.com", "base_url": "http://evil.example.com", "api_key": "theirs"}

    answer = await router.post(CHAT, body, headers={"Host": "evil.example.com"})

    assert answer.status == 200
    assert upstream.asked[0].headers["Authorization"] == "Bearer upstream-key"


async def test_redirects_are_not_followed(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({}, status=307, headers={"Location": "http://127.0.0.1:1/", "retry-after-ms": "5"}))

    answer = await router.post(CHAT, ASK)

    await openai_error(answer, "provider_unavailable")
    assert {asked.path for asked in upstream.asked} == {"/v1/chat/completions"}


# --- other sites -----------------------------------------------------------------------------------------------------


async def test_other_sites_may_not_call_unless_they_are_listed(start: Start) -> None:
    echo = {"echo": {"plugin": "echo"}}
    shut = await start(providers=echo)
    open = await start(providers=echo, server=ServerSettings(cors_origins=["https://app.example.com"]))
    listed, other = {"Origin": "https://app.example.com"}, {"Origin": "https://evil.example.com"}

    for router, origin, allowed in ((shut, listed, False), (open, listed, True), (open, other, False)):
        answers = [
            await router.get("/v1/models", headers=origin),
            await router.get("/nowhere", headers=origin),
            await router.post(CHAT, ASK | {"model": "echo/echo"}, headers=origin),
            await router.post(CHAT, ASK | {"model": "echo/echo", "stream": True}, headers=origin),
            await router.post(CHAT, [], headers=origin),
        ]
        for answer in answers:
            assert ("Access-Control-Allow-Origin" in answer.headers) is allowed
            if allowed:
                assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
                assert "Origin" in answer.headers["Vary"]
        preflight = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        async with router.session.options(router.url + CHAT, headers=preflight) as answer:
            assert answer.status == (204 if allowed else 405)
            assert_common(answer)


# --- bugs ------------------------------------------------------------------------------------------------------------


async def test_an_error_without_a_kind_says_nothing(start: Start) -> None:
    """What nobody foresaw is 500, and its words are for the log alone."""
    from router import Call, hookimpl

    class Mine:
        @hookimpl
        async def router_admit(self, call: Call) -> None:
            raise RouterError("the password of the database is hunter2")

    router = await start(providers={"echo": {"plugin": "echo"}}, plugins={"mine": Mine()})
    answer = await router.post(CHAT, ASK | {"model": "echo/echo"})

    error = await openai_error(answer, "server")
    assert "hunter2" not in await answer.text()
    assert "log" in error["message"]
    assert_common(answer)
