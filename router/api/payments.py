"""Paying for credits: a charge of the payments plugin, and its webhook, which books the credit once (api.md 13)."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ..errors import BadRequest, ClientTimeout, NotFound, NotImplementedHere, PayloadTooLarge, Unauthenticated
from ..payments import Payments, Wish
from ..prices import picodollars, usd_text
from ..store.audit import recorded
from ..store.charges import Charged
from . import Request, Route

log = logging.getLogger(__name__)

SERVICE = "coinbase"
#: USD of one charge
LEAST, MOST = 0.01, 25_000
LARGEST_NOTICE = 256 * 1024
NOTICE_S = 10.0


class NewCharge(Struct, kw_only=True, forbid_unknown_fields=True):
    """`amount` in USD. `sender` (an address) and `chain_id` are for who pays by a contract; others pay at `hosted_url`."""

    amount: Annotated[float, Meta(ge=LEAST, le=MOST)]
    sender: Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{40}$")] | None = None
    chain_id: Literal[1, 137, 8453] | Literal["1", "137", "8453"] | None = None


class ChargeData(Struct, kw_only=True):
    """Where it can be paid, and until when."""

    id: str
    created_at: str
    expires_at: str
    hosted_url: str
    amount: float
    sender: str | None
    chain_id: int | None
    web3_data: dict[str, Any] | None


class ChargeMade(Struct):
    """A charge; it is booked when it is paid."""

    data: ChargeData


class NoticeTaken(Struct):
    """The notice was read."""

    received: Literal[True] = True


async def charge(request: Request, body: NewCharge) -> ChargeMade:
    """Make a charge by which credits are paid for. Raises NotImplementedHere where no payments plugin is set up."""
    server, payments = request.server, _payments(request)
    chain_id = None if body.chain_id is None else int(body.chain_id)
    if (body.sender is None) != (chain_id is None):
        raise BadRequest("sender and chain_id go together", param="sender" if body.sender is None else "chain_id")
    amount = picodollars(round(body.amount, 2))
    made = await payments.charge(Wish(amount_usd=usd_text(amount), sender=body.sender, chain_id=chain_id))
    kept = Charged(
        service=payments.name,
        id=made.id,
        code=made.code,
        amount=amount,
        made_by=request.caller.hash,
        created_unix=server.clock.wall(),
    )
    await server.charges.add(kept, request.change("credits.charge", made.id, amount=body.amount, service=payments.name))
    return ChargeMade(
        ChargeData(
            id=made.id,
            created_at=made.created_at,
            expires_at=made.expires_at,
            hosted_url=made.hosted_url,
            amount=round(body.amount, 2),
            sender=body.sender,
            chain_id=chain_id,
            web3_data=made.web3_data,
        )
    )


async def notice(request: Request) -> NoticeTaken:
    """What the payment service says, signed by it. The same notice may come often and in any order: a charge is booked once."""
    server, payments = request.server, _payments(request)
    if not payments.signed(request.http.headers):
        raise Unauthenticated("the signature of the payment service is missing")
    told = payments.notice(request.http.headers, await _body(request))
    known = await server.charges.find(payments.name, told.charge_id)
    if known is None:
        if told.state == "paid":
            log.warning("%s says that a charge was paid that was not made here: %.80r", payments.name, told.charge_id)
            raise NotFound("this charge was not made here")
        return NoticeTaken()
    if told.state == "failed":
        await server.charges.failed(known)
    elif told.state == "paid" and known.state != "paid":
        await _book(request, known)
    return NoticeTaken()


async def _book(request: Request, known: Charged) -> None:
    server = request.server
    booking = server.charges.booking(known, server.clock.wall())
    change = request.change("credits.paid", booking.id, charge=known.id, amount=usd_text(known.amount))
    change.actor = known.service
    await server.entries.book(booking, server.charges.now(known, "paid"), recorded(change))
    await server.ledger.balance.reload()
    log.info("a charge of %s was paid: $%s", known.service, usd_text(known.amount))


async def _body(request: Request) -> bytes:
    """A small body, as it was signed. Raises PayloadTooLarge, ClientTimeout."""
    content = request.http.content
    body = bytearray()
    try:
        async with asyncio.timeout(NOTICE_S):
            while piece := await content.readany():
                body += piece
                if len(body) > LARGEST_NOTICE:
                    raise PayloadTooLarge(f"a notice has at most {LARGEST_NOTICE} bytes")
    except TimeoutError:
        raise ClientTimeout("the body did not arrive in time") from None
    return bytes(body)


def _payments(request: Request) -> Payments:
    payments = request.server.payments
    if payments is None or payments.name != SERVICE:
        raise NotImplementedHere(
            "credits cannot be paid for here: install onebox-router-coinbase and set api_key and webhook_secret in [plugins.coinbase]",
            code="not_configured",
        )
    return payments


ROUTES = [
    Route(method="POST", path="/credits/coinbase", handler=charge, scope="billing:manage", once=True),
    Route(method="POST", path="/credits/coinbase/webhook", handler=notice, scope="public"),
]
