"""GET /key and /generation, and the headers and errors of limits, over sockets."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import aiosqlite
import pytest

from router.settings import EndpointSettings, LimitSettings, ModelSettings, PriceSettings
from router.store import generations
from router.store.entries import Booking
from router.tasks import spawn
from router.testing import FakeUpstream, Running, completion, json_answer, sse_answer, until

Start = Callable[..., Awaitable[Running]]
ASK: dict[str, Any] = {"model": "acme/m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
#: what it costs: 60 uncached and 40 cached tokens of prompt, 50 of completion
COST = 0.0001645
SDK = {"User-Agent": "speakeasy-sdk/python 1.3.84 openrouter"}

#: members that a strict client of the OpenRouter API insists on
KEY_MEMBERS = """
    allowed_data_regions budgets byok_usage byok_usage_daily byok_usage_monthly byok_usage_weekly creator_user_id
    effective_budget free_model_daily_requests include_byok_in_limit is_free_tier is_management_key is_provisioning_key
    label limit limit_remaining limit_reset organization_id rate_limit usage usage_daily usage_monthly usage_weekly
    workspace_id
"""
GENERATION_MEMBERS = """
    api_type app_id cache_discount cancelled created_at data_region external_user finish_reason generation_time
    http_referer id is_byok latency model moderation_latency native_finish_reason native_tokens_cached
    native_tokens_completion native_tokens_completion_images native_tokens_prompt native_tokens_reasoning num_fetches
    num_input_audio_prompt num_media_completion num_media_prompt num_search_results origin preset_id provider_name
    provider_responses router service_tier streamed tokens_completion tokens_prompt total_cost upstream_id
    upstream_inference_cost usage user_agent web_search_engine workspace_id
"""
NEVER_NULL = {"created_at", "data_region", "id", "is_byok", "model", "origin", "total_cost", "usage"}


@pytest.fixture
def begin(start: Start, upstream: FakeUpstream) -> Start:
    """Starts a router with one model that has a price, served by the fake upstream."""
    upstream.will(json_answer(completion() | {"usage": USAGE}))
    pricing = PriceSettings(prompt="0.000001", completion="0.000002", input_cache_read="0.0000001125")
    endpoint = EndpointSettings(provider="fake", model="m", pricing=pricing)

    async def beginner(**tables: Any) -> Running:
        providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}
        return await start(providers=providers, models={"acme/m": ModelSettings(endpoints=[endpoint])}, **tables)

    return beginner


async def asked(router: Running, **options: Any) -> str:
    """Make one call; its generation's id."""
    answer = await router.post("/v1/chat/completions", ASK | options.pop("body", {}), **options)
    assert answer.status == 200, await answer.text()
    return answer.headers["X-Generation-Id"]


async def test_a_call_reads_nothing_from_the_database(begin: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    router = await begin(limits=LimitSettings(enforce_balance=True))
    server = router.server
    await server.entries.book(Booking(type="credit", amount=10**13, counter_account="grants"))
    await server.ledger.balance.reload()
    key, _ = await server.keys.create("limited", limit=10**12, limit_reset="monthly", rpd=100, tags=["red"])
    asked_of_it: list[str] = []
    reading = server.database.all

    async def counted(query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        asked_of_it.append(query)
        return await reading(query, parameters)

    monkeypatch.setattr(server.database, "all", counted)
    for number in range(3):
        headers = {"X-Title": "An app", "Idempotency-Key": f"turn {number}", "X-Session-Id": "s"}
        await asked(router, key=key, headers=headers, body={"user": f"u{number}"})

    assert asked_of_it == []
    assert len(await reading("SELECT id FROM generation")) == 3


# --- /generation -----------------------------------------------------------------------------------------------------


async def test_a_generation_is_there_when_the_answer_has_ended_in_both_layouts(begin: Start) -> None:
    router = await begin()
    headers = {"X-Title": "An app", "HTTP-Referer": "https://example.org", "X-Router-Tags": "a,b"}
    id = await asked(router, headers=headers)

    answer = await router.get(f"/api/v1/generation?id={id}")
    same = await router.get(f"/v1/generation/{id}")
    body = await answer.json()

    assert body == await same.json()
    assert body["id"] == body["data"]["id"] == id
    assert body["usage"]["prompt_tokens"] == 100
    assert body["usage"]["cost"] == pytest.approx(COST)
    assert body["usage"]["cost_details"]["upstream_inference_cost"] == pytest.approx(COST)
    assert (body["model"], body["provider"]) == ("acme/m", "fake")
    data = body["data"]
    assert not set(GENERATION_MEMBERS.split()) - data.keys()
    assert not [name for name in NEVER_NULL if data[name] is None]
    assert data["usage"] == data["usage_tokens"] == {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    assert data["total_cost"] == pytest.approx(COST)
    assert data["cache_discount"] == pytest.approx(40 * 0.0000008875)
    assert (data["native_tokens_cached"], data["native_tokens_reasoning"]) == (40, 7)
    assert (data["finish_reason"], data["upstream_id"], data["streamed"]) == ("stop", "chatcmpl-1", False)
    assert (data["app_title"], data["http_referer"], data["tags"]) == ("An app", "https://example.org", ["a", "b"])
    assert data["provider_responses"][0]["status"] == 200
    assert abs(datetime.fromisoformat(data["created_at"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("query", "headers"), [("?usage=number", {}), ("", SDK), ("", {"X-Router-Error-Code": "number"})]
)
async def test_usage_is_the_cost_for_clients_that_want_a_number(
    begin: Start, query: str, headers: dict[str, str]
) -> None:
    router = await begin()
    id = await asked(router)
    body = await (await router.get(f"/api/v1/generation/{id}{query}", headers=headers)).json()
    assert body["data"]["usage"] == body["data"]["total_cost"] == pytest.approx(COST)


async def test_a_generation_is_found_by_the_upstreams_id(begin: Start) -> None:
    router = await begin()
    id = await asked(router)
    assert (await (await router.get("/api/v1/generation?id=chatcmpl-1")).json())["id"] == id


async def test_a_generation_belongs_to_its_key(begin: Start) -> None:
    router = await begin()
    id = await asked(router)
    other, _ = await router.server.keys.create("other")

    stranger = await router.get(f"/api/v1/generation?id={id}", key=other)
    manager = await router.get(f"/api/v1/generation?id={id}", key=router.management)
    nobody = await router.get(f"/api/v1/generation?id={id}", key="wrong")

    assert (stranger.status, manager.status, nobody.status) == (404, 200, 401)
    assert (await stranger.json())["error"]["code"] == "not_found"


async def test_a_generation_without_id_is_a_bad_request(begin: Start) -> None:
    router = await begin()
    answer = await router.get("/api/v1/generation")
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == "id"


async def test_a_streamed_call_is_recorded_too(begin: Start, upstream: FakeUpstream) -> None:
    router = await begin()
    upstream.will(
        sse_answer(
            [
                b'data: {"id":"chatcmpl-2","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
                b'data: {"id":"chatcmpl-2","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
                b'data: {"id":"chatcmpl-2","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n',
                b"data: [DONE]\n\n",
            ]
        )
    )
    id = await asked(router, body={"stream": True})
    data = (await (await router.get(f"/api/v1/generation/{id}")).json())["data"]
    assert (data["streamed"], data["tokens_prompt"], data["tokens_completion"]) == (True, 10, 5)
    assert data["total_cost"] == pytest.approx(0.00002)


async def test_a_failed_call_is_recorded_and_free(begin: Start, upstream: FakeUpstream) -> None:
    router = await begin()
    upstream.will(json_answer({"error": {"message": "no such thing"}}, status=404))
    for _ in range(10):  # an error does not wait for its record, but who asks for it does
        answer = await router.post("/v1/chat/completions", ASK)
        assert answer.status >= 400

        data = (await (await router.get(f"/api/v1/generation/{answer.headers['X-Generation-Id']}")).json())["data"]
        assert (data["status"], data["total_cost"], data["http_status"]) == ("error", 0, answer.status)


async def test_who_asks_for_a_record_does_not_wait_for_a_disk_that_is_in_trouble(
    begin: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SETTLING_S", 0.05)
    router = await begin()
    async with aiosqlite.connect(router.server.database.path, isolation_level=None) as other:
        await other.execute("BEGIN IMMEDIATE")
        late = spawn("late", asked(router))
        await until(lambda: len(router.server.generations._settlements))  # type: ignore[attr-defined]
        answer = await router.get("/api/v1/generation?id=gen-nobody")
        await other.execute("COMMIT")

    assert answer.status == 404
    await late


# --- /key ------------------------------------------------------------------------------------------------------------


async def test_a_key_sees_what_it_has_used(begin: Start) -> None:
    router = await begin()
    plain, identity = await router.server.keys.create("mine", limit=10**12, limit_reset="weekly", rpm=50, tpm=1000)
    await asked(router, key=plain)
    await asked(router)

    answer = await router.get("/api/v1/key", key=plain)
    data = (await answer.json())["data"]

    assert not set(KEY_MEMBERS.split()) - data.keys()
    assert (data["hash"], data["label"], data["name"]) == (identity.hash, identity.label, "mine")
    assert data["usage"] == data["usage_daily"] == data["usage_weekly"] == data["usage_monthly"] == pytest.approx(COST)
    assert (data["limit"], data["limit_reset"]) == (1.0, "weekly")
    assert data["limit_remaining"] == pytest.approx(1 - COST)
    assert data["rate_limit"]["requests"] == data["rate_limit"]["requests_per_minute"] == 50
    assert (data["rate_limit"]["tokens_per_minute"], data["rate_limit"]["requests_per_day"]) == (1000, -1)
    assert data["effective_budget"]["spend_usd"] == pytest.approx(COST)
    assert data["free_model_daily_requests"]["used"] == 1
    assert plain not in await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == ("50", "49")


async def test_a_key_sees_all_budgets_that_hold_for_it(begin: Start) -> None:
    router = await begin()

    async def manage(method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {router.management}"}
        async with router.session.request(method, f"{router.url}/api/v1{path}", json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            return (await answer.json())["data"]

    rules = {"max_daily_spend": 3, "max_monthly_spend": 7}
    guardrail = (await manage("POST", "/guardrails", {"name": "g", "rules": rules}))["id"]
    workspace = (await manage("POST", "/workspaces", {"name": "W"}))["id"]
    budget = (await manage("PUT", f"/workspaces/{workspace}/budgets/lifetime", {"limit_usd": 2}))["id"]
    settings: dict[str, Any] = {"guardrail_id": guardrail, "workspace_id": workspace}
    plain, _ = await router.server.keys.create("mine", limit=10**12, limit_reset="weekly", **settings)
    await asked(router, key=plain)

    data = (await (await router.get("/api/v1/key", key=plain)).json())["data"]

    told = [(each["scope"], each["limit_usd"], each["reset_interval"]) for each in data["budgets"]]
    assert told == [
        ("key_limit", 1, "weekly"),
        ("api_key", 7, "monthly"),
        ("api_key", 3, "daily"),
        ("workspace", 2, None),
    ]
    assert [each["guardrail_id"] for each in data["budgets"]] == [None, guardrail, guardrail, None]
    assert [each["budget_id"] for each in data["budgets"]] == [None, None, None, budget]
    assert [each["spend_usd"] for each in data["budgets"]] == [pytest.approx(COST)] * 4
    assert [each["resets_at"] is None for each in data["budgets"]] == [False, False, False, True]
    assert data["effective_budget"] == data["budgets"][0]

    await manage("PATCH", f"/guardrails/{guardrail}", {"rules": {"max_daily_spend": COST / 2}})
    data = (await (await router.get("/api/v1/key", key=plain)).json())["data"]
    assert (data["effective_budget"]["scope"], data["effective_budget"]["remaining_usd"]) == ("api_key", 0)


async def test_any_key_may_look_at_itself(begin: Start) -> None:
    router = await begin()
    for path in ("/api/v1/key", "/v1/key", "/api/v1/auth/key", "/api/v1/key/"):
        data = (await (await router.get(path, key=router.management)).json())["data"]
        assert data["is_management_key"] is data["is_provisioning_key"] is True
        assert (data["limit"], data["limit_remaining"], data["budgets"]) == (None, None, [])


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_rate_limit_says_when_and_why(begin: Start) -> None:
    router = await begin(limits=LimitSettings(rpm=2))
    first = await router.post("/v1/chat/completions", ASK)
    await asked(router)

    answer = await router.post("/v1/chat/completions", ASK)
    body = await answer.json()

    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("2", "1")
    assert abs(int(first.headers["X-RateLimit-Reset"]) - time.time() - 60) < 5
    assert answer.status == 429
    assert 50 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert body["error"]["code"] == "rate_limited"
    assert "inference (2 rpm)" in body["error"]["message"]


async def test_a_key_without_money_is_refused_before_anything_else(begin: Start, upstream: FakeUpstream) -> None:
    router = await begin()
    plain, _ = await router.server.keys.create("poor", limit=0)
    for body in (ASK, ASK | {"model": "no/such-model"}):
        answer = await router.post("/v1/chat/completions", body, key=plain)
        assert answer.status == 402
        assert (await answer.json())["error"]["code"] == "insufficient_credits"
    assert upstream.asked == []


async def test_a_management_key_makes_no_calls(begin: Start) -> None:
    router = await begin()
    answer = await router.post("/v1/chat/completions", ASK, key=router.management)
    assert answer.status == 403


async def test_every_answer_has_rate_limit_headers(begin: Start) -> None:
    router = await begin()
    answers = [
        await router.get("/healthz"),
        await router.get("/v1/models"),
        await router.get("/v1/models", key="wrong"),
        await router.get("/nowhere"),
        await router.post("/v1/chat/completions", b"{"),
        await router.post("/v1/chat/completions", ASK),
    ]
    for answer in answers:
        for name in ("Limit", "Remaining", "Reset"):
            assert answer.headers[f"X-RateLimit-{name}"] == "2147483647"
