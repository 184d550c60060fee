"""Every kind of failure that a call can end with: status, envelope, codes, and what is not told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from msgspec import Struct

from router import Call, hookimpl
from router.settings import EndpointSettings, ModelSettings, RoutingSettings, StreamSettings
from router.testing import FakeUpstream, Running, json_answer, sse_answer
from router.testing.upstream import Handler

from .envelopes import anthropic_error, google_error, openai_error

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
UPSTREAM_KEY = "upstream-key-of-nobody"
ASK: dict[str, Any] = {"model": "fake/m", "messages": [{"role": "user", "content": "hello"}]}
#: at once, so that second tries cost no time
QUICK = {"retry-after-ms": "5"}


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    table = {"base_url": upstream.url + "/v1", "api_key": UPSTREAM_KEY, "timeouts": {"first_token_seconds": 0.3}}
    return await start(
        providers={
            "fake": {"plugin": "openai-compatible", **table},
            "claude": {"plugin": "anthropic", **table},
            "gemini": {"plugin": "gemini", **table},
            "keyless": {"plugin": "openai", "base_url": upstream.url},
            "echo": {"plugin": "echo"},
        },
        models={"small/m": ModelSettings(context_length=100, endpoints=[EndpointSettings(provider="fake", model="m")])},
    )


def failing(status: int, message: str = "it said no", code: str = "no", **headers: str) -> Handler:
    return json_answer({"error": {"message": message, "code": code}}, status=status, headers=headers or QUICK)


def image(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


# --- what the router refuses by itself -------------------------------------------------------------------------------


class Refused(Struct, kw_only=True):
    """A call, and the error that it must end with."""

    kind: str
    code: str = ""
    param: str | None = None
    words: str
    members: dict[str, Any] = {}
    body: bytes | None = None
    headers: dict[str, str] = {}
    path: str = CHAT
    availability: str = ""


REFUSED = {
    "no JSON": Refused(kind="invalid_request", body=b"{", words="not JSON"),
    "no body": Refused(kind="invalid_request", body=b"", words="empty"),
    "no object": Refused(kind="invalid_request", body=b"[]", words="object"),
    "no messages": Refused(kind="invalid_request", members={"messages": []}, param="messages", words="at least one"),
    "out of range": Refused(kind="invalid_request", members={"n": 9}, param="n", words="from 1 to 8"),
    "no model": Refused(kind="invalid_request", members={"model": ""}, param="model", words="default_model"),
    "auto without models": Refused(
        kind="invalid_request", members={"model": "auto"}, param="model", words="auto_models"
    ),
    "an unknown model": Refused(
        kind="not_found",
        code="model_not_found",
        members={"model": "echo-/echo"},
        param="model",
        words="/v1/models",
        availability="model_not_found",
    ),
    "a bare model that nobody has": Refused(
        kind="not_found",
        code="model_not_found",
        members={"model": "nothing-1"},
        param="model",
        words="no model",
        availability="model_not_found",
    ),
    "too long for the model": Refused(
        kind="not_found",
        code="no_endpoints",
        members={"model": "small/m", "max_tokens": 1000},
        words="context_length",
        availability="constraint_filtered",
    ),
    "constraints that nobody meets": Refused(
        kind="not_found",
        code="no_endpoints",
        members={"provider": {"zdr": True}},
        words="data_policy:zdr",
        availability="privacy_restricted",
    ),
    "a plugin that is not there": Refused(
        kind="not_implemented",
        code="not_configured",
        members={"model": "echo/echo:online"},
        param="plugins",
        words="plugin 'web'",
    ),
    "a provider without a key": Refused(
        kind="provider_overloaded",
        members={"model": "keyless/gpt-4.1"},
        words="api_key",
        availability="temporarily_unavailable",
    ),
    "an image of a form that the upstream does not take": Refused(
        kind="unsupported_image_format",
        members={"model": "claude/claude-sonnet-4-5", "messages": image("data:image/tiff;base64,AAAA")},
        param="messages",
        words="image",
    ),
    "an image that is nowhere": Refused(
        kind="image_download_failed",
        members={"model": "gemini/gemini-3-flash-preview", "messages": image("http://127.0.0.1:9/a.png")},
        words="not public",
    ),
    "another type": Refused(
        kind="unsupported_media_type", headers={"Content-Type": "text/plain"}, words="application/json"
    ),
    "no generation": Refused(kind="not_found", path="/v1/generation?id=gen-1", words="X-Generation-Id"),
    "which generation": Refused(kind="invalid_request", path="/v1/generation", param="id", words="id=gen-"),
    "no path": Refused(kind="not_found", path="/v1/nowhere", words="/v1/nowhere"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_what_the_router_refuses(router: Running, upstream: FakeUpstream, case: Refused) -> None:
    body = ASK | case.members if case.body is None else case.body
    answer = await router.post(CHAT, body, headers=case.headers) if case.path == CHAT else await router.get(case.path)

    error = await openai_error(answer, case.kind)
    assert case.words in error["message"]
    assert error["param"] == case.param
    assert not case.code or error["code"] == case.code
    assert error.get("availability", {}).get("code", "") == case.availability
    assert not upstream.asked


async def test_availability_names_what_is_near(router: Running) -> None:
    error = await openai_error(await router.post(CHAT, ASK | {"model": "ekho/echo"}), "not_found")

    told = error["availability"]
    assert told["retryable"] is False
    assert told["requested_models"] == ["ekho/echo"]
    assert "echo/echo" in told["fallback_models"]
    assert len(told["fallback_models"]) <= 3
    assert told["docs_url"]


async def test_availability_says_what_excludes(router: Running) -> None:
    body = ASK | {"provider": {"zdr": True}, "models": ["echo/echo"]}

    error = await openai_error(await router.post(CHAT, body), "not_found")

    assert error["availability"]["excluded_by"] == ["data_policy:zdr"]
    assert error["availability"]["requested_models"] == ["fake/m", "echo/echo"]


async def test_money_that_is_used_up(router: Running) -> None:
    plain, _ = await router.server.keys.create("poor", limit=0)

    await openai_error(await router.post(CHAT, ASK, key=plain), "payment_required")


# --- what upstreams say ----------------------------------------------------------------------------------------------

UPSTREAM: dict[str, tuple[Handler, str, str, str]] = {
    "400": (failing(400), "invalid_request", "it said no", ""),
    "context": (
        failing(400, "This model's maximum context length is 8 tokens", "context_length_exceeded"),
        "context_length_exceeded",
        "maximum context",
        "",
    ),
    "content": (failing(400, "flagged", "content_filter"), "content_policy_violation", "flagged", ""),
    "moderation": (failing(403, "flagged by moderation"), "content_policy_violation", "flagged", ""),
    "401": (failing(401), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "402": (failing(402), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "403": (failing(403), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "404": (failing(404), "not_found", "it said no", "model_unavailable_upstream"),
    "408": (failing(408), "upstream_timeout", "it said no", "temporarily_unavailable"),
    "409": (failing(409), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "413": (failing(413), "payload_too_large", "it said no", ""),
    "422": (failing(422), "unprocessable", "it said no", ""),
    "425": (failing(425), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "429": (failing(429), "rate_limit_exceeded", "it said no", "capacity_exhausted"),
    "500": (failing(500), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "502": (failing(502), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "503": (failing(503), "provider_overloaded", "it said no", "temporarily_unavailable"),
    "504": (failing(504), "upstream_timeout", "it said no", "temporarily_unavailable"),
    "529": (failing(529), "provider_overloaded", "it said no", "temporarily_unavailable"),
    "599": (failing(599), "provider_unavailable", "it said no", "temporarily_unavailable"),
    "3xx": (
        failing(302, Location="http://127.0.0.1:9/"),
        "provider_unavailable",
        "it said no",
        "temporarily_unavailable",
    ),
    "an error with 200": (
        json_answer({"error": {"message": "it said no"}}),
        "provider_unavailable",
        "it said no",
        "temporarily_unavailable",
    ),
    "no JSON": (json_answer(b"<html>", headers=QUICK), "provider_unavailable", "", "temporarily_unavailable"),
    "no object": (json_answer([1], headers=QUICK), "provider_unavailable", "", "temporarily_unavailable"),
    "nothing": (json_answer(b"", headers=QUICK), "provider_unavailable", "", "temporarily_unavailable"),
    "no choices": (json_answer({"choices": []}, headers=QUICK), "provider_unavailable", "", "temporarily_unavailable"),
    "late": (json_answer({}, delay_s=2), "upstream_timeout", "0.3 s", "temporarily_unavailable"),
}


@pytest.mark.parametrize(("answer", "kind", "words", "availability"), UPSTREAM.values(), ids=UPSTREAM)
async def test_what_upstreams_say(
    router: Running, upstream: FakeUpstream, answer: Handler, kind: str, words: str, availability: str
) -> None:
    """The same error plain and streamed, since nothing has been sent yet."""
    upstream.will(answer)

    for stream in (False, True):
        model = f"fake/m-{stream}"
        router.server.health.reset()
        got = await router.post(CHAT, ASK | {"model": model, "stream": stream})

        error = await openai_error(got, kind)
        assert words in error["message"]
        assert error["metadata"]["provider_name"] == "fake"
        assert error.get("availability", {}).get("code", "") == availability
        if availability:
            assert error["availability"]["affected_providers"] == ["fake"]
            assert error["availability"]["requested_models"] == [model]
        assert UPSTREAM_KEY not in await got.text()


async def test_an_upstream_that_is_not_there(start: Start) -> None:
    router = await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": "http://127.0.0.1:9", "api_key": "k"}}
    )

    error = await openai_error(await router.post(CHAT, ASK), "provider_unavailable")

    assert "127.0.0.1" not in json.dumps(error)


async def test_a_refused_credential_is_a_fault_of_ours_from_then_on(router: Running, upstream: FakeUpstream) -> None:
    """The client is never told 401, and the upstream is not asked again."""
    upstream.will(failing(401, "wrong key"))

    for _ in range(3):
        await openai_error(await router.post(CHAT, ASK), "provider_unavailable")

    assert len(upstream.asked) == 1


async def test_everything_that_failed_before_is_told(start: Start, upstream: FakeUpstream) -> None:
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": UPSTREAM_KEY}
    endpoints = [EndpointSettings(provider=slug, model="m", priority=at) for at, slug in enumerate(("one", "two"))]
    router = await start(
        providers={"one": table, "two": table},
        models={"test/m": ModelSettings(endpoints=endpoints)},
        routing=RoutingSettings(deterministic=True),
    )
    upstream.will(failing(429, code="slow_down", **{"retry-after": "9"}), failing(401, code="bad_key"))

    answer = await router.post(CHAT, ASK | {"model": "test/m"})

    error = await openai_error(answer, "provider_unavailable")
    assert [
        (each["provider"], each["model"], each["code"], each["status"]) for each in error["metadata"]["previous_errors"]
    ] == [
        ("one", "test/m", "slow_down", 429),
        ("two", "test/m", "bad_key", 401),
    ]
    assert answer.headers["Retry-After"]


# --- what is not told ------------------------------------------------------------------------------------------------


async def page(request: web.Request) -> web.StreamResponse:
    text = f"<html><title>nginx 10.0.0.7</title>{UPSTREAM_KEY}</html>"
    return web.Response(status=502, text=text, content_type="text/html", headers=QUICK)


SECRETS = {
    "a page": page,
    "our key": failing(400, f"the key {UPSTREAM_KEY} may not do that"),
    "another key": failing(400, "the key sk-proj-q1W2e3R4t5Y6u7I8o9P0 may not do that"),
    "a long message": failing(400, "x" * 5000),
    "a long code": failing(400, "no", "x" * 5000),
    "lines": failing(400, "one\ntwo\x1b[31m\u202ethree"),
    "a strange message": json_answer({"error": {"message": {"deep": [UPSTREAM_KEY] * 200}}}, status=400),
    "a strange body": json_answer([[[UPSTREAM_KEY]]], status=400),
    "a strange code": json_answer({"error": {"message": "no", "code": {"a": UPSTREAM_KEY}}}, status=400),
}


@pytest.mark.parametrize("answer", SECRETS.values(), ids=SECRETS)
async def test_what_an_upstream_says_is_cut_and_cleaned(
    router: Running, upstream: FakeUpstream, answer: Handler
) -> None:
    upstream.will(answer)

    for stream in (False, True):
        got = await router.post(CHAT, ASK | {"model": f"fake/m-{stream}", "stream": stream})

        text = await got.text()
        error = await openai_error(got, "invalid_request" if got.status == 400 else "provider_unavailable")
        assert len(error["message"]) <= 500
        assert len(text) < 2500
        for secret in (UPSTREAM_KEY, "sk-proj-q1W2e3R4", "<html", "nginx", "10.0.0.7"):
            assert secret not in text


async def test_a_key_in_an_error_inside_of_a_stream(router: Running, upstream: FakeUpstream) -> None:
    first = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    broken = json.dumps({"error": {"message": f"the key {UPSTREAM_KEY} is over its limit {'x' * 5000}"}})
    upstream.will(sse_answer([first, f"data: {broken}\n\n".encode()]))

    text = await (await router.post(CHAT, ASK | {"stream": True})).text()

    assert "is over its limit" in text
    assert UPSTREAM_KEY not in text
    assert len(text) < 3000


@pytest.mark.parametrize("size", [300, 10_000])
async def test_little_of_a_request_is_repeated(router: Running, size: int) -> None:
    """Whatever a client sends where something else belongs, at most a few words of it come back."""
    long = "y" * size
    bodies: list[Any] = [
        {"model": long},
        {"models": [long]},
        {"messages": [{"role": long, "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": long}]}]},
        {"route": long},
        {"transforms": [long]},
        {"plugins": [{"id": long}]},
        {"provider": {long: 1}},
        {"provider": {"sort": long}},
        {"preset": long},
        {"tool_choice": long},
        {"tools": [{"type": "function", "function": {"name": long + "!"}}]},
        {"response_format": {"type": long}},
        {"reasoning_effort": long},
        {"metadata": {long: "x"}},
        {"logit_bias": {long: 1}},
        {"service_tier": long},
        {"user": {long: 1}},
    ]
    for members in bodies:
        text = await (await router.post(CHAT, ASK | members)).text()
        assert "y" * 201 not in text, members.keys()


# --- bugs, ours and others' ------------------------------------------------------------------------------------------


class Faulty:
    """A plugin with a bug."""

    @hookimpl
    def router_filter(self, call: Call) -> None:
        raise KeyError("hunter2")


async def test_a_bug_of_a_plugin(start: Start) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}}, plugins={"faulty": Faulty()})

    error = await openai_error(await router.post(CHAT, ASK | {"model": "echo/echo"}), "provider_unavailable")

    assert "faulty" in error["message"]
    assert "router_filter" in error["message"]
    assert "hunter2" not in json.dumps(error)


async def test_a_bug_of_ours(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """500 says nothing, and the log has the traceback under the same id."""
    router = await start(providers={"echo": {"plugin": "echo"}})
    router.server.table.find = None  # type: ignore[assignment, method-assign]

    for answer in (await router.post(CHAT, ASK), await router.get("/v1/models/echo/echo")):
        error = await openai_error(answer, "server")
        assert "NoneType" not in json.dumps(error)
        assert "Traceback" not in await answer.text()

    assert "NoneType" in caplog.text


# --- the other surfaces ----------------------------------------------------------------------------------------------


async def test_the_same_failures_on_the_surface_of_anthropics_clients(router: Running, upstream: FakeUpstream) -> None:
    ask = {"model": "fake/m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    upstream.will(failing(429, **{"retry-after": "7"}), failing(503))

    busy = await router.post("/v1/messages", ask)
    overloaded = await router.post("/v1/messages", ask | {"model": "fake/other"})

    assert await anthropic_error(busy, "rate_limit_exceeded") == "it said no"
    assert busy.headers["Retry-After"] == "7"
    await anthropic_error(overloaded, "provider_overloaded")
    assert overloaded.headers["Retry-After"].isdigit()
    await anthropic_error(await router.post("/v1/messages", ask, key="nobody"), "authentication")
    await anthropic_error(await router.post("/v1/messages", ask, key=router.management), "permission_denied")
    await anthropic_error(await router.post("/v1/messages", ask | {"model": "a/b"}), "not_found")
    await anthropic_error(await router.post("/v1/messages", b"{"), "invalid_request")
    await anthropic_error(
        await router.post("/v1/messages", b"", headers={"Content-Type": "text/plain"}), "unsupported_media_type"
    )


async def test_the_same_failures_on_the_surface_of_googles_clients(router: Running, upstream: FakeUpstream) -> None:
    ask = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    path = "/v1beta/models/{}:generateContent"
    upstream.will(failing(429, **{"retry-after": "7"}), failing(503))

    busy = await router.post(path.format("fake/m"), ask)

    assert await google_error(busy, "rate_limit_exceeded") == "it said no"
    assert busy.headers["Retry-After"] == "7"
    await google_error(await router.post(path.format("fake/other"), ask), "provider_overloaded")
    await google_error(await router.post(path.format("fake/m"), ask, key="nobody"), "authentication")
    await google_error(await router.post(path.format("fake/m"), ask, key=router.management), "permission_denied")
    await google_error(await router.post(path.format("a/b"), ask), "not_found")
    await google_error(await router.post(path.format("fake/m"), b"{"), "invalid_request")


# --- streams that have begun -----------------------------------------------------------------------------------------


async def test_a_failure_behind_the_head_of_a_stream(start: Start, upstream: FakeUpstream) -> None:
    """The head was sent because the upstream was slow; what fails then is told inside."""
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": UPSTREAM_KEY}
    router = await start(providers={"fake": table}, stream=StreamSettings(header_delay_seconds=0.1))
    upstream.will(json_answer({"error": {"message": "it said no"}}, status=400, delay_s=0.4))

    answer = await router.post(CHAT, ASK | {"stream": True})
    events = [line for line in (await answer.text()).splitlines() if line.startswith("data: ")]

    assert answer.status == 200
    chunk, done = json.loads(events[0].removeprefix("data: ")), events[1]
    assert done == "data: [DONE]"
    assert chunk["error"]["code"] == "invalid_request"
    assert chunk["error"]["metadata"] == {
        "error_type": "invalid_request",
        "error_code": "invalid_request",
        "http_status": 400,
        "provider_name": "fake",
    }
    assert [(choice["delta"], choice["finish_reason"]) for choice in chunk["choices"]] == [({"content": ""}, "error")]
    assert (chunk["object"], chunk["model"], chunk["provider"]) == ("chat.completion.chunk", "fake/m", "fake")
