"""Who calls: our own keys, and open mode. Others may recognise credentials of their own before this."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..call import Call
from ..errors import Forbidden, Unauthenticated
from ..hookspecs import hookimpl
from ..identity import SCOPES, Identity
from ..settings import is_loopback
from ..store.keys import hash_of

if TYPE_CHECKING:
    from ..server import Server

#: whoever calls in open mode without one of our keys; calls are booked under the hash of no key at all
ANYBODY = Identity(hash=hash_of(""), id=hash_of(""), name="open", label="open", scopes=frozenset(SCOPES))

#: what `allowed_endpoints` leaves out of a path: which version of whose API it is
VERSION = re.compile(r"^(/api|/anthropic)?/v1(beta)?(?=/)")
#: headers that a page of another site can send only where we have told its browser so (CORS)
CREDENTIALS = ("Authorization", "x-api-key", "x-goog-api-key")
#: any key may ask what it is
OWN = frozenset({"/key", "/auth/key"})


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
                return self._anybody(call)
            raise Unauthenticated(
                "no key was sent; send one as 'Authorization: Bearer …' (`router keys create` makes one)"
            )
        identity = self._server.keys.find(key)
        if identity is not None and identity.usable(self._server.clock.wall()):
            return permitted(call, identity)
        if is_open:
            return self._anybody(call)
        raise Unauthenticated("this key is not valid here; `router keys list` shows the keys there are")

    def _anybody(self, call: Call) -> Identity:
        """Whoever works at this machine, but not the pages of other sites that his browser shows. Raises Forbidden."""
        headers, settings = call.headers, self._server.settings.server
        host, origin, own = headers.get("Host", ""), headers.get("Origin", ""), settings.public_url
        foreign = bool(origin) and origin not in (own, *settings.cors_origins) and _host(origin) != host.lower()
        elsewhere = _leads_elsewhere(host) and host.lower() != _host(own)
        if elsewhere or (foreign and not any(name in headers for name in CREDENTIALS)):
            raise Forbidden(
                'with auth.mode = "open" no page of another site may ask: list its origin in server.cors_origins, or use keys; '
                "the router itself is asked as localhost, 127.0.0.1 or as server.public_url says"
            )
        return permitted(call, ANYBODY)

    @hookimpl(tryfirst=True)
    async def router_admit(self, call: Call) -> None:
        """The same for identities that another plugin has recognised."""
        if call.identity is not None:
            permitted(call, call.identity)


def _leads_elsewhere(host: str) -> bool:
    """Is this (as in the header `Host`) a name that only somebody's name server leads to this machine?"""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return True
    return bool(name) and not name.endswith(".localhost") and not is_loopback(name)


def _host(origin: str) -> str:
    """Host and port of an origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def permitted(call: Call, identity: Identity) -> Identity:
    """The identity, if it may ask this path at all; that is known before there is a body. Raises Forbidden."""
    if call.operation != "api" and "inference" not in identity.scopes:
        call.identity = identity  # for the line in the log
        if identity.management:
            raise Forbidden("a management key cannot make calls; use an inference key (`router keys create --name …`)")
        raise Forbidden("this key lacks the scope 'inference'")
    allowed = identity.allowed_endpoints
    if allowed is not None and not _among(allowed, endpoint := endpoint_of(call.asked_path)):
        call.identity = identity
        names = ", ".join(allowed) or "nothing"
        raise Forbidden(f"this key may ask {names} (its allowed_endpoints), not {endpoint[:200]}")
    return identity


def endpoint_of(path: str) -> str:
    """A path as `allowed_endpoints` writes it: without version, and Gemini's always below /models."""
    below = VERSION.sub("", path.rstrip("/"), count=1)
    if ":" in below.rpartition("/")[2] and not below.startswith("/models/"):
        return f"/models{below}"
    return below


def _among(allowed: list[str], endpoint: str) -> bool:
    return endpoint in OWN or any(fnmatch.fnmatchcase(endpoint, endpoint_of(each)) for each in allowed)
