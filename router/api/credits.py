"""Credits: what there is, what was booked, and grants by hand (api.md 13)."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta, Struct

from ..balance import Balance
from ..prices import picodollars, usd, usd_text
from ..store.audit import recorded
from ..store.entries import MOST_ENTRIES, Booking, Entry, Type, Wanted
from ..store.generations import day_of
from . import Request, Route
from .moments import moment
from .sheets import days_of, sheet

#: USD of one grant
MOST_GRANTED = 1_000_000


# --- what there is ---------------------------------------------------------------------------------------------------


class CreditsQuery(Struct):
    """`format`: "number" for the bare number."""

    format: Literal["json", "number"] = "json"


class Windows(Struct):
    """USD in the windows that hold now: the UTC day, the week from Monday, the month."""

    daily: float
    weekly: float
    monthly: float


class Credits(Struct):
    """USD. `credits` is what is left."""

    total_credits: float
    total_usage: float
    credits: float
    usage: Windows


class CreditsAnswer(Struct):
    """As OpenRouter's clients read it."""

    data: Credits


async def credits(request: Request, query: CreditsQuery) -> CreditsAnswer | float | web.Response:
    """What was granted, used and is left, over all keys; a bare number for who asks so."""
    balance = request.server.ledger.balance
    if "text/plain" in request.http.headers.get("Accept", ""):
        return web.Response(text=usd_text(balance.amount), content_type="text/plain")
    if query.format == "number":
        return usd(balance.amount)
    return CreditsAnswer(data=_credits(balance, request.server.clock.wall()))


def _credits(balance: Balance, now: float) -> Credits:
    total, day = balance.total, day_of(now)
    return Credits(
        total_credits=usd(balance.booked),
        total_usage=usd(total.charged_total),
        credits=usd(balance.amount),
        usage=Windows(*(usd(total.charged(window, day)) for window in ("daily", "weekly", "monthly"))),
    )


class BalanceData(Struct):
    """USD."""

    balance: float
    currency: Literal["USD"] = "USD"


class BalanceAnswer(Struct):
    """As ARouter's and ezrouter's clients read it."""

    balance: float
    data: BalanceData
    currency: Literal["USD"] = "USD"
    object: Literal["balance"] = "balance"


async def balance(request: Request) -> BalanceAnswer:
    """What is left, over all keys."""
    left = usd(request.server.ledger.balance.amount)
    return BalanceAnswer(balance=left, data=BalanceData(balance=left))


# --- the ledger ------------------------------------------------------------------------------------------------------


class Transaction(Struct):
    """An entry of the ledger. `amount` in USD, negative for usage; `balance_after` is null for keys that may not see the balance."""

    id: str
    type: Type
    amount: float
    balance_after: float | None
    description: str | None
    generation_id: str | None
    key_hash: str | None
    created_at: str


COLUMNS = Transaction.__struct_fields__


class TransactionsQuery(Struct):
    """Which page, of which type, days (UTC, both included) and key."""

    limit: Annotated[int, Meta(ge=1, le=MOST_ENTRIES)] = 100
    offset: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    type: Type | None = None
    start_date: str | None = None
    end_date: str | None = None
    api_key_hash: str | None = None
    format: Literal["json", "csv"] = "json"


class Transactions(Struct):
    """A page, newest first, twice, and how many there are on all pages."""

    transactions: list[Transaction]
    data: list[Transaction]
    total_count: int


async def transactions(request: Request, query: TransactionsQuery) -> Transactions | web.Response:
    """The ledger, newest first: for a management key all of it, else what belongs to the key that asks. Raises BadRequest."""
    first, last = days_of(query.start_date, query.end_date)
    wanted = Wanted(
        first_day=first,
        last_day=last,
        type=query.type,
        hashes=await _hashes(request, query.api_key_hash),
        limit=query.limit,
        offset=query.offset,
    )
    entries, total = await request.server.entries.page(wanted)
    sees_balance = "credits:read" in request.caller.scopes
    rows = [_transaction(entry, sees_balance=sees_balance) for entry in entries]
    if query.format == "csv":
        return sheet("transactions", COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))
    return Transactions(transactions=rows, data=rows, total_count=total)


async def _hashes(request: Request, asked: str | None) -> list[str] | None:
    """The hashes of the key whose entries are shown; None for all keys, empty where it is none of the caller's business."""
    caller, entries = request.caller, request.server.entries
    if caller.management:
        return None if asked is None else await entries.hashes(asked)
    own = await entries.hashes(caller.hash)
    return own if asked is None or asked in (*own, caller.id) else []


def _transaction(entry: Entry, *, sees_balance: bool) -> Transaction:
    return Transaction(
        id=entry.id,
        type=entry.type,
        amount=usd(entry.amount),
        balance_after=usd(entry.balance_after) if sees_balance else None,
        description=entry.description,
        generation_id=entry.generation_id,
        key_hash=entry.key_hash,
        created_at=moment(entry.created_unix),
    )


# --- grants ----------------------------------------------------------------------------------------------------------


class NewGrant(Struct, forbid_unknown_fields=True):
    """`amount` in USD. The same `idempotency_key` is booked once: a member that nobody knows may be one spelled wrong."""

    amount: Annotated[float, Meta(gt=0, le=MOST_GRANTED)]
    description: Annotated[str, Meta(max_length=500)] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


async def grant(request: Request, body: NewGrant) -> Transaction:
    """Book credits by hand. Raises BadRequest, Unprocessable where the idempotency key was used for another grant."""
    server = request.server
    booking = Booking(
        type="credit",
        amount=picodollars(body.amount),
        counter_account="grants",
        description=body.description,
        idempotency_key=None if body.idempotency_key is None else f"grant:{body.idempotency_key}",
        created_unix=server.clock.wall(),
    )
    entry = await server.entries.book(
        booking, recorded(request.change("credits.grant", booking.id, amount=body.amount, description=body.description))
    )
    await server.ledger.balance.reload()
    return _transaction(entry, sees_balance=True)


ROUTES = [
    Route(method="GET", path="/credits", handler=credits, scope="credits:read"),
    Route(method="POST", path="/credits", handler=grant, scope="billing:manage", status=201, once=True),
    Route(method="GET", path="/balance", handler=balance, scope="credits:read"),
    Route(method="GET", path="/user/balance", handler=balance, scope="credits:read"),
    Route(method="GET", path="/transactions", handler=transactions, scope="usage:read"),
]
