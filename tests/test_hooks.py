"""Every hook, implemented by a plugin that did not come with the router, in a running one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from router import (
    Attempt,
    Call,
    Candidate,
    ChatRequest,
    Event,
    Forbidden,
    Generation,
    Identity,
    Provider,
    Recalled,
    RouterError,
    Sink,
    TextDelta,
    Upstream,
    Usage,
    hookimpl,
)
from router.api import Request, Route
from router.dialects.base import Dialect, Path
from router.plugins import PluginError, Plugins
from router.settings import LimitSettings
from router.store.migrations import Migration
from router.testing import FakeUpstream, Running, completion, json_answer

Start = Callable[..., Awaitable[Running]]
ASK = {"model": "fake/m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def begin(start: Start, upstream: FakeUpstream) -> Callable[..., Awaitable[Running]]:
    """Starts a router with one plugin and one provider, which answers "hi"."""
    upstream.will(json_answer(completion()))
    providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}

    async def beginner(plugin: object, **tables: Any) -> Running:
        return await start(plugins={"mine": plugin}, providers={**providers, **tables.pop("providers", {})}, **tables)

    return beginner


async def test_authenticate_brings_an_identity_of_its_own(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_authenticate(self, call: Call) -> Identity | Awaitable[Identity] | None:
            async def found() -> Identity:
                return Identity(hash="f" * 64, name="from elsewhere")

            return found() if call.presented == "their-token" else None

    router = await begin(Mine())

    assert (await router.post("/v1/chat/completions", ASK, key="their-token")).status == 200
    assert (await router.post("/v1/chat/completions", ASK)).status == 200
    assert (await router.post("/v1/chat/completions", ASK, key="nobody's")).status == 401


async def test_received_may_change_the_body_and_refuse(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        def router_received(self, call: Call) -> None:
            assert call.identity is not None
            if b"secret" in call.body:
                raise Forbidden("no secrets", code="secret")
            call.body = call.body.replace(b"hello", b"good morning")

    router = await begin(Mine())

    await router.post("/v1/chat/completions", ASK)
    refused = await router.post("/v1/chat/completions", ASK | {"user": "secret"})

    assert upstream.asked[0].body["messages"][-1]["content"] == "good morning"
    assert (refused.status, (await refused.json())["error"]["code"]) == (403, "secret")


async def test_admit_refuses(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        async def router_admit(self, call: Call) -> None:
            raise Forbidden("not on Sundays", code="sunday")

    answer = await (await begin(Mine())).post("/v1/chat/completions", ASK)

    assert answer.status == 403
    assert (await answer.json())["error"]["code"] == "sunday"
    assert not upstream.asked


async def test_transform_changes_the_request(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        def router_transform(self, call: Call) -> Callable[[ChatRequest], Awaitable[ChatRequest]]:
            async def shout(request: ChatRequest) -> ChatRequest:
                request.messages[-1].content[0].text = request.messages[-1].text.upper()  # type: ignore[union-attr]
                return request

            return shout

    await (await begin(Mine())).post("/v1/chat/completions", ASK)

    sent = upstream.asked[0].body["messages"][-1]["content"]
    assert sent == "HELLO" or sent[0]["text"] == "HELLO"


async def test_review_comes_behind_all_who_transform(begin: Start, upstream: FakeUpstream) -> None:
    def adding(word: str) -> Callable[[ChatRequest], Awaitable[ChatRequest]]:
        async def add(request: ChatRequest) -> ChatRequest:
            request.messages[-1].content[0].text += word  # type: ignore[union-attr]
            return request

        return add

    class Mine:
        @hookimpl
        def router_review(self, call: Call) -> Callable[[ChatRequest], Awaitable[ChatRequest]]:
            return adding(" reviewed")

        @hookimpl(trylast=True)
        def router_transform(self, call: Call) -> Callable[[ChatRequest], Awaitable[ChatRequest]] | None:
            return adding(" transformed") if "please" in call.head.members else None

    router = await begin(Mine())
    for body in (ASK, {**ASK, "please": True}):
        await router.post("/v1/chat/completions", body)

    sent = [asked.body["messages"][-1]["content"] for asked in upstream.asked]
    assert sent == ["hello", "hello transformed reviewed"]


async def test_rewrite_changes_the_answers_of_other_operations(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        def router_rewrite(self, call: Call) -> Callable[[bytes], bytes]:
            return lambda body: body.replace(b"modr-1", b"mine")

    router = await begin(Mine())
    upstream.will(json_answer({"id": "modr-1", "model": "m", "results": []}))

    answer = await router.post("/v1/moderations", {"model": "fake/m", "input": "hello"})

    assert (answer.status, (await answer.json())["id"]) == (200, "mine")


async def test_candidates_and_rank_choose_the_endpoint(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        server: Any

        @hookimpl
        def router_candidates(self, call: Call) -> list[Candidate]:
            endpoint = self.server.table.find("fake/other")[0].entry.endpoints[0]
            return [Candidate(endpoint=endpoint, credential=endpoint.provider.credentials[0])]

        @hookimpl
        def router_rank(self, call: Call, candidates: Sequence[Candidate]) -> list[Candidate]:
            return sorted(candidates, key=lambda each: each.endpoint.model.id != "other")

    plugin = Mine()
    router = await begin(plugin)
    plugin.server = router.server
    answer = await router.post("/v1/chat/completions", ASK)

    assert upstream.asked[0].body["model"] == "other"
    assert (await answer.json())["model"] == "fake/other"


async def test_attempt_is_wrapped(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        def __init__(self) -> None:
            self.seen: list[str] = []

        @hookimpl(wrapper=True)
        def router_attempt(self, call: Call, candidate: Candidate) -> Any:
            inner: AbstractAsyncContextManager[Upstream] = yield

            @asynccontextmanager
            async def timed() -> AsyncIterator[Upstream]:
                assert call.outgoing is not None
                call.outgoing.headers["x-signed"] = "yes"
                async with inner as upstream:
                    yield upstream
                self.seen.append(candidate.endpoint.model_id)

            return timed()

    plugin = Mine()
    await (await begin(plugin)).post("/v1/chat/completions", ASK)

    assert plugin.seen == ["fake/m"]
    assert upstream.asked[0].headers["x-signed"] == "yes"


async def test_filter_changes_the_answer_plain_and_streamed(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_filter(self, call: Call) -> Callable[[AsyncIterator[Event]], AsyncIterator[Event]]:
            async def shout(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
                async for event in events:
                    if isinstance(event, TextDelta):
                        event.text = event.text.upper()
                    yield event

            return shout

    router = await begin(Mine())

    plain = await (await router.post("/v1/chat/completions", ASK)).json()
    assert plain["choices"][0]["message"]["content"] == "HI"
    streamed = await (await router.post("/v1/chat/completions", {**ASK, "stream": True})).text()
    assert '"content":"HI"' in streamed


async def test_answer_takes_the_place_of_a_model(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        def router_answer(self, call: Call) -> Awaitable[bytes] | None:
            return self.answer(call) if call.head.model == "mine" else None

        async def answer(self, call: Call) -> bytes:
            if call.head.stream:
                raise Forbidden("not as a stream")
            return b'{"answer":"mine"}'

    router = await begin(Mine())

    answer = await router.post("/v1/chat/completions", {**ASK, "model": "mine"})
    refused = await router.post("/v1/chat/completions", {**ASK, "model": "mine", "stream": True})

    assert (answer.status, await answer.json()) == (200, {"answer": "mine"})
    assert (refused.status, (await refused.json())["error"]["message"]) == (403, "not as a stream")
    assert upstream.asked == []
    assert await router.server.database.all("SELECT id FROM generation") == []
    assert (await router.post("/v1/chat/completions", ASK)).status == 200


async def test_recall_answers_and_nobody_is_asked(begin: Start, upstream: FakeUpstream) -> None:
    class Mine:
        @hookimpl
        def router_recall(self, call: Call) -> Recalled | None:
            if "known" not in call.head.members:
                return None
            call.answer_headers["X-Mine"] = "yes"
            return Recalled(candidate=call.plan.candidates[0], tail=b'{"answer":"known"}', source_id="gen-before")

        @hookimpl
        def router_transform(self, call: Call) -> None:
            assert "known" not in call.head.members

    router = await begin(Mine())

    answer = await router.post("/v1/chat/completions", {**ASK, "known": True})

    assert (answer.status, await answer.json(), answer.headers["X-Mine"]) == (200, {"answer": "known"}, "yes")
    assert upstream.asked == []
    (row,) = await router.server.database.all("SELECT status, charge, provider, input, detail FROM generation")
    assert row[:4] == ("ok", 0, "fake", 0)
    assert "gen-before" in row[4]
    assert "X-Mine" not in (await router.post("/v1/chat/completions", ASK)).headers


async def test_sink_sees_what_the_client_gets(begin: Start, upstream: FakeUpstream) -> None:
    class Copying(Sink):
        def __init__(self, sink: Sink, seen: list[bytes]) -> None:
            self.sink, self.seen = sink, seen

        async def write(self, data: bytes) -> None:
            self.seen.append(data)
            await self.sink.write(data)

        async def finish(self, data: bytes) -> None:
            self.seen.append(data)
            await self.sink.finish(data)

        async def error(self, error: RouterError) -> None:
            self.seen.append(error.code.encode())
            await self.sink.error(error)

    class Mine:
        def __init__(self) -> None:
            self.seen: list[bytes] = []

        @hookimpl
        def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
            return (lambda sink: Copying(sink, self.seen)) if call.head.model == "fake/m" else None

    plugin = Mine()
    router = await begin(plugin)

    for stream in (False, True):
        plugin.seen.clear()
        answer = await router.post("/v1/chat/completions", {**ASK, "stream": stream})
        assert b"".join(plugin.seen).decode() == await answer.text()
    plugin.seen.clear()
    upstream.will(json_answer({"error": {"message": "no"}}, status=400))
    await router.post("/v1/chat/completions", ASK)
    assert plugin.seen == [b"invalid_request"]
    await router.post("/v1/chat/completions", {**ASK, "model": "fake/other"})
    assert len(plugin.seen) == 1


async def test_price_and_what_is_told_afterwards(begin: Start) -> None:
    class Mine:
        def __init__(self) -> None:
            self.attempts: list[tuple[str, bool]] = []
            self.settled: asyncio.Queue[Generation] = asyncio.Queue()

        @hookimpl
        def router_price(self, call: Call, usage: Usage) -> int:
            return usage.output * 1_000_000

        @hookimpl
        def router_attempted(self, call: Call, attempt: Attempt) -> None:
            self.attempts.append((attempt.candidate.provider.slug, attempt.error is None))

        @hookimpl
        async def router_settled(self, generation: Generation) -> None:
            self.settled.put_nowait(generation)

    plugin = Mine()
    answer = await (await begin(plugin)).post("/v1/chat/completions", ASK)
    generation = await asyncio.wait_for(plugin.settled.get(), 5)

    assert (await answer.json())["usage"]["cost"] == 0.000005
    assert generation.cost == 5_000_000
    assert generation.id == answer.headers["x-generation-id"]
    assert plugin.attempts == [("fake", True)]


async def test_providers_dialects_routes_and_lifespan_at_start(begin: Start) -> None:
    events: list[str] = []

    class Here(Provider):
        name = "here"
        needs_key = False

        def encode(self, request: ChatRequest) -> Any:
            raise AssertionError("never asked")

    class Teapot(Dialect):
        name = "tea.pot"
        prefixes = ("/tea",)
        paths = (Path("/pot"),)

        def peek(self, body: bytes, path: Any, operation: str) -> Any:
            raise Forbidden(f"no tea: {operation}")

        def error(self, error: Any, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
            return 418, error.message.encode()

    class Mine:
        @hookimpl
        def router_providers(self) -> list[type[Provider]]:
            return [Here]

        @hookimpl
        def router_dialects(self) -> list[Dialect]:
            return [Teapot()]

        @hookimpl
        def router_routes(self, app: Any) -> list[Route]:
            async def hello(request: Request) -> dict[str, str]:
                return {"hello": request.caller.name}

            return [Route(method="GET", path="/hello", handler=hello, scope="models:read")]

        @hookimpl
        def router_lifespan(self, app: Any) -> AbstractAsyncContextManager[None]:
            @asynccontextmanager
            async def open() -> AsyncIterator[None]:
                events.append("open")
                yield
                events.append("closed")

            return open()

    router = await begin(Mine(), providers={"mine": {"plugin": "here"}})

    assert "mine" in router.server.providers
    tea = await router.post("/tea/pot", {})
    assert (tea.status, await tea.text()) == (418, "no tea: chat")
    assert (await (await router.get("/api/v1/hello")).json())["hello"]
    assert (await router.get("/v1/hello", key="wrong")).status == 401
    assert events == ["open"]


async def test_migrations_make_tables_of_their_own(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_migrations(self) -> list[Migration]:
            return [Migration(owner="mine", number=1, apply=make_table)]

    router = await begin(Mine())
    names = await router.server.database.all(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'mine%'"
    )
    assert [row[0] for row in names] == ["mine_notes"]


async def make_table(connection: Any) -> None:
    await connection.execute_fetchall("CREATE TABLE mine_notes (text TEXT NOT NULL)")


class MySettings(Struct, kw_only=True, forbid_unknown_fields=True):
    colour: str = "green"


class WithSettings:
    """Settings and a command; the command line and the configuration have tests of their own for the rest."""

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        return {"mine": MySettings}

    @hookimpl
    def router_commands(self, subparsers: Any) -> None:
        subparsers.add_parser("paint").set_defaults(run=lambda args: 7)


def test_settings_of_a_plugin_are_checked_against_its_struct() -> None:
    from router.settings import PluginSettings, Settings, SettingsError

    plugins = Plugins()
    plugins.register(WithSettings(), "mine", state="loaded")
    settings = Settings(plugins=PluginSettings(tables={"mine": {"colour": "red"}}))
    assert plugins.settings_of(settings)["mine"] == MySettings(colour="red")

    wrong = Settings(plugins=PluginSettings(tables={"mine": {"color": "red"}}))
    with pytest.raises(SettingsError, match=r"plugins\.mine\.color"):
        plugins.settings_of(wrong)


def test_commands_of_a_plugin_are_parsed() -> None:
    import argparse

    plugins = Plugins()
    plugins.register(WithSettings(), "mine", state="loaded")
    parser = argparse.ArgumentParser()
    plugins.hook.router_commands(subparsers=parser.add_subparsers())
    assert parser.parse_args(["paint"]).run(None) == 7


async def test_rate_limit_is_printed_on_answers_that_are_no_calls(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_rate_limit(self, identity: Identity) -> tuple[int, int, int]:
            return (7, 3, 1_800_000_000)

    answer = await (await begin(Mine())).get("/v1/models")
    assert answer.headers["x-ratelimit-limit"] == "7"
    assert answer.headers["x-ratelimit-remaining"] == "3"


# --- what is refused, and what fails ---------------------------------------------------------------------------------


def test_a_wrong_plugin_is_refused_at_load() -> None:
    class Blocking:
        @hookimpl
        def router_admit(self, call: Call) -> None: ...

    class Misspelt:
        @hookimpl
        def router_admitt(self, call: Call) -> None: ...

    class Argument:
        @hookimpl
        def router_filter(self, request: Any) -> None: ...

    class Newer:
        ROUTER_API = 2

    plugins = Plugins()
    for plugin, reason in ((Blocking, "async def"), (Misspelt, "admitt"), (Argument, "request"), (Newer, "API 2")):
        with pytest.raises(PluginError, match=reason):
            plugins.register(plugin(), "wrong", state="loaded")
    plugins.register(object(), "right", state="loaded")


async def test_a_plugin_that_raises_is_named(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_filter(self, call: Call) -> None:
            raise KeyError("oops")

    answer = await (await begin(Mine())).post("/v1/chat/completions", ASK)
    message = (await answer.json())["error"]["message"]
    assert answer.status == 502
    assert "mine" in message
    assert "router_filter" in message
    assert "oops" not in message


async def test_an_observer_that_raises_changes_nothing(begin: Start) -> None:
    class Mine:
        @hookimpl
        def router_attempted(self, call: Call, attempt: Attempt) -> None:
            raise KeyError("oops")

        @hookimpl
        async def router_settled(self, generation: Generation) -> None:
            raise KeyError("oops")

    assert (await (await begin(Mine())).post("/v1/chat/completions", ASK)).status == 200


async def test_a_catalogue_that_cannot_be_read_costs_only_its_models(begin: Start) -> None:
    class Broken(Provider):
        name = "broken"

        def catalogue(self) -> list[Any]:
            raise KeyError("oops")

    class Mine:
        @hookimpl
        def router_providers(self) -> list[type[Provider]]:
            return [Broken]

    router = await begin(Mine(), providers={"broken": {"plugin": "broken", "api_key": "k"}})
    assert (await router.post("/v1/chat/completions", ASK)).status == 200


class Broken(Sink):
    """Fails at every end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.write = sink.write  # type: ignore[method-assign]

    @property
    def started(self) -> bool:  # type: ignore[override]
        return self._sink.started

    async def finish(self, data: bytes) -> None:
        raise KeyError("finish")

    async def error(self, error: RouterError) -> None:
        raise KeyError("error")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_sink_that_fails_at_everything_leaves_nobody_waiting(
    begin: Callable[..., Awaitable[Running]], stream: bool
) -> None:
    class Wraps:
        @hookimpl
        def router_sink(self, call: Call) -> Callable[[Sink], Sink] | None:
            return Broken

    router = await begin(Wraps(), providers={"echo": {"plugin": "echo"}})

    async with asyncio.timeout(20):
        answer = await router.post("/v1/chat/completions", {**ASK, "model": "echo/echo", "stream": stream})

    assert answer.status == (200 if stream else 500)
    assert "internal_error" in await answer.text()
    assert router.server.lifecycle.running == 0


async def test_what_a_plugin_fails_to_give_back_costs_nobody_else_his_place(
    begin: Callable[..., Awaitable[Running]],
) -> None:
    class Takes:
        @hookimpl
        async def router_admit(self, call: Call) -> None:
            call.releases.append(self.fail)

        def fail(self, call: Call) -> None:
            raise KeyError("release")

    router = await begin(Takes(), limits=LimitSettings(max_parallel=1))

    answers = [await router.post("/v1/chat/completions", ASK) for _ in range(3)]

    assert [each.status for each in answers] == [200, 200, 200]
