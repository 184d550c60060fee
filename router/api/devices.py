"""Logins of devices without a browser (RFC 8628, api.md 12): they begin here and ask until somebody has answered on the page."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ..devices import LIFE_S
from . import Request, Route
from .grants import Secret, grant


class Start(Struct):
    """Who begins."""

    client_name: Annotated[str, Meta(min_length=1, max_length=90, pattern=r"^[^\x00-\x1f\x7f]+$")] = "a device"


class Started(Struct):
    """The short code is for people, the long one to ask with, every `interval` seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class Poll(Struct):
    """Has somebody answered?"""

    device_code: Secret


class DeviceKey(Struct):
    """The key."""

    key: str


async def start(request: Request, body: Start) -> Started:
    """Begin."""
    server, http = request.server, request.http
    server.throttle.check(http.remote)
    server.throttle.count(http.remote)
    code, device = server.devices.start(body.client_name)
    where = f"{request.origin}/auth/device"
    return Started(code, device.user_code, where, f"{where}?user_code={device.user_code}", LIFE_S, device.interval_s)


async def token(request: Request, body: Poll) -> DeviceKey:
    """The key, once somebody has agreed; else 400 with a code of RFC 8628."""
    device = request.server.devices.poll(body.device_code)
    return DeviceKey(await grant(request, device.granted_by, device.settings))


ROUTES = [
    Route(method="POST", path="/auth/cli/device/start", handler=start, scope="public"),
    Route(method="POST", path="/auth/cli/device/token", handler=token, scope="public"),
]
