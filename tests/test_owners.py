"""What belongs to a key is there for this key and for who manages, and for no other: each lookup of it is asked by owner and stranger.

A new route with an id in its path that keys for calls may ask is written down here, or the last test fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.identity import INFERENCE_SCOPES
from router.settings import ResponsesSettings, RetentionSettings
from router.testing import Running
from tests.test_routes import ROUTES
from tests.wire.recordings import SHARED

Start = Callable[..., Awaitable[Running]]

SCOPES = INFERENCE_SCOPES | {"logs:read"}
HELLO = [{"role": "user", "content": "Hello"}]
RESPONSE = {"model": "echo/echo", "input": "Hello", "store": True}
#: method, path and body of lookups by an id; {call}, {response} and {running} are the owner's
LOOKUPS: list[tuple[str, str, Any]] = [
    ("GET", "/generation/{call}", None),
    ("GET", "/generation?id={call}", None),
    ("GET", "/generation/content?id={call}", None),
    ("POST", "/generation/feedback", {"generation_id": "{call}", "category": "latency"}),
    ("GET", "/responses/{response}", None),
    ("GET", "/responses/{response}/input_items", None),
    ("POST", "/responses", {"model": "echo/echo", "input": "and then?", "previous_response_id": "{response}"}),
    ("POST", "/responses/{running}/cancel", None),
    ("DELETE", "/responses/{response}", None),
]
#: lists of which a key sees its own part, and where their rows are; {hash} is that of the owner's key
LISTS = [
    ("/transactions", "transactions"),
    ("/transactions?api_key_hash={hash}", "transactions"),
    ("/activity", "data"),
    ("/activity?api_key_hash={hash}", "data"),
    ("/usage", "data"),
    ("/usage?api_key_hash={hash}", "data"),
    ("/logs?kind=request", "data"),
    ("/logs?kind=request&api_key_hash={hash}", "data"),
]
CONTRACT = SHARED / "spec" / "endpoints.json"
#: members of queries and bodies that name something that a key has made
OF_A_CALL = ("id", "generation_id", "previous_response_id")
#: paths whose placeholder names no object of a key: models, and what nobody serves
NOBODYS = re.compile(r"/models?/|/\{model\}|/videos/|/realtime/")


class Standing:
    """A router with two keys, and what one of them has made."""

    def __init__(self, router: Running, owner: str, stranger: str, ids: dict[str, str]) -> None:
        self.router, self.owner, self.stranger, self.ids = router, owner, stranger, ids

    async def ask(self, method: str, path: str, body: Any, key: str, **other: str) -> tuple[int, Any]:
        """Status and JSON."""
        ids = self.ids | other

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: filled(each) for name, each in value.items()}
            return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value) if isinstance(value, str) else value

        url = f"{self.router.url}/api/v1{filled(path)}"
        headers = {"Authorization": f"Bearer {key}"}
        async with self.router.session.request(method, url, json=filled(body), headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def standing(start: Start) -> Standing:
    kept: dict[str, Any] = {"responses": ResponsesSettings(store=True), "retention": RetentionSettings(content="full")}
    router = await start(providers={"echo": {"plugin": "echo"}}, **kept)
    create = router.server.keys.create
    (owner, identity), (stranger, _) = [await create(name, scopes=frozenset(SCOPES)) for name in ("owner", "stranger")]
    standing = Standing(router, owner, stranger, {"hash": identity.hash})
    _, call = await standing.ask("POST", "/chat/completions", {"model": "echo/echo", "messages": HELLO}, owner)
    _, response = await standing.ask("POST", "/responses", RESPONSE, owner)
    _, running = await standing.ask("POST", "/responses", RESPONSE | {"background": True}, owner)
    standing.ids |= {"call": call["id"], "response": response["id"], "running": running["id"]}
    return standing


@pytest.mark.parametrize(("method", "path", "body"), LOOKUPS, ids=[f"{each[0]} {each[1]}" for each in LOOKUPS])
async def test_what_belongs_to_a_key_is_not_there_for_another(
    standing: Standing, method: str, path: str, body: Any
) -> None:
    """And it cannot be told from what is nowhere."""
    nowhere = {name: f"{id[:-6]}nobody" for name, id in standing.ids.items()}

    status, told = await standing.ask(method, path, body, standing.stranger)
    missing, nothing = await standing.ask(method, path, body, standing.stranger, **nowhere)

    # OpenAI has 400 for what a request builds on and is not there.
    assert status == missing == (400 if path == "/responses" else 404)
    assert masked(told, standing.ids) == masked(nothing, nowhere)
    assert (await standing.ask(method, path, body, standing.owner))[0] == 200


def masked(told: Any, ids: dict[str, str]) -> str:
    """An error without what is another one each time."""
    text = str(told["error"])
    for id in ids.values():
        text = text.replace(id, "ID")
    return text


@pytest.mark.parametrize(("path", "rows"), LISTS)
async def test_a_key_sees_only_its_own_rows(standing: Standing, path: str, rows: str) -> None:
    own = await standing.ask("GET", path, None, standing.owner)
    status, told = await standing.ask("GET", path, None, standing.stranger)

    assert own[0] == 200
    assert status in (200, 403, 404)
    assert told.get(rows, []) == []


def asked() -> set[tuple[str, str]]:
    """Method and path of the lookups; with the member that holds the id where the path does not."""
    found = set()
    for method, path, body in LOOKUPS:
        members = [name for name, value in (body or {}).items() if str(value).startswith("{")]
        place, _, query = path.partition("?")
        found.add((method, without_names(place), *members, *(query.split("=")[:1] if query else ())))
    return found


def without_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_every_lookup_is_asked() -> None:
    """Of the routes that keys for calls may ask."""
    named = {
        (name.split(" ")[0], without_names(name.split(" ")[1]))
        for access, routes in ROUTES.items()
        if access in SCOPES or access == "any"
        for name in routes
        if "{" in name and not NOBODYS.search(name.split(" ")[1])
    }

    assert named - asked() == set(), "write these down, with what the owner has to make first"


@pytest.mark.skipif(not CONTRACT.exists(), reason=f"no contract at {CONTRACT}: set ONEBOX_SHARED to its folder")
def test_every_lookup_of_the_contract_is_asked() -> None:
    """By an id in the path, the query or the body, as far as there is something to be found."""
    served = {
        (name.split(" ")[0], without_names(name.split(" ")[1]))
        for access, routes in ROUTES.items()
        if access in SCOPES
        for name in routes
    }
    named = set()
    for each in json.loads(CONTRACT.read_text(encoding="utf-8"))["endpoints"]:
        for path in (each["path"], *each["aliases"]):
            place = each["method"], without_names(path.removeprefix("/api").removeprefix("/v1"))
            if place not in served or NOBODYS.search(path):
                continue
            members = [name for name in (*each["query"], *each["request_fields"]) if name in OF_A_CALL]
            if "{" in path:
                named.add(place)
            elif members:
                named.add((*place, *members))

    assert len(named) >= 4
    assert named - asked() == set(), "write these down, with what the owner has to make first"
