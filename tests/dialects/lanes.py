"""Both lanes of a call, whatever its dialect: what goes upstream, and what the client gets of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from router.call import Call
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
    tap = call.dialect.tap(call)
    out = []
    for piece in pieces:
        out.append(tap.feed(piece))
        if tap.done:
            break
    tap.end()
    settled(call)
    return b"".join((*out, tap.final()))


def encoded(call: Call, events: Iterable[Event]) -> bytes:
    """Hub lane: what the client gets of these events."""
    flow = call.dialect.encoder(call)
    out = [flow.feed(event) for event in events]
    flow.end()
    settled(call)
    return b"".join((*out, flow.final()))
