"""`router check`: would the server start, and is what it has written sound?"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ..settings import Settings
from ..store import sums
from ..store.database import Database
from ..store.entries import Entries
from . import options
from .configured import Configured, configured, path_of, sourced_here
from .providers import provider_rows, write_providers
from .terminal import CommandError, write, write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.database(parser)
    options.as_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything; the first fault ends it."""
    found = asyncio.run(_checked(args))
    path, database = path_of(args), Path(found.settings.server.database)
    ledger = "not there yet, the first start makes it"
    if database.exists():
        asyncio.run(_check_ledger(found.settings))
        ledger = "ok, the sums of the ledger agree"
    rows = provider_rows(found)
    if args.json:
        write_json({"config": str(path) if path else None, "database": ledger, "providers": rows})
        return 0
    write(f"configuration: {path or 'built-in defaults, there is no config.toml here'}: ok")
    write(f"plugins: {', '.join(each.name for each in found.plugins.listed.values() if each.state == 'loaded')}: ok")
    write(f"database: {database}: {ledger}")
    write()
    write_providers(rows)
    return 0


async def _checked(args: argparse.Namespace) -> Configured:
    found = await configured(args)
    with sourced_here(path_of(args)):
        found.plugins.settings_of(found.settings)
    for slug, problem in found.made.broken.items():
        raise CommandError(f"providers.{slug}: {problem}")
    return found


async def _check_ledger(settings: Settings) -> None:
    """Open the database and add up. Raises StoreError, CommandError."""
    async with await Database.open(settings.server.database, synchronous=settings.server.synchronous) as database:
        complaints = [*await Entries(database).check(), *await sums.faults(database)]
    if complaints:
        raise CommandError(f"{settings.server.database}: {'; '.join(complaints)}")
