"""The response cache: exact, for its own key, within bounds, and only for who asks for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from router.builtin import DEFAULT_PLUGINS, cache
from router.builtin.cache import OVERHEAD_BYTES, Cache, Kept, Shelf
from router.settings import EndpointSettings, LimitSettings, ModelSettings, PluginSettings, PriceSettings, Settings
from router.tables import SettingsError
from router.testing import FakeUpstream, Running, StillClock, json_answer, running, sse_answer, until

from .test_compat import ANSWER

Begin = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ON = {"X-OpenRouter-Cache": "true"}
ASK: dict[str, Any] = {"model": "test/m", "messages": [{"role": "user", "content": "hello"}]}
PRICE = PriceSettings(prompt="0.000001", completion="0.000002", request="0.01")
STATUS, AGE, TTL, SOURCE = (f"X-OpenRouter-Cache-{name}" for name in ("Status", "Age", "TTL", "Source-Id"))


@pytest.fixture
async def begin(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Begin]:
    """Starts a router with the model `test/m` at two providers, which are the same upstream; `cache` is `[plugins.cache]`."""
    upstream.will(json_answer(ANSWER))
    async with AsyncExitStack() as stack:

        async def beginner(cache: dict[str, Any] | None = None, **tables: Any) -> Running:
            provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
            endpoints = [EndpointSettings(provider=name, model="m", pricing=PRICE) for name in ("one", "two")]
            settings = Settings(
                providers={"one": provider, "two": {**provider, "api_keys": ["k2"]}},
                models={name: ModelSettings(endpoints=endpoints) for name in ("test/m", "test/other")},
                plugins=PluginSettings(tables={} if cache is None else {"cache": cache}),
                **tables,
            )
            return await stack.enter_async_context(running(settings, tmp_path))

        yield beginner


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Cache]:
    """The plugin of each router that is started behind this."""
    made: list[Cache] = []

    def make(server: Any) -> Cache:
        made.append(Cache(server))
        return made[-1]

    monkeypatch.setitem(DEFAULT_PLUGINS, "cache", make)
    return made


async def statuses(router: Running, *bodies: Any, headers: dict[str, str] = ON, path: str = CHAT) -> list[str | None]:
    """What the cache says of each of these requests."""
    return [status_of(await router.post(path, body, headers=headers)) for body in bodies]


def status_of(answer: ClientResponse) -> str | None:
    assert answer.status == 200
    return answer.headers.get(STATUS)


def asking(text: str, **members: Any) -> dict[str, Any]:
    return {**ASK, "messages": [{"role": "user", "content": text}], **members}


async def row(router: Running, answer: ClientResponse) -> dict[str, Any]:
    found = await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")
    data: dict[str, Any] = (await found.json())["data"]
    return data


# --- a hit -----------------------------------------------------------------------------------------------------------


async def test_a_hit_is_booked_for_nothing_and_names_its_source(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    first, second = [await router.post(CHAT, ASK, headers=ON) for _ in range(2)]

    one, two = await row(router, first), await row(router, second)

    assert len(upstream.asked) == 1
    assert one["total_cost"] > 0.01
    assert (two["total_cost"], two["tokens_prompt"], two["tokens_completion"], two["priced"]) == (0, 0, 0, True)
    assert two["response_cache_source_id"] == one["id"] == second.headers[SOURCE]
    assert one["response_cache_source_id"] is None
    assert (two["finish_reason"], two["provider_name"], two["model"]) == ("stop", one["provider_name"], "test/m")
    assert two["provider_responses"] == []
    assert (second.headers["X-Router-Cost"], second.headers["X-Router-Attempts"]) == ("0", "0")
    assert second.headers["X-Router-Provider"] == first.headers["X-Router-Provider"]


async def test_a_hit_asks_nobody_and_says_nothing_about_anybody(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    await router.post(CHAT, ASK, headers=ON)
    health, metrics = router.server.health, await (await router.get("/metrics")).text()
    tag = "one" if health.provider("one") else "two"
    before = len(health.provider(tag)[0].outcomes)

    assert await statuses(router, ASK, ASK, ASK) == ["HIT"] * 3

    assert len(upstream.asked) == 1
    assert len(health.provider(tag)[0].outcomes) == before
    assert await (await router.get("/metrics")).text() == metrics


async def test_a_sick_upstream_is_not_missed(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    await router.post(CHAT, ASK, headers=ON)
    upstream.will(json_answer({"error": {"message": "no"}}, status=500))

    assert (await router.post(CHAT, asking("other"))).status >= 500
    assert await statuses(router, ASK) == ["HIT"]


async def test_hits_count_for_the_limits(begin: Begin) -> None:
    router = await begin(limits=LimitSettings(rpm=3))
    assert await statuses(router, ASK, ASK, ASK) == ["MISS", "HIT", "HIT"]

    refused = await router.post(CHAT, ASK, headers=ON)

    assert refused.status == 429
    assert STATUS not in refused.headers


async def test_a_stream_comes_frame_by_frame_as_it_came(begin: Begin, upstream: FakeUpstream) -> None:
    frames = [
        *(chunk({"content": word, "odd": {"usage": 1}}) for word in ("Hei", ", du")),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    ]
    upstream.will(sse_answer(frames), json_answer(ANSWER))
    router = await begin()
    body = {**ASK, "stream": True}

    first, second = [await router.post(CHAT, body, headers=ON) for _ in range(2)]

    one, two = chunks(await first.text()), chunks(await second.text())
    assert second.headers[STATUS] == "HIT"
    assert second.content_type == "text/event-stream"
    assert [each["choices"] for each in two] == [each["choices"] for each in one]
    assert {each["id"] for each in two} == {second.headers["X-Generation-Id"]}
    assert two[-1]["usage"]["total_tokens"] == two[-1]["usage"]["cost"] == 0
    assert (await row(router, second))["streamed"] is True


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5} if reason else None
    told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": [choice], "usage": usage}
    return b"data: %b\n\n" % json.dumps(told).encode()


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    assert text.endswith("data: [DONE]\n\n")
    return [json.loads(line) for line in lines]


async def test_streams_of_gemini_that_are_arrays(begin: Begin) -> None:
    router = await begin()
    body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    path = "/v1beta/models/test/m:streamGenerateContent"

    first, second = [await router.post(path, body, headers=ON) for _ in range(2)]
    events = await router.post(f"{path}?alt=sse", body, headers=ON)

    one, two = json.loads(await first.text()), json.loads(await second.text())
    assert [status_of(each) for each in (first, second, events)] == ["MISS", "HIT", "MISS"]
    assert [each["candidates"] for each in two] == [each["candidates"] for each in one]
    assert {each["responseId"] for each in two} == {second.headers["X-Generation-Id"]}
    assert two[-1]["usageMetadata"]["totalTokenCount"] == 0


async def test_text_completions(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    told = {"id": "c", "object": "text_completion", "created": 1, "choices": [{"text": "x", "finish_reason": "stop"}]}
    upstream.will(json_answer(told))

    assert await statuses(router, *[{"model": "test/m", "prompt": "a"}] * 2, path="/v1/completions") == ["MISS", "HIT"]


# --- what is the same ------------------------------------------------------------------------------------------------


async def test_who_asks_for_what_does_not_matter(begin: Begin) -> None:
    router = await begin()
    same = [
        ASK,
        dict(reversed(ASK.items())),
        json.dumps(ASK, indent=2).encode(),
        {**ASK, "user": "u", "session_id": "s", "trace": {"trace_id": "t"}, "metadata": {"a": "b"}},
    ]

    assert await statuses(router, *same) == ["MISS", "HIT", "HIT", "HIT"]


async def test_everything_else_does(begin: Begin) -> None:
    router = await begin()
    other = [
        ASK,
        asking("hello "),
        {**ASK, "temperature": 0},
        {**ASK, "model": "test/other"},
        {**ASK, "odd_member": 1},
        {**ASK, "provider": {"order": ["one"]}},
    ]

    assert await statuses(router, *other) == ["MISS"] * len(other)
    assert await statuses(
        router, {"model": "test/m", "messages": ASK["messages"], "max_tokens": 9}, path="/v1/messages"
    ) == ["MISS"]


async def test_keys_do_not_see_each_others_answers(begin: Begin) -> None:
    router = await begin()
    key, _ = await router.server.keys.create("another")
    assert await statuses(router, ASK) == ["MISS"]

    answer = await router.post(CHAT, ASK, key=key, headers=ON)

    assert status_of(answer) == "MISS"


async def test_an_answer_of_who_may_no_longer_be_asked_is_none(begin: Begin) -> None:
    router = await begin()
    first = await router.post(CHAT, ASK, headers=ON)
    other = {"one": "two", "two": "one"}[first.headers["X-Router-Provider"]]
    identity = router.server.keys.find(router.key)
    assert identity is not None

    await router.server.keys.update(identity.hash, allowed_providers=[other])

    assert await statuses(router, ASK, ASK) == ["MISS", "HIT"]


# --- who asks for it -------------------------------------------------------------------------------------------------


async def test_without_asking_nothing_is_kept(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()

    assert await statuses(router, ASK, ASK, headers={}) == [None, None]
    assert await statuses(router, ASK, headers={"X-OpenRouter-Cache": "false"}) == [None]
    assert await statuses(router, ASK) == ["MISS"]
    assert len(upstream.asked) == 4


async def test_the_configuration_may_ask_for_all(begin: Begin) -> None:
    router = await begin({"always": True, "default_ttl_seconds": 7})

    first, second = [await router.post(CHAT, ASK) for _ in range(2)]

    assert [status_of(first), status_of(second), second.headers[TTL]] == ["MISS", "HIT", "7"]
    assert await statuses(router, ASK, headers={"X-Router-Cache": "false"}) == [None]


async def test_an_answer_lives_as_long_as_it_was_asked_to(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    short = {"X-Router-Cache": "true", "X-Router-Cache-TTL": "1"}
    first = await router.post(CHAT, ASK, headers=short)
    assert first.headers[TTL] == "1"

    await asyncio.sleep(1.1)

    assert await statuses(router, ASK) == ["MISS"]


async def test_clear_asks_anew(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    clear = {**ON, "X-OpenRouter-Cache-Clear": "true"}
    assert await statuses(router, ASK, ASK) == ["MISS", "HIT"]

    assert await statuses(router, ASK, headers=clear) == ["MISS"]
    assert await statuses(router, ASK) == ["HIT"]
    assert await statuses(router, ASK, headers={"X-Router-Cache-Clear": "true"}) == [None]
    assert await statuses(router, ASK) == ["MISS"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "yes"), ("-TTL", "0"), ("-TTL", "86401"), ("-TTL", "1.5"), ("-TTL", "²"), ("-Clear", "1")],
)
async def test_headers_that_make_no_sense_are_refused(begin: Begin, name: str, value: str) -> None:
    router = await begin()

    answer = await router.post(CHAT, ASK, headers={**ON, f"X-OpenRouter-Cache{name}": value})

    assert answer.status == 400
    assert f"X-OpenRouter-Cache{name} must be" in (await answer.json())["error"]["message"]


async def test_settings_that_make_no_sense_are_refused(begin: Begin) -> None:
    with pytest.raises(SettingsError, match=r"plugins\.cache\.default_ttl_seconds"):
        await begin({"default_ttl_seconds": 0})


async def test_what_cannot_be_told_again_passes_by(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    upstream.will(json_answer({"id": "m", "model": "m", "results": [{"flagged": False}]}))

    answers = await statuses(router, *[{"model": "one/m", "input": "x"}] * 2, path="/v1/moderations")

    assert answers == ["BYPASS", "BYPASS"]
    assert len(upstream.asked) == 2


# --- what is kept ----------------------------------------------------------------------------------------------------


async def test_errors_are_not_kept(begin: Begin, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "no"}}, status=400), json_answer(ANSWER))
    router = await begin()

    refused = await router.post(CHAT, ASK, headers=ON)

    assert (refused.status, refused.headers[STATUS]) == (400, "MISS")
    assert await statuses(router, ASK, ASK) == ["MISS", "HIT"]


async def test_streams_that_were_cut_are_not_kept(begin: Begin, upstream: FakeUpstream) -> None:
    upstream.will(sse_answer([chunk({"content": "Hei"})], cut=True))
    router = await begin()
    body = {**ASK, "stream": True}

    assert await statuses(router, body, body) == ["MISS", "MISS"]


async def test_a_key_takes_its_answers_along(begin: Begin, made: list[Cache]) -> None:
    router = await begin()
    key, identity = await router.server.keys.create("another")
    await router.post(CHAT, ASK, key=key, headers=ON)
    await router.post(CHAT, ASK, headers=ON)
    assert len(made[0].shelf) == 2

    await router.server.keys.delete(identity.hash)

    assert len(made[0].shelf) == 1
    assert await statuses(router, ASK) == ["HIT"]


async def test_sweeping_goes_on_while_the_server_runs(
    begin: Begin, made: list[Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SWEEP_S", 0.02)
    router = await begin()
    await router.post(CHAT, ASK, headers={**ON, "X-OpenRouter-Cache-TTL": "1"})

    await until(lambda: not len(made[0].shelf))


async def test_a_cache_without_room_keeps_nothing(begin: Begin) -> None:
    router = await begin({"max_mb": 0})

    assert await statuses(router, ASK, ASK) == ["MISS", "MISS"]
    assert await statuses(router, *[{**ASK, "stream": True}] * 2) == ["MISS", "MISS"]


def kept(clock: StillClock, size: int = 0, *, ttl: int = 300, owner: str = "a", owned: bool = True) -> Kept:
    return Kept(
        owner=owner,
        owned=owned,
        since=clock.monotonic(),
        ttl=ttl,
        provider="p",
        model_id="m",
        source_id="g",
        head=b"",
        tail=b"x" * size,
        finish_reason="stop",
        native_finish_reason="stop",
    )


def test_the_shelf_gives_up_what_nobody_asks_for() -> None:
    clock = StillClock()
    shelf = Shelf(clock.monotonic, most_entries=2)
    for key in (b"1", b"2"):
        shelf.put(key, kept(clock))
    assert shelf.get(b"1") is not None

    shelf.put(b"3", kept(clock))

    assert [shelf.get(key) is not None for key in (b"1", b"2", b"3")] == [True, False, True]
    assert shelf.bytes == 2 * OVERHEAD_BYTES


def test_the_shelf_bears_no_more_than_its_bytes() -> None:
    clock = StillClock()
    shelf = Shelf(clock.monotonic, most_bytes=100_000)
    for number in range(100):
        shelf.put(b"%d" % number, kept(clock, 9000))
        assert shelf.bytes <= 100_000
    assert len(shelf) == 100_000 // (9000 + OVERHEAD_BYTES)

    shelf.put(b"99", kept(clock, 100_000))

    assert shelf.get(b"99") is None
    for number in range(100):
        shelf.drop(b"%d" % number)
    assert (len(shelf), shelf.bytes) == (0, 0)


def test_the_shelf_forgets_what_is_too_old() -> None:
    clock = StillClock()
    shelf = Shelf(clock.monotonic)
    shelf.put(b"short", kept(clock, ttl=10))
    shelf.put(b"long", kept(clock, ttl=11))
    shelf.put(b"stranger", kept(clock, owned=False))
    shelf.put(b"orphan", kept(clock, owner="gone"))

    clock.move(10)

    assert shelf.get(b"short") is None
    assert shelf.get(b"long") is not None
    shelf.sweep(lambda owner: owner != "gone")
    assert [shelf.get(key) is not None for key in (b"long", b"stranger", b"orphan")] == [True, True, False]
