"""POST /simulate and `router simulate`: the ledger's calls under another policy, against sums made by hand."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.cli import main
from router.generation import Generation
from router.identity import Identity
from router.prices import PICODOLLARS, Usage
from router.settings import EndpointSettings, ModelSettings, PriceOverrideSettings, PriceSettings, Settings
from router.store import traffic
from router.testing import Running, running

from .desk import Desk, endpoint

START, DAY = 1_790_000_000.0, 86400
PERIOD = {"start": START, "end": START + DAY}
#: USD per token of prompt; an answer's token costs twice that
PRICES = {"cheap": "0.000001", "dear": "0.000002"}


def model(*providers: str, **facts: Any) -> ModelSettings:
    return ModelSettings(
        context_length=facts.pop("context_length", 8000),
        endpoints=[
            EndpointSettings(
                provider=each,
                model="m",
                pricing=PriceSettings(prompt=PRICES[each], completion=f"0.00000{2 * int(PRICES[each][-1])}"),
            )
            for each in providers
        ],
        **facts,
    )


@asynccontextmanager
async def world(folder: Path, **models: ModelSettings) -> AsyncIterator[Running]:
    settings = Settings(
        providers={
            slug: {"plugin": "openai-compatible", "base_url": "http://127.0.0.1:9", "api_key": "k"} for slug in PRICES
        },
        models={
            "test/m": model("cheap", "dear"),
            "test/other": model("cheap"),
            **{f"test/{k}": v for k, v in models.items()},
        },
    )
    async with running(settings, folder) as router:
        yield router


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Running]:
    async with world(tmp_path) as router:
        yield router


async def log(router: Running, count: int = 1, **members: Any) -> None:
    """Calls of the ledger, one a second: 100 tokens of prompt and 10 of answer, from `dear` unless told otherwise."""
    identity = members.pop("identity", None) or router.server.keys.find(router.key)
    assert isinstance(identity, Identity)
    usage = members.pop("usage", Usage(input=100, output=10))
    at = members.pop("at", START + 60)
    members = {"model": "test/m", "provider": "dear", "cost": 240 * PICODOLLARS // 10**6, **members}
    members.setdefault("requested_model", members["model"])
    for number in range(count):
        row = Generation(
            id=f"gen-{id(members)}-{at}-{number}",
            created_unix=at + number,
            key_hash=identity.hash,
            api_type=members.pop("api_type", "chat"),
            usage=usage,
            **members,
        )
        await router.server.generations.add(row)


async def simulate(router: Running, policy: Any = None, *, status: int = 200, key: str = "", **body: Any) -> Any:
    asked = {**PERIOD, "policy": policy or {}, **body}
    answer = await router.post("/api/v1/simulate", asked, key=key or router.management)
    told = await answer.json()
    assert answer.status == status, told
    return told


# --- sums ------------------------------------------------------------------------------------------------------------


async def test_cheaper_endpoints_by_price(router: Running) -> None:
    await log(router, 5)

    found = await simulate(router, {"sort": "price"})

    assert found["total"] == {
        "requests": 5,
        "prompt_tokens": 500,
        "completion_tokens": 50,
        "reasoning_tokens": 0,
        "cached_tokens": 0,
        "unserved_requests": 0,
        "unpriced_requests": 0,
        "actual_cost": pytest.approx(0.0012),
        "simulated_cost": pytest.approx(0.0006),
        "difference": pytest.approx(-0.0006),
    }
    (line,) = found["models"]
    assert line["actual"] == [{"provider": "dear", "model": "test/m", "requests": 5, "cost": pytest.approx(0.0012)}]
    assert [(each["provider"], each["share"], each["requests"]) for each in line["simulated"]] == [("cheap", 1, 5)]
    sides = {each["provider"]: (each["actual_requests"], each["simulated_requests"]) for each in found["providers"]}
    assert sides == {"dear": (5, 0), "cheap": (0, 5)}


async def test_chance_is_counted_with_as_its_mean(router: Running) -> None:
    await log(router, 10)

    found = await simulate(router, {"sort": "balanced"})

    (line,) = found["models"]
    assert {each["provider"]: each["share"] for each in line["simulated"]} == {"cheap": 0.8, "dear": 0.2}
    assert line["simulated_cost"] == pytest.approx(10 * (0.8 * 0.00012 + 0.2 * 0.00024))


async def test_other_models_and_aliases(router: Running) -> None:
    await log(router, 2, requested_model="test/m")
    await log(router, 3, requested_model="gone", at=START + 100)

    found = await simulate(
        router, {"models": {"test/m": "test/other"}, "aliases": {"gone": ["test/m"]}, "sort": "price"}
    )

    shown = {line["model"]: [each["model"] for each in line["simulated"]] for line in found["models"]}
    assert shown == {"test/m": ["test/other"], "gone": ["test/m"]}


async def test_what_nobody_would_serve_is_told_with_its_reason_and_not_as_a_saving(router: Running) -> None:
    await log(router, 2, requested_model="test/m")
    await log(router, 1, requested_model="test/other", at=START + 100)
    await log(router, 4, requested_model="nobody/knows", at=START + 200)

    found = await simulate(router, {"only": ["dear"]})

    assert found["total"]["unserved_requests"] == 5
    assert found["total"]["difference"] == 0
    reasons = {each["model"]: (each["requests"], each["code"], each["excluded_by"]) for each in found["unserved"]}
    assert reasons == {
        "test/other": (1, "no_endpoints", ["allowed_providers"]),
        "nobody/knows": (4, "model_not_found", []),
    }
    assert "provider.only" in next(each["reason"] for each in found["unserved"] if each["model"] == "test/other")


async def test_long_calls_go_where_they_fit(tmp_path: Path) -> None:
    """Calls of one model on both sides of an endpoint's length are told apart."""
    short = model("cheap", context_length=0)
    short.endpoints[0].context_length = 1000
    short.endpoints += model("dear").endpoints
    async with world(tmp_path, mixed=short) as router:
        await log(router, 3, model="test/mixed")
        await log(router, 2, model="test/mixed", usage=Usage(input=995, output=6), at=START + 100)
        await log(router, 1, model="test/mixed", usage=Usage(input=994, output=6), at=START + 200)

        found = await simulate(router, {"sort": "price"})

        assert {each["provider"]: each["requests"] for each in found["models"][0]["simulated"]} == {
            "cheap": 4,
            "dear": 2,
        }


async def test_each_class_of_tokens_has_its_price(tmp_path: Path) -> None:
    pricing = PriceSettings(
        prompt="0.00001",
        completion="0.00002",
        request="0.5",
        input_cache_read="0.000001",
        input_cache_write="0.0000125",
        overrides=[PriceOverrideSettings(min_prompt_tokens=500, prompt="0.00003")],
    )
    own = ModelSettings(endpoints=[EndpointSettings(provider="cheap", model="m", pricing=pricing)])
    async with world(tmp_path, classes=own) as router:
        usages = [
            Usage(input=100, output=10, cache_read=40, cache_write=20),
            Usage(input=499, output=1),
            Usage(input=500, output=1),
            Usage(input=900, output=3, reasoning=2),
        ]
        for number, usage in enumerate(usages):
            await log(router, model="test/classes", usage=usage, at=START + number)
        price = router.server.table.find("test/classes")[0].entry.endpoints[0].price
        assert price is not None

        found = await simulate(router)

        by_hand = sum(price.cost(usage, START).total for usage in usages)
        assert found["total"]["simulated_cost"] == pytest.approx(by_hand / PICODOLLARS, abs=1e-12)


async def test_latency_is_that_of_the_period(router: Running) -> None:
    await log(router, 2, provider="dear", latency_ms=100)
    await log(router, 2, provider="cheap", latency_ms=900, at=START + 100)

    found = await simulate(router, {"sort": "latency"})

    assert [(each["provider"], each["latency_ms"]) for each in found["models"][0]["simulated"]] == [("dear", 100)]


async def test_calls_that_came_to_nothing_are_left_out(router: Running) -> None:
    await log(router, 2, status="error", cost=0)
    await log(router, 1, status="cancelled", at=START + 100)

    found = await simulate(router)

    assert (found["left_out"], found["total"]["requests"]) == ({"error": 2}, 1)


async def test_an_unknown_price_is_no_saving(tmp_path: Path) -> None:
    free = ModelSettings(endpoints=[EndpointSettings(provider="cheap", model="m")])
    async with world(tmp_path, unpriced=free) as router:
        await log(router, 2, model="test/unpriced")

        total = (await simulate(router))["total"]

        assert (total["unpriced_requests"], total["simulated_cost"], total["difference"]) == (2, 0, 0)


# --- which rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 3, 1000])
async def test_the_period_and_its_pages(router: Running, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Half open, and whatever the pages are; rows are in the order of their ends."""
    monkeypatch.setattr(traffic, "PAGE", page)
    monkeypatch.setattr(traffic, "MARGIN_S", 10.0)
    for number in range(12):
        await log(router, at=START + number * 100, latency_ms=5000)

    found = await simulate(router, {"sort": "price"}, start=START + 300, end=START + 700)

    assert (found["total"]["requests"], found["models"][0]["simulated"][0]["requests"]) == (4, 4)


async def test_an_empty_period(router: Running) -> None:
    found = await simulate(router)

    assert (found["total"]["requests"], found["models"], found["unserved"]) == (0, [], [])


async def test_what_a_key_may_use_counts(router: Running) -> None:
    _, identity = await router.server.keys.create("narrow", allowed_providers=["dear"])
    await log(router, 2)
    await log(router, 3, identity=identity, at=START + 100)

    found = await simulate(router, {"sort": "price"})

    assert {each["provider"]: each["requests"] for each in found["models"][0]["simulated"]} == {"cheap": 2, "dear": 3}


async def test_an_inference_key_sees_its_own_calls(router: Running) -> None:
    key, identity = await router.server.keys.create("reader", scopes=frozenset({"logs:read"}))
    await log(router, 2)
    await log(router, 3, identity=identity, at=START + 100)

    assert (await simulate(router, key=key))["total"]["requests"] == 3
    assert (await simulate(router))["total"]["requests"] == 5


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        ({"sort": "beauty"}, "policy.sort"),
        ({"cheapest": True}, "policy.cheapest"),
        ({"order": "dear"}, "policy.order"),
        ({"max_price": {"prompt": []}}, "policy.max_price"),
        ({"quantizations": ["int3"]}, "policy.quantizations"),
        ({"deterministic": "yes"}, "policy.deterministic"),
        ({"models": {"test/m": "nobody/knows"}}, "policy.models.test/m"),
        ({"models": {"test/m": []}}, "policy.models.test/m"),
        ({"models": ["test/m"]}, "policy.models"),
        ({"aliases": {"fast": ["nobody/knows"]}}, "policy.aliases.fast"),
        ({"default_model": "nobody/knows"}, "policy.default_model"),
    ],
)
async def test_a_policy_that_is_wrong(router: Running, policy: Any, param: str) -> None:
    error = (await simulate(router, policy, status=400))["error"]

    assert error["param"] is not None
    assert error["param"].startswith(param)
    assert error["message"].startswith("policy")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"start": "yesterday"}, "start"),
        ({"end": "9999-12-31T23:59-12:00"}, "end"),
        ({"end": -5}, "end"),
        ({"end": START}, "end"),
        ({"end": None}, "end"),
        ({"policy": "price"}, "policy"),
        ({"finish": 5}, "finish"),
    ],
)
async def test_a_period_that_is_wrong(router: Running, body: dict[str, Any], param: str) -> None:
    assert (await simulate(router, status=400, **body))["error"]["param"] == param


async def test_times_may_be_written_in_words(router: Running) -> None:
    await log(router, at=1_796_083_200.0)  # 2026-12-01T00:00:00Z

    assert (await simulate(router, start="2026-12-01", end="2026-12-01T00:00:01Z"))["total"]["requests"] == 1
    assert (await simulate(router, start="2026-11-30T00:00:00+01:00", end="2026-12-01"))["total"]["requests"] == 0


async def test_one_simulation_at_a_time(router: Running) -> None:
    async with router.server.simulating:
        assert (await simulate(router, status=503))["error"]["code"] == "no_available_provider"


# --- the mean is that of the draws -----------------------------------------------------------------------------------

POOLS: dict[str, list[Any]] = {
    "prices": [endpoint("a"), endpoint("b", "0.000002"), endpoint("c", "0.000004")],
    "equal prices": [endpoint("a"), endpoint("b"), endpoint("c", "0.000002")],
    "free": [endpoint("a", "0"), endpoint("b", "0.000002")],
    "priorities": [endpoint("a", priority=2), endpoint("b", "0.000003", priority=1), endpoint("c", priority=1)],
    "unknown": [endpoint("a", None), endpoint("b", None)],
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("change", [{}, {"preferred_max_latency": 0.5}], ids=["all", "quick"])
async def test_the_mean_of_many_draws(pool: str, change: dict[str, Any]) -> None:
    desk = await Desk({"test/m": POOLS[pool]}).open()
    call = await desk.plan()
    slow = next(each for each in call.plan.candidates if each.provider.slug == "b")
    desk.happened(call, slow, latency_s=2.0)
    count = 1500

    drawn = Counter([(await desk.order(provider=change))[0] for _ in range(count)])
    expected = desk.routing.expected(await desk.plan(provider=change))

    assert sum(share for _, share in expected) == pytest.approx(1)
    assert {each.provider.slug for each, share in expected if share > 0.01} >= set(drawn) - {"b"}
    for each, share in expected:
        assert drawn[each.provider.slug] / count == pytest.approx(share, abs=0.04)


# --- the command -----------------------------------------------------------------------------------------------------

CONFIG = """
[providers.cheap]
plugin = "openai-compatible"
base_url = "http://127.0.0.1:9"
[models."test/m"]
endpoints = [{ provider = "cheap", model = "m", pricing = { prompt = "0.000001", completion = "0.000002" } }]
"""


async def logged(folder: Path) -> None:
    async with world(folder) as router:
        await log(router, 3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, in which commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


TIMES = ("--start", "2026-01-01", "--end", "2027-01-01")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(logged(folder))
    capsys.readouterr()

    assert main(["simulate", '{"sort": "price"}', *TIMES]) == 0
    shown = capsys.readouterr().out
    assert "test/m" in shown
    assert "-0.000360" in shown

    (folder / "policy.json").write_text('{"only": ["dear"]}')
    assert main(["simulate", "policy.json", *TIMES, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["unserved_requests"] == 3


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{}", "there is no database"),
        ("none.json", "there is no database"),
    ],
)
def test_the_command_without_a_database(
    folder: Path, capsys: pytest.CaptureFixture[str], policy: str, says: str
) -> None:
    assert main(["simulate", policy]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.json"], "cannot read the policy none.json"),
        (["{"], "the policy must be a JSON object"),
        (['{"sort": "beauty"}'], "policy.sort must be one of"),
        (["{}", "--start", "tomorrow"], "--start must be a time"),
    ],
)
def test_what_is_typed_wrong(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    (folder / "router.db").touch()

    assert main(["simulate", *arguments]) == 1
    assert says in capsys.readouterr().err
