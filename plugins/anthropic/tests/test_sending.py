"""The provider over a real socket: what goes out, what comes back, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from router_anthropic import Anthropic

from router.call import Candidate, Endpoint
from router.errors import (
    StreamTruncated,
    UpstreamBusy,
    UpstreamOverloaded,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from router.events import Event, Fold, Reply, Stop
from router.model import ChatRequest, Model
from router.provider import Timeouts

KEY = "test-key-of-nobody"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[Anthropic]]
Ask = Callable[..., ChatRequest]
Recording = Callable[[str], dict[str, Any]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an upstream with this handler and give a provider that is pointed at it."""
    runners: list[web.AppRunner] = []
    providers: list[Anthropic] = []

    async def start(handler: Handler) -> Anthropic:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        settings = Anthropic.Settings(plugin="anthropic", api_key=KEY, base_url=site.name, headers={"x-team": "seven"})
        providers.append(Anthropic("anthropic", settings, Timeouts()))
        return providers[-1]

    yield start
    for provider in providers:
        await provider.close()
    for runner in runners:
        await runner.cleanup()


def call_of(provider: Anthropic, request: ChatRequest) -> tuple[Any, Candidate]:
    """What `send` needs of a call and a candidate."""
    endpoint = Endpoint(provider=provider, model_id="anthropic/x", model=Model(id=request.model))
    candidate = Candidate(endpoint=endpoint, credential=provider.credentials[0])
    return SimpleNamespace(outgoing=provider.encode(request), head=SimpleNamespace(stream=request.stream)), candidate


async def answer(provider: Anthropic, request: ChatRequest) -> Reply:
    """Send a request and read the answer, in whichever form it comes."""
    async with provider.send(*call_of(provider, request)) as upstream:
        if not upstream.stream:
            return provider.decode(await upstream.read())
        fold = Fold()
        async for event in provider.events(provider.messages(upstream)):
            fold.add(event)
        return fold.reply


def replay(recording: dict[str, Any], asked: list[web.Request] | None = None) -> Handler:
    """Answer with a recording."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        if asked is not None:
            asked.append(request)
        response = recording["response"]
        if "body" in response:
            return web.json_response(response["body"], status=response["status"], headers=without_type(response))
        text = response.get("sse") or response["text"]
        kind = response["headers"]["content-type"].partition(";")[0]
        return web.Response(text=text, status=response["status"], content_type=kind, headers=without_type(response))

    return handler


def without_type(response: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in response["headers"].items() if name != "content-type"}


async def test_a_plain_answer(serve: Serve, recording: Recording, ask: Ask) -> None:
    asked: list[web.Request] = []
    provider = await serve(replay(recording("tools"), asked))

    reply = await answer(provider, ask())

    assert reply.choices[0].finish.reason == "tool_calls"
    request = asked[0]
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-team"] == "seven"
    assert "authorization" not in request.headers
    assert (await request.json())["model"] == "claude-sonnet-4-5"


@pytest.mark.parametrize("name", ["text_stream", "thinking_stream", "tools_stream"])
async def test_a_stream(serve: Serve, recording: Recording, ask: Ask, name: str) -> None:
    provider = await serve(replay(recording(name)))

    reply = await answer(provider, ask(stream=True))

    assert reply.usage is not None
    assert reply.choices[0].finish.native


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("unauthorized", UpstreamUnauthorized),
        ("rate_limited", UpstreamBusy),
        ("overloaded", UpstreamOverloaded),
        ("failing", UpstreamUnavailable),
        ("html", UpstreamUnavailable),
        ("error_in_stream", UpstreamOverloaded),
    ],
)
async def test_failures(serve: Serve, recording: Recording, ask: Ask, name: str, error: type[Exception]) -> None:
    provider = await serve(replay(recording(name)))

    with pytest.raises(error):
        await answer(provider, ask())


async def test_a_key_in_an_error_is_masked(serve: Serve, ask: Ask) -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"{KEY} is no key"}}
    provider = await serve(replay({"response": {"status": 401, "headers": {}, "body": body}}))

    with pytest.raises(UpstreamUnauthorized) as caught:
        await answer(provider, ask())

    assert caught.value.message == "*** is no key"


async def test_a_connection_that_breaks_inside_of_a_stream(serve: Serve, recording: Recording, ask: Ask) -> None:
    sse = recording("text_stream")["response"]["sse"].encode()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse[: len(sse) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response

    provider = await serve(handler)

    with pytest.raises(StreamTruncated):
        await answer(provider, ask(stream=True))


async def test_leaving_early_closes_the_connection(serve: Serve, recording: Recording, ask: Ask) -> None:
    sse = recording("text_stream")["response"]["sse"].encode()
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse.partition(b"event: message_stop")[0])
        try:
            await asyncio.sleep(20)
        finally:
            gone.set()
        return response

    provider = await serve(handler)
    seen: list[Event] = []

    async with provider.send(*call_of(provider, ask(stream=True))) as upstream:
        async for event in provider.events(provider.messages(upstream)):
            seen.append(event)
            if len(seen) == 3:
                break

    async with asyncio.timeout(5):
        await gone.wait()
    assert not any(isinstance(event, Stop) for event in seen)


async def test_the_list_of_models_is_read_page_by_page(serve: Serve) -> None:
    asked: list[str] = []
    pages = [
        {
            "data": [
                {
                    "type": "model",
                    "id": "claude-sonnet-5-5",
                    "display_name": "Claude Sonnet 5.5",
                    "created_at": "2026-09-28T00:00:00Z",
                    "max_input_tokens": 1_000_000,
                    "max_tokens": 128_000,
                    "lifecycle": "active",
                }
            ],
            "has_more": True,
            "last_id": "claude-sonnet-5-5",
        },
        {"data": [{"type": "model", "id": "claude-3-haiku-20240307"}], "has_more": False, "last_id": None},
    ]

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        return web.json_response(pages[len(asked) - 1])

    provider = await serve(handler)

    models = await provider.models()

    assert asked == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=claude-sonnet-5-5"]
    assert [model.id for model in models] == ["claude-sonnet-5-5", "claude-3-haiku-20240307"]
    newest, oldest = models
    assert (newest.name, newest.context_length, newest.max_output) == ("Claude Sonnet 5.5", 1_000_000, 128_000)
    assert newest.created == 1790553600
    assert newest.price is None
    assert "temperature" not in newest.parameters
    assert "reasoning" in newest.parameters
    assert {"temperature", "top_k"} <= set(oldest.parameters)
    assert not oldest.reasoning


async def test_a_list_of_models_that_is_refused(serve: Serve, recording: Recording) -> None:
    provider = await serve(replay(recording("unauthorized")))

    with pytest.raises(UpstreamUnauthorized):
        await provider.models()
