"""The plugin `coinbase`: charges of Coinbase Commerce, and its webhook. What is booked, and once only, is core's business."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct, field

from router import (
    BadRequest,
    Charge,
    Notice,
    Payments,
    Unauthenticated,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    Wish,
    hookimpl,
)

NAME = "coinbase"
SIGNATURE = "X-CC-Webhook-Signature"
#: of the API, by which it answers as it did then
VERSION = "2018-03-22"
LARGEST_ANSWER = 1024 * 1024
#: what events say of a charge: others (created, pending, delayed) change nothing here
STATES = {"charge:confirmed": "paid", "charge:resolved": "paid", "charge:failed": "failed"}


class CoinbaseSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.coinbase]`."""

    api_key: str = ""
    webhook_secret: str = ""
    base_url: str = "https://api.commerce.coinbase.com"
    name: str = "Credits"
    description: str = "Credits for models"
    seconds: float = 20


class Coinbase(Payments):
    """Coinbase Commerce."""

    name = NAME

    def __init__(self, settings: CoinbaseSettings) -> None:
        self._settings = settings

    async def charge(self, wish: Wish) -> Charge:
        """Make a charge; where it will be paid from is known, with what a wallet has to sign."""
        settings = self._settings
        body: dict[str, Any] = {
            "name": settings.name,
            "description": settings.description,
            "pricing_type": "fixed_price",
            "local_price": {"amount": wish.amount_usd, "currency": "USD"},
        }
        made = await self._ask("POST", "/charges", body)
        if wish.sender is not None:
            payer = {"sender": wish.sender, "chain_id": wish.chain_id}
            made = await self._ask("PUT", f"/charges/{quote(made.id, safe='')}/hydrate", payer)
        return Charge(
            id=made.id,
            code=made.code,
            hosted_url=made.hosted_url,
            created_at=made.created_at,
            expires_at=made.expires_at,
            web3_data=made.web3_data,
        )

    def signed(self, headers: Mapping[str, str]) -> bool:
        """Is there a signature?"""
        return bool(headers.get(SIGNATURE))

    def notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """What an event says, if Coinbase has signed it. Raises Unauthenticated, BadRequest."""
        expected = hmac.digest(self._settings.webhook_secret.encode(), body, "sha256").hex()
        given = headers.get(SIGNATURE, "").strip().lower()
        if not hmac.compare_digest(expected.encode(), given.encode(errors="replace")):
            raise Unauthenticated("the signature is not that of this body with plugins.coinbase.webhook_secret")
        try:
            event = _decode_told(body).event
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"this is no event of Coinbase Commerce: {error}") from None
        state: Any = STATES.get(event.type, "other")
        return Notice(charge_id=event.data.id or event.data.code, event_id=event.id, state=state)

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> Made:
        settings = self._settings
        headers = {"X-CC-Api-Key": settings.api_key, "X-CC-Version": VERSION, "Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=settings.seconds)
        try:
            async with (
                aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as session,
                session.request(
                    method, settings.base_url.rstrip("/") + path, json=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                content = await answer.content.read(LARGEST_ANSWER)
                while not answer.content.at_eof() and len(content) < LARGEST_ANSWER:
                    content += await answer.content.read(LARGEST_ANSWER - len(content))
                status = answer.status
        except TimeoutError:
            raise UpstreamTimeout(f"Coinbase has not answered within {settings.seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable(f"Coinbase cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise self._error(status, content)
        try:
            return _decode_answer(content).data
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise UpstreamUnavailable("Coinbase answered what is no charge") from None

    def _error(self, status: int, content: bytes) -> UpstreamError:
        """What it says, without our key."""
        try:
            said = _decode_refusal(content).error.message
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = ""
        said = said.replace(self._settings.api_key, "***")[:300]
        return UpstreamUnavailable(f"Coinbase answered {status}{': ' + said if said else ''}", upstream_status=status)


# --- what Coinbase says -----------------------------------------------------------------------------------------------


class Made(Struct, kw_only=True):
    """A charge."""

    id: str
    hosted_url: str = ""
    created_at: str = ""
    expires_at: str = ""
    code: str = ""
    web3_data: dict[str, Any] | None = None


class Answer(Struct, kw_only=True):
    """The answer to what is asked of charges."""

    data: Made


class Said(Struct, kw_only=True):
    """An error's words."""

    message: str = ""


class Refusal(Struct, kw_only=True):
    """An error."""

    error: Said = field(default_factory=Said)


class Subject(Struct, kw_only=True):
    """The charge of an event."""

    id: str = ""
    code: str = ""


class Event(Struct, kw_only=True):
    """An event."""

    type: str
    id: str = ""
    data: Subject


class Told(Struct, kw_only=True):
    """The body of a webhook."""

    event: Event


_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_refusal = msgspec.json.Decoder(Refusal).decode
_decode_told = msgspec.json.Decoder(Told).decode


class Plugin:
    """What core asks."""

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """The schema of `[plugins.coinbase]`."""
        return {NAME: CoinbaseSettings}

    @hookimpl
    def router_payments(self, settings: Mapping[str, Struct]) -> Payments | None:
        """Coinbase Commerce, where both secrets are set."""
        own = settings.get(NAME)
        if not isinstance(own, CoinbaseSettings) or not own.api_key or not own.webhook_secret:
            return None
        return Coinbase(own)


plugin = Plugin()
