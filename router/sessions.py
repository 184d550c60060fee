"""Sessions of people in front of a browser: who has shown a management key once is known by a cookie (`auth` pages, dashboard).

They live in memory: a restart ends them, and so does every change that takes the key away. The cookie is HttpOnly and SameSite=Strict;
whatever changes something needs the session's CSRF token beside it, in a header or a field of the form.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from msgspec import Struct

from .identity import Identity
from .store.keys import Keys, hash_of

COOKIE = "router_session"
CSRF_HEADER = "X-CSRF-Token"
LIFE_S = 12 * 3600
#: the oldest ends where one more begins
MOST = 1000


class Session(Struct, frozen=True):
    """One session: the hash of its key, the token that its forms carry, and when it ends."""

    key_hash: str
    csrf: str
    ends_unix: float

    def vouches(self, token: str | None) -> bool:
        """Is this the session's CSRF token?"""
        return token is not None and hmac.compare_digest(token.encode(), self.csrf.encode())


class Sessions:
    """All sessions, by the hash of their cookie."""

    def __init__(self, keys: Keys, wall: Callable[[], float]) -> None:
        self._keys = keys
        self._wall = wall
        self._open: dict[str, Session] = {}

    def begin(self, identity: Identity) -> str:
        """A session of this key: the cookie's value."""
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        self._open[hash_of(cookie)] = Session(identity.hash, secrets.token_urlsafe(32), self._wall() + LIFE_S)
        return cookie

    def end(self, cookie: str) -> None:
        """Forget a session."""
        self._open.pop(hash_of(cookie), None)

    def forget(self, identity: Identity) -> None:
        """End the sessions of this key."""
        self._open = {each: session for each, session in self._open.items() if session.key_hash != identity.hash}

    def find(self, cookie: str | None) -> tuple[Session, Identity] | None:
        """The session of this cookie and its key as it is now; None where it has ended, or the key is not taken any more."""
        session = self._open.get(hash_of(cookie)) if cookie else None
        if cookie is None or session is None:
            return None
        identity, now = self._keys.get(session.key_hash), self._wall()
        if now < session.ends_unix and identity is not None and identity.management and identity.usable(now):
            return session, identity
        self.end(cookie)
        return None
