"""Keys by way of the API: made, listed, changed, given a new secret and taken away, and that each change holds at once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from router.identity import MANAGEMENT_SCOPES
from router.testing import Running
from tests.clients.required import assert_complete

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
ASK = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


async def ask(
    router: Running, method: str, path: str, body: Any = None, *, key: str | None = None, status: int = 200
) -> Any:
    """Ask with the management key; the answer's JSON."""
    headers = {"Authorization": f"Bearer {key or router.management}"}
    async with router.session.request(method, router.url + path, json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def made(router: Running, **settings: Any) -> Any:
    return await ask(router, "POST", "/api/v1/keys", {"name": "new", **settings}, status=201)


async def guardrail(router: Running) -> str:
    return (await ask(router, "POST", "/api/v1/guardrails", {"name": "g"}, status=201))["data"]["id"]


async def workspace(router: Running) -> str:
    return (await ask(router, "POST", "/api/v1/workspaces", {"name": "W"}, status=201))["data"]["id"]


async def called(router: Running, key: str) -> int:
    return (await router.post("/v1/chat/completions", ASK, key=key)).status


# --- new ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/keys", "/v1/keys", "/api/v1/auth/keys", "/v1/auth/keys"])
async def test_a_key_is_made_and_shown_once(router: Running, path: str) -> None:
    answer = await router.post(path, {"name": "new"}, key=router.management)
    found = await answer.json()

    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    assert found.keys() == {"data", "key", "hash", "name"}
    assert (found["hash"], found["name"]) == (found["data"]["hash"], "new")
    assert_complete("CreateKeysData", found["data"])
    assert await called(router, found["key"]) == 200
    listed = await router.get("/api/v1/keys", key=router.management)
    assert found["hash"] in await listed.text()
    assert found["key"] not in await listed.text()


async def test_all_settings_are_kept_and_shown(router: Running) -> None:
    settings = {
        "label": "for tests",
        "limit": 2.5,
        "limit_reset": "weekly",
        "include_byok_in_limit": True,
        "expires_at": TOMORROW.isoformat(),
        "allowed_providers": ["echo"],
        "allowed_models": ["echo/*"],
        "allowed_endpoints": ["/chat/completions"],
        "scopes": ["inference", "models:read"],
        "tags": ["a", "b"],
        "default_model": "echo/echo",
        "compat": {"error_code": "number"},
        "guardrail_id": await guardrail(router),
        "workspace_id": await workspace(router),
        "creator_user_id": "somebody",
    }
    limits = {"requests_per_minute": 5, "tokens_per_minute": 6000, "requests_per_day": 70, "max_parallel": 8}

    data = (await made(router, **settings, rate_limit=limits))["data"]

    assert data.pop("expires_at") == TOMORROW.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert {name: data[name] for name in settings if name != "expires_at"} == {
        name: value for name, value in settings.items() if name != "expires_at"
    }
    assert {name: data["rate_limit"][name] for name in limits} == limits
    assert data["rate_limit"]["requests"] == 5
    assert (data["limit_remaining"], data["key_type"], data["can_reveal"]) == (2.5, "regular", False)
    assert (data["usage"], data["last_used_at"], data["updated_at"]) == (0, None, None)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"limit_usd": 3}, {"limit": 3}),
        ({"limit": 3, "limit_usd": 3.0}, {"limit": 3}),
        ({"limit": 0}, {"limit": 0, "limit_remaining": 0}),
        ({"limit": None, "limit_reset": None, "expires_at": None, "scopes": None}, {"limit": None, "expires_at": None}),
        ({}, {"workspace_id": "default", "limit": None, "disabled": False, "tags": []}),
        ({"expires_at": "2999-01-02"}, {"expires_at": "2999-01-02T00:00:00.000Z"}),
        ({"expires_at": "2999-01-02T03:00:00+03:00"}, {"expires_at": "2999-01-02T00:00:00.000Z"}),
        ({"disabled": True}, {"disabled": True}),
        ({"scopes": []}, {"scopes": []}),
    ],
)
async def test_forms_of_settings(router: Running, settings: dict[str, Any], shown: dict[str, Any]) -> None:
    data = (await made(router, **settings))["data"]

    assert {name: data[name] for name in shown} == shown


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({"rpm": 5, "tpm": 6, "rpd": 7, "max_parallel": 8}, (5, 6, 7, 8)),
        ({"rate_limit": {"requests": 5}}, (5, -1, -1, -1)),
        ({"rate_limit": {"requests": 5, "interval": "1d"}}, (-1, -1, 5, -1)),
        ({"rate_limit": {"requests_per_minute": 5}, "rpm": 5, "rpd": 7}, (5, -1, 7, -1)),
        ({"rate_limit": None}, (-1, -1, -1, -1)),
    ],
)
async def test_forms_of_limits(router: Running, settings: dict[str, Any], limits: tuple[int, ...]) -> None:
    found = (await made(router, **settings))["data"]["rate_limit"]

    names = ("requests_per_minute", "tokens_per_minute", "requests_per_day", "max_parallel")
    assert tuple(found[name] for name in names) == limits


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"limit": -1}, "limit"),
        ({"limit": 5e9}, "limit"),
        ({"limit": "1"}, "limit"),
        ({"limit": 1, "limit_usd": 2}, "limit"),
        ({"limit_reset": "hourly"}, "limit_reset"),
        ({"expires_at": "2001-01-01"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": 4_000_000_000}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59-12:00"}, "expires_at"),
        ({"label": "a\x1b[2J"}, "label"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["keys:manage"]}, "scopes"),
        ({"scopes": ["inference"], "key_type": "management"}, "scopes"),
        ({"key_type": "root"}, "key_type"),
        ({"rpm": -2}, "rpm"),
        ({"rpm": 1.5}, "rpm"),
        ({"rate_limit": {"requests": 5, "requests_per_minute": 6}}, "rate_limit"),
        ({"rate_limit": {"requests": 5, "interval": "1h"}}, "rate_limit.interval"),
        ({"tags": ["x"] * 17}, "tags"),
        ({"allowed_endpoints": ["chat"]}, "allowed_endpoints"),
        ({"allowed_models": "echo"}, "allowed_models"),
        ({"compat": {"error_code": "roman"}}, "compat"),
        ({"compat": {"colour": "red"}}, "compat"),
        ({"limmit": 1}, "limmit"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(router: Running, settings: dict[str, Any], param: str) -> None:
    error = await ask(router, "POST", "/api/v1/keys", {"name": "new", **settings}, status=400)

    assert error["error"]["param"] == param


async def test_a_key_without_a_name_is_refused(router: Running) -> None:
    for path in ("/api/v1/keys", "/api/v1/auth/keys"):
        assert (await ask(router, "POST", path, {}, status=400))["error"]["param"] == "name"


async def test_names_are_unique_among_live_keys(router: Running) -> None:
    first = await made(router)

    assert (await ask(router, "POST", "/api/v1/keys", {"name": "new"}, status=409))["error"]["code"] == "conflict"
    other = await made(router, name="other")
    await ask(router, "PATCH", f"/api/v1/keys/{other['hash']}", {"name": "new"}, status=409)
    await ask(router, "DELETE", f"/api/v1/keys/{first['hash']}")
    await made(router)


# --- all of them -----------------------------------------------------------------------------------------------------


async def test_keys_are_listed_page_by_page_newest_first(router: Running) -> None:
    for number in range(5):
        await made(router, name=f"key {number}")

    pages, path = [], "/api/v1/keys?page_size=3"
    while path:
        page = await ask(router, "GET", path)
        pages.append([each["name"] for each in page["data"]])
        assert page["total_count"] == 7
        path = page["next_page_token"] and f"/api/v1/keys?limit=3&page_token={page['next_page_token']}"

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in page][:5] == [f"key {number}" for number in reversed(range(5))]
    part = await ask(router, "GET", "/api/v1/keys?offset=1&limit=2")
    assert [each["name"] for each in part["data"]] == ["key 3", "key 2"]
    assert (await ask(router, "GET", "/api/v1/keys?offset=7"))["data"] == []


async def test_keys_that_are_disabled_are_listed_where_they_are_asked_for(router: Running) -> None:
    await made(router, disabled=True)

    without = await ask(router, "GET", "/api/v1/keys")
    whole = await ask(router, "GET", "/api/v1/keys?include_disabled=true")

    assert (without["total_count"], whole["total_count"]) == (2, 3)
    assert whole["data"][0]["disabled"]


async def test_keys_that_are_over_are_left_out_where_nobody_wants_them(router: Running) -> None:
    new = await made(router)
    await router.server.database.write(("UPDATE key SET expires_unix = 1 WHERE hash = ?", (new["hash"],)))

    assert (await ask(router, "GET", "/api/v1/keys"))["total_count"] == 3
    assert (await ask(router, "GET", "/api/v1/keys?include_expired=false"))["total_count"] == 2


async def test_keys_of_a_workspace(router: Running) -> None:
    id = await workspace(router)
    await made(router, workspace_id=id)

    own = await ask(router, "GET", f"/api/v1/keys?workspace_id={id}")
    by_slug = await ask(router, "GET", "/api/v1/keys?workspace_id=w")
    default = await ask(router, "GET", "/api/v1/keys?workspace_id=default")

    assert [each["name"] for each in own["data"]] == ["new"]
    assert by_slug == own
    assert default["total_count"] == 2


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "offset=-1", "include_disabled=perhaps", "page_token=x"),
        "page_token=WzEsOTk5OTk5OTk5OTk5OTk5OTk5OTld",  # [1,99999999999999999999]
    ],
)
async def test_pages_that_make_no_sense(router: Running, query: str) -> None:
    error = await ask(router, "GET", f"/api/v1/keys?{query}", status=400)

    assert error["error"]["param"] == query.partition("=")[0]


async def test_one_key_is_found_by_hash_and_id(router: Running) -> None:
    data = (await made(router))["data"]

    for reference in (data["hash"], data["id"]):
        assert (await ask(router, "GET", f"/api/v1/keys/{reference}"))["data"] == data
    for reference in ("new", data["label"], "0" * 64):
        await ask(router, "GET", f"/api/v1/keys/{reference}", status=404)


async def test_a_key_shows_what_it_has_used(router: Running) -> None:
    new = await made(router)
    await called(router, new["key"])

    used = (await ask(router, "GET", f"/api/v1/keys/{new['hash']}"))["data"]["last_used_at"]

    assert abs(datetime.fromisoformat(used).timestamp() - time.time()) < 60


# --- changes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_what_is_named_is_changed_and_nothing_else(router: Running, method: str) -> None:
    new = await made(router, limit=5, limit_reset="daily", rpm=7, tags=["a"], label="mine")
    path = f"/api/v1/keys/{new['hash']}"

    changed = (await ask(router, method, path, {"limit": 6}))["data"]
    cleared = (await ask(router, method, path, dict.fromkeys(("limit", "limit_reset", "rpm", "tags", "label"))))["data"]

    assert (changed["limit"], changed["limit_reset"], changed["tags"]) == (6, "daily", ["a"])
    assert (changed["rate_limit"]["requests"], changed["label"]) == (7, "mine")
    assert (cleared["limit"], cleared["limit_reset"], cleared["tags"]) == (None, None, [])
    assert (cleared["rate_limit"]["requests"], cleared["name"]) == (-1, "new")
    assert cleared["label"] == f"{new['key'][:12]}...{new['key'][-3:]}"
    assert cleared["updated_at"] is not None


async def test_changes_hold_at_once(router: Running) -> None:
    new = await made(router)
    path = f"/api/v1/keys/{new['hash']}"

    for change, status in (
        ({"disabled": True}, 401),
        ({"disabled": False}, 200),
        ({"limit": 0}, 402),
        ({"limit": None}, 200),
        ({"allowed_models": ["openai/*"]}, 403),
        ({"allowed_models": None, "scopes": ["models:read"]}, 403),
        ({"scopes": ["inference"]}, 200),
        ({"rpm": 0}, 429),
        ({"rpm": None}, 200),
    ):
        await ask(router, "PATCH", path, change)
        assert await called(router, new["key"]) == status, change


@pytest.mark.parametrize("path", ["/api/v1/keys/{hash}", "/api/v1/auth/keys/{hash}", "/v1/auth/keys/{id}"])
async def test_a_key_is_taken_away(router: Running, path: str) -> None:
    new = await made(router)
    path = path.format(**new["data"])

    gone = await ask(router, "DELETE", path)

    assert gone == {"deleted": True, "data": {"deleted": True}}
    assert await called(router, new["key"]) == 401
    await ask(router, "DELETE", path, status=404)


async def test_a_key_that_is_called_like_the_hash_of_another_does_not_stand_before_it(router: Running) -> None:
    new = await made(router)
    other = await made(router, name=new["hash"])

    await ask(router, "DELETE", f"/api/v1/keys/{new['hash']}")

    assert [await called(router, key) for key in (new["key"], other["key"])] == [401, 200]


async def test_a_key_gets_a_new_secret_with_the_same_settings(router: Running) -> None:
    new = await made(router, rpm=50, label="mine")

    rotated = await ask(router, "POST", f"/api/v1/keys/{new['hash']}/rotate")
    again = await ask(router, "POST", f"/api/v1/keys/{new['data']['id']}/rotate", {"grace_seconds": 60})

    assert [await called(router, key) for key in (new["key"], rotated["key"], again["key"])] == [401, 200, 200]
    assert again["data"]["rate_limit"]["requests"] == 50
    assert (again["data"]["id"], again["data"]["label"]) == (new["data"]["id"], "mine")
    await ask(router, "POST", f"/api/v1/keys/{again['data']['hash']}/rotate", {"grace_seconds": -1}, status=400)


async def test_a_secret_in_its_grace_is_disabled_and_restricted_too(router: Running) -> None:
    new = await made(router)
    rotated = await ask(router, "POST", f"/api/v1/keys/{new['hash']}/rotate", {"grace_seconds": 60})
    path = f"/api/v1/keys/{rotated['data']['hash']}"

    await ask(router, "PATCH", path, {"allowed_models": ["openai/*"]})
    assert await called(router, new["key"]) == 403
    await ask(router, "PATCH", path, {"disabled": True})
    assert await called(router, new["key"]) == 401
    await ask(router, "PATCH", path, {"disabled": False, "allowed_models": None, "expires_at": "2999-01-01"})
    found = router.server.keys.get(new["hash"])
    assert found is not None
    assert found.expires_unix is not None
    assert found.expires_unix < time.time() + 61


async def test_no_key_is_ever_revealed(router: Running) -> None:
    new = await made(router)

    error = await ask(router, "POST", f"/api/v1/keys/{new['hash']}/reveal", status=409)

    assert error["error"]["code"] == "not_revealable"
    await ask(router, "POST", "/api/v1/keys/nobody/reveal", status=404)


# --- who may ---------------------------------------------------------------------------------------------------------


async def test_a_management_key_is_made_and_cannot_make_calls(router: Running) -> None:
    boss = await made(router, key_type="management")

    assert boss["data"]["scopes"] == sorted(MANAGEMENT_SCOPES)
    assert boss["key"].startswith("sk-rt-mgmt-v1-")
    assert await called(router, boss["key"]) == 403
    await ask(router, "GET", "/api/v1/keys", key=boss["key"])
    error = await ask(router, "PATCH", f"/api/v1/keys/{boss['hash']}", {"key_type": "regular"}, status=400)
    assert error["error"]["param"] == "key_type"


async def test_nobody_gets_more_rights_by_way_of_another_key(router: Running) -> None:
    small = await made(router, name="small", key_type="management", scopes=["keys:manage"])
    boss = await made(router, name="boss", key_type="management")
    path = f"/api/v1/keys/{boss['hash']}"

    for method, where, body in (
        ("POST", "/api/v1/keys", {"name": "x", "key_type": "management", "scopes": ["keys:manage", "logs:read"]}),
        ("PATCH", f"/api/v1/keys/{small['hash']}", {"scopes": ["keys:manage", "billing:manage"]}),
        ("POST", "/api/v1/keys", {"name": "x", "scopes": ["logs:read"]}),
        ("PATCH", path, {"disabled": True}),
        ("POST", f"{path}/rotate", None),
        ("DELETE", path, None),
    ):
        error = await ask(router, method, where, body, key=small["key"], status=403)
        assert "lacks the scope" in error["error"]["message"]

    like_it = {"name": "x", "key_type": "management"}
    same = await ask(router, "POST", "/api/v1/keys", like_it, key=small["key"], status=201)
    assert same["data"]["scopes"] == ["keys:manage"]
    plain = await ask(router, "POST", "/api/v1/keys", {"name": "y"}, key=small["key"], status=201)
    await ask(router, "POST", f"/api/v1/keys/{plain['hash']}/rotate", key=small["key"])


async def test_every_change_is_on_record_without_secrets(router: Running) -> None:
    new = await made(router, limit=1)
    path = f"/api/v1/keys/{new['hash']}"
    await ask(router, "PATCH", path, {"disabled": True})
    rotated = await ask(router, "POST", f"{path}/rotate")
    await ask(router, "DELETE", f"/api/v1/keys/{rotated['data']['hash']}")
    await ask(router, "POST", "/api/v1/keys", {"name": "inference"}, status=409)

    rows = await router.server.database.all("SELECT action, target, actor, detail FROM audit ORDER BY seq")

    boss = router.server.keys.find(router.management)
    assert boss is not None
    mine = [row for row in rows if row[2] == boss.hash]
    assert [row[:2] for row in mine] == [
        ("key.create", new["hash"]),
        ("key.update", new["hash"]),
        ("key.rotate", rotated["data"]["hash"]),
        ("key.delete", rotated["data"]["hash"]),
    ]
    assert msgspec.json.decode(mine[0][3])["limit"] == 1
    assert msgspec.json.decode(mine[1][3]) == {"disabled": True}
    assert new["key"] not in str(rows)
    assert rotated["key"] not in str(rows)
