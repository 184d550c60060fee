"""What was used, as clients of all services ask for it: by day, hour and month, by whom, seen by who may."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from router.store import statistics as statistics_store
from router.store.audit import Change
from router.store.workspaces import Workspace
from router.testing import Running
from tests.clients.required import assert_complete

from .records import TODAY, ask, picked, recorded

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
ASK = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}


def date(days_ago: int = 0) -> str:
    return (datetime.fromtimestamp(TODAY, UTC) - timedelta(days=days_ago)).date().isoformat()


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


@pytest.fixture
async def hash(router: Running) -> str:
    found: str = (await ask(router, "/api/v1/key", key=router.key))["data"]["hash"]
    return found


# --- activity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/activity", "/v1/activity"])
async def test_a_call_is_in_the_activity_as_soon_as_it_is_answered(router: Running, path: str) -> None:
    assert (await router.post("/v1/chat/completions", ASK)).status == 200

    (item,) = (await ask(router, path, key=router.key))["data"]

    assert_complete("ActivityItem", item)
    assert (item["model"], item["provider_name"], item["requests"]) == ("echo/echo", "echo", 1)
    assert item["prompt_tokens"] > 0
    assert item["completion_tokens"] > 0


async def test_activity_adds_up_the_calls_of_a_day_by_model_and_provider(router: Running, hash: str) -> None:
    for days_ago, model in ((0, "acme/m"), (0, "acme/m"), (0, "acme/n"), (1, "acme/m")):
        await recorded(router, hash, days_ago=days_ago, model=model)

    data = (await ask(router, "/api/v1/activity"))["data"]

    assert picked(data, "date", "model", "requests", "usage", "prompt_tokens", "cached_tokens", "reasoning_tokens") == [
        (date(0), "acme/m", 2, 1.0, 200, 80, 10),
        (date(0), "acme/n", 1, 0.5, 100, 40, 5),
        (date(1), "acme/m", 1, 0.5, 100, 40, 5),
    ]
    assert "workspace_id" not in data[0]


async def test_activity_is_of_the_last_thirty_days_unless_the_query_says_which(router: Running, hash: str) -> None:
    for days_ago in (0, 29, 30, 45):
        await recorded(router, hash, days_ago=days_ago)

    async def dates(query: str) -> list[str]:
        return [each["date"] for each in (await ask(router, f"/api/v1/activity{query}"))["data"]]

    assert await dates("") == [date(0), date(29)]
    assert await dates(f"?date={date(30)}") == [date(30)]
    assert await dates(f"?start_date={date(45)}&end_date={date(30)}") == [date(30), date(45)]
    assert await dates(f"?start_date={date(31)}") == [date(0), date(29), date(30)]


@pytest.mark.parametrize("group", ["model", "provider", "key", "user", "app", "tag", "workspace"])
async def test_activity_by_group_has_the_group_in_each_item(router: Running, hash: str, group: str) -> None:
    await recorded(router, hash, user="u1", app_title="An app", tags=["red", "blue"])
    await recorded(router, hash, user="u1", app_title="An app", tags=["red"])
    expected: dict[str, tuple[str, list[tuple[str, int]]]] = {
        "model": ("model", [("acme/m", 2)]),
        "provider": ("provider_name", [("acme", 2)]),
        "key": ("api_key_hash", [(hash, 2)]),
        "user": ("user", [("u1", 2)]),
        "app": ("app", [("An app", 2)]),
        "tag": ("tag", [("blue", 1), ("red", 2)]),
        "workspace": ("workspace_id", [("default", 2)]),
    }
    member, values = expected[group]

    for key in (router.management, router.key):
        data = (await ask(router, f"/api/v1/activity?group_by={group}", key=key))["data"]

        assert sorted(picked(data, member, "requests")) == values


@pytest.mark.parametrize("group", ["key", "user", "app", "tag"])
async def test_of_many_groups_the_newest_are_told_and_that_there_are_more(
    router: Running, hash: str, group: str
) -> None:
    for number in range(6):
        await recorded(
            router,
            f"{number:064}",
            days_ago=number // 2,
            user=f"u{number}",
            app_title=f"a{number}",
            tags=[f"t{number}"],
        )

    some = await ask(router, f"/api/v1/activity?group_by={group}&limit=3")
    every = await ask(router, f"/api/v1/activity?group_by={group}&limit=6")

    assert [each["date"] for each in some["data"]] == [date(0), date(0), date(1)]
    assert some["truncated"] is True
    assert len(every["data"]) == 6
    assert "truncated" not in every


async def test_usage_of_many_groups_has_a_summary_of_all(router: Running, hash: str) -> None:
    for number in range(4):
        await recorded(router, f"{number:064}", days_ago=0, user=f"u{number}" if number else None)

    for granularity in ("daily", "monthly"):
        found = await ask(router, f"/api/v1/usage?group_by=user&limit=2&granularity={granularity}")

        assert len(found["data"]) == 2
        assert found["truncated"] is True
        assert found["summary"]["requests"] == 4


async def test_activity_of_one_key_model_user_or_workspace(router: Running, hash: str) -> None:
    workspace = Workspace(id="ws_1", slug="one", name="one", created_unix=0)
    await router.server.workspaces.put(workspace, Change(action="workspace.create", target="ws_1"))
    _other, identity = await router.server.keys.create("other", workspace_id="ws_1")
    await recorded(router, hash, user="u1")
    await recorded(router, identity.hash, model="acme/n", user="u2")

    async def models(query: str) -> list[str]:
        return [each["model"] for each in (await ask(router, f"/api/v1/activity?{query}"))["data"]]

    assert await models(f"api_key_hash={identity.hash}") == ["acme/n"]
    assert await models(f"api_key_hash={identity.id}") == ["acme/n"]
    assert await models("model=acme/m") == ["acme/m"]
    assert await models("user_id=u2") == ["acme/n"]
    assert await models("workspace_id=ws_1") == ["acme/n"]
    assert await models("workspace_id=default") == ["acme/m"]
    assert await models(f"api_key_hash={'0' * 64}") == []


async def test_an_inference_key_sees_its_own_rows_only_those_of_its_earlier_secrets_too(router: Running) -> None:
    _plain, identity = await router.server.keys.create("one")
    other, stranger = await router.server.keys.create("other")
    await recorded(router, identity.hash)
    await recorded(router, stranger.hash)
    rotated, _ = await router.server.keys.rotate(identity.hash)

    own = await ask(router, "/api/v1/activity", key=rotated)
    foreign = await ask(router, f"/api/v1/activity?api_key_hash={stranger.hash}", key=rotated)
    by_key = await ask(router, "/api/v1/activity?group_by=key", key=other)
    manager = await ask(router, "/api/v1/activity")

    assert [each["requests"] for each in own["data"]] == [1]
    assert foreign["data"] == []
    assert picked(by_key["data"], "api_key_hash", "requests") == [(stranger.hash, 1)]
    assert [each["requests"] for each in manager["data"]] == [2]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("activity?date=yesterday", "date"),
        ("activity?date=2027-02-31", "date"),
        ("activity?start_date=soon", "start_date"),
        ("activity?start_date=2027-02-01&end_date=2027-01-01", "start_date"),
        ("activity?group_by=colour", "group_by"),
        ("activity?format=xml", "format"),
        ("activity?group_by=tag&user_id=u1", "group_by"),
        ("usage?granularity=minutely", "granularity"),
        ("usage?granularity=hourly&tag=red", "granularity"),
        ("usage?end_date=9999999999999", "end_date"),
        ("usage?start_date=9999-12-31&end_date=9999-12-31", "end_date"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_name(router: Running, query: str, param: str) -> None:
    error = (await ask(router, f"/api/v1/{query}", status=400))["error"]
    assert error["param"] == param


async def test_activity_and_usage_as_csv(router: Running, hash: str) -> None:
    await recorded(router, hash, app_title="=cmd()", days_ago=1)

    activity = await router.get("/api/v1/activity?format=csv", key=router.management)
    usage = await router.get("/api/v1/usage?format=csv&group_by=app", key=router.management)

    assert activity.content_type == "text/csv"
    (row,) = csv.DictReader(io.StringIO(await activity.text()))
    assert (row["date"], row["model"], row["requests"], row["usage"]) == (date(1), "acme/m", "1", "0.5")
    (row,) = csv.DictReader(io.StringIO(await usage.text()))
    assert row["app"] == "'=cmd()"


# --- usage -----------------------------------------------------------------------------------------------------------


async def test_usage_by_day_with_its_summary(router: Running, hash: str) -> None:
    await recorded(router, hash, days_ago=1)
    await recorded(router, hash, status="error", usd=0.0)
    await recorded(router, hash)

    found = await ask(router, "/api/v1/usage")

    assert picked(found["data"], "timestamp", "requests", "errors", "total_tokens", "cost") == [
        (f"{date(1)}T00:00:00.000Z", 1, 0, 150, 0.5),
        (f"{date(0)}T00:00:00.000Z", 2, 1, 300, 0.5),
    ]
    assert (found["summary"]["requests"], found["summary"]["cost"], found["summary"]["prompt_tokens"]) == (3, 1.0, 300)


async def test_usage_by_hour_and_by_month(router: Running, hash: str) -> None:
    start = "start_date=2026-01-01&end_date=2026-03-31"
    moments = (
        datetime(2026, 1, 1, 0, 59, tzinfo=UTC),
        datetime(2026, 1, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 31, 23, 59, tzinfo=UTC),
    )
    for at in moments:
        await recorded(router, hash, days_ago=(TODAY - at.timestamp()) / 86400)

    hours = await ask(router, f"/api/v1/usage?{start}&granularity=hourly")
    months = await ask(router, f"/api/v1/usage?{start}&granularity=monthly")

    assert picked(hours["data"], "timestamp", "requests") == [
        ("2026-01-01T00:00:00.000Z", 1),
        ("2026-01-01T01:00:00.000Z", 1),
        ("2026-03-31T23:00:00.000Z", 1),
    ]
    assert picked(months["data"], "timestamp", "requests") == [
        ("2026-01-01T00:00:00.000Z", 2),
        ("2026-03-01T00:00:00.000Z", 1),
    ]


async def test_a_call_with_several_tags_counts_once_in_the_summary(router: Running, hash: str) -> None:
    await recorded(router, hash, tags=["red", "blue"])

    by_tag = await ask(router, "/api/v1/usage?group_by=tag")
    red = await ask(router, "/api/v1/usage?tag=red")

    assert picked(by_tag["data"], "tag", "requests") == [("blue", 1), ("red", 1)]
    assert by_tag["summary"]["requests"] == 1
    assert picked(red["data"], "requests", "cost") == [(1, 0.5)]


async def test_the_summary_and_series_of_the_unversioned_paths(router: Running, hash: str) -> None:
    await recorded(router, hash, model="acme/m", provider="acme")
    await recorded(router, hash, model="other/m", provider="other", usd=2.0)

    summary = await ask(router, "/api/usage/summary", key=router.key)
    one = await ask(router, f"/api/usage/summary?provider_id=other&key_id={hash}&start_time={int(TODAY) - 10}")
    series = await ask(router, "/api/usage/timeseries?granularity=daily&model=acme/m")

    assert (summary["total_requests"], summary["total_tokens"], summary["estimated_cost_usd"]) == (2, 300, 2.5)
    assert picked(summary["by_provider"], "provider_id", "estimated_cost_usd") == [("other", 2.0), ("acme", 0.5)]
    assert picked(summary["by_model"], "model", "requests") == [("other/m", 1), ("acme/m", 1)]
    assert (one["total_requests"], one["total_input_tokens"], one["total_output_tokens"]) == (1, 100, 50)
    assert series["data_points"] == [
        {
            "timestamp": f"{date(0)}T00:00:00.000Z",
            "requests": 1,
            "input_tokens": 100,
            "output_tokens": 50,
            "estimated_cost_usd": 0.5,
        }
    ]


# --- analytics -------------------------------------------------------------------------------------------------------


async def test_every_metric_and_dimension_that_is_listed_can_be_asked_for(router: Running, hash: str) -> None:
    await recorded(router, hash, user="u1", app_title="An app", tags=["red"], latency_ms=300, generation_ms=500)
    listed = (await ask(router, "/api/v1/analytics/meta"))["data"]
    metrics = [each["name"] for each in listed["metrics"]]

    for dimension in listed["dimensions"]:
        body = {"metrics": metrics, "dimensions": [dimension["name"]], "granularity": "day"}
        (row,) = (await ask(router, "/api/v1/analytics/query", body=body))["data"]

        assert row.keys() == {"timestamp", "date__day", dimension["name"], *metrics}
        assert row["request_count"] == 1
        if dimension["name"] != "key":
            assert row["average_latency_ms"] == 300
            assert row["tokens_per_second"] == 100


async def test_filters_hold_what_they_say(router: Running, hash: str) -> None:
    for model, user in (("a/1", "u1"), ("a/2", "u1"), ("a/3", "u2")):
        await recorded(router, hash, model=model, user=user)

    async def models(filters: Any) -> set[str]:
        body = {"metrics": ["requests"], "dimensions": ["model"], "filters": filters}
        return {row["model"] for row in (await ask(router, "/api/v1/analytics/query", body=body))["data"]}

    assert await models([{"field": "model", "operator": "in", "value": ["a/1", "a/2"]}]) == {"a/1", "a/2"}
    assert await models([{"field": "model", "operator": "neq", "value": "a/1"}]) == {"a/2", "a/3"}
    assert await models([{"field": "user", "operator": "eq", "value": "u1"}]) == {"a/1", "a/2"}
    assert await models([{"field": "user", "operator": "not_in", "value": ["u1"]}]) == {"a/3"}
    assert await models({"model": "a/3", "api_key": hash}) == {"a/3"}
    assert await models({"model": ["a/1"], "api_key": "0" * 64}) == set()


@pytest.mark.parametrize("operator", ["neq", "not_in"])
@pytest.mark.parametrize("field", ["user", "app", "tag"])
async def test_of_too_many_calls_none_are_left_out_by_a_word_unless_less_is_asked_for(
    router: Running, hash: str, monkeypatch: pytest.MonkeyPatch, field: str, operator: str
) -> None:
    """The whole would take too long; what the message says instead is answered."""
    monkeypatch.setattr(statistics_store, "MOST_SCANNED", 4)
    for day in range(3):
        for word in ("one", "two", "three"):
            await recorded(router, hash, days_ago=day, user=word, app_title=word, tags=[word])
    value = "one" if operator == "neq" else ["one"]
    body = {
        "metrics": ["requests"],
        "dimensions": ["model"],
        "filters": [{"field": field, "operator": operator, "value": value}],
    }

    error = (await ask(router, "/api/v1/analytics/query", body=body, status=400))["error"]
    by_day = (await ask(router, "/api/v1/analytics/query", body=body | {"granularity": "day"}))["data"]
    today = (await ask(router, "/api/v1/analytics/query", body=body | {"start": date(0)}))["data"]

    assert (error["code"], error["param"]) == ("invalid_request", "filters")
    assert error["message"] == (
        f"there are too many calls to leave some out by their {field}; ask by day (granularity), or for a shorter time"
    )
    assert picked(by_day, "timestamp", "requests")[-1:] == [(f"{date(0)}T00:00:00.000Z", 2)]
    assert picked(today, "requests") == [(2,)]


async def test_the_form_of_openrouter_is_answered_in_its_form(router: Running, hash: str) -> None:
    await recorded(router, hash, usd=1.5)
    body = {
        "metrics": ["request_count", "total_cost"],
        "time_range": {"start": f"{date(1)}T00:00:00Z", "end": f"{date(0)}T23:00:00Z"},
        "granularity": "day",
        "order_by": {"field": "date", "direction": "desc"},
    }

    found = (await ask(router, "/api/v1/analytics/query", body=body))["data"]

    assert picked(found["data"], "request_count", "total_cost") == [(1, 1.5)]
    assert (found["metadata"]["row_count"], found["metadata"]["truncated"]) == (1, False)


@pytest.mark.parametrize(
    ("body", "param", "known"),
    [
        ({"metrics": ["happiness"]}, "metrics", "request_count"),
        ({"metrics": []}, "metrics", ""),
        ({}, "metrics", ""),
        ({"metrics": ["requests"], "dimensions": ["mood"]}, "dimensions", "provider"),
        ({"metrics": ["requests"], "granularity": "minute"}, "granularity", "hour, day, month"),
        ({"metrics": ["requests"], "filters": [{"field": "mood", "value": 1}]}, "filters", "provider"),
        ({"metrics": ["requests"], "filters": [{"field": "model", "value": 1, "operator": "gt"}]}, "filters", "not_in"),
        ({"metrics": ["requests"], "order_by": {"field": "mood"}}, "order_by", "requests"),
        ({"metrics": ["requests"], "start": "soon"}, "start", "2027-01-31"),
    ],
)
async def test_names_that_nobody_knows_are_refused_with_those_there_are(
    router: Running, hash: str, body: Any, param: str, known: str
) -> None:
    await recorded(router, hash)
    error = (await ask(router, "/api/v1/analytics/query", body=body, status=400))["error"]

    assert error["param"] == param
    assert known in error["message"]


async def test_a_key_without_the_scope_reads_no_usage(router: Running) -> None:
    plain, _ = await router.server.keys.create("narrow", scopes=frozenset({"inference"}))
    for path in (
        "/api/v1/activity",
        "/api/v1/usage",
        "/api/usage/summary",
        "/api/usage/timeseries",
        "/api/v1/analytics/meta",
    ):
        await ask(router, path, key=plain, status=403)
