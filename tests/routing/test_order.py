"""In which order endpoints are asked: prices and chance, sorts, preferences, health, and where a conversation stays."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from router.builtin.routing.fitness import KEPT_KINDS
from router.errors import BadRequest, Forbidden, NotFound, UpstreamBusy, UpstreamUnauthorized, UpstreamUnavailable
from router.prices import Usage

from .desk import Desk, Identity, endpoint, providers

PRICES = {"a": "0.000001", "b": "0.000002", "c": "0.000004"}


@pytest.fixture
async def desk() -> Desk:
    return await Desk({"test/m": [endpoint(name, price) for name, price in PRICES.items()]}).open()


async def firsts(desk: Desk, count: int = 400, **members: Any) -> Counter[str]:
    return Counter([(await desk.order(**members))[0] for _ in range(count)])


async def test_chance_prefers_cheap_ones_by_the_square_of_the_price(desk: Desk) -> None:
    counted = await firsts(desk, 2000)

    weights = {"a": 1.0, "b": 1 / 4, "c": 1 / 16}
    for name, weight in weights.items():
        assert counted[name] / 2000 == pytest.approx(weight / sum(weights.values()), abs=0.04)


async def test_everybody_is_in_the_plan(desk: Desk) -> None:
    assert sorted(await desk.order()) == ["a", "b", "c"]


async def test_free_endpoints_go_first() -> None:
    desk = await Desk({"test/m": [endpoint("dear"), endpoint("free", "0")]}).open()

    assert await firsts(desk, 50) == {"free": 50}


async def test_of_equal_prices_the_quicker_goes_first_and_the_unknown_before_both() -> None:
    desk = await Desk({"test/m": [endpoint("a"), endpoint("b"), endpoint("c")]}).open()
    call = await desk.plan()
    for candidate in call.plan.candidates:
        if candidate.provider.slug != "c":
            desk.happened(call, candidate, latency_s={"a": 0.9, "b": 0.1}[candidate.provider.slug])

    assert await desk.order() == ["c", "b", "a"]


async def test_priority_comes_before_the_price() -> None:
    desk = await Desk({"test/m": [endpoint("cheap", priority=2), endpoint("dear", "0.001", priority=1)]}).open()

    assert await desk.order() == ["dear", "cheap"]


@pytest.mark.parametrize("model", ["test/m:floor", "test/m"])
async def test_sort_by_price(desk: Desk, model: str) -> None:
    members: dict[str, Any] = {} if ":" in model else {"provider": {"sort": "price"}}

    assert all([await desk.order(model, **members) == ["a", "b", "c"] for _ in range(20)])


@pytest.mark.parametrize(
    ("sort", "expected"), [("latency", ["c", "b", "a"]), ("throughput", ["b", "a", "c"])], ids=["latency", "throughput"]
)
async def test_sort_by_what_was_measured(desk: Desk, sort: str, expected: list[str]) -> None:
    call = await desk.plan()
    figures = {"a": (0.9, 10), "b": (0.5, 100), "c": (0.1, 10)}
    for candidate in call.plan.candidates:
        latency_s, tokens = figures[candidate.provider.slug]
        desk.happened(call, candidate, latency_s=latency_s, output_tokens=tokens)

    assert await desk.order(provider={"sort": sort}) == expected
    assert await desk.order(provider={"sort": {"by": sort}}) == expected


async def test_nitro_is_throughput(desk: Desk) -> None:
    call = await desk.plan()
    for candidate in call.plan.candidates:
        desk.happened(call, candidate, output_tokens={"a": 1, "b": 2, "c": 3}[candidate.provider.slug])

    assert await desk.order("test/m:nitro") == ["c", "b", "a"]


async def test_exacto_prefers_who_calls_tools(desk: Desk) -> None:
    call = await desk.plan()
    for candidate in call.plan.candidates:
        for _ in range(20):
            desk.happened(call, candidate, called_tool=candidate.provider.slug == "b")

    assert (await desk.order("test/m:exacto"))[0] == "b"


async def test_deterministic_is_priority_then_price_then_name() -> None:
    endpoints = [endpoint("z"), endpoint("y"), endpoint("x", "0.000002"), endpoint("w", "0.1", priority=-1)]
    desk = await Desk({"test/m": endpoints}, deterministic=True).open()

    assert all([await desk.order() == ["w", "y", "z", "x"] for _ in range(10)])


async def test_order_comes_first_and_the_rest_behind(desk: Desk) -> None:
    assert (await desk.order(provider={"order": ["c"]}))[0] == "c"
    assert (await desk.order(provider={"order": ["c", "b"]})) == ["c", "b", "a"]


async def test_without_fallbacks_only_the_first(desk: Desk) -> None:
    assert len(await desk.order(provider={"allow_fallbacks": False})) == 1
    assert await desk.order(provider={"order": ["c", "a"], "allow_fallbacks": False}) == ["c", "a"]


async def test_models_stay_in_their_order_unless_they_are_mixed() -> None:
    models = {"test/one": [endpoint("b", "0.002"), endpoint("c", "0.003")], "test/two": [endpoint("a", "0.001")]}
    desk = await Desk(models, deterministic=True).open()

    assert await desk.order("test/one", models=["test/two"]) == ["b", "c", "a"]
    assert await desk.order("test/one", models=["test/two"], route="sort") == ["a", "b", "c"]
    mixed = {"sort": {"by": "price", "partition": "none"}}
    assert await desk.order("test/one", models=["test/two"], provider=mixed) == ["a", "b", "c"]


# --- preferred thresholds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "preference",
    [
        {"preferred_max_latency": 0.5},
        {"preferred_max_latency": {"p90": 0.5}},
        {"preferred_min_throughput": 50},
        {"preferred_min_throughput": {"p50": 50}},
    ],
    ids=str,
)
async def test_slow_ones_go_last(desk: Desk, preference: dict[str, Any]) -> None:
    call = await desk.plan()
    for candidate in call.plan.candidates:
        slow = candidate.provider.slug == "a"
        desk.happened(call, candidate, latency_s=0.9 if slow else 0.1, output_tokens=5 if slow else 100)

    for _ in range(20):
        assert (await desk.order(provider=preference))[-1] == "a"


# --- health ----------------------------------------------------------------------------------------------------------


def by_name(call: Any, name: str) -> Any:
    return next(each for each in call.plan.candidates if each.provider.slug == name)


async def test_three_failures_take_an_endpoint_out_and_a_probe_brings_it_back(desk: Desk) -> None:
    call = await desk.plan()
    for _ in range(3):
        desk.happened(call, by_name(call, "a"), error=UpstreamUnavailable("down"))

    plan = (await desk.plan()).plan
    assert sorted(providers(plan.candidates)) == ["b", "c"]
    assert plan.filtered == [{"endpoint": "a: test/m", "reason": "health: its circuit is open"}]

    desk.clock.now_s += 30
    probing = await desk.plan()
    assert sorted(providers(probing.plan.candidates)) == ["a", "b", "c"]

    desk.server.health.starting(by_name(probing, "a"))
    assert "a" not in await desk.order()

    desk.happened(probing, by_name(probing, "a"))
    assert sorted(await desk.order()) == ["a", "b", "c"]


async def test_a_failed_probe_doubles_the_pause(desk: Desk) -> None:
    call = await desk.plan()
    sick = by_name(call, "a")
    for _ in range(3):
        desk.happened(call, sick, error=UpstreamUnavailable("down"))
    desk.clock.now_s += 30
    desk.server.health.starting(sick)
    desk.happened(call, sick, error=UpstreamUnavailable("still down"))

    desk.clock.now_s += 59
    assert "a" not in await desk.order()
    desk.clock.now_s += 1
    assert "a" in await desk.order()


async def test_what_lately_failed_often_goes_last(desk: Desk) -> None:
    call = await desk.plan()
    for _ in range(2):
        desk.happened(call, by_name(call, "a"), error=UpstreamUnavailable("down"))
        desk.happened(call, by_name(call, "b"))

    assert all([(await desk.order())[-1] == "a" for _ in range(10)])
    desk.clock.now_s += 31
    assert (await firsts(desk))["a"] > 100


async def test_a_429_cools_until_it_said_and_no_longer(desk: Desk) -> None:
    call = await desk.plan()
    desk.happened(call, by_name(call, "a"), error=UpstreamBusy("slow", retry_after_s=5.0))

    assert "a" not in await desk.order()
    desk.clock.now_s += 5.1
    assert "a" in await desk.order()


async def test_a_longer_wait_replaces_a_shorter_one_and_not_the_other_way_round(desk: Desk) -> None:
    call = await desk.plan()
    for seconds in (20.0, 5.0):
        desk.happened(call, by_name(call, "a"), error=UpstreamBusy("slow", retry_after_s=seconds))

    desk.clock.now_s += 19
    assert "a" not in await desk.order()
    desk.clock.now_s += 1.1
    assert "a" in await desk.order()


async def test_an_upstream_that_says_that_nothing_is_left_is_asked_last(desk: Desk) -> None:
    call = await desk.plan()
    desk.happened(call, by_name(call, "a"), exhausted_s=7.0)

    assert all([(await desk.order())[-1] == "a" for _ in range(10)])
    desk.clock.now_s += 8
    assert (await firsts(desk))["a"] > 100


async def test_an_unknown_key_is_asked_no_more_for_any_model() -> None:
    models = {"test/m": [endpoint("a"), endpoint("b")], "test/n": [endpoint("a")]}
    desk = await Desk(models).open()
    call = await desk.plan()
    desk.happened(call, by_name(call, "a"), error=UpstreamUnauthorized("no such key", upstream_status=401))

    assert await desk.order() == ["b"]
    with pytest.raises(UpstreamUnauthorized, match="refused our credential"):
        await desk.plan("test/n")
    desk.server.health.reset()
    assert await desk.order("test/n") == ["a"]


async def test_all_open_asks_the_one_that_opened_first(desk: Desk) -> None:
    call = await desk.plan()
    for name in ("b", "a", "c"):
        for _ in range(3):
            desk.happened(call, by_name(call, name), error=UpstreamUnavailable("down"))
        desk.clock.now_s += 1

    assert await desk.order() == ["b"]


# --- stickiness ------------------------------------------------------------------------------------------------------

CACHED = {"prices": {"input_cache_read": "0.0000001"}}


@pytest.fixture
async def caching() -> Desk:
    return await Desk({"test/m": [endpoint(name, **CACHED) for name in ("a", "b", "c")]}).open()


async def served(desk: Desk, name: str, usage: Usage | None = None, **members: Any) -> None:
    call = await desk.plan(**members)
    desk.happened(call, by_name(call, name), usage=usage or Usage(input=10, output=10))


@pytest.mark.parametrize(
    "members",
    [{"session_id": "s"}, {"prompt_cache_key": "k"}, {"headers": {"x-session-id": "h"}}],
    ids=["session_id", "prompt_cache_key", "header"],
)
async def test_a_session_stays_where_it_was_served(caching: Desk, members: dict[str, Any]) -> None:
    await served(caching, "b", **members)
    for name in ("a", "c"):
        await served(caching, name, messages=[{"role": "user", "content": name}])

    assert all([(await caching.order(**members))[0] == "b" for _ in range(10)])


async def test_without_a_session_it_stays_once_tokens_were_cached(caching: Desk) -> None:
    first = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"}]
    await served(caching, "c", messages=first)
    await served(caching, "c", Usage(input=10, output=1, cache_write=8), messages=first)

    longer = [*first, {"role": "assistant", "content": "1"}, {"role": "user", "content": "two"}]
    assert all([(await caching.order(messages=longer))[0] == "c" for _ in range(10)])


async def test_it_is_let_go_after_ten_minutes_and_after_an_error(caching: Desk) -> None:
    await served(caching, "b", session_id="s")
    caching.clock.now_s += 601
    call = await caching.plan(session_id="s")
    assert not any("cached" in each["reason"] for each in call.plan.moved)

    await served(caching, "b", session_id="s")
    call = await caching.plan(session_id="s")
    caching.happened(call, by_name(call, "b"), error=UpstreamUnavailable("down"))
    again = await caching.plan(session_id="s")
    assert not any("cached" in each["reason"] for each in again.plan.moved)


async def test_an_order_of_the_request_is_stronger(caching: Desk) -> None:
    await served(caching, "b", session_id="s")

    assert (await caching.order(session_id="s", provider={"order": ["c"]}))[0] == "c"


async def test_where_a_cached_prompt_costs_the_same_nothing_sticks(desk: Desk) -> None:
    await served(desk, "c", session_id="s")

    assert (await firsts(desk, session_id="s"))["c"] < 100


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "excluded", "code"),
    [
        ({"provider": {"only": ["z"]}}, "allowed_providers", "constraint_filtered"),
        ({"provider": {"ignore": ["a", "b", "c"]}}, "allowed_providers", "constraint_filtered"),
        ({"provider": {"zdr": True}}, "data_policy:zdr", "privacy_restricted"),
        ({"provider": {"quantizations": ["fp8"]}}, "quantization", "constraint_filtered"),
        ({"provider": {"max_price": {"prompt": 0.1}}}, "max_price", "constraint_filtered"),
        ({"provider": {"require_parameters": True}, "seed": 1}, "require_parameters", "constraint_filtered"),
        ({"provider": {"enforce_distillable_text": True}}, "data_policy:distillable", "privacy_restricted"),
        ({"max_tokens": 9000}, "context_length", "constraint_filtered"),
        ({"headers": {"x-router-provider": "z"}}, "allowed_providers", "constraint_filtered"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_refusal_says_what_excluded_whom(desk: Desk, members: dict[str, Any], excluded: str, code: str) -> None:
    with pytest.raises(NotFound) as refused:
        await desk.plan(**members)

    told = refused.value.availability
    assert told is not None
    assert (told["code"], told["excluded_by"]) == (code, [excluded])
    assert told["constraint"]["field"] == excluded


async def test_a_free_variant_without_free_endpoints(desk: Desk) -> None:
    with pytest.raises(NotFound) as refused:
        await desk.plan("test/m:free")

    assert refused.value.availability is not None
    assert refused.value.availability["code"] == "free_variant_ended"


async def test_the_free_variant_is_the_free_endpoints() -> None:
    desk = await Desk({"test/m": [endpoint("dear"), endpoint("free", "0")]}).open()

    assert await desk.order("test/m:free") == ["free"]


async def test_the_extended_variant_is_the_longest_endpoints() -> None:
    endpoints = [endpoint("short", context_length=1000), endpoint("long", context_length=9000)]
    desk = await Desk({"test/m": endpoints}).open()

    assert await desk.order("test/m:extended") == ["long"]


async def test_the_thinking_variant_changes_the_request(desk: Desk) -> None:
    call = await desk.plan("test/m:thinking")

    assert call.request is not None
    assert call.request.reasoning is not None
    assert call.request.reasoning.on
    quiet = await desk.plan("test/m:thinking", reasoning={"effort": "none"})
    assert quiet.request is not None
    assert quiet.request.reasoning is not None
    assert quiet.request.reasoning.off


async def test_a_soft_preference_drops_those_that_lack_tools() -> None:
    endpoints = [endpoint("with"), endpoint("without", "0", supported_parameters=["temperature"])]
    desk = await Desk({"test/m": endpoints}).open()
    tool = {"type": "function", "function": {"name": "f"}}

    call = await desk.plan(tools=[tool])

    assert providers(call.plan.candidates) == ["with"]
    assert "without" in call.plan.filtered[0]["endpoint"]
    assert await desk.order() == ["without", "with"]


async def test_auto_takes_the_first_that_fits() -> None:
    models = {"test/small": [endpoint("a", context_length=100)], "test/large": [endpoint("b")]}
    desk = await Desk(models, auto_models=["test/small", "test/large"]).open()

    assert await desk.order("auto") == ["a"]
    assert await desk.order("openrouter/auto", max_tokens=2000) == ["b"]
    only_large = [{"id": "auto-router", "allowed_models": ["test/l*"]}]
    assert await desk.order("router/auto", plugins=only_large) == ["b"]


async def test_auto_needs_models(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="auto_models"):
        await desk.plan("auto")


# --- what is remembered ----------------------------------------------------------------------------------------------


async def test_preferences_are_looked_at_anew_where_they_differ(desk: Desk) -> None:
    """What a kind of request comes to is remembered by all that it depends on, for a bounded number of kinds."""
    for _ in range(2):
        assert sorted(await desk.order(provider={"ignore": ["a"]})) == ["b", "c"]
        assert sorted(await desk.order(provider={"ignore": ["b"]})) == ["a", "c"]
        assert sorted(await desk.order()) == ["a", "b", "c"]
        plan = (await desk.plan(headers={"x-router-provider": "c"})).plan
        assert providers(plan.candidates) == ["c"]

    for allowed in (["a"], ["b", "c"], None, []):
        identity = Identity(hash="k", allowed_providers=allowed)
        try:
            found = sorted(await desk.order(identity=identity))
        except Forbidden:
            found = []
        assert found == (["a", "b", "c"] if allowed is None else allowed)

    for number in range(KEPT_KINDS * 2):
        await desk.order(provider={"ignore": [f"x{number}"]})
    assert all(len(pool.suitable) <= KEPT_KINDS for pool in desk.server.table.pools.values())
