"""The server: builds everything a process needs, mounts the routes, and runs until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import random
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from msgspec import Struct

from . import logs
from .alarms import Alarms
from .api import Request, Route, json_response, models
from .api import routes as api_routes
from .attempts import Attempts
from .builtin import DEFAULT_PLUGINS
from .call import Call, Identity, wants_number_codes
from .clock import Clock
from .counting import Counting
from .dialects import envelopes
from .dialects.anthropic_messages import AnthropicMessages
from .dialects.base import Dialect
from .dialects.base import Path as DialectPath
from .dialects.gemini_generate import METHODS, GeminiGenerate
from .dialects.openai_chat import OpenAIChat
from .dialects.openai_completions import OpenAICompletions
from .dialects.openai_embeddings import OpenAIEmbeddings
from .dialects.openai_media import MEDIA
from .dialects.openai_responses import OpenAIResponses
from .dialects.rerank import Rerank
from .errors import (
    BadRequest,
    ClientTimeout,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RouterError,
    Unauthenticated,
    UnsupportedMediaType,
)
from .fetch import Fetcher
from .health import Health
from .ledger import Ledger
from .lifecycle import Lifecycle, recognise
from .planning import Planner, Table
from .plugins import Plugins, make_providers
from .provider import Provider
from .relay import Relay
from .settings import Settings
from .signatures import Signatures
from .sink import CREDENTIALS, UNLIMITED, HttpSink, answer_headers, cors_headers, trace_headers
from .store.database import Database
from .store.generations import Generations
from .store.keys import Keys
from .tasks import spawn

log = logging.getLogger(__name__)

CALL = web.RequestKey("call", Call)
IDENTITY = web.RequestKey("identity", Identity)
REQUEST_ID = web.RequestKey("request_id", str)
#: a body must arrive within so many seconds plus its size at this rate (bytes per second)
BODY_S = 30.0
SLOWEST_BODY = 64 * 1024
#: what the sockets get to send the ends of calls that were ended by the router
LAST_S = 1.0
SECRET_IN_ENVIRONMENT = "ROUTER_MANAGEMENT_KEY"


class Server:
    """Everything a running router has. Builtins and API handlers get it; `reload` swaps what a new configuration changes."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.environ = environ
        self.clock = Clock()
        self.alarms = Alarms()
        self.rng = random.Random()
        self.started_s = self.clock.monotonic()
        self.health = Health(self.clock.monotonic)
        self.plugins = Plugins()
        self.compat: dict[str, Any] = {}
        #: `[plugins.<name>]` by name, as the plugin's own Struct
        self.plugin_settings: dict[str, Struct] = {}
        self.providers: dict[str, Provider] = {}
        self.broken: dict[str, str] = {}
        self.found: list[str] = []
        self.dialects: list[Dialect] = [
            OpenAIChat(),
            GeminiGenerate(),
            OpenAIResponses(),
            OpenAICompletions(),
            OpenAIEmbeddings(),
            *(kind() for kind in MEDIA),
            Rerank(),
            AnthropicMessages(),
        ]
        self.database: Database
        self.keys: Keys
        self.generations: Generations
        self.ledger: Ledger
        self.table: Table
        self.lifecycle: Lifecycle
        self.counting: Counting
        #: told to stop, and told so again
        self.draining = self.ending = False
        self._exit = AsyncExitStack()

    async def start(self) -> None:
        """Open the store, load the plugins, make the providers. Raises SettingsError, StoreError."""
        for name, kind in DEFAULT_PLUGINS.items():
            if name not in self.settings.plugins.disabled:
                self.plugins.register(kind(self), name, state="builtin")
        self.plugins.load(self.settings)
        self.plugin_settings = self.plugins.settings_of(self.settings)
        self.dialects.extend(dialect for group in self.plugins.hook.router_dialects() for dialect in group)
        self._exit.push_async_callback(self._close_providers)
        await self._configure(self.settings)
        await self._open_store()
        hook = self.plugins.hook
        relay = Relay(self.ledger, Fetcher(lambda: self.settings.fetch.allow_private), Signatures(self.clock.monotonic))
        attempts = Attempts(
            hook,
            relay,
            self.ledger,
            self.health,
            self.alarms,
            max_attempts=lambda: self.settings.routing.max_attempts,
            rng=self.rng,
        )
        planner = Planner(hook)
        self.lifecycle = Lifecycle(self.plugins, planner, attempts, self.ledger, self.alarms)
        self.counting = Counting(self.plugins, planner, self.ledger)
        for context in reversed(hook.router_lifespan(app=self)):
            await self._exit.enter_async_context(context)

    async def stop(self) -> None:
        """Close background work, providers and the store, in this order."""
        await self._exit.aclose()

    async def _close_providers(self) -> None:
        for provider in self.providers.values():
            await provider.close()

    async def reload(self, settings: Settings) -> None:
        """Take a new configuration. Calls under way keep what they have. Raises SettingsError, and then nothing has changed."""
        old, seconds = self.providers, self.settings.timeouts.total_seconds
        await self._configure(settings)
        self.health.reset()
        spawn("close replaced providers", _close_later(old, seconds))

    async def _open_store(self) -> None:
        migrations = self.plugins.hook.router_migrations()
        self.database = await Database.open(
            Path(self.settings.server.database),
            synchronous=self.settings.server.synchronous,
            migrations=[migration for group in migrations for migration in group],
            exclusive=True,
        )
        # Behind a start that fails too: a connection is a thread, and the process would wait for it for ever.
        self._exit.push_async_callback(self.database.close)
        self.keys = Keys(
            self.database, prefix=self.settings.auth.key_prefix, environment_key=self.environ.get(SECRET_IN_ENVIRONMENT)
        )
        await self.keys.load()
        self.generations = Generations(self.database)
        self.ledger = Ledger(self)
        await self.ledger.load()

    async def _configure(self, settings: Settings) -> None:
        made = await make_providers(settings, self.plugins, self.environ)
        table = Table(made.ready, made.broken, settings)
        self.settings = settings
        self.compat = msgspec.structs.asdict(settings.compat)
        self.providers, self.broken, self.found, self.table = made.ready, made.broken, made.found, table

    # --- credentials ---

    def credential(self, request: web.Request, *, gemini: bool = False) -> str | None:
        """The key that a request presents, None without any. Raises Unauthenticated where it presents two different ones."""
        headers = request.headers
        found: list[str] = []
        for value in headers.getall("Authorization", ()):
            scheme, _, token = value.partition(" ")
            found.append(token.strip() if scheme.lower() == "bearer" else value)
        found.extend(headers.getall("x-api-key", ()))
        found.extend(headers.getall("x-goog-api-key", ()))
        if request.query_string and self._query_key(request.path, gemini):
            found.extend(request.query.getall("key", ()))
        keys = {key for key in found if key}
        if len(keys) > 1:
            raise Unauthenticated("two different keys in one request; send one")
        return keys.pop() if keys else None

    def _query_key(self, path: str, gemini: bool) -> bool:
        """Does `?key=` count here? The paths of models are Google's too."""
        mode = self.settings.auth.query_key
        return mode == "all" or (mode == "gemini" and (gemini or "/models" in path))

    async def identify(self, request: web.Request, scope: str) -> Identity | None:
        """Who calls a route of the router's own API. Raises Unauthenticated, Forbidden."""
        if scope == "public" or (scope == "models:read" and self.settings.auth.public_models):
            return None
        call = self.call(request, self.dialects[0], "api")
        identity = await recognise(self.plugins.hook, call)
        if scope != "any" and scope not in identity.scopes:
            raise Forbidden(f"this key lacks the scope {scope!r}")
        request[IDENTITY] = identity
        return identity

    def call(self, request: web.Request, dialect: Dialect, operation: str) -> Call:
        """A call for a request whose body is still unread. Raises Unauthenticated, BadRequest."""
        started = self.clock.monotonic()
        call = Call(
            dialect=dialect,
            body=b"",
            headers=request.headers,
            path=request.match_info,
            presented=self.credential(request, gemini=dialect.surface == "gemini"),
            started_s=started,
            operation=operation,
            query=request.query_string,
        )
        call.deadline_s = started + self._seconds(request)
        call.compat = self.compat
        return call

    def _seconds(self, request: web.Request) -> float:
        total = self.settings.timeouts.total_seconds
        wanted = request.headers.get("X-Router-Timeout")
        if wanted is None:
            return total
        try:
            seconds = float(wanted)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise BadRequest("X-Router-Timeout must be a number of seconds above 0")
        return min(seconds, total)


async def _close_later(providers: Mapping[str, Provider], seconds: float) -> None:
    """Close providers that were replaced, when no call can still be using them."""
    await asyncio.sleep(seconds)
    for provider in providers.values():
        await provider.close()


# --- routes ----------------------------------------------------------------------------------------------------------


def application(server: Server) -> web.Application:
    """The aiohttp application with every route under every prefix."""
    app = web.Application(middlewares=[_outermost(server)], client_max_size=_max_body(server))
    for dialect in server.dialects:
        for path in dialect.paths:
            make = _counting_handler if path.operation == "count_tokens" else _generation_handler
            handler = make(server, dialect, path)
            for prefix in dialect.prefixes:
                _add(app, path.method, prefix + path.path, handler)
    for route in [
        *api_routes(),
        *(route for group in server.plugins.hook.router_routes(app=server) for route in group),
    ]:
        handler = _api_handler(server, route)
        for prefix in route.prefixes:
            _add(app, route.method, prefix + route.path, handler)
    return app


def _add(app: web.Application, method: str, path: str, handler: Callable[[web.Request], Awaitable[Any]]) -> None:
    """A route, with and without a slash at its end. Where one can GET, one can ask for the HEAD alone."""
    paths = [path] if path.endswith("+}") else [path, path + "/"]
    for each in paths:
        app.router.add_route(method, each, handler)
        if method == "GET":
            app.router.add_route("HEAD", each, handler)


def _max_body(server: Server) -> int:
    return int(server.settings.server.max_body_mb * 1024 * 1024)


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


def _api_handler(server: Server, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        identity = await server.identify(request, route.scope)
        value = await route.handler(Request(server=server, http=request, identity=identity))
        response = value if isinstance(value, web.StreamResponse) else json_response(value)
        if route.keep_s:
            response.headers["Cache-Control"] = f"private, max-age={route.keep_s}"
            response.headers["Vary"] = CREDENTIALS
        return response

    return handle


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
        raise PayloadTooLarge(f"the body has {size} bytes, at most {limit} are taken (server.max_body_mb)")
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
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge(f"the body is larger than {limit} bytes (server.max_body_mb)") from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, EOFError) as error:
        raise BadRequest("the body cannot be read; is Content-Encoding right?") from error


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
        except Exception:
            log.exception("a bug: %s failed", _route_name(request))
            response = error_response(
                server, request, RouterError("internal error; the log of the router has the details")
            )
        if not response.prepared:
            if CALL not in request:
                _add_headers(server, request, response)
            if origin in server.settings.server.cors_origins:
                response.headers.update(cors_headers(origin or ""))
        _log(request, response.status, time.perf_counter() - started)
        return response

    return outermost


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
    if path.startswith("/anthropic/") or path.rstrip("/").endswith("/messages") or "/messages/" in path:
        return "anthropic"
    if path.startswith(("/v1beta/", "/api/v1beta/")) or path.rstrip("/").rpartition(":")[2] in METHODS:
        return "gemini"
    if models.SHARED.match(path) and models.of_gemini(request):
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


# --- running ---------------------------------------------------------------------------------------------------------


def run(settings: Settings, load: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT. `load` reads the configuration again (SIGHUP). Returns the exit code."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(settings, load))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed (extra `speed`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: Settings, load: Callable[[], Settings]) -> int:
    server = Server(settings, os.environ)
    try:
        await server.start()
        stop = _signals(server, load)
        async with listening(server) as url:
            print(f"listening on {url}", flush=True)
            await _welcome(server, url)
            _tune_collector()
            await stop.wait()
            server.draining = True
    finally:
        await server.stop()
    return 0


def _tune_collector() -> None:
    """What start-up has made stays: take it out of the collector's sight, and let it look less often at what calls make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@contextlib.asynccontextmanager
async def listening(server: Server) -> AsyncIterator[str]:
    """The socket is open inside the block; behind it, calls under way have ended or were ended after the drain time."""
    runner = web.AppRunner(application(server), handler_cancellation=True, shutdown_timeout=LAST_S)
    await runner.setup()
    manager = runner.server
    assert manager is not None
    host, _, port = server.settings.server.listen.rpartition(":")
    tls = _tls(server.settings)
    door: asyncio.Server | None = None
    try:
        door = await asyncio.get_running_loop().create_server(
            lambda: Connection(server, manager), host.strip("[]"), int(port), ssl=tls, reuse_address=True, backlog=128
        )
        bound = door.sockets[0].getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"{'https' if tls else 'http'}://{shown}:{bound[1]}"
    finally:
        if door is not None:
            door.close()
        await asyncio.sleep(0)  # what has just come in is taken
        manager.pre_shutdown()
        await server.lifecycle.drain(server.settings.server.drain_seconds)
        await runner.cleanup()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.server.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.server.tls_certificate, settings.server.tls_key or None)
    return context


async def _welcome(server: Server, url: str) -> None:
    """What a person reads first: what was found, and at the very first start the keys, which are never shown again."""
    for found in server.found:
        print(f"found {found}", flush=True)
    if server.settings.auth.mode == "open" or SECRET_IN_ENVIRONMENT in server.environ:
        return
    created = await server.keys.create_first()
    if created is None:
        return
    management, inference = created
    listed = server.table.entries
    model = "echo/echo" if "echo/echo" in listed else min(listed, default="provider/model")
    print(
        f"\nmanagement key  {management}\ninference key   {inference}\n"
        "These are shown only once; `router keys create` makes more.\n\n"
        f"Try it:\ncurl {url}/v1/chat/completions -H 'Authorization: Bearer {inference}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"""  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello there"}}], "stream": true}}' -N""",
        flush=True,
    )


def _signals(server: Server, load: Callable[[], Settings]) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        if server.ending:
            os._exit(1)
        if stop.is_set():
            log.warning("a second signal: what is under way ends now")
            server.ending = True
            server.lifecycle.end()
        stop.set()

    async def reloading() -> None:
        try:
            await server.reload(load())
            log.info("the configuration was reloaded")
        except Exception as error:
            log.error("the configuration was not reloaded: %s", error)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, lambda: spawn("reload", reloading()))
    return stop
