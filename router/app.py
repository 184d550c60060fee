"""The web application: every route under every prefix, and what stands around every handler."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from . import logs
from .api import PREFIXES, Request, Route, google, json_response, typed
from .builtin.explain.endpoints import split
from .call import Call, wants_number_codes
from .dialects import envelopes
from .dialects.base import Dialect
from .dialects.base import Path as DialectPath
from .dialects.gemini_embeddings import ALL_METHODS
from .errors import (
    BadRequest,
    ClientTimeout,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RouterError,
    UnsupportedMediaType,
)
from .server import IDENTITY, Server
from .sink import CREDENTIALS, UNLIMITED, HttpSink, answer_headers, cors_headers, trace_headers
from .store.errors import StoreError, is_condition
from .store.idempotency import Answer, fingerprint_of, key_of

log = logging.getLogger(__name__)

CALL = web.RequestKey("call", Call)
REQUEST_ID = web.RequestKey("request_id", str)
#: a body must arrive within so many seconds plus its size at this rate (bytes per second)
BODY_S = 30.0
SLOWEST_BODY = 64 * 1024
#: bytes of a body from somebody who has shown no key
LARGEST_UNASKED = 1024 * 1024
#: paths of our own API that end as those of a client's API do
OURS = re.compile(r"(/api)?/v1/presets/")


def application(server: Server) -> web.Application:
    """The aiohttp application with every route under every prefix."""
    app = web.Application(middlewares=[_outermost(server)], client_max_size=_max_body(server))
    paths = Paths(app)
    for dialect in server.dialects:
        for path in dialect.paths:
            make = _counting_handler if path.operation == "count_tokens" else _generation_handler
            handler = make(server, dialect, path)
            for prefix in dialect.prefixes:
                paths.add(path.method, prefix + path.path, handler)
    for prefix in PREFIXES:
        paths.add("POST", f"{prefix}/explain", _explaining_handler(server))
    for route in server.routes():
        handler = _api_handler(server, route)
        for prefix in route.prefixes:
            paths.add(route.method, prefix + route.path, handler)
    return app


class Paths:
    """The paths of an application. Each is one resource, with all its methods; where one can GET, one can ask for the HEAD alone."""

    def __init__(self, app: web.Application) -> None:
        self._router = app.router
        self._resources: dict[str, web.Resource] = {}

    def add(self, method: str, path: str, handler: Callable[[web.Request], Awaitable[Any]]) -> None:
        """A route."""
        if path not in self._resources:
            self._resources[path] = resource = (Templated if "{" in path else Fixed)(path)
            self._router.register_resource(resource)
        self._resources[path].add_route(method, handler)
        if method == "GET":
            self._resources[path].add_route("HEAD", handler)


class Fixed(web.PlainResource):
    """A path, with and without a slash at its end."""

    def _match(self, path: str) -> dict[str, str] | None:
        return _either(super()._match, path)


class Templated(web.DynamicResource):
    """A path with names in it, with and without a slash at its end."""

    def _match(self, path: str) -> dict[str, str] | None:
        return _either(super()._match, path)


def _either(match: Callable[[str], dict[str, str] | None], path: str) -> dict[str, str] | None:
    found = match(path)
    return match(path[:-1]) if found is None and path.endswith("/") else found


def _max_body(server: Server, *, public: bool = False) -> int:
    most = int(server.settings.server.max_body_mb * 1024 * 1024)
    return min(most, LARGEST_UNASKED) if public else most


def _generation_handler(
    server: Server, dialect: Dialect, path: DialectPath
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = server.call(request, dialect, path.operation)
        request[CALL] = call
        logs.request_id.set(call.request_id)
        sink = HttpSink(request, call, server.settings, server.alarms)
        try:
            await server.lifecycle.execute(call, sink, lambda: read_body(request, _max_body(server), form=path.form))
        finally:
            sink.close()
        return sink.response or web.Response(status=499)

    return handle


def _counting_handler(
    server: Server, dialect: Dialect, path: DialectPath
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Prompts that are counted and not run; their errors are printed by whoever stands around every handler."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = server.call(request, dialect, path.operation)
        request[REQUEST_ID] = call.request_id
        logs.request_id.set(call.request_id)
        counted = await server.counting.count(call, lambda: read_body(request, _max_body(server)))
        if call.identity is not None:
            request[IDENTITY] = call.identity
        headers = {"X-Router-Estimate": "true"} if counted.estimated else None
        return web.Response(body=dialect.counted(counted.tokens), content_type="application/json", headers=headers)

    return handle


def _explaining_handler(server: Server) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`POST /explain`: a dry run at the path that the body names in `endpoint`, whose surface prints its errors."""

    async def handle(request: web.Request) -> web.StreamResponse:
        identity = await server.identify(request, "inference")
        body, there = split(server.dialects, await read_body(request, _max_body(server)))
        call = server.call(request, there.dialect, there.operation)
        call.identity, call.presented = identity, None
        call.path, call.asked_path, call.dry = there.values, there.path, True
        request[CALL] = call
        logs.request_id.set(call.request_id)
        sink = HttpSink(request, call, server.settings, server.alarms)
        try:
            await server.lifecycle.execute(call, sink, lambda: _ready(body))
        finally:
            sink.close()
        return sink.response or web.Response(status=499)

    return handle


async def _ready(body: bytes) -> bytes:
    return body


def _api_handler(server: Server, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    wanted = typed.signature(route.handler)

    async def handle(request: web.Request) -> web.StreamResponse:
        identity = await server.identify(request, route.scope, personal=route.personal)
        arguments: dict[str, Any] = {}
        if wanted.query is not None:
            arguments["query"] = typed.query_of(request.query, wanted.query)
        raw = b""
        if wanted.body is not None:
            # Clients put any Content-Type on no body at all.
            most = _max_body(server, public=route.scope == "public")
            raw = await read_body(request, most) if request.body_exists else b""
            arguments["body"] = typed.body_of(raw, wanted.body)
        asked = Request(server=server, http=request, id=request_id(request), raw=raw, identity=identity)

        async def respond() -> web.StreamResponse:
            async with server.changing if route.alone else nullcontext():
                value = await route.handler(asked, **arguments)
            status = asked.status or route.status
            return value if isinstance(value, web.StreamResponse) else json_response(value, status=status)

        if route.once and "Idempotency-Key" in request.headers:
            response = await _once(asked, raw, respond)
        else:
            response = await respond()
        if route.keep_s:
            response.headers["Cache-Control"] = f"private, max-age={route.keep_s}"
            response.headers["Vary"] = CREDENTIALS
        return response

    return handle


async def _once(
    asked: Request, body: bytes, respond: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The answer to a request under an idempotency key: a new one, or that of the first time. Raises Conflict, Unprocessable."""
    server, request = asked.server, asked.http
    identity = asked.identity
    if identity is None:  # on a public path the handler says who may
        try:
            identity = await server.identify(request, "any")
        except RouterError:
            identity = None
    if identity is None:
        return await respond()

    async def work(claim: str) -> Answer:
        asked.claim = claim
        response = await respond()
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        return Answer(status=response.status, media_type=response.content_type, body=response.body)

    key = key_of(request.headers["Idempotency-Key"])
    fingerprint = fingerprint_of(f"{request.method} {request.path}", body)
    answer = await server.idempotency.once(identity.id or identity.hash, key, fingerprint, work)
    headers = {"Idempotent-Replay": "true"} if answer.again else None
    return web.Response(body=answer.body, status=answer.status, content_type=answer.media_type, headers=headers)


class Connection(web.RequestHandler):
    """A client's connection. What is no HTTP, and what aiohttp refuses by itself, is answered in our shape and not repeated."""

    __slots__ = ("_router",)

    def __init__(self, server: Server, manager: web.Server) -> None:
        silent: Any = None  # for aiohttp's access log, which writes whole paths
        super().__init__(manager, loop=asyncio.get_running_loop(), keepalive_timeout=30, access_log=silent)
        self._router = server

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to bytes that are no request, or the last resort where nobody else caught `exc`."""
        assert isinstance(request, web.Request)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        # Not in aiohttp's words: they quote the request, and a key may be in there.
        error: RouterError = BadRequest(f"this is no valid HTTP request ({type(exc).__name__})")
        if isinstance(exc, ContentEncodingError):
            error = UnsupportedMediaType("Content-Encoding must be gzip or deflate")
        elif isinstance(exc, web.HTTPException):
            error = _from_http(request, exc)
        elif status >= 500:
            log.error("a bug: a connection failed", exc_info=exc)
            error = RouterError("internal error")
        response = error_response(self._router, request, error)
        response.force_close()
        _add_headers(self._router, request, response)
        logs.answered(method=None, route="no request", status=response.status)
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send it, unless it is one of aiohttp's own pages."""
        if isinstance(resp, web.HTTPException):
            resp = self.handle_error(request, resp.status, resp)
        return super().finish_response(request, resp, start_time)


async def read_body(request: web.Request, limit: int, *, form: bool = False) -> bytes:
    """The body of a request, JSON or a form of several parts, decompressed. Raises PayloadTooLarge, UnsupportedMediaType,
    ClientTimeout, BadRequest."""
    kind = request.headers.get("Content-Type")
    if form:
        if kind is None or not kind.lower().startswith("multipart/form-data"):
            raise UnsupportedMediaType("Content-Type must be multipart/form-data")
    elif kind is not None and not kind.startswith("application/json") and not _is_json(kind):
        raise UnsupportedMediaType(f"Content-Type must be application/json, not {kind[:100]}")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise UnsupportedMediaType(f"Content-Encoding must be gzip or deflate, not {encoding[:50]}")
    size = request.content_length or 0
    if size > limit:
        raise PayloadTooLarge(f"the body has {size} bytes, at most {limit} are taken{_setting(limit)}")
    if request.content.is_eof():  # it came with the head, as most do: nothing to wait for
        return await _read(request, limit)
    seconds = BODY_S + max(size, limit if request.content_length is None else 0) / SLOWEST_BODY
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise ClientTimeout("the body did not arrive in time") from None


async def _read(request: web.Request, limit: int) -> bytes:
    try:
        return await (request if limit == request.client_max_size else request.clone(client_max_size=limit)).read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge(f"the body is larger than {limit} bytes{_setting(limit)}") from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, EOFError) as error:
        raise BadRequest("the body cannot be read; is Content-Encoding right?") from error


def _setting(limit: int) -> str:
    """What would have to be changed for a larger body."""
    return "" if limit == LARGEST_UNASKED else " (server.max_body_mb)"


def _is_json(kind: str) -> bool:
    media = kind.partition(";")[0].strip().lower()
    return media in ("", "application/json") or media.endswith("+json")


# --- what stands around every handler --------------------------------------------------------------------------------


def _outermost(server: Server) -> Any:
    """Turns every exception into an answer in the surface's shape, adds the headers of all answers, writes the access log."""

    @web.middleware
    async def outermost(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started = time.perf_counter()
        origin = request.headers.get("Origin") if server.settings.server.cors_origins else None
        if request.method == "OPTIONS" and origin in server.settings.server.cors_origins:
            preflight = web.Response(status=204, headers=cors_headers(origin or ""))
            _add_headers(server, request, preflight)
            return preflight
        try:
            response = await handler(request)
        except RouterError as error:
            response = error_response(server, request, error)
        except web.HTTPException as error:
            response = error_response(server, request, _from_http(request, error))
        except asyncio.CancelledError:
            _log(request, 499, time.perf_counter() - started)
            raise
        except Exception as error:
            response = error_response(server, request, _unexpected(request, error))
        if not response.prepared:
            if CALL not in request:
                _add_headers(server, request, response)
            if origin in server.settings.server.cors_origins:
                response.headers.update(cors_headers(origin or ""))
        _log(request, response.status, time.perf_counter() - started)
        return response

    return outermost


def _unexpected(request: web.Request, error: Exception) -> RouterError:
    """What is said of an exception that is none of ours: a database in trouble, or a bug."""
    if isinstance(error, StoreError) and is_condition(error.__cause__):
        log.error("%s failed: %s", _route_name(request), error)
        return Overloaded("the router cannot use its database now; try again", retry_after_s=1)
    log.error("a bug: %s failed", _route_name(request), exc_info=error)
    return RouterError("internal error; the log of the router has the details")


def _add_headers(server: Server, request: web.Request, response: web.StreamResponse) -> None:
    """The headers that every answer of the router's own API has."""
    identity = request.get(IDENTITY)
    limit = server.ledger.rate_limit(identity) if identity is not None else UNLIMITED
    id, surface = request_id(request), surface_of(request)
    headers = answer_headers(id, limit) | trace_headers(request.headers)
    if (dialect := next((each for each in server.dialects if each.surface == surface), None)) is not None:
        headers |= dialect.answer_headers(id, limit)
    for name, value in headers.items():
        response.headers.setdefault(name, value)


def request_id(request: web.Request) -> str:
    """The id of a request that is not a call."""
    if REQUEST_ID not in request:
        request[REQUEST_ID] = f"req_{os.urandom(10).hex()}"
    return request[REQUEST_ID]


def error_response(server: Server, request: web.Request, error: RouterError) -> web.Response:
    """An error in the shape of the surface that the path belongs to."""
    surface, id = surface_of(request), request_id(request)
    headers = {}
    if surface == "anthropic":
        status, body = envelopes.anthropic(error, id)
        headers["request-id"] = id
    elif surface == "gemini":
        status, body = envelopes.gemini(error)
    else:
        numbers = wants_number_codes(request.headers, server.settings.compat.error_code)
        status, body = server.dialects[0].error(error, id, number_codes=numbers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, MethodNotAllowed) and "allow" in error.metadata:
        headers["Allow"] = error.metadata["allow"]
    response = web.Response(body=body, status=status, content_type="application/json", headers=headers)
    if request.can_read_body and not request.content.is_eof():
        response.force_close()
    return response


def surface_of(request: web.BaseRequest) -> str:
    """The surface that a path belongs to (api.md 1), for paths without a route too."""
    path = request.path
    if OURS.match(path):
        return "openai"
    if path.startswith("/anthropic/") or path.rstrip("/").endswith("/messages") or "/messages/" in path:
        return "anthropic"
    if path.startswith(("/v1beta/", "/api/v1beta/")) or path.rstrip("/").rpartition(":")[2] in ALL_METHODS:
        return "gemini"
    if google.of_gemini(request):
        return "gemini"
    return "openai"


def _from_http(request: web.Request, error: web.HTTPException) -> RouterError:
    """aiohttp's own refusals as ours."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return MethodNotAllowed(
                f"{request.method} is not possible here; use {allowed}", metadata={"allow": allowed}
            )
        case web.HTTPNotFound():
            return NotFound(f"no such path: {request.path[:200]}; the README lists what there is")
        case web.HTTPRequestEntityTooLarge():
            return PayloadTooLarge("the body is too large (server.max_body_mb)")
        case web.HTTPExpectationFailed():
            return BadRequest("the header Expect can only be 100-continue")
        case _ if error.status < 500:
            return BadRequest(error.reason)
    return RouterError("internal error; the log of the router has the details")


def _route_name(request: web.Request) -> str:
    """The route as it was written, never the path: that may hold a key in its query."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "no route"


def _log(request: web.Request, status: int, seconds: float) -> None:
    """The one line per request."""
    call: Call | None = request.get(CALL)
    identity = call.identity if call is not None else request.get(IDENTITY)
    logs.request_id.set(call.request_id if call is not None else request_id(request))
    logs.answered(
        method=request.method,
        route=_route_name(request),
        status=status,
        ms=round(seconds * 1000, 1),
        key=identity.label if identity is not None else None,
        model=call.model_id if call is not None else None,
    )
