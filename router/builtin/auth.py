"""Who calls: our own keys, and open mode. Others may recognise credentials of their own before this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..call import SCOPES, Call, Identity
from ..errors import Forbidden, Unauthenticated
from ..hookspecs import hookimpl
from ..store.keys import hash_of

if TYPE_CHECKING:
    from ..server import Server

#: whoever calls in open mode without one of our keys; calls are booked under the hash of no key at all
ANYBODY = Identity(hash=hash_of(""), id=hash_of(""), name="open", label="open", scopes=frozenset(SCOPES))


class Auth:
    """Looks keys up in memory; a change of a key holds from the next request on."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl(trylast=True)
    def router_authenticate(self, call: Call) -> Identity:
        """The key that was presented, unless it is disabled or over. The message tells a missing key from a wrong one, no more."""
        key, is_open = call.presented, self._server.settings.auth.mode == "open"
        if not key:
            if is_open:
                return ANYBODY
            raise Unauthenticated(
                "no key was sent; send one as 'Authorization: Bearer …' (`router keys create` makes one)"
            )
        identity = self._server.keys.find(key)
        if identity is not None and not identity.disabled and not self._over(identity):
            return identity
        if is_open:
            return ANYBODY
        raise Unauthenticated("this key is not valid here; `router keys list` shows the keys there are")

    @hookimpl(tryfirst=True)
    async def router_admit(self, call: Call) -> None:
        """Only keys with the scope `inference` may make calls."""
        identity = call.identity
        if identity is None or "inference" in identity.scopes:
            return
        if identity.management:
            raise Forbidden("a management key cannot make calls; use an inference key (`router keys create --name …`)")
        raise Forbidden("this key lacks the scope 'inference'")

    def _over(self, identity: Identity) -> bool:
        return identity.expires_unix is not None and self._server.clock.wall() >= identity.expires_unix
