"""Logins of devices without a browser (RFC 8628, api.md 12): a short code that is typed in elsewhere, and a long one to ask with.

They last ten minutes and live in memory: a restart ends them, and the device begins again. Only hashes of the long codes are kept.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, field

from .errors import BadRequest, RateLimited
from .identity import Identity
from .store.keys import hash_of

LIFE_S = 600
INTERVAL_S = 5
MOST = 1000
#: letters that nobody takes for another, and that make no words
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


class Device(Struct, kw_only=True):
    """One login under way. `settings` are those of the key that it gets, once somebody (`granted_by`: the hash of a key) has agreed."""

    user_code: str
    client_name: str
    expires_unix: float
    interval_s: int = INTERVAL_S
    asked_unix: float = 0.0
    state: Literal["pending", "approved", "denied"] = "pending"
    granted_by: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


class Devices:
    """All logins under way, by the hash of their device code."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._pending: dict[str, Device] = {}

    def start(self, client_name: str) -> tuple[str, Device]:
        """A new login: the device code, in clear this once, and what is kept. Raises RateLimited."""
        now = self._wall()
        self._pending = {code: device for code, device in self._pending.items() if now < device.expires_unix}
        if len(self._pending) >= MOST:
            raise RateLimited("too many device logins are under way; try again later", retry_after_s=60)
        plain = secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(LETTERS) for _ in range(8))
        device = Device(user_code=f"{letters[:4]}-{letters[4:]}", client_name=client_name, expires_unix=now + LIFE_S)
        self._pending[hash_of(plain)] = device
        return plain, device

    def find(self, user_code: str) -> Device | None:
        """The login with this code, however it was typed, that waits for an answer."""
        letters = re.sub(r"[^A-Z]", "", user_code.upper())
        for device in self._pending.values():
            if device.user_code.replace("-", "") == letters and device.state == "pending":
                return device if self._wall() < device.expires_unix else None
        return None

    def forget(self, identity: Identity) -> None:
        """End the logins that the owner of this key has agreed to, and that have not fetched their keys."""
        self._pending = {code: device for code, device in self._pending.items() if device.granted_by != identity.hash}

    def poll(self, device_code: str) -> Device:
        """The login that was agreed to; it is over then. Raises BadRequest with the codes of RFC 8628."""
        now, code = self._wall(), hash_of(device_code)
        device = self._pending.get(code)
        if device is None or now >= device.expires_unix:
            self._pending.pop(code, None)
            raise BadRequest("this login is over; start again", code="expired_token")
        early = now < device.asked_unix + device.interval_s
        device.asked_unix = now
        if early:
            device.interval_s += INTERVAL_S
            raise BadRequest(f"ask every {device.interval_s} seconds", code="slow_down")
        if device.state == "pending":
            raise BadRequest(f"nobody has agreed yet; ask again in {device.interval_s} s", code="authorization_pending")
        del self._pending[code]
        if device.state == "denied":
            raise BadRequest("the owner of this router has said no", code="access_denied")
        return device
