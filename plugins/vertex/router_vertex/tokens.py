"""Google's access tokens: fetched with google-auth, kept until shortly before they expire.

google-auth is synchronous and large, so it is imported when the first token is wanted, and works in a thread; what it sends goes by
the provider's own session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from router import UpstreamError, UpstreamUnauthorized, UpstreamUnavailable

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
#: seconds that one request for a token may take
SECONDS = 20
MAX_BYTES = 256 * 1024


class Tokens:
    """The tokens of one identity: of the key file in `info`, or of the place where the router runs."""

    def __init__(self, info: Mapping[str, Any] | None) -> None:
        self.current = ""
        self._info = info
        self._credentials: Any = None
        self._lock = asyncio.Lock()

    async def token(self, session: aiohttp.ClientSession) -> str:
        """A token that holds for some minutes yet. Raises UpstreamUnauthorized where Google gives none."""
        if not self._fresh():
            async with self._lock:
                if not self._fresh():
                    await self._renew(session)
        return self.current

    def _fresh(self) -> bool:
        return self._state() == "FRESH"

    def _state(self) -> str:
        """FRESH, STALE (to be renewed) or INVALID, as google-auth calls them."""
        return "INVALID" if self._credentials is None else str(self._credentials.token_state.name)

    async def _renew(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        try:
            self.current = await asyncio.to_thread(self._fetch, _Transport(session, loop))
        except UpstreamError:
            # The old one may hold for some minutes, in which Google may come back.
            if self._state() == "INVALID":
                raise

    def _fetch(self, transport: _Transport) -> str:
        """In a thread: a new token."""
        from google.auth import exceptions

        try:
            if self._credentials is None:
                self._credentials = _credentials(self._info)
            self._credentials.refresh(transport)
        except exceptions.TransportError as error:
            raise UpstreamUnavailable("Google's token service cannot be reached") from error
        except (exceptions.GoogleAuthError, ValueError) as error:
            raise UpstreamUnauthorized(f"Google gives no access token: {_reason(error)}") from error
        return str(self._credentials.token)


def _credentials(info: Mapping[str, Any] | None) -> Any:
    if info is None:
        import google.auth

        return google.auth.default(scopes=SCOPES)[0]
    if info.get("type") == "authorized_user":
        from google.oauth2.credentials import Credentials

        return Credentials.from_authorized_user_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]


def _reason(error: Exception) -> str:
    """The first of its words: the others may hold the whole answer."""
    return str(error.args[0])[:200] if error.args else type(error).__name__


class _Answer(msgspec.Struct):
    """What google-auth wants back."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport:
    """How google-auth sends: by the session of the loop, from the thread in which it works."""

    def __init__(self, session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **rest: Any,
    ) -> _Answer:
        from google.auth import exceptions

        sent = asyncio.run_coroutine_threadsafe(self._send(url, method, body, headers), self._loop)
        try:
            return sent.result(SECONDS + 1)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise exceptions.TransportError(error) from error  # type: ignore[no-untyped-call]

    async def _send(self, url: str, method: str, body: Any, headers: Mapping[str, str] | None) -> _Answer:
        async with (
            asyncio.timeout(SECONDS),
            self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return _Answer(response.status, dict(response.headers), await response.content.read(MAX_BYTES))
