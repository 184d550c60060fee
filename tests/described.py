"""What the routers of the tests answer is what their OpenAPI document says: every JSON answer of their own API is held against it.

The root conftest.py listens; a test whose routers answered something else fails when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import jsonschema
import msgspec
from aiohttp import web
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from router.api import openapi
from router.server import Server
from router.testing.running import observers

DOCUMENT = "urn:document"


class Described:
    """The document of one set of routes."""

    def __init__(self, server: Server) -> None:
        self.document = openapi.document(server.routes(), server.dialects)
        self.operations = {
            (route.method, openapi.plain(prefix + route.path)): openapi.shown(route.prefixes, route.path)
            for route in server.routes()
            for prefix in route.prefixes
        }
        # Looked through once, and not again for each validator.
        self._registry = Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(self.document)).crawl()
        self._judges: dict[tuple[str, str, int], Any] = {}
        #: answers that need no second look: many tests get the same
        self.fine: set[tuple[str, str, int, bytes]] = set()

    def breaches(self, method: str, route: str, status: int, body: bytes) -> list[str]:
        """What is not as described, in words."""
        path = self.operations.get((method, route))
        if path is None or (method, path, status, body) in self.fine:
            return []
        found = [
            f"{method} {path} answered {status}, {error.json_path}: {error.message[:300]}"
            for error in self.judge(method, path, status).iter_errors(msgspec.json.decode(body))
        ]
        if not found:
            self.fine.add((method, path, status, body))
        return found

    def judge(self, method: str, path: str, status: int) -> Any:
        """The validator of an answer, made once."""
        key = (method, path, status)
        if key not in self._judges:
            answers = self.document["paths"][path][method.lower()]["responses"]
            name = str(status) if str(status) in answers or status < 400 else "default"
            place = ("paths", path, method.lower(), "responses", name, "content", "application/json", "schema")
            # A status of success that the document lacks is none that may be answered, and JSON without a form neither.
            schema = {"$ref": f"{DOCUMENT}#{_pointer(place)}"} if "content" in answers.get(name, ()) else False
            self._judges[key] = jsonschema.Draft202012Validator(schema, registry=self._registry)
        return self._judges[key]


def _pointer(place: Iterable[str]) -> str:
    """RFC 6901, as a fragment."""
    return "".join("/" + quote(part.replace("~", "~0").replace("/", "~1")) for part in place)


_described: WeakKeyDictionary[Server, Described] = WeakKeyDictionary()


@cache
def _alike(routes: tuple[tuple[str, str, str], ...]) -> list[Described]:
    """Servers with the same routes share what was made of them: an empty list, or one."""
    return []


def described(server: Server) -> Described:
    """The document of a server."""
    if server not in _described:
        alike = _alike(tuple((each.method, each.path, each.handler.__qualname__) for each in server.routes()))
        if not alike:
            alike.append(Described(server))
        _described[server] = alike[0]
    return _described[server]


@contextmanager
def listening() -> Iterator[list[str]]:
    """What is not as described in the answers given inside of the block."""
    breaches: list[str] = []

    def hear(server: Server, request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        if resource is None or request.method == "HEAD" or response.content_type != "application/json":
            return
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            route = resource.canonical.rstrip("/") or "/"
            breaches.extend(described(server).breaches(request.method, route, response.status, response.body))

    observers.append(hear)
    try:
        yield breaches
    finally:
        observers.remove(hear)
