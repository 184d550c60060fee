"""`router db`: bring the database to the newest schema, copy it, look whether it is sound. Possible while the server runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..server import Server
from ..settings import Settings
from ..store import sums
from ..store.database import Database
from ..store.entries import Entries
from ..store.upkeep import copy, faults, steps
from ..tasks import spawn
from . import options
from .configured import settings_of
from .terminal import CommandError, write, write_json

LOOK_S = 0.3


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    _action(actions, "migrate", "bring the tables to the newest form, after a copy; a start does the same", _migrate)
    backup = _action(actions, "backup", "copy the database, as it is at one moment, into a new file", _backup)
    backup.add_argument(
        "target", nargs="?", type=Path, metavar="FILE", help="where to (default: beside it, with the time)"
    )
    _action(actions, "check", "look for damage, and add up the ledger", _check)


def _action(actions: Any, name: str, about: str, do: Callable[..., int]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about.capitalize()}.")
    options.config(parser)
    options.database(parser)
    options.as_json(parser)
    parser.set_defaults(do=do)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do it."""
    settings = settings_of(args)
    path = Path(settings.server.database)
    if not path.exists():
        raise CommandError(f"there is no database {path}; `router serve` makes it")
    done: int = args.do(args, settings, path)
    return done


def _migrate(args: argparse.Namespace, settings: Settings, path: Path) -> int:
    taken = asyncio.run(_migrated(settings))
    if args.json:
        write_json({"database": str(path), "steps": taken})
        return 0
    write(f"{path}: {', '.join(taken)}" if taken else f"{path}: nothing to do, its form is the newest")
    return 0


async def _migrated(settings: Settings) -> list[str]:
    """The steps that were taken."""
    path = Path(settings.server.database)
    server = Server(settings, os.environ)
    server.load_plugins()
    before = await steps(path)
    async with await Database.open(path, synchronous=settings.server.synchronous, migrations=server.migrations()):
        pass
    return [f"{owner} {number}" for owner, number in sorted(await steps(path) - before)]


def _backup(args: argparse.Namespace, settings: Settings, path: Path) -> int:
    target: Path = args.target or path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.bak")
    if target.is_dir():
        target = target / path.name
    if target.exists():
        raise CommandError(f"{target} is there already; name another file")
    try:
        asyncio.run(_with_progress(path, target))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if args.json:
        write_json({"database": str(path), "copy": str(target), "bytes": target.stat().st_size})
    else:
        write(f"{path} is copied to {target}")
    return 0


async def _with_progress(path: Path, target: Path) -> None:
    """Copy, and tell on a terminal how far it is."""
    progress = spawn("progress of the copy", _progress(_size(path), target)) if sys.stderr.isatty() else None
    try:
        await copy(path, target)
    finally:
        if progress is not None:
            progress.cancel()
            sys.stderr.write("\r\033[K")


async def _progress(size: int, target: Path) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        sys.stderr.write(f"\rcopying … {min(99, _size(target) * 100 // max(1, size))} %")
        sys.stderr.flush()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(args: argparse.Namespace, settings: Settings, path: Path) -> int:
    complaints = asyncio.run(_complaints(settings, path))
    if args.json:
        write_json({"database": str(path), "ok": not complaints, "faults": complaints})
        return 1 if complaints else 0
    if complaints:
        raise CommandError(f"{path}: {'; '.join(complaints)}")
    write(f"{path}: ok, the file is whole and the sums of the ledger agree")
    return 0


async def _complaints(settings: Settings, path: Path) -> list[str]:
    found = await faults(path)
    if found:
        return found
    async with await Database.open(path, synchronous=settings.server.synchronous) as database:
        return [*await Entries(database).check(), *await sums.faults(database)]
