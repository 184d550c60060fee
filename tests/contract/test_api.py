"""What the router tells of itself: models, providers, health and metrics. Keys and generations have their tests beside the ledger."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from router.settings import EndpointSettings, ModelSettings, PriceSettings
from router.testing import FakeUpstream, Running, json_answer

from .envelopes import openai_error
from .test_headers import ASK, WHOLE

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"

#: members of an entry, and of the objects in it
ENTRY = """id object type created created_at owned_by name display_name canonical_slug description provider category context_length
    hugging_face_id knowledge_cutoff expiration_date architecture pricing top_provider per_request_limits default_parameters
    supported_voices supported_parameters capabilities capability_list supported_endpoint_types links"""
ARCHITECTURE = "modality input_modalities output_modalities tokenizer instruct_type"
PRICING = "prompt completion request image web_search internal_reasoning input_cache_read input_cache_write input_per_1k output_per_1k"
CAPABILITIES = "function_calling tool_use structured_outputs vision streaming audio embeddings"
TOP = "context_length max_completion_tokens is_moderated"
ROW = """slug name status plugin plugin_version dialect models base_url privacy_policy_url terms_of_service_url status_page_url
    data_policy"""


def members(names: str) -> set[str]:
    return set(names.split())


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    upstream.will(json_answer(WHOLE))
    price = PriceSettings(prompt="0.00000125", completion="0.00001", input_cache_read="0.000000125", request="0.01")
    return await start(
        providers={
            "fake": {
                "plugin": "openai-compatible",
                "base_url": upstream.url + "/v1",
                "api_key": "key-of-nobody",
                "zdr": True,
            },
            "openai": {
                "plugin": "openai",
                "api_key": "key-of-nobody",
                "privacy_policy_url": "https://example.com/privacy",
            },
            "anthropic": {"plugin": "anthropic"},
            "echo": {"plugin": "echo"},
        },
        models={
            "acme/chat": ModelSettings(
                name="Acme Chat",
                description="talks",
                context_length=1000,
                max_output=100,
                input_modalities=["text", "image"],
                supported_parameters=["tools", "seed"],
                pricing=price,
                endpoints=[EndpointSettings(provider="fake", model="m", pricing=price)],
            ),
            "acme/unpriced": ModelSettings(endpoints=[EndpointSettings(provider="fake", model="u")]),
        },
    )


async def get(router: Running, path: str) -> Any:
    answer = await router.get(path)
    assert answer.status == 200, await answer.text()
    assert answer.content_type == "application/json"
    return await answer.json()


# --- models ----------------------------------------------------------------------------------------------------------


async def test_the_list_of_models_suits_clients_of_all_services(router: Running) -> None:
    body = await get(router, "/v1/models")
    data = body["data"]

    assert body.keys() == members("object success data total_count links has_more first_id last_id")
    assert (body["object"], body["success"], body["has_more"], body["links"]) == ("list", True, False, {"next": None})
    ids = [entry["id"] for entry in data]
    assert ids == sorted(set(ids))
    assert (body["total_count"], body["first_id"], body["last_id"]) == (len(ids), ids[0], ids[-1])
    assert {"acme/chat", "openai/gpt-4.1", "echo/echo"} <= set(ids)
    assert await get(router, "/v1/models/count") == {"count": len(ids), "data": {"count": len(ids)}}
    for entry in data:
        assert_entry(entry)


def assert_entry(entry: dict[str, Any]) -> None:
    """Every member is there and of its type; prices are decimals that a cash register can read."""
    assert entry.keys() >= members(ENTRY)
    assert (entry["object"], entry["type"]) == ("model", "model")
    assert isinstance(entry["created"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["created_at"])
    assert entry["owned_by"] == entry["id"].partition("/")[0]
    assert entry["architecture"].keys() >= members(ARCHITECTURE)
    ins, outs = entry["architecture"]["input_modalities"], entry["architecture"]["output_modalities"]
    assert entry["architecture"]["modality"] == f"{'+'.join(ins)}->{'+'.join(outs)}"
    assert entry["top_provider"].keys() >= members(TOP)
    assert entry["capabilities"].keys() >= members(CAPABILITIES)
    assert all(isinstance(each, bool) for each in entry["capabilities"].values())
    assert entry["links"] == {"details": f"/api/v1/models/{entry['id']}/endpoints"}
    for name, price in entry["pricing"].items():
        if name.endswith("_per_1k"):
            assert price >= 0
        else:
            assert re.fullmatch(r"-1|\d+(\.\d+)?", price), (entry["id"], name, price)
    if entry["pricing"]["prompt"] != "-1":
        assert entry["pricing"].keys() >= members(PRICING)
        assert Decimal(entry["pricing"]["prompt"]) * 1000 == pytest.approx(Decimal(entry["pricing"]["input_per_1k"]))
    if "reasoning" in entry:
        assert entry["reasoning"].keys() == members("supported_efforts default_effort default_enabled mandatory")


async def test_a_model_of_ones_own(router: Running) -> None:
    entry = await get(router, "/api/v1/models/acme/chat")

    assert_entry(entry)
    assert (entry["name"], entry["description"], entry["provider"]) == ("Acme Chat", "talks", "fake")
    assert (entry["context_length"], entry["top_provider"]["max_completion_tokens"]) == (1000, 100)
    assert entry["architecture"]["modality"] == "text+image->text"
    assert entry["supported_parameters"] == ["tools", "seed"]
    assert entry["capabilities"]["vision"]
    assert entry["capabilities"]["tool_use"]
    assert not entry["capabilities"]["structured_outputs"]
    pricing = entry["pricing"]
    assert (pricing["prompt"], pricing["completion"]) == ("0.00000125", "0.00001")
    assert (pricing["input_cache_read"], pricing["request"]) == ("0.000000125", "0.01")


async def test_a_price_that_nobody_knows_is_not_nothing(router: Running) -> None:
    """Zero would read as free."""
    assert (await get(router, "/v1/models/acme/unpriced"))["pricing"]["prompt"] == "-1"
    assert (await get(router, "/v1/models/echo/echo"))["pricing"]["prompt"] == "0"


# --- providers -------------------------------------------------------------------------------------------------------


async def test_providers(router: Running) -> None:
    rows = {row["slug"]: row for row in (await get(router, "/v1/providers"))["data"]}

    assert rows.keys() == {"anthropic", "echo", "fake", "openai"}
    for slug, row in rows.items():
        assert row.keys() == members(ROW)
        assert row["name"] == slug
        assert row["plugin_version"]
    assert {slug: row["status"] for slug, row in rows.items()} == {
        "anthropic": "no_credentials",
        "echo": "ok",
        "fake": "ok",
        "openai": "ok",
    }
    assert (rows["openai"]["plugin"], rows["openai"]["dialect"]) == ("openai", "openai.chat")
    assert rows["openai"]["models"] > 10
    assert rows["openai"]["privacy_policy_url"] == "https://example.com/privacy"
    assert rows["fake"]["data_policy"] == {"zdr": True, "training": False}
    assert "key-of-nobody" not in str(rows)


async def test_the_health_of_a_provider_is_that_of_its_circuits(router: Running, upstream: FakeUpstream) -> None:
    async def status() -> tuple[str, str, str]:
        rows = (await get(router, "/v1/providers"))["data"]
        health = await router.get("/health")
        told = await health.json()
        by_slug = {row["slug"]: row["status"] for row in rows}
        assert by_slug == {each["slug"]: each["status"] for each in told["providers"]}
        assert health.status == 200
        return by_slug["fake"], by_slug["echo"], told["status"]

    upstream.will(json_answer(WHOLE))
    await router.post(CHAT, ASK)
    before = await status()
    upstream.will(json_answer({"error": {"message": "not this model"}}, status=403))
    await router.post(CHAT, ASK | {"model": "fake/other"})
    half = await status()
    upstream.will(json_answer({"error": {"message": "no such key"}}, status=401))
    await router.post(CHAT, ASK)
    after = await status()

    assert before == ("ok", "ok", "ok")
    assert half == ("degraded", "ok", "ok")
    assert after == ("down", "ok", "degraded")


async def test_a_provider_whose_plugin_cannot_be_loaded_is_listed_as_down(router: Running) -> None:
    """The others serve, and whoever asks for one of its models is told why."""
    router.server.broken["gone"] = "plugin gone cannot be loaded: ImportError"

    rows = {row["slug"]: row for row in (await get(router, "/v1/providers"))["data"]}

    assert (rows["gone"]["status"], rows["gone"]["models"]) == ("down", 0)
    assert "ImportError" in rows["gone"]["problem"]
    assert rows["gone"].keys() - {"problem"} == members(ROW)
    assert (await (await router.get("/health")).json())["status"] == "degraded"
    error = await openai_error(await router.post(CHAT, ASK | {"model": "gone/m"}), "provider_overloaded")
    assert "ImportError" in error["message"]


# --- health ----------------------------------------------------------------------------------------------------------


async def test_healthz_says_that_the_loop_runs(router: Running) -> None:
    async with router.session.get(router.url + "/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/api/v1/health"])
async def test_health_needs_any_key_and_tells_no_secret(router: Running, upstream: FakeUpstream, path: str) -> None:
    upstream.will(json_answer({"error": {"message": "the key key-of-nobody is wrong"}}, status=401))
    await router.post(CHAT, ASK)

    async with router.session.get(router.url + path) as answer:
        assert answer.status == 401
    body = await get(router, path)

    assert body.keys() == members("status version uptime_seconds providers database")
    assert body["database"] == "ok"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", body["version"])
    assert body["uptime_seconds"] >= 0
    for row in body["providers"]:
        assert row.keys() == members("slug status latency_ms last_error cooldown_until")
    assert "key-of-nobody" not in str(body)
    assert "is wrong" in str(body)


async def test_health_is_503_where_nothing_can_serve(start: Start) -> None:
    router = await start(providers={"openai": {"plugin": "openai"}})

    answer = await router.get("/health")

    assert (answer.status, (await answer.json())["status"]) == (503, "down")
    assert (await router.get("/healthz")).status == 200


async def test_a_measured_latency_is_told(router: Running) -> None:
    await router.post(CHAT, ASK | {"model": "acme/chat"})

    rows = {row["slug"]: row for row in (await get(router, "/health"))["providers"]}

    assert 0 < rows["fake"]["latency_ms"] < 5000
    assert rows["echo"]["latency_ms"] is None


# --- metrics ---------------------------------------------------------------------------------------------------------

LINE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\} ([0-9.eE+-]+)')


async def test_metrics_are_what_prometheus_reads(router: Running, upstream: FakeUpstream) -> None:
    for _ in range(3):
        await router.post(CHAT, ASK | {"model": "acme/chat"})
    upstream.will(json_answer({"error": {"message": "no"}}, status=429))
    await router.post(CHAT, ASK | {"model": 'fake/odd"name\\x'})

    answer = await router.get("/metrics")
    lines = (await answer.text()).splitlines()

    assert answer.status == 200
    assert answer.content_type == "text/plain"
    samples = {}
    for line in lines:
        if line.startswith("# TYPE "):
            continue
        found = LINE.fullmatch(line)
        assert found, line
        samples[found[1], found[2]] = float(found[3])
    served = 'provider="fake",model="acme/chat"'
    assert samples["router_attempts_total", f'{served},result="ok"'] == 3
    assert (
        samples["router_attempts_total", 'provider="fake",model="fake/odd\\"name\\\\x",result="rate_limit_exceeded"']
        == 1
    )
    assert samples["router_tokens_total", f'{served},side="prompt"'] == 30
    assert samples["router_tokens_total", f'{served},side="completion"'] == 15
    assert samples["router_cost_usd_total", served] == pytest.approx(3 * (10 * 0.00000125 + 5 * 0.00001 + 0.01))
    assert samples["router_first_content_seconds_count", 'provider="fake"'] == 3
    assert samples["router_first_content_seconds_bucket", 'provider="fake",le="+Inf"'] == 3
