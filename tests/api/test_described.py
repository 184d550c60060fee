"""That every answer in the tests is held against the document of its router: what is not as described is heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from router import hookimpl
from router.api import Request, Route
from router.testing import Running
from tests.described import described

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}


class Told(Struct):
    """What the routes below promise."""

    number: int


async def liar(request: Request) -> Told:
    """Says something else than it promises."""
    return Told(number="two")  # type: ignore[arg-type]


async def honest(request: Request) -> Told:
    """Says what it promises, with a status of its own."""
    request.status = 202 if "odd" in request.http.query else None
    return Told(number=2)


class Liars:
    """Adds both."""

    @hookimpl
    def router_routes(self, app: Any) -> list[Route]:
        """Two routes."""
        return [
            Route(method="GET", path="/liar", handler=liar, scope="any"),
            Route(method="GET", path="/honest", handler=honest, scope="any"),
        ]


@pytest.mark.parametrize(
    ("path", "breach"),
    [
        ("/v1/liar", "GET /api/v1/liar answered 200, $.number: 'two' is not of type 'integer'"),
        ("/v1/liar/", "GET /api/v1/liar answered 200, $.number: 'two' is not of type 'integer'"),
        ("/v1/honest?odd", "GET /api/v1/honest answered 202, $: False schema does not allow {'number': 2}"),
        ("/v1/honest", None),
    ],
)
async def test_what_is_not_as_described_is_heard(
    start: Start, undescribed: list[str], path: str, breach: str | None
) -> None:
    router = await start(providers=ECHO, plugins={"liars": Liars()})

    await router.get(path)

    assert undescribed == ([breach] if breach else [])
    undescribed.clear()


async def test_errors_and_all_prefixes_are_looked_at(start: Start) -> None:
    router = await start(providers=ECHO)
    fine = described(router.server).fine
    fine.clear()

    await router.get("/v1/providers")
    await router.get("/v1/generation?id=nothing")
    await router.get("/v1beta/models/echo/echo")
    await router.get("/anthropic/v1/models/nobody/nothing")

    assert {(method, path, status) for method, path, status, _ in fine} == {
        ("GET", "/api/v1/providers", 200),
        ("GET", "/api/v1/generation", 404),
        ("GET", "/v1beta/models/{id}", 200),
        ("GET", "/api/v1/models/{id}", 404),
    }


#: answers whose form is a client's API, or the description of descriptions
FREE = {
    "GET /openapi.json 200",
    "GET /api/v1/responses/{id} 200",
    "DELETE /api/v1/responses/{id} 200",
    "POST /api/v1/responses/{id}/cancel 200",
    "GET /api/v1/responses/{id}/input_items 200",
}


async def test_the_document_says_what_each_route_answers(start: Start) -> None:
    router = await start(providers=ECHO)
    free = set()
    for path, operations in described(router.server).document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema", {"$ref": "no JSON"})
                if schema.keys().isdisjoint({"$ref", "anyOf"}):
                    free.add(f"{method.upper()} {path} {status}")

    assert free == FREE
