"""The router's own API: everything under /v1 and /api/v1 that is not a dialect.

A module here defines handlers and lists them in `ROUTES`; `app` mounts them under every prefix, checks the credential and the scope
before a handler runs, and prints errors. A handler gets the `Request`, and where it has parameters `body` or `query` the request's
JSON and query as what these are annotated with (`typed`). It returns a Struct or something else that JSON can hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct, field

from ..call import TRACE_HEADERS, Call, encode_json
from ..identity import Identity
from ..store.audit import Change

if TYPE_CHECKING:
    from ..server import Server

PREFIXES = ("/v1", "/api/v1")


class Request(Struct, kw_only=True):
    """What a handler gets. `identity` is None on public routes only; `raw` is the body of those that take one as JSON."""

    server: Server
    http: web.Request
    id: str = ""
    raw: bytes = b""
    identity: Identity | None = None
    #: set by a handler whose success is not always that of its route
    status: int | None = None
    #: what changes under an idempotency key are known by
    claim: str | None = None

    @property
    def caller(self) -> Identity:
        """Who calls, on a route that needs a key."""
        assert self.identity is not None
        return self.identity

    @property
    def origin(self) -> str:
        """Where links that we give out begin. `X-Forwarded-…`, which anybody can send, counts for nothing."""
        return self.server.settings.server.public_url or str(self.http.url.origin())

    @property
    def call(self) -> Call:
        """The request as a call, for what depends on who makes it."""
        server, http = self.server, self.http
        call = Call(
            dialect=server.dialects[0],
            body=b"",
            headers=http.headers,
            path=http.match_info,
            presented=None,
            started_s=server.clock.monotonic(),
            operation="api",
            asked_path=http.path,
        )
        call.server, call.identity = server, self.identity
        return call

    def change(self, action: str, target: str, **detail: Any) -> Change:
        """What this request changes, for the record (`store.audit`)."""
        headers = self.http.headers
        trace_id = next((headers[name][:256] for name in TRACE_HEADERS if name in headers), None)
        return Change(
            action=action,
            target=target,
            actor=self.identity.hash if self.identity is not None else "",
            request_id=self.id,
            trace_id=trace_id,
            claim=self.claim,
            detail=detail,
        )


Handler = Callable[..., Awaitable[Any]]


class Route(Struct, kw_only=True):
    """One route. `scope`: a scope of the contract, "any" (any valid key) or "public" (no key). A client may keep the answer
    for `keep_s` seconds. `status` is that of a success. `personal`: the answer depends on the key, so that one is needed even where
    `auth.public_models` shows the models to everybody. `once`: the header `Idempotency-Key` counts. `alone`: one such
    request at a time, since it reads what it changes. `answers`: the forms of its
    answers by status, where the annotation of the handler does not tell. A Struct so that tests can list them."""

    method: str
    path: str
    handler: Handler
    scope: str
    prefixes: tuple[str, ...] = field(default_factory=lambda: PREFIXES)
    keep_s: int = 0
    status: int = 200
    personal: bool = False
    once: bool = False
    alone: bool = False
    answers: dict[int, Any] = field(default_factory=dict)


def json_response(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=encode_json(value), status=status, content_type="application/json", headers=headers)


#: the modules here that define routes
MODULES = (
    *(
        "admin",
        "consent",
        "credits",
        "devices",
        "endpoints",
        "generations",
        "google",
        "grants",
        "keys",
        "models",
        "openapi",
        "payments",
        "providers",
    ),
    *("reserved", "service", "simulate"),
)


def routes() -> list[Route]:
    """All routes of the router's own API. (Imported when they are asked for: they need what needs this module.)"""
    return [route for name in MODULES for route in import_module(f".{name}", __package__).ROUTES]
