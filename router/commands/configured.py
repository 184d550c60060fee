"""What the configuration amounts to, without a server: settings, plugins, providers and models."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from .. import __version__
from ..builtin import DEFAULT_PLUGINS
from ..planning import Table
from ..plugins import Listed, Plugins, Providers, make_providers
from ..provider import Provider
from ..settings import Settings, SettingsError, load, sourced

DEFAULT_PATH = Path("config.toml")


class Configured(Struct, kw_only=True):
    """Everything that the configuration says. The providers are not opened."""

    settings: Settings
    plugins: Plugins
    made: Providers
    table: Table


def path_of(args: argparse.Namespace) -> Path | None:
    """The configuration file: `--config`, else ./config.toml if there is one, else None (the built-in defaults)."""
    given: str | None = args.config
    if given is not None:
        return Path(given)
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def options_of(args: argparse.Namespace) -> dict[str, str]:
    """The command line options that stand for settings, by the settings' path. A path of a file is relative to here."""
    options = {}
    if listen := getattr(args, "listen", None):
        options["server.listen"] = listen
    if database := getattr(args, "database", None):
        options["server.database"] = database if database == ":memory:" else str(Path(database).absolute())
    return options


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings. Raises SettingsError."""
    return load(path_of(args), os.environ, options_of(args))


def plugins_of(settings: Settings) -> Plugins:
    """The plugins that the configuration uses; the builtins are listed only, since they need a server. Raises SettingsError."""
    plugins = Plugins()
    for name, kind in DEFAULT_PLUGINS.items():
        plugins.listed[name] = Listed(
            name=name,
            state="disabled" if name in settings.plugins.disabled else "builtin",
            distribution="onebox-router",
            version=__version__,
            hooks=sorted(each for each in dir(kind) if each.startswith("router_")),
        )
    plugins.load(settings)
    return plugins


async def configured(args: argparse.Namespace) -> Configured:
    """Everything. Raises SettingsError, with the file that the wrong key stands in."""
    settings = settings_of(args)
    with sourced_here(path_of(args)):
        plugins = plugins_of(settings)
        made = await make_providers(settings, plugins, os.environ)
        table = Table(made.ready, made.broken, settings)
    return Configured(settings=settings, plugins=plugins, made=made, table=table)


@contextlib.contextmanager
def sourced_here(path: Path | None) -> Iterator[None]:
    """A SettingsError inside the block gets the name of the file that the wrong key stands in."""
    try:
        yield
    except SettingsError as error:
        raise sourced(error, path, os.environ) from None


def credentials_of(provider: Provider) -> str:
    """present (how many), missing, or not needed."""
    keys = [each for each in provider.credentials if each.secret]
    if keys:
        return "present" if len(keys) == 1 else f"present ({len(keys)})"
    return "missing" if provider.needs_key else "not needed"
