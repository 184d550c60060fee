"""`POST /explain` and `X-Router-Dry-Run`: what would happen to a call, on every surface, and nothing happens."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.prices import PICODOLLARS
from router.settings import (
    EndpointSettings,
    LimitSettings,
    ModelSettings,
    PluginSettings,
    PriceSettings,
    RoutingSettings,
    Settings,
)
from router.testing import FakeUpstream, Running, completion, json_answer, running

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
KEY = "upstream-key-of-nobody"
DRY = {"X-Router-Dry-Run": "1"}
ASK: dict[str, Any] = {"model": "acme/chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
CLAUDE = {"model": "claude/claude-sonnet-4-5", "messages": ASK["messages"], "max_tokens": 100}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


def priced(provider: str, usd: str, **facts: Any) -> EndpointSettings:
    return EndpointSettings(provider=provider, model="m", pricing=PriceSettings(prompt=usd, completion=usd), **facts)


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    """An upstream that breaks every test in which it is asked."""
    upstream.will(json_answer({}, status=418))
    table = {"base_url": upstream.url + "/v1", "api_key": KEY}
    return await start(
        providers={
            **{slug: {"plugin": "openai-compatible", **table} for slug in ("one", "two", "three")},
            "claude": {"plugin": "anthropic", **table},
            "gemini": {"plugin": "gemini", **table},
            "openai": {"plugin": "openai", **table},
        },
        models={
            "acme/chat": ModelSettings(
                endpoints=[priced("two", "0.000002"), priced("one", "0.000001"), priced("three", "0.000003", zdr=True)]
            )
        },
        aliases={"fast": ["acme/chat"]},
        routing=RoutingSettings(deterministic=True),
        limits=LimitSettings(rpm=50),
    )


async def explained(router: Running, path: str, body: Any, **headers: str) -> dict[str, Any]:
    answer = await router.post(path, body, headers=headers)
    assert answer.status == 200, await answer.text()
    told: dict[str, Any] = await answer.json()
    return told


async def test_a_dry_run_lists_the_candidates_in_their_order(router: Running, upstream: FakeUpstream) -> None:
    told = await explained(router, CHAT, ASK, **DRY)

    assert [each["provider"] for each in told["candidates"]] == ["one", "two", "three"]
    assert [each["verdict"] for each in told["candidates"]] == ["first", "fallback", "fallback"]
    assert told["strategy"] == "deterministic"
    first = told["candidates"][0]
    assert first["scores"]["price"] == 1.0
    assert first["scores"]["circuit"] == "closed"
    assert first["lane"] == "raw"
    assert first["estimate"]["usd"] == pytest.approx((first["estimate"]["prompt_tokens"] + 100) * 1e-6)
    assert not upstream.asked


async def test_the_body_of_the_first_candidate_is_the_one_it_would_get(router: Running, upstream: FakeUpstream) -> None:
    told = await explained(router, CHAT, ASK, **DRY)
    await router.post(CHAT, ASK)

    shown, sent = told["candidates"][0]["upstream"], upstream.asked[0]
    assert "/v1" + shown["path"] == sent.path
    assert shown["body"] == sent.body
    assert all("upstream" not in each for each in told["candidates"][1:])


async def test_all_bodies_on_demand(router: Running) -> None:
    told = await explained(router, CHAT + "?bodies=all", ASK | {"models": ["claude/claude-sonnet-4-5"]}, **DRY)

    assert [each["upstream"]["path"] for each in told["candidates"]] == ["/chat/completions"] * 3 + ["/v1/messages"]
    claude = told["candidates"][3]
    assert claude["lane"] == "hub"
    assert claude["upstream"]["body"]["model"] == "claude-sonnet-4-5"


async def test_what_is_excluded_or_moved_is_told_with_the_reason(router: Running) -> None:
    told = await explained(router, CHAT, ASK | {"provider": {"ignore": ["one"], "zdr": True}}, **DRY)

    assert [each["provider"] for each in told["candidates"]] == ["three"]
    assert told["filtered"] == [
        {"endpoint": "two: acme/chat", "reason": "data_policy:zdr"},
        {"endpoint": "one: acme/chat", "reason": "allowed_providers: provider.ignore"},
    ]


async def test_the_steps_say_what_a_name_stands_for(router: Running) -> None:
    told = await explained(router, CHAT, ASK | {"model": "fast"}, **DRY)

    resolved = next(each for each in told["policy"] if each["step"] == "resolve")
    assert resolved["data"] == {"name": "fast", "how": "alias", "models": ["acme/chat"]}
    assert [each["step"] for each in told["policy"]] == ["admit", "resolve", "order"]


async def test_shares_follow_the_prices(router: Running) -> None:
    router.server.settings.routing.deterministic = False

    told = await explained(router, CHAT, ASK, **DRY)

    shares = {each["provider"]: round(each["scores"]["expected_share"], 3) for each in told["candidates"]}
    assert told["strategy"] == "balanced"
    assert shares == {"one": 0.735, "two": 0.184, "three": 0.082}


SURFACES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "chat": (CHAT, ASK, "/chat/completions", "raw"),
    "chat, streamed": (CHAT, ASK | {"stream": True}, "/chat/completions", "raw"),
    "messages": ("/v1/messages", CLAUDE, "/v1/messages", "raw"),
    "messages, translated": ("/v1/messages", CLAUDE | {"model": "acme/chat"}, "/chat/completions", "hub"),
    "responses": ("/v1/responses", {"model": "acme/chat", "input": "hello"}, "/chat/completions", "hub"),
    "completions": ("/v1/completions", {"model": "acme/chat", "prompt": "hello"}, "/completions", "raw"),
    "embeddings": ("/v1/embeddings", {"model": "openai/text-embedding-3-small", "input": "a"}, "/embeddings", "raw"),
    "gemini": (
        "/v1beta/models/gemini/gemini-2.5-flash:streamGenerateContent",
        CONTENTS,
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        "raw",
    ),
    "gemini, translated": ("/v1beta/models/acme/chat:generateContent", CONTENTS, "/chat/completions", "hub"),
}


@pytest.mark.parametrize(("path", "body", "sent_to", "lane"), SURFACES.values(), ids=SURFACES)
async def test_every_surface_explains(
    router: Running, upstream: FakeUpstream, path: str, body: dict[str, Any], sent_to: str, lane: str
) -> None:
    """The header where the call would go, and the body with `endpoint` at /explain, come to the same."""
    here = await explained(router, path, body, **DRY)
    there = await explained(router, "/api/v1/explain", body | {"endpoint": path})

    first = here["candidates"][0]
    assert (first["upstream"]["path"], first["lane"]) == (sent_to, lane)
    assert first["upstream"]["body"]
    assert there["candidates"] == here["candidates"]
    assert not upstream.asked


@pytest.mark.parametrize("endpoint", [None, "chat/completions", "/chat/completions", "/api/v1/chat/completions/"])
async def test_the_endpoint_may_be_written_in_many_ways(router: Running, endpoint: str | None) -> None:
    body = ASK if endpoint is None else ASK | {"endpoint": endpoint}

    told = await explained(router, "/v1/explain", body)

    assert told["endpoint"] == CHAT


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (5, "must be a string"),
        ("nowhere", "nothing is asked at"),
        ("/v1/messages/count_tokens", "nothing is asked at"),
        ("/v1/audio/transcriptions", "X-Router-Dry-Run"),
    ],
)
async def test_what_is_no_endpoint_is_refused(router: Running, endpoint: Any, words: str) -> None:
    answer = await router.post("/v1/explain", ASK | {"endpoint": endpoint})

    error = (await answer.json())["error"]
    assert (answer.status, error["param"]) == (400, "endpoint")
    assert words in error["message"]


async def test_nothing_is_booked_but_limits_count(router: Running) -> None:
    first = await router.post(CHAT, ASK, headers=DRY)
    second = await router.post("/v1/explain", ASK)

    left = [int(each.headers["X-RateLimit-Remaining"]) for each in (first, second)]
    assert left == [49, 48]
    assert await router.server.database.one("SELECT COUNT(*) FROM generation") == (0,)
    assert "X-Router-Provider" not in first.headers


async def test_a_refusal_is_the_surfaces_own_with_what_is_known(router: Running) -> None:
    nobody = {"provider": {"only": ["nobody"]}}
    for path, body in ((CHAT, ASK), ("/v1/messages", CLAUDE)):
        answer = await router.post(path, body | nobody, headers=DRY)

        told = await answer.json()
        assert answer.status == 404
        assert told["error"]["availability"]["excluded_by"] == ["allowed_providers"]
        filtered = told["openrouter_metadata"]["explanation"]["filtered"]
        assert {each["reason"] for each in filtered} == {"allowed_providers: provider.only"}
        assert ("type" in told) is (path != CHAT)


async def test_what_the_key_cannot_pay_is_refused(router: Running) -> None:
    key, _ = await router.server.keys.create("poor", limit=PICODOLLARS // 100_000)
    router.server.settings.limits.strict = True

    answer = await router.post(CHAT, ASK, key=key, headers=DRY)

    assert answer.status == 402
    told = await answer.json()
    assert len(told["openrouter_metadata"]["explanation"]["candidates"]) == 3


@pytest.mark.parametrize("path", [CHAT, "/v1/explain"])
async def test_who_may_not_ask_gets_no_explanation(router: Running, path: str) -> None:
    assert (await router.post(path, ASK, key=router.management, headers=DRY)).status == 403
    assert (await router.post(path, ASK, key="sk-of-nobody", headers=DRY)).status == 401


async def test_long_data_and_credentials_are_left_out(router: Running) -> None:
    image = "data:image/png;base64," + "A" * 5000
    parts = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": f"my key is {KEY}"}]

    told = await explained(router, CHAT, ASK | {"messages": [{"role": "user", "content": parts}]}, **DRY)

    text = json.dumps(told)
    assert "A" * 1000 not in text
    assert KEY not in text


async def test_an_open_circuit_shows(router: Running) -> None:
    await router.post(CHAT, ASK | {"provider": {"only": ["one"]}})
    candidate = router.server.table.entries["acme/chat"].endpoints[1]
    circuit = router.server.health.circuits(candidate, candidate.provider.credentials)[0]
    circuit.open_until = router.server.clock.monotonic() + 60
    router.server.health._uneasy[("one", "m", "1")] = 0

    told = await explained(router, CHAT, ASK, **DRY)

    assert [each["provider"] for each in told["candidates"]] == ["two", "three"]
    assert told["filtered"] == [{"endpoint": "one: acme/chat", "reason": "health: its circuit is open"}]


@pytest.mark.parametrize("header", ["X-Router-Dry-Run", "X-Router-Explain"])
async def test_a_name_that_fits_several_models_is_explained_too(
    start: Start, upstream: FakeUpstream, header: str
) -> None:
    upstream.will(json_answer(completion()))
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": KEY}
    router = await start(
        providers={"one": table, "two": table},
        models={f"{slug}s/m": ModelSettings(endpoints=[priced(slug, "0.000001")]) for slug in ("one", "two")},
    )
    ask = {**ASK, "model": "m"}

    refused = await router.post(CHAT, ask, headers={header: "1"})
    served = await router.post(CHAT, ask, headers={header: "1", "X-Router-Provider": "one"})

    assert (refused.status, served.status) == (400, 200)
    assert refused.headers["X-Request-Id"] == (await refused.json())["request_id"]
    assert "fits several models" in await served.text()


async def test_a_short_key_of_a_provider_does_no_harm(start: Start, upstream: FakeUpstream) -> None:
    router = await start(
        providers={"short": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "1"}}
    )

    told = await explained(router, CHAT, {**ASK, "model": "short/m", "temperature": 1}, **DRY)

    assert told["candidates"][0]["upstream"]["body"]["temperature"] == 1


@pytest.mark.parametrize(("path", "headers"), [("/v1/explain", {}), (CHAT, DRY)])
async def test_without_the_plugin_a_dry_run_is_refused_and_nothing_is_asked(
    tmp_path: Path, upstream: FakeUpstream, path: str, headers: dict[str, str]
) -> None:
    settings = Settings(
        providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": KEY}},
        plugins=PluginSettings(disabled=["explain"]),
    )
    async with running(settings, tmp_path) as router:
        answer = await router.post(path, {**ASK, "model": "fake/m"}, headers=headers)

    assert (answer.status, "explain" in await answer.text()) == (501, True)
    assert upstream.asked == []
