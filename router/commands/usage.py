"""`router usage`: what was used, by model, key, provider or day; read from the database, beside a server or without one."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from ..api.moments import date_of
from ..builtin.statistics.periods import DAY_HOURS, period
from ..builtin.statistics.reading import heaviest_first
from ..errors import BadRequest
from ..prices import usd
from ..settings import Settings
from ..store.database import Database
from ..store.keys import Keys
from ..store.statistics import Statistics
from ..store.sums import MIGRATIONS
from ..store.wanted import Sums, Wanted
from . import options
from .configured import settings_of
from .terminal import CommandError, write_json, write_table

Row = dict[str, Any]
#: which column of the sums
BY = {"model": "model", "provider": "provider", "day": "hour", "key": "scope"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.database(parser)
    options.as_json(parser)
    parser.add_argument("--by", choices=BY, default="model", help="what to tell apart (default: model)")
    parser.add_argument("--since", metavar="TIME", help="from when on, as 2027-01-31 (default: the last 30 UTC days)")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    settings = settings_of(args)
    path = Path(settings.server.database)
    rows = asyncio.run(_rows(args, settings)) if path.exists() else []
    if args.json:
        write_json(rows)
        return 0
    headings = [args.by, "requests", "errors", "prompt", "completion", "cached", "cost $"]
    cells = [[*(row[name] for name in NAMES[:-1]), f"{row['cost']:.6f}"] for row in rows]
    cells = [[row[args.by], *each] for row, each in zip(rows, cells, strict=True)]
    write_table(headings, cells, none="nothing was used in this period")
    return 0


NAMES = ("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")


async def _rows(args: argparse.Namespace, settings: Settings) -> list[Row]:
    try:
        which = period(time.time(), args.since, None, ("--since", "--until"))
    except BadRequest as error:
        raise CommandError(error.message) from None
    column = BY[args.by]
    database = await Database.open(
        settings.server.database, synchronous=settings.server.synchronous, migrations=MIGRATIONS
    )
    async with database:
        wanted = Wanted(first_hour=which.first, last_hour=which.last, step=DAY_HOURS, by=[column])
        found = await Statistics(database).sums(wanted)
        names = {each.hash: each.name for each in await Keys(database).list()} if args.by == "key" else {}
    sums = found if args.by == "day" else heaviest_first(found)
    return [_row(args.by, each.values[column], names, each) for each in sums]


def _row(by: str, value: Any, names: dict[str, str], sums: Sums) -> Row:
    row: Row = {by: date_of(value // DAY_HOURS) if by == "day" else value}
    if by == "key":
        # A key that is gone, or an earlier secret of one.
        row = {"key": names.get(value, value[:12]), "hash": value}
    return row | {
        "requests": sums.requests,
        "errors": sums.errors,
        "prompt_tokens": sums.input,
        "completion_tokens": sums.output,
        "cached_tokens": sums.cached,
        "cost": usd(sums.charge),
    }
