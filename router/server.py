"""Everything a running router has, how it starts, reloads and stops, and how a request becomes a call."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct
from multidict import istr

from . import api
from .alarms import Alarms
from .api import Route
from .api.listing import Listing
from .asking import Asked, ask
from .attempts import Attempts
from .builtin import DEFAULT_PLUGINS
from .builtin.auth import permitted
from .call import Call, Credential, Endpoint, switched_on
from .clock import Clock
from .counting import Counting
from .devices import Devices
from .dialects.anthropic_messages import AnthropicMessages
from .dialects.base import Dialect
from .dialects.gemini_embeddings import GeminiEmbeddings
from .dialects.gemini_generate import GeminiGenerate
from .dialects.openai_chat import OpenAIChat
from .dialects.openai_completions import OpenAICompletions
from .dialects.openai_embeddings import OpenAIEmbeddings
from .dialects.openai_media import MEDIA
from .dialects.openai_responses import OpenAIResponses
from .dialects.rerank import Rerank
from .errors import (
    BadRequest,
    Forbidden,
    Unauthenticated,
)
from .fetch import Fetcher
from .groups import Groups
from .health import Health
from .identity import Identity
from .ledger import Ledger
from .lifecycle import Lifecycle, recognise
from .payments import Payments
from .planning import Planner, Table
from .plugins import Plugins, make_providers, tell
from .provider import Provider
from .relay import Relay
from .sessions import COOKIE, CSRF_HEADER, Sessions
from .settings import Settings
from .signatures import Signatures
from .store.charges import Charges
from .store.codes import Codes
from .store.database import Database
from .store.entries import Entries
from .store.generations import Generations
from .store.guardrails import Guardrails
from .store.idempotency import Idempotency
from .store.keys import Keys
from .store.migrations import Migration
from .store.remains import clear
from .store.workspaces import Workspaces
from .tasks import spawn
from .throttle import Throttle

Own = TypeVar("Own", bound=Struct)
IDENTITY = web.RequestKey("identity", Identity)
#: methods that change nothing
SAFE = ("GET", "HEAD", "OPTIONS")
DRY_RUN = istr("X-Router-Dry-Run")
SECRET_IN_ENVIRONMENT = "ROUTER_MANAGEMENT_KEY"


class Server:
    """Everything a running router has. Builtins and API handlers get it; `reload` swaps what a new configuration changes."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], load: Callable[[], Settings] | None = None
    ) -> None:
        self.settings = settings
        #: reads the configuration again
        self.load = load or (lambda: self.settings)
        self.environ = environ
        self.clock = Clock()
        self.alarms = Alarms()
        self.rng = random.Random()
        self.started_s = self.clock.monotonic()
        self.health = Health(self.clock.monotonic)
        #: for whoever has to fetch what a request names: `await server.fetcher.fetch(url)`
        self.fetcher = Fetcher(lambda: self.settings.fetch.allow_private)
        self.plugins = Plugins()
        self._loaded = False
        self.compat: dict[str, Any] = {}
        #: `[plugins.<name>]` by name, as the plugin's own Struct
        self.plugin_settings: dict[str, Struct] = {}
        self.providers: dict[str, Provider] = {}
        self.broken: dict[str, str] = {}
        #: those that a reload has replaced, while calls may still be using them
        self._replaced: list[Provider] = []
        self.found: list[str] = []
        self.dialects: list[Dialect] = [
            OpenAIChat(),
            GeminiGenerate(),
            GeminiEmbeddings(),
            OpenAIResponses(),
            OpenAICompletions(),
            OpenAIEmbeddings(),
            *(kind() for kind in MEDIA),
            Rerank(),
            AnthropicMessages(),
        ]
        self.database: Database
        self.keys: Keys
        self.codes: Codes
        self.idempotency: Idempotency
        self.sessions: Sessions
        self.generations: Generations
        self.entries: Entries
        self.charges: Charges
        #: by which credits are paid for; None without such a plugin
        self.payments: Payments | None = None
        self.guardrails: Guardrails
        self.workspaces: Workspaces
        self.ledger: Ledger
        self.groups: Groups
        self.table: Table
        #: simulations read the whole ledger: one at a time
        self.simulating = asyncio.Lock()
        self._reloading = asyncio.Lock()
        #: requests of the API that read what they change are answered one at a time (`Route.alone`)
        self.changing = asyncio.Lock()
        self.listing = Listing(lambda: self.table)
        self.relay: Relay
        self.planner: Planner
        self.lifecycle: Lifecycle
        self.counting: Counting
        #: told to stop, and told so again
        self.draining = self.ending = False
        self.devices = Devices(self.clock.wall)
        self.throttle = Throttle(self.clock.monotonic)
        self._exit = AsyncExitStack()

    def routes(self) -> list[Route]:
        """All routes of the router's own API, those of its plugins included."""
        return [*api.routes(), *(route for group in self.plugins.hook.router_routes(app=self) for route in group)]

    async def start(self) -> None:
        """Load the plugins, make the providers, open the store. Raises SettingsError, StoreError."""
        self.load_plugins()
        self._exit.push_async_callback(self._close_providers)
        await self._configure(self.settings)
        await self._open_store()
        hook = self.plugins.hook
        relay = self.relay = Relay(self.ledger, self.fetcher, Signatures(self.clock.monotonic))
        attempts = Attempts(
            hook,
            relay,
            self.ledger,
            self.health,
            self.alarms,
            max_attempts=lambda: self.settings.routing.max_attempts,
            rng=self.rng,
        )
        planner = self.planner = Planner(hook)
        self.lifecycle = Lifecycle(self.plugins, planner, attempts, self.ledger, self.alarms)
        self.counting = Counting(self.plugins, planner, self.ledger)
        for context in reversed(hook.router_lifespan(app=self)):
            await self._exit.enter_async_context(context)

    def load_plugins(self) -> None:
        """Builtins and installed ones, with their settings and dialects; once. Raises SettingsError."""
        if self._loaded:
            return
        self._loaded = True
        for name, kind in DEFAULT_PLUGINS.items():
            if name not in self.settings.plugins.disabled:
                self.plugins.register(kind(self), name, state="builtin")
        self.plugins.load(self.settings)
        self.plugin_settings = self.plugins.settings_of(self.settings)
        self.payments = self.plugins.hook.router_payments(settings=self.plugin_settings)
        self.dialects.extend(dialect for group in self.plugins.hook.router_dialects() for dialect in group)

    def own_settings(self, name: str, kind: type[Own]) -> Own:
        """`[plugins.<name>]`, for the plugin whose Struct for it this is."""
        settings = self.plugin_settings[name]
        assert isinstance(settings, kind)
        return settings

    def migrations(self) -> list[Migration]:
        """Those of all plugins."""
        return [migration for group in self.plugins.hook.router_migrations() for migration in group]

    async def stop(self) -> None:
        """Close background work, providers and the store, in this order."""
        await self._exit.aclose()

    async def _close_providers(self) -> None:
        for provider in [*self.providers.values(), *self._replaced]:
            await provider.close()

    async def reload(self, settings: Settings) -> None:
        """Take a new configuration. Calls under way keep what they have. Raises SettingsError, and then nothing has changed."""
        async with self._reloading:
            old, seconds = list(self.providers.values()), self.settings.timeouts.total_seconds
            await self._configure(settings)
        self.health.reset()
        self._replaced.extend(old)
        spawn("close replaced providers", self._close_later(old, seconds))

    async def _close_later(self, providers: list[Provider], seconds: float) -> None:
        """Close providers that were replaced, when no call can still be using them; the end of the server does so at once."""
        await asyncio.sleep(seconds)
        for provider in providers:
            await provider.close()
            self._replaced.remove(provider)

    async def _open_store(self) -> None:
        self.database = await Database.open(
            Path(self.settings.server.database),
            synchronous=self.settings.server.synchronous,
            migrations=self.migrations(),
            exclusive=True,
        )
        # Behind a start that fails too: a connection is a thread, and the process would wait for it for ever.
        self._exit.push_async_callback(self.database.close)
        self.keys = Keys(
            self.database, prefix=self.settings.auth.key_prefix, environment_key=self.environ.get(SECRET_IN_ENVIRONMENT)
        )
        self.keys.gone = self._forget
        await self.keys.load()
        self._exit.callback(spawn("clear what remains of deleted keys", clear(self.database)).cancel)
        self.guardrails = Guardrails(self.database, self.clock.wall)
        await self.guardrails.load()
        self.workspaces = Workspaces(self.database, self.clock.wall)
        await self.workspaces.load()
        self.codes = Codes(self.database, self.clock.wall)
        self.idempotency = Idempotency(self.database, self.clock.wall)
        self.sessions = Sessions(self.keys, self.clock.wall)
        self.generations = Generations(self.database)
        self.entries = Entries(self.database)
        self.charges = Charges(self.database)
        self.ledger = Ledger(self)
        await self.ledger.load()
        self.groups = Groups(self.ledger)
        self.groups.load(await self.keys.belongings())
        self.ledger.budgets.append(self.groups)
        self.database.watch(self.ledger.balance.reload)

    def _forget(self, identity: Identity) -> None:
        """A key was deleted: so is what is held for it in memory."""
        self.sessions.forget(identity)
        self.devices.forget(identity)
        tell(self.plugins.hook, "router_forget", identity=identity)

    async def _configure(self, settings: Settings) -> None:
        made = await make_providers(settings, self.plugins, self.environ)
        table = Table(made.ready, made.broken, settings)
        self.settings = settings
        self.compat = msgspec.structs.asdict(settings.compat)
        self.providers, self.broken, self.found, self.table = made.ready, made.broken, made.found, table

    def credentials(self, endpoint: Endpoint) -> list[Credential]:
        """What plugins bring for this endpoint, besides the configured ones. Asked when the ways to a model are looked up for the first
        time: who brings others empties `table.pools`."""
        return [each for group in self.plugins.hook.router_credentials(endpoint=endpoint) for each in group]

    def usable(self, endpoint: Endpoint, call: Call) -> list[Credential]:
        """What a call could be asked with there: the configured ones, or where there are none those that plugins bring for it."""
        return endpoint.provider.credentials or [
            each for each in self.credentials(endpoint) if each.serves is None or each.serves(call)
        ]

    # --- calls of our own ---

    async def ask(
        self,
        dialect: str,
        body: Mapping[str, Any],
        *,
        within: Call,
        charged: bool = False,
        seconds: float | None = None,
    ) -> Asked:
        """Ask a model something in the service of a client's call, as `Dialect.name` has it (`openai.moderations`, `openai.chat`, …).

        The call goes the way of any other and has its row in the ledger, of the router itself or, if `charged`, of the client's key;
        plugins know it by `call.within`. It ends with the other one, or after so many seconds. Raises RouterError where it fails.
        """
        found = next(each for each in self.dialects if each.name == dialect)
        deadline_s = None if seconds is None else self.clock.monotonic() + seconds
        return await ask(self.lifecycle, found, body, within=within, charged=charged, deadline_s=deadline_s)

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

    async def identify(self, request: web.Request, scope: str, *, personal: bool = False) -> Identity | None:
        """Who calls a route of the router's own API. Raises Unauthenticated, Forbidden."""
        if scope == "public" or (scope == "models:read" and self.settings.auth.public_models and not personal):
            return None
        call = self.call(request, self.dialects[0], "api")
        if call.presented is None and (found := self.sessions.find(request.cookies.get(COOKIE))) is not None:
            session, owner = found
            if request.method not in SAFE and not session.vouches(request.headers.get(CSRF_HEADER)):
                raise Forbidden(f"the session's token is missing; send it as {CSRF_HEADER}")
            identity = permitted(call, owner)
        else:
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
            asked_path=request.path,
        )
        call.deadline_s = started + self._seconds(request)
        call.compat = self.compat
        call.server = self
        call.dry = switched_on(request.headers.get(DRY_RUN))
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
