"""`router keys`: make, list and change keys, in the database file; a running server notices by itself."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from ..account import Account, accounts
from ..api.key import Key, key_of
from ..api.moments import unix_of
from ..identity import Identity
from ..logs import escaped
from ..prices import PICODOLLARS, usd_text
from ..settings import Settings
from ..store.database import Database
from ..store.generations import Generations
from ..store.keys import RESETS, Keys
from . import options
from .configured import settings_of
from .terminal import CommandError, write, write_json, write_table

Row = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    create = _action(actions, "create", "make a key; it is shown this once", _create)
    create.add_argument("--name", required=True, help="what the key is for; unique among live keys")
    create.add_argument("--management", action="store_true", help="a key that manages, instead of one that asks models")
    create.add_argument("--limit", type=_usd, metavar="USD", help="how much may be spent")
    create.add_argument("--reset", choices=RESETS, help="when the spending counts from zero again (else never)")
    create.add_argument("--rpm", type=int, metavar="N", help="requests per minute (-1: unlimited)")
    create.add_argument(
        "--endpoint",
        action="append",
        metavar="PATH",
        help="what it may ask: '/chat/completions', '/audio/*', …; as often as you like (else all)",
    )
    create.add_argument("--expires", type=_moment, metavar="ISO", help="until when, as 2027-01-31 or 2027-01-31T12:00Z")
    _action(actions, "list", "list the live keys", _list)
    for name, about, run in (
        ("show", "show one key", _show),
        ("disable", "refuse a key from now on", _disable),
        ("delete", "take a key away for good; its history stays", _delete),
        ("rotate", "give a key a new secret; the old one ends at once", _rotate),
    ):
        _action(actions, name, about, run).add_argument("key", help="its name, hash, id or label")


def run(args: argparse.Namespace) -> int:
    """Do it and wait until it is committed."""
    settings = settings_of(args)
    path = Path(settings.server.database)
    if args.action == "list" and not path.exists():
        _write_list(args, [])
        return 0
    if args.action != "create" and not path.exists():
        raise CommandError(f"there is no database {path} yet; `router serve` or `router keys create` makes it")
    asyncio.run(_opened(args, settings))
    return 0


Do = Callable[[argparse.Namespace, Keys, Generations], Awaitable[None]]


def _action(actions: Any, name: str, about: str, do: Do) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about.capitalize()}.")
    options.config(parser)
    options.database(parser)
    options.as_json(parser)
    parser.set_defaults(do=do)
    return parser


async def _opened(args: argparse.Namespace, settings: Settings) -> None:
    async with await Database.open(settings.server.database, synchronous=settings.server.synchronous) as database:
        keys = Keys(database, prefix=settings.auth.key_prefix)
        await args.do(args, keys, Generations(database))


# --- actions ---------------------------------------------------------------------------------------------------------


async def _create(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    plain, identity = await keys.create(
        args.name,
        management=args.management,
        limit=args.limit,
        limit_reset=args.reset,
        rpm=args.rpm,
        expires_unix=args.expires,
        allowed_endpoints=args.endpoint,
    )
    _write_new(args, plain, identity)


async def _rotate(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    plain, identity = await keys.rotate(args.key)
    _write_new(args, plain, identity)


def _write_new(args: argparse.Namespace, plain: str, identity: Identity) -> None:
    if args.json:
        write_json({"key": plain, "hash": identity.hash, "name": identity.name})
        return
    write(plain)
    write(f"{identity.name}, {_kind(identity)}, hash {identity.hash}. Keep the key: it is not shown again.")


async def _list(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    _write_list(args, await _rows(args, await keys.list(), generations))


def _write_list(args: argparse.Namespace, rows: list[Row]) -> None:
    if args.json:
        write_json(rows)
        return
    write_table(
        ["name", "key", "kind", "state", "spent $", "limit $", "rpm", "last used", "expires"],
        [
            [
                row["name"],
                row["label"],
                row["key_type"],
                row["state"],
                f"{row['usage']:.4f}",
                _limit(row),
                row["rpm"],
                row["last_used_at"],
                row["expires_at"],
            ]
            for row in rows
        ],
        none="no keys; `router keys create --name NAME` makes one",
    )


async def _show(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    await _write_one(args, await keys.show(args.key), generations)


async def _disable(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    await _write_one(args, await keys.disable(args.key), generations)


async def _delete(args: argparse.Namespace, keys: Keys, generations: Generations) -> None:
    identity = await keys.delete(args.key)
    if args.json:
        write_json({"deleted": True, "hash": identity.hash, "name": identity.name})
    else:
        write(f"{identity.name} is deleted; its history stays under {identity.hash}")


async def _write_one(args: argparse.Namespace, identity: Identity, generations: Generations) -> None:
    (row,) = await _rows(args, [identity], generations)
    if args.json:
        write_json(row)
        return
    row["rate_limit"].pop("note")
    for name, value in row.items():
        write(f"{name:<23}{escaped(_worded(value))}")


def _worded(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


# --- what is shown of a key ------------------------------------------------------------------------------------------


async def _rows(args: argparse.Namespace, identities: Any, generations: Generations) -> list[Row]:
    """Keys as the HTTP API shows them, and in what state they are."""
    now, limits = time.time(), settings_of(args).limits
    found = await accounts(generations, now)
    return [_row(each, key_of(each, found.get(each.id) or Account(), limits, now), now) for each in identities]


def _row(identity: Identity, key: Key, now: float) -> Row:
    plain: Row = to_builtins(key)
    return {**plain, "state": _state(identity, now), "rpm": identity.rpm}


def _kind(identity: Identity) -> str:
    return "management" if identity.management else "regular"


def _state(identity: Identity, now: float) -> str:
    if identity.disabled:
        return "disabled"
    return "live" if identity.usable(now) else "expired"


def _limit(row: Row) -> str | None:
    if row["limit"] is None:
        return None
    amount = usd_text(round(row["limit"] * PICODOLLARS))
    return f"{amount} {row['limit_reset']}" if row["limit_reset"] else amount


# --- what is typed ---------------------------------------------------------------------------------------------------


def _usd(text: str) -> int:
    """Picodollars."""
    try:
        return int(Decimal(text) * PICODOLLARS)
    except (InvalidOperation, ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in USD, such as 5 or 0.50") from None


def _moment(text: str) -> float:
    """Unix seconds of an ISO date (its beginning) or date-time; UTC where it names no zone."""
    try:
        return unix_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
