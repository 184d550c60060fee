"""`router credits`: what there is, and bookings by hand, in the database file; a running server notices by itself."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ..prices import PICODOLLARS, usd, usd_text
from ..settings import Settings
from ..store.audit import Change, recorded
from ..store.database import Database
from ..store.entries import Booking, Entries, Entry
from . import options
from .configured import settings_of
from .terminal import CommandError, write, write_json

LONGEST_NOTE = 500
#: USD; how much may be booked is checked later, this is a number at all
MOST_TYPED = 10**9
Do = Callable[[argparse.Namespace, Entries], Awaitable[None]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    _action(actions, "show", "show what was granted, what was used and what is left", _show)
    grant = _action(actions, "grant", "add credits", _grant)
    grant.add_argument("amount", type=_granted, metavar="AMOUNT", help="in USD, such as 20 or 0.50")
    adjust = _action(actions, "adjust", "correct the balance, up or down", _adjust)
    adjust.add_argument(
        "amount", type=_usd, metavar="AMOUNT", help="in USD; below zero to take credits away, such as -5"
    )
    refund = _action(actions, "refund", "give back what a call was charged, once", _refund)
    refund.add_argument(
        "generation", metavar="GENERATION_ID", help="the call: the header X-Generation-Id of its answer"
    )
    for each in (grant, adjust, refund):
        each.add_argument("--note", type=_note, help="what for; it stands in the ledger")


def run(args: argparse.Namespace) -> int:
    """Do it and wait until it is committed."""
    settings = settings_of(args)
    path = Path(settings.server.database)
    if args.action in ("adjust", "refund") and not path.exists():
        raise CommandError(f"there is no database {path} yet; `router serve` or `router credits grant` makes it")
    if args.action == "show" and not path.exists():
        _write_sums(args, 0, 0)
        return 0
    asyncio.run(_opened(args, settings))
    return 0


def _action(actions: Any, name: str, about: str, do: Do) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about.capitalize()}.")
    options.config(parser)
    options.database(parser)
    options.as_json(parser)
    parser.set_defaults(do=do)
    return parser


async def _opened(args: argparse.Namespace, settings: Settings) -> None:
    async with await Database.open(settings.server.database, synchronous=settings.server.synchronous) as database:
        await args.do(args, Entries(database))


# --- actions ---------------------------------------------------------------------------------------------------------


async def _show(args: argparse.Namespace, entries: Entries) -> None:
    booked = await entries.booked()
    _write_sums(args, booked, await entries.balance())


async def _grant(args: argparse.Namespace, entries: Entries) -> None:
    booking = Booking(type="credit", amount=args.amount, counter_account="grants", description=args.note)
    await _book(args, entries, booking, "credits.grant")


async def _adjust(args: argparse.Namespace, entries: Entries) -> None:
    booking = Booking(type="adjustment", amount=args.amount, counter_account="adjustments", description=args.note)
    await _book(args, entries, booking, "credits.adjust")


async def _refund(args: argparse.Namespace, entries: Entries) -> None:
    booking = await entries.refund(args.generation, description=args.note)
    if booking is None:
        raise CommandError(f"no charge was booked for {args.generation}")
    await _book(args, entries, booking, "credits.refund")


async def _book(args: argparse.Namespace, entries: Entries, booking: Booking, action: str) -> None:
    detail = {"amount": usd(booking.amount), "description": booking.description}
    entry = await entries.book(booking, recorded(Change(action=action, target=booking.id, detail=detail)))
    if entry.id != booking.id:
        raise CommandError(f"this was booked before, as {entry.id}")
    _write_entry(args, entry)


# --- what is printed -------------------------------------------------------------------------------------------------


def _write_sums(args: argparse.Namespace, booked: int, left: int) -> None:
    used = booked - left
    if args.json:
        write_json({"total_credits": usd(booked), "total_usage": usd(used), "credits": usd(left)})
        return
    for name, amount in (("granted", booked), ("used", used), ("left", left)):
        write(f"{name:<10}${usd_text(amount)}")


def _write_entry(args: argparse.Namespace, entry: Entry) -> None:
    if args.json:
        shown = {
            "id": entry.id,
            "type": entry.type,
            "amount": usd(entry.amount),
            "balance_after": usd(entry.balance_after),
        }
        write_json(shown | {"description": entry.description, "generation_id": entry.generation_id})
        return
    write(f"{entry.id}: ${usd_text(entry.amount)} booked; ${usd_text(entry.balance_after)} is left")


# --- what is typed ---------------------------------------------------------------------------------------------------


def _usd(text: str) -> int:
    """Picodollars."""
    try:
        typed = Decimal(text)
        amount = int(typed * PICODOLLARS) if abs(typed) < MOST_TYPED else 0
    except (InvalidOperation, ValueError):
        amount = 0
    if amount == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in USD, such as 20 or 0.50")
    return amount


def _granted(text: str) -> int:
    amount = _usd(text)
    if amount < 0:
        raise argparse.ArgumentTypeError("a grant is more than 0; `router credits adjust` takes credits away")
    return amount


def _note(text: str) -> str:
    if len(text) > LONGEST_NOTE or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a note is one line of at most {LONGEST_NOTE} printable characters")
    return text
