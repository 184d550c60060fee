"""`router simulate`: what the logged calls would have cost under another policy; on the database, beside a server or without one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from ..api.simulate import unix_of
from ..builtin.simulation import Report, Simulation, policy_of
from ..errors import BadRequest
from ..server import Server
from ..store.database import Database
from ..store.keys import Keys
from ..store.traffic import Traffic
from . import options
from .configured import configured, settings_of
from .terminal import CommandError, write, write_json, write_table

DAYS = 30


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.database(parser)
    options.as_json(parser)
    parser.add_argument("policy", metavar="POLICY", help='a JSON object, or a file of one: \'{"sort": "price"}\'')
    parser.add_argument("--start", metavar="TIME", help=f"from when on, as 2027-01-31 (default: {DAYS} days ago)")
    parser.add_argument("--end", metavar="TIME", help="until when (default: now)")


def run(args: argparse.Namespace) -> int:
    """Simulate and print."""
    path = Path(settings_of(args).server.database)
    if not path.exists():
        raise CommandError(f"there is no database {path}, so that no calls are logged")
    report = asyncio.run(_report(args, path)).printed()
    if args.json:
        write_json(report)
        return 0
    headings = ["requests", "unserved", "actual $", "simulated $", "difference $"]
    rows = [[each["model"], *_cells(each)] for each in report["models"]]
    write_table(["model", *headings], [*rows, ["all", *_cells(report["total"])]], none="")
    write()
    sides = [
        [each["provider"], each["actual_requests"], each["simulated_requests"], *_costs(each)]
        for each in report["providers"]
    ]
    write_table(["provider", "requests", "simulated", *headings[2:]], sides, none="no calls were made in this period")
    for each in report["unserved"]:
        write(f"not served: {each['requests']} of {each['model'] or 'the default model'}: {each['reason']}")
    return 0


async def _report(args: argparse.Namespace, path: Path) -> Report:
    found = await configured(args)
    now = time.time()
    try:
        start = unix_of(args.start or now - DAYS * 86400, "--start")
        end = unix_of(args.end or now, "--end")
        policy = policy_of(_policy(args.policy), found.table)
    except BadRequest as error:
        raise CommandError(error.message) from None
    async with await Database.open(path, synchronous=found.settings.server.synchronous) as database:
        keys = Keys(database)
        await keys.load()
        report = await Simulation(
            settings=found.settings,
            table=found.table,
            dialects=Server(found.settings, {}).dialects,
            keys=keys,
            policy=policy,
            traffic=Traffic(database, start, end),
            progress=_progress,
        ).run()
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    return report


def _policy(given: str) -> dict[str, Any]:
    """The JSON of the command line, or of the file that it names."""
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read the policy {given}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise CommandError(f"the policy must be a JSON object: {error}") from None


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {of} calls read")
        sys.stderr.flush()


def _cells(line: dict[str, Any]) -> list[object]:
    return [line["requests"], line["unserved_requests"], *_costs(line)]


def _costs(line: dict[str, Any]) -> list[object]:
    return [f"{line[name]:.6f}" for name in ("actual_cost", "simulated_cost", "difference")]
