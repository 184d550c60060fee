"""Both lanes of a call, whatever its dialect: what goes upstream, and what the client gets of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from router.call import Call
from router.dialects.base import Flow
from router.errors import UpstreamError
from router.events import Event
from router.prices import Cost


def settled(call: Call) -> Call:
    """The call with usage and cost, as the ledger would leave it."""
    call.usage = call.outcome.usage
    call.cost = Cost(prompt=2_000_000, completion=3_000_000)
    call.charge = 5_000_000
    return call


def patched(call: Call) -> dict[str, Any]:
    """What goes upstream on the raw lane."""
    assert call.candidate is not None
    sent: dict[str, Any] = json.loads(call.dialect.patch(call, call.candidate))
    return sent


def relay(call: Call, pieces: Iterable[bytes]) -> bytes:
    """Raw lane: what the client gets of a stream that comes in these pieces."""
    return b"".join(_relayed(call, call.dialect.tap(call), pieces))


def relay_or_fail(call: Call, pieces: Iterable[bytes]) -> tuple[bytes, str]:
    """As `relay`; of a stream that fails what the client gets before, and the failure's name and message."""
    tap = call.dialect.tap(call)
    told = b""
    try:
        for each in _relayed(call, tap, pieces):
            told += each
    except UpstreamError as error:
        return told if tap.content else b"", f"{type(error).__name__}: {error.message}"
    return told, ""


def _relayed(call: Call, tap: Flow, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield tap.feed(piece)
        if tap.done:
            break
    tap.end()
    settled(call)
    yield tap.final()


def encoded(call: Call, events: Iterable[Event]) -> bytes:
    """Hub lane: what the client gets of these events."""
    flow = call.dialect.encoder(call)
    out = [flow.feed(event) for event in events]
    flow.end()
    settled(call)
    return b"".join((*out, flow.final()))
