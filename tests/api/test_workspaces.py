"""Workspaces and their budgets by way of the API, and the one local user."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.testing import Running

from .test_guardrails import Start, ask, router

ALL = "/api/v1/workspaces"
__all__ = ["Start", "router"]


async def made(router: Running, **settings: Any) -> Any:
    return (await ask(router, "POST", ALL, {"name": "Lab No. 1", **settings}, status=201))["data"]


async def test_one_is_there_from_the_beginning(router: Running) -> None:
    found = await ask(router, "GET", ALL)

    (workspace,) = found["data"]
    assert (workspace["id"], workspace["slug"], found["total_count"]) == ("default", "default", 1)
    await ask(router, "DELETE", f"{ALL}/default", status=409)


async def test_a_new_one_is_found_by_id_and_slug(router: Running) -> None:
    workspace = await made(router, description="for tests", default_text_model="echo/echo")

    assert (workspace["slug"], workspace["description"], workspace["created_by"]) == ("lab-no-1", "for tests", "local")
    assert workspace["default_text_model"] == "echo/echo"
    for reference in (workspace["id"], "lab-no-1"):
        assert (await ask(router, "GET", f"{ALL}/{reference}"))["data"] == workspace
    await ask(router, "POST", ALL, {"name": "other", "slug": "lab-no-1"}, status=409)
    await ask(router, "GET", f"{ALL}/nothing", status=404)


async def test_a_change_changes_what_it_names(router: Running) -> None:
    id = (await made(router, description="x", default_text_model="m"))["id"]

    changed = (await ask(router, "PATCH", f"{ALL}/{id}", {"name": "n", "default_text_model": None}))["data"]

    assert (changed["name"], changed["slug"], changed["description"]) == ("n", "lab-no-1", "x")
    assert changed["default_text_model"] is None
    assert changed["updated_at"] is not None


@pytest.mark.parametrize("settings", [{"name": ""}, {"slug": "No"}, {"slug": "a--b"}, {"colour": 1}, {"name": "???"}])
async def test_what_makes_no_sense_is_refused(router: Running, settings: dict[str, Any]) -> None:
    await ask(router, "POST", ALL, {"name": "w", **settings}, status=400)


async def test_only_an_empty_one_can_be_deleted(router: Running) -> None:
    id = (await made(router))["id"]
    key = (await ask(router, "POST", "/api/v1/keys", {"name": "k", "workspace_id": "lab-no-1"}, status=201))["data"]
    assert key["workspace_id"] == id

    refused = await ask(router, "DELETE", f"{ALL}/{id}", status=409)
    assert "1 keys" in refused["error"]["message"]
    await ask(router, "DELETE", f"/api/v1/keys/{key['hash']}")
    assert await ask(router, "DELETE", f"{ALL}/{id}") == {"deleted": True}
    await ask(router, "POST", "/api/v1/keys", {"name": "k", "workspace_id": id}, status=400)


async def test_a_longer_budget_is_always_greater(router: Running) -> None:
    path = f"{ALL}/default/budgets"
    await ask(router, "PUT", f"{path}/weekly", {"limit_usd": 10})

    for interval, limit in (("daily", 10), ("daily", 11), ("monthly", 10), ("lifetime", 9.99)):
        refused = await ask(router, "PUT", f"{path}/{interval}", {"limit_usd": limit}, status=400)
        assert refused["error"]["param"] == "limit_usd"
    for interval, limit in (("daily", 2), ("lifetime", 100), ("monthly", 50)):
        data = (await ask(router, "PUT", f"{path}/{interval}", {"limit_usd": limit}))["data"]
        assert data["limit_usd"] == limit
    await ask(router, "PUT", f"{path}/monthly", {"limit_usd": 100}, status=400)
    listed = await ask(router, "GET", path)
    assert [(each["reset_interval"], each["limit_usd"]) for each in listed["data"]] == [
        (None, 100),
        ("monthly", 50),
        ("weekly", 10),
        ("daily", 2),
    ]


async def test_budgets_that_are_set_at_the_same_time_are_compared_too(router: Running) -> None:
    path = f"{ALL}/default/budgets"
    headers = {"Authorization": f"Bearer {router.management}"}

    async def put(interval: str, limit: int) -> int:
        body = {"limit_usd": limit}
        async with router.session.put(f"{router.url}{path}/{interval}", json=body, headers=headers) as answer:
            return answer.status

    statuses = await asyncio.gather(put("weekly", 2), put("daily", 9))

    assert sorted(statuses) == [200, 400]


async def test_a_budget_is_set_again_and_dropped(router: Running) -> None:
    path = f"{ALL}/default/budgets/daily"
    first = await ask(router, "PUT", path, {"limit_usd": 1, "include_byok_in_budgets": True})
    second = await ask(router, "PUT", path, {"limit_usd": 2})

    assert (second["data"]["id"], second["data"]["limit_usd"]) == (first["data"]["id"], 2)
    assert second["include_byok_in_budgets"] is True
    assert await ask(router, "GET", path) == second
    assert await ask(router, "DELETE", path) == {"deleted": True}
    await ask(router, "GET", path, status=404)
    await ask(router, "DELETE", path, status=404)
    await ask(router, "PUT", f"{ALL}/default/budgets/yearly", {"limit_usd": 1}, status=400)
    await ask(router, "PUT", path, {"limit_usd": 0}, status=400)


async def test_the_local_user_is_everybody(router: Running) -> None:
    people = await ask(router, "GET", "/api/v1/organization/members")
    members = await ask(router, "GET", f"{ALL}/default/members")

    assert [(each["id"], each["role"]) for each in people["data"]] == [("local", "org:admin")]
    assert [(each["user_id"], each["role"]) for each in members["data"]] == [("local", "admin")]
    added = await ask(router, "POST", f"{ALL}/default/members/add", {"user_ids": ["local"]})
    assert (added["added_count"], added["data"]) == (0, members["data"])
    await ask(router, "POST", f"{ALL}/default/members/add", {"user_ids": ["nobody"]}, status=404)
    await ask(router, "POST", f"{ALL}/default/members/remove", {"user_ids": ["local"]}, status=409)
