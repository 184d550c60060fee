"""Handlers of the router's own API get what they are annotated with, and what does not fit is 400 with the member at fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType

from router import hookimpl
from router.api import Request, Route
from router.api.typed import given
from router.testing import Running

Start = Callable[..., Awaitable[Running]]


class Change(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=5)]
    limit: float | UnsetType | None = UNSET
    tags: list[str] = []


class Which(Struct, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    kinds: list[str] = []


class Told(Struct):
    given: dict[str, Any]
    query: dict[str, Any]


async def change(request: Request, body: Change, query: Which) -> Told:
    return Told(given=dict(given(body)), query={"limit": query.limit, "kinds": query.kinds})


class Mine:
    @hookimpl
    def router_routes(self) -> Sequence[Route]:
        return [Route(method="POST", path="/thing", handler=change, scope="any", status=201)]


@pytest.fixture
async def standing(start: Start) -> Running:
    return await start(providers={"echo": {"plugin": "echo"}}, plugins={"mine": Mine()})


async def test_body_and_query_come_as_they_are_annotated(standing: Running) -> None:
    answer = await standing.post("/v1/thing?limit=7&kinds=a,b&kinds=c&else=1", {"name": "x", "limit": None})

    assert answer.status == 201
    told = await answer.json()
    assert told == {
        "given": {"name": "x", "limit": None, "tags": []},
        "query": {"limit": 7, "kinds": ["a", "b", "c"]},
    }


@pytest.mark.parametrize(
    ("body", "query", "param"),
    [
        ({}, "", "name"),
        ({"name": 7}, "", "name"),
        ({"name": ""}, "", "name"),
        ({"name": "x", "limit": "much"}, "", "limit"),
        ({"name": "x", "tags": ["a", 1]}, "", "tags[1]"),
        ({"name": "x", "colour": "red"}, "", "colour"),
        ({"name": "x"}, "?limit=many", "limit"),
        ({"name": "x"}, "?limit=0", "limit"),
        (b"[1]", "", None),
        (b"{", "", None),
    ],
    ids=str,
)
async def test_what_does_not_fit_is_named(standing: Running, body: Any, query: str, param: str | None) -> None:
    answer = await standing.post(f"/v1/thing{query}", body)

    error = (await answer.json())["error"]
    assert (answer.status, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"


async def test_the_key_is_checked_before_the_body(standing: Running) -> None:
    answer = await standing.post("/v1/thing", b"{", key="nobody's")

    assert answer.status == 401
