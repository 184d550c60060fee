"""Tokens of Microsoft Entra ID for a service principal: the grant of client credentials, renewed before they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from router import UpstreamUnauthorized, UpstreamUnavailable

#: seconds that one request for a token may take
SECONDS = 20
MAX_BYTES = 256 * 1024
#: seconds before its end from which on a token is renewed
EARLY = 300


class _Answer(Struct):
    """What Entra ID says: a token, or why there is none."""

    access_token: str = ""
    expires_in: float = 0
    error: str = ""
    error_description: str = ""


_decode = msgspec.json.Decoder(_Answer).decode


class Tokens:
    """The tokens of one service principal. `url` is where its tenant gives them."""

    def __init__(
        self, url: str, *, client_id: str, client_secret: str, scope: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.current = ""
        self._url = URL(url, encoded=True)
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": scope,
        }
        self._now = now
        self._ends = 0.0
        self._lock = asyncio.Lock()

    async def token(self, session: aiohttp.ClientSession) -> str:
        """A token that holds for some minutes yet. Raises UpstreamUnauthorized where Entra ID gives none."""
        if self._left() < EARLY:
            async with self._lock:
                if self._left() < EARLY:
                    await self._renew(session)
        return self.current

    def _left(self) -> float:
        return self._ends - self._now()

    async def _renew(self, session: aiohttp.ClientSession) -> None:
        try:
            answer = await self._fetch(session)
        except UpstreamUnavailable:
            # The old one may hold for some minutes, in which Entra ID may come back.
            if self._left() <= 0:
                raise
            return
        self.current, self._ends = answer.access_token, self._now() + answer.expires_in

    async def _fetch(self, session: aiohttp.ClientSession) -> _Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            async with (
                asyncio.timeout(SECONDS),
                session.post(self._url, data=self._form, headers=headers, allow_redirects=False) as response,
            ):
                answer = _decode(await response.content.read(MAX_BYTES))
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise UpstreamUnavailable("Entra ID cannot be reached for an access token") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamUnavailable("Entra ID's answer to a request for an access token cannot be read") from error
        if response.status >= 500:
            raise UpstreamUnavailable(f"Entra ID answers {response.status} to a request for an access token")
        if response.status != 200 or not answer.access_token:
            # Its description goes on with ids and a time in further lines.
            reason = (answer.error_description or answer.error or str(response.status)).splitlines()[0]
            raise UpstreamUnauthorized(f"Entra ID gives no access token: {reason[:200]}")
        return answer
