"""Plugins: find, import, check and list them; awaiting what their hooks return; making providers of the configuration."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Coroutine, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import CodeType
from typing import Any

import aiohttp
import pluggy
from msgspec import Struct, field

from . import hookspecs
from .hooks import Hooks
from .model import Model
from .provider import Automatic, Provider
from .settings import Settings, SettingsError, convert, timeouts_of

log = logging.getLogger(__name__)
GROUP = "router"
#: what `hookimpl` leaves on a function
MARK = f"{GROUP}_impl"
OURS = "onebox-router-"
PROBE_SECONDS = 0.3

#: hooks under *all, await*: an implementation that is not `async def` would be awaited in vain
AWAITED = frozenset({"router_admit", "router_settled"})


class Listed(Struct, kw_only=True):
    """A plugin as `router plugins` shows it. `state`: builtin, loaded, disabled, available, failed."""

    name: str
    state: str
    distribution: str = ""
    version: str = ""
    hooks: list[str] = field(default_factory=list)
    problem: str = ""


class Manager(pluggy.PluginManager):
    """Looks for hooks only where there may be one: most attributes of a plugin are none, and inspecting each takes longer than all else
    in a registration."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """pluggy's own, for names that can be a hook's."""
        kind: Any = type(plugin)
        if name in _without_hooks(kind) and name not in getattr(plugin, "__dict__", ()):
            return None
        return super().parse_hookimpl_opts(plugin, name)


@functools.cache
def _without_hooks(kind: Any) -> frozenset[str]:
    """The attributes of a class that are no hooks."""
    return frozenset(name for name in dir(kind) if not hasattr(inspect.getattr_static(kind, name), MARK))


class Plugins:
    """All plugins of this process. `hook` calls them; `listed` tells about each, the failed and the unused ones too."""

    def __init__(self) -> None:
        self._manager = Manager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self.hook: Any = Hooks(self._manager)
        self.listed: dict[str, Listed] = {}
        self._codes: dict[CodeType, tuple[str, str]] = {}

    def register(self, plugin: object, name: str, *, state: str, distribution: str = "", version: str = "") -> None:
        """Add one plugin. Raises PluginError where it is written for another API or implements a hook wrongly."""
        declared = getattr(plugin, "ROUTER_API", hookspecs.API)
        if declared != hookspecs.API:
            raise PluginError(f"it is written for hook API {declared}, this router has {hookspecs.API}")
        for hook in AWAITED:
            implementation = getattr(plugin, hook, None)
            if implementation is not None and not inspect.iscoroutinefunction(implementation):
                raise PluginError(f"{hook} must be `async def`")
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            self._manager.unregister(plugin) if self._manager.is_registered(plugin) else None
            raise PluginError(" ".join(str(error).split())) from error
        self.hook.renew()
        callers = self._manager.get_hookcallers(plugin) or []
        for caller in callers:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    code = getattr(implementation.function, "__code__", None)
                    if code is not None:
                        self._codes[code] = (name, caller.name)
        self.listed[name] = Listed(
            name=name,
            state=state,
            distribution=distribution,
            version=version,
            hooks=sorted(caller.name for caller in callers),
        )

    def load(self, settings: Settings) -> None:
        """Import the installed plugins that the configuration uses (interface.md `[plugins]`).

        A plugin that cannot load is logged and listed with its problem. Raises SettingsError where the configuration has a
        `[plugins.<name>]` table for it (it may be a guard) or enables a plugin that is not installed.
        """
        installed = _installed()
        for name in [*settings.plugins.enabled, *settings.plugins.tables]:
            if name not in installed and name not in self.listed:
                raise SettingsError(f"plugins.{name}: no plugin of this name is installed")
        for name, (point, distribution, version) in installed.items():
            self._load_one(name, point, distribution, version, settings)

    def _load_one(self, name: str, point: EntryPoint, distribution: str, version: str, settings: Settings) -> None:
        state = "available"
        if name in settings.plugins.disabled:
            state = "disabled"
        elif _wanted(name, distribution, settings):
            try:
                self.register(point.load(), name, state="loaded", distribution=distribution, version=version)
                return
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                if name in settings.plugins.tables:
                    raise SettingsError(f"plugins.{name}: the plugin cannot be loaded: {problem}") from error
                log.error("plugin %s cannot be loaded: %s", name, problem)
                self.listed[name] = Listed(
                    name=name, state="failed", distribution=distribution, version=version, problem=problem
                )
                return
        self.listed[name] = Listed(name=name, state=state, distribution=distribution, version=version)

    def blame(self, error: BaseException) -> tuple[str, str] | None:
        """Plugin and hook in which an exception was raised, None where it was our own code."""
        traceback, found = error.__traceback__, None
        while traceback is not None:
            found = self._codes.get(traceback.tb_frame.f_code, found)
            traceback = traceback.tb_next
        return found

    def provider_classes(self) -> dict[str, type[Provider]]:
        """Provider classes by `Provider.name`. Raises SettingsError where two plugins bring the same name."""
        classes: dict[str, type[Provider]] = {}
        for group in self.hook.router_providers():
            for each in group:
                if each.name in classes:
                    raise SettingsError(f"two plugins bring a provider named {each.name!r}; disable one in [plugins]")
                classes[each.name] = each
        return classes

    def settings_of(self, settings: Settings) -> dict[str, Struct]:
        """Each plugin's own table, by its name, read by the Struct that it declares. Raises SettingsError with the path."""
        schemas = {name: schema for group in self.hook.router_settings() for name, schema in group.items()}
        return {
            name: convert(settings.plugins.tables.get(name, {}), schema, f"plugins.{name}")
            for name, schema in schemas.items()
        }


class PluginError(Exception):
    """A plugin cannot be used; the message says why."""


@functools.cache
def _installed() -> dict[str, tuple[EntryPoint, str, str]]:
    """Name -> entry point, distribution and version of what is installed. A process sees what there was when it first looked."""
    points = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return {
        each.name: (each, each.dist.name if each.dist else "", each.dist.version if each.dist else "")
        for each in points
    }


def _wanted(name: str, distribution: str, settings: Settings) -> bool:
    if name in settings.plugins.enabled or name in settings.plugins.tables:
        return True
    if settings.providers is None:
        return distribution.startswith(OURS)
    return any(table.get("plugin", slug) == name for slug, table in settings.providers.items())


async def resolve(answer: Any) -> Any:
    """What a *first* hook claimed: at once, or after awaiting its work."""
    if inspect.isawaitable(answer):
        return await answer
    return answer


async def each(answers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await the coroutines of an *all, await* hook in order. Where one refuses, the rest are closed unstarted."""
    rest = iter(answers)
    try:
        for answer in rest:
            await answer
    finally:
        for unstarted in rest:
            unstarted.close()


def tell(hook: Any, name: str, **arguments: Any) -> None:
    """Call a hook that only observes: a failure is logged and changes nothing."""
    try:
        getattr(hook, name)(**arguments)
    except Exception:
        log.exception("a plugin failed in %s", name)


# --- providers -------------------------------------------------------------------------------------------------------


class Providers(Struct, kw_only=True):
    """The configured providers by slug. `broken`: slug -> why its plugin is not there; `found`: what was found by itself."""

    ready: dict[str, Provider] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)


#: first segments of paths that no provider may be called (api.md 1)
RESERVED = frozenset(
    {"v1", "v1beta", "api", "auth", "proxy", "dashboard", "health", "healthz", "metrics"}
    | {"openapi.json", "openapi.yaml", "docs", "static", "favicon.ico"}
)


async def make_providers(settings: Settings, plugins: Plugins, environ: Mapping[str, str]) -> Providers:
    """Instances of all provider tables, or of what the environment offers where there is no table at all.

    Raises SettingsError with the path of the wrong key.
    """
    classes = plugins.provider_classes()
    result = Providers()
    tables = settings.providers
    if tables is None:
        tables = await _automatic(classes, environ, result.found)
    for slug, table in tables.items():
        if slug in RESERVED or "/" in slug or not slug:
            raise SettingsError(f"providers.{slug}: this name is reserved or has a slash in it; choose another one")
        name = str(table.get("plugin", slug))
        listed = plugins.listed.get(name)
        if name not in classes:
            if listed is not None and listed.state == "failed":
                result.broken[slug] = f"plugin {name} cannot be loaded: {listed.problem}"
                continue
            raise SettingsError(
                f"providers.{slug}.plugin: no plugin {name!r}; is onebox-router-{name} installed and not disabled?"
            )
        provider = make_provider(classes[name], slug, table, settings)
        if not provider.settings.disabled:
            result.ready[slug] = provider
    return result


def make_provider(kind: type[Provider], slug: str, table: Mapping[str, Any], settings: Settings) -> Provider:
    """One instance. Raises SettingsError with the path of the wrong key."""
    where = f"providers.{slug}"
    own = convert({"plugin": kind.name, **table}, kind.Settings, where)
    return kind(slug, own, timeouts_of(settings.timeouts, own.timeouts, where))


def catalogue_of(provider: Provider) -> list[Model]:
    """The models that ship with a plugin; none, and a line in the log, where it cannot say: others must not suffer from that."""
    try:
        return provider.catalogue()
    except Exception:
        log.exception("provider %s: its catalogue cannot be read", provider.slug)
        return []


async def _automatic(
    classes: Mapping[str, type[Provider]], environ: Mapping[str, str], found: list[str]
) -> dict[str, dict[str, Any]]:
    """Provider tables for the keys in the environment and the local servers that answer."""
    offers = [(kind, offer) for kind in classes.values() for offer in kind.automatic]
    probes = {offer.probe for _, offer in offers if offer.probe}
    answering = await _answering(probes) if probes else set()
    tables: dict[str, dict[str, Any]] = {}
    for kind, offer in offers:
        if offer.slug in tables or not _present(offer, environ, answering):
            continue
        table = {"plugin": kind.name, **offer.settings}
        table |= {key: environ[variable] for key, variable in offer.variables.items()}
        if offer.environment:
            table["api_key"] = environ[offer.environment]
            found.append(f"{offer.slug} (key in {offer.environment})")
        elif offer.probe:
            found.append(f"{offer.slug} (a server answers at {offer.probe})")
        tables[offer.slug] = table
    return tables


def _present(offer: Automatic, environ: Mapping[str, str], answering: set[str]) -> bool:
    if offer.environment:
        return all(environ.get(name) for name in (offer.environment, *offer.variables.values()))
    return not offer.probe or offer.probe in answering


async def _answering(probes: set[str]) -> set[str]:
    """The addresses that answer a GET with 200 within 300 ms."""
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:

        async def ask(url: str) -> str | None:
            try:
                async with session.get(url, allow_redirects=False) as answer:
                    return url if answer.status == 200 else None
            except (aiohttp.ClientError, OSError, TimeoutError):
                return None

        answers = await asyncio.gather(*(ask(url) for url in probes))
    return {url for url in answers if url}
