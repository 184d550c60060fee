"""Guardrails by way of the API: made, listed, changed, assigned and taken away, in both words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from router.testing import Running

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
ALL = "/api/v1/guardrails"


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


async def ask(router: Running, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """Ask with the management key; the answer's JSON."""
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.request(method, router.url + path, json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def made(router: Running, **settings: Any) -> Any:
    return (await ask(router, "POST", ALL, {"name": "g", **settings}, status=201))["data"]


async def key(router: Running, **settings: Any) -> Any:
    return (await ask(router, "POST", "/api/v1/keys", {"name": "k", **settings}, status=201))["data"]


# --- guardrails ------------------------------------------------------------------------------------------------------


async def test_all_members_are_kept_and_shown(router: Running) -> None:
    settings = {
        "name": "g",
        "description": "for tests",
        "limit_usd": 2.5,
        "reset_interval": "weekly",
        "allowed_models": ["echo/*"],
        "ignored_models": ["echo/other"],
        "allowed_providers": ["echo"],
        "ignored_providers": ["openai"],
        "enforce_zdr_anthropic": True,
        "enforce_zdr_google": False,
        "enable_paid_model_training": False,
        "enable_free_model_training": True,
        "enable_free_model_publication": False,
        "content_filters": [{"pattern": r"\b(sk-[a-zA-Z0-9]{48})\b", "action": "redact", "label": "[API_KEY]"}],
        "include_byok_in_budgets": True,
    }
    builtins = [{"slug": "regex-prompt-injection", "action": "block", "scan_scope": "user_only"}]

    data = await made(router, **settings, content_filter_builtins=builtins)

    assert data["id"].startswith("grd_")
    assert {name: data[name] for name in settings} == settings
    assert data["content_filter_builtins"] == [{**builtins[0], "label": "[PROMPT_INJECTION]"}]
    assert data["rules"] == {
        "max_daily_spend": None,
        "max_weekly_spend": 2.5,
        "max_monthly_spend": None,
        "allowed_models": ["echo/*"],
        "blocked_models": ["echo/other"],
        "require_zdr": False,
    }
    assert (data["workspace_id"], data["updated_at"], data["enforce_zdr"]) == ("default", None, None)
    assert (await ask(router, "GET", f"{ALL}/{data['id']}"))["data"] == data
    assert await ask(router, "GET", ALL) == {"data": [data], "total_count": 1}


async def test_rules_say_the_same_as_flat_members(router: Running) -> None:
    rules = {
        "max_daily_spend": 1,
        "max_weekly_spend": None,
        "max_monthly_spend": 20,
        "allowed_models": ["a/*"],
        "blocked_models": ["a/b"],
        "require_zdr": True,
    }

    data = await made(router, rules=rules)

    assert data["rules"] == rules
    assert (data["allowed_models"], data["ignored_models"], data["enforce_zdr"]) == (["a/*"], ["a/b"], True)
    assert (data["limit_usd"], data["reset_interval"]) == (20, "monthly")


async def test_a_change_changes_what_it_names(router: Running) -> None:
    id = (await made(router, limit_usd=5, reset_interval="daily", rules={"max_monthly_spend": 50}))["id"]

    for change, limits in (
        ({"limit_usd": 6}, (6, "daily", 6, 50)),
        ({"reset_interval": None}, (6, None, None, 50)),
        ({"rules": {"max_monthly_spend": None}}, (6, None, None, None)),
        ({"rules": {"max_daily_spend": 1}}, (6, None, 1, None)),
        ({"limit_usd": None}, (1, "daily", 1, None)),
        ({"name": "other", "allowed_models": ["x"]}, (1, "daily", 1, None)),
    ):
        data = (await ask(router, "PATCH", f"{ALL}/{id}", change))["data"]
        rules = data["rules"]
        shown = (data["limit_usd"], data["reset_interval"], rules["max_daily_spend"], rules["max_monthly_spend"])
        assert shown == limits, change
    assert (data["name"], data["allowed_models"]) == ("other", ["x"])
    assert data["updated_at"] is not None
    cleared = await ask(router, "PATCH", f"{ALL}/{id}", {"allowed_models": None})
    assert cleared["data"]["rules"]["allowed_models"] is None


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"name": ""}, "name"),
        ({"nmae": "x"}, "nmae"),
        ({"allowed_models": []}, "allowed_models"),
        ({"allowed_models": ["a"], "rules": {"allowed_models": ["b"]}}, "allowed_models"),
        ({"limit_usd": 1, "reset_interval": "daily", "rules": {"max_daily_spend": 2}}, "limit_usd"),
        ({"limit_usd": -1}, "limit_usd"),
        ({"reset_interval": "yearly"}, "reset_interval"),
        ({"workspace_id": "nowhere"}, "workspace_id"),
        ({"content_filter_builtins": [{"slug": "person-name", "action": "redact"}]}, "content_filter_builtins"),
        ({"content_filters": [{"pattern": "x", "action": "burn"}]}, "content_filters[0].action"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(
    router: Running, settings: dict[str, Any], param: str
) -> None:
    refused = await ask(router, "POST", ALL, {"name": "g", **settings}, status=400)

    assert refused["error"]["param"] == param


@pytest.mark.parametrize(
    "pattern", ["(a+)+", "(?=x)", "(?<!x)y", r"(a)\1", "a**", "(", ")", "[a", "a{2000}", "x" * 100_001]
)
async def test_a_pattern_that_is_not_supported_is_refused(router: Running, pattern: str) -> None:
    body = {"name": "g", "content_filters": [{"pattern": pattern, "action": "block"}]}
    refused = await ask(router, "POST", ALL, body, status=400)

    assert refused["error"]["code"] == "invalid_regex_pattern"
    assert (await ask(router, "GET", ALL))["total_count"] == 0


async def test_changes_at_the_same_time_are_all_made(router: Running) -> None:
    id = (await made(router))["id"]

    bodies = [{"limit_usd": 5}, {"allowed_models": ["echo/*"]}, {"enforce_zdr": True}, {"description": "d"}]
    await asyncio.gather(*(ask(router, "PATCH", f"{ALL}/{id}", body) for body in bodies))

    data = (await ask(router, "GET", f"{ALL}/{id}"))["data"]
    assert (data["limit_usd"], data["allowed_models"], data["enforce_zdr"]) == (5, ["echo/*"], True)
    assert data["description"] == "d"


async def test_one_that_is_not_there(router: Running) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/keys"), ("GET", "/assignments/members")):
        await ask(router, method, f"{ALL}/grd_nothing{path}", {}, status=404)


async def test_the_guardrail_of_a_workspace_is_there_when_it_is_written(router: Running) -> None:
    workspace = (await ask(router, "GET", "/api/v1/workspaces/default"))["data"]
    path = f"{ALL}/{workspace['default_guardrail_id']}"

    assert (await ask(router, "GET", path))["data"]["allowed_models"] is None
    assert (await ask(router, "GET", ALL))["total_count"] == 0
    await ask(router, "PATCH", path, {"allowed_models": ["echo/*"]})
    assert [each["id"] for each in (await ask(router, "GET", ALL))["data"]] == [workspace["default_guardrail_id"]]
    await ask(router, "POST", f"{path}/keys", {"keys": []}, status=400)
    await ask(router, "DELETE", path)
    assert (await ask(router, "GET", path))["data"]["allowed_models"] is None


# --- assignments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["keys", "assignments/keys"])
@pytest.mark.parametrize("word", ["key_hashes", "keys", "ids"])
async def test_a_key_has_one_guardrail_and_the_next_takes_its_place(router: Running, path: str, word: str) -> None:
    first, second, own = await made(router), await made(router), await key(router)

    assert await ask(router, "POST", f"{ALL}/{first['id']}/{path}", {word: [own["hash"]]}) == {"assigned_count": 1}
    assert await ask(router, "POST", f"{ALL}/{first['id']}/{path}", {word: [own["hash"]]}) == {"assigned_count": 0}
    assert await ask(router, "POST", f"{ALL}/{second['id']}/{path}", {word: [own["id"]]}) == {"assigned_count": 1}

    assert (await ask(router, "GET", f"{ALL}/{first['id']}/{path}"))["total_count"] == 0
    found = await ask(router, "GET", f"{ALL}/{second['id']}/{path}")
    (assignment,) = found["data"]
    assert found == await ask(router, "GET", f"{ALL}/assignments/keys")
    assert (assignment["key_hash"], assignment["key_name"], assignment["guardrail_id"]) == (
        own["hash"],
        "k",
        second["id"],
    )
    assert router.server.keys.get(own["hash"]).guardrail_id == second["id"]  # type: ignore[union-attr]
    removed = await ask(router, "POST", f"{ALL}/{first['id']}/{path}/remove", {word: [own["hash"]]})
    assert removed == {"unassigned_count": 0}
    removed = await ask(router, "POST", f"{ALL}/{second['id']}/{path}/remove", {word: [own["hash"]]})
    assert removed == {"unassigned_count": 1}
    assert (await ask(router, "GET", f"/api/v1/keys/{own['hash']}"))["data"]["guardrail_id"] is None


async def test_a_setting_of_the_key_is_an_assignment_too(router: Running) -> None:
    id = (await made(router))["id"]

    own = await key(router, guardrail_id=id)
    rotated = await ask(router, "POST", f"/api/v1/keys/{own['hash']}/rotate", {"grace_seconds": 60})

    (assignment,) = (await ask(router, "GET", f"{ALL}/{id}/keys"))["data"]
    assert assignment["key_hash"] == rotated["data"]["hash"]
    await ask(router, "PATCH", f"/api/v1/keys/{rotated['data']['hash']}", {"guardrail_id": None})
    assert (await ask(router, "GET", f"{ALL}/{id}/keys"))["data"] == []
    refused = await ask(router, "POST", "/api/v1/keys", {"name": "other", "guardrail_id": "grd_0"}, status=400)
    assert refused["error"]["param"] == "guardrail_id"


async def test_assignments_in_pages(router: Running) -> None:
    id = (await made(router))["id"]
    hashes = [(await key(router, name=f"k{number}"))["hash"] for number in range(5)]
    assert await ask(router, "POST", f"{ALL}/{id}/keys", {"key_hashes": hashes}) == {"assigned_count": 5}

    pages = [await ask(router, "GET", f"{ALL}/{id}/keys?limit=2&offset={offset}") for offset in (0, 2, 4)]

    assert [each["key_hash"] for page in pages for each in page["data"]] == hashes[::-1]
    assert {page["total_count"] for page in pages} == {5}


@pytest.mark.parametrize("word", ["member_user_ids", "user_ids", "members"])
async def test_members(router: Running, word: str) -> None:
    first, second = (await made(router))["id"], (await made(router))["id"]

    assert await ask(router, "POST", f"{ALL}/{first}/members", {word: ["local", "other"]}) == {"assigned_count": 2}
    assert await ask(router, "POST", f"{ALL}/{second}/assignments/members", {word: ["local"]}) == {"assigned_count": 1}

    (own,) = (await ask(router, "GET", f"{ALL}/{second}/assignments/members"))["data"]
    assert (own["user_id"], own["organization_id"], own["guardrail_id"]) == ("local", "local", second)
    assert (await ask(router, "GET", f"{ALL}/assignments/members"))["total_count"] == 2
    removed = await ask(router, "POST", f"{ALL}/{second}/assignments/members/remove", {word: ["local", "other"]})
    assert removed == {"unassigned_count": 1}


@pytest.mark.parametrize("body", [{}, {"key_hashes": None}, {"key_hashes": [], "keys": []}, {"hashes": []}])
async def test_keys_have_to_be_named_once(router: Running, body: Any) -> None:
    id = (await made(router))["id"]

    await ask(router, "POST", f"{ALL}/{id}/keys", body, status=400)


async def test_an_unknown_key_spoils_the_whole_assignment(router: Running) -> None:
    id, own = (await made(router))["id"], await key(router)

    await ask(router, "POST", f"{ALL}/{id}/keys", {"keys": [own["hash"], "nothing"]}, status=404)

    assert (await ask(router, "GET", f"{ALL}/{id}/keys"))["total_count"] == 0


async def test_a_guardrail_that_goes_is_taken_from_whoever_had_it(router: Running) -> None:
    id, own = (await made(router))["id"], await key(router)
    await ask(router, "POST", f"{ALL}/{id}/keys", {"keys": [own["hash"]]})
    await ask(router, "POST", f"{ALL}/{id}/members", {"members": ["local"]})

    assert await ask(router, "DELETE", f"{ALL}/{id}") == {"deleted": True}

    await ask(router, "GET", f"{ALL}/{id}", status=404)
    assert router.server.keys.get(own["hash"]).guardrail_id is None  # type: ignore[union-attr]
    for kind in ("keys", "members"):
        assert (await ask(router, "GET", f"{ALL}/assignments/{kind}"))["total_count"] == 0


async def test_every_change_is_on_record(router: Running) -> None:
    id, own = (await made(router))["id"], await key(router)
    await ask(router, "PATCH", f"{ALL}/{id}", {"limit_usd": 3})
    await ask(router, "POST", f"{ALL}/{id}/keys", {"keys": [own["hash"]]})
    await ask(router, "DELETE", f"{ALL}/{id}")

    rows = await router.server.database.all(
        "SELECT action, target, detail FROM audit WHERE action LIKE 'guardrail%' ORDER BY seq"
    )

    assert [(action, target) for action, target, _ in rows] == [
        ("guardrail.create", id),
        ("guardrail.update", id),
        ("guardrail.assign_keys", id),
        ("guardrail.delete", id),
    ]
    assert msgspec.json.decode(rows[1][2]) == {"limit_usd": 3}
