"""Calls that the router makes by itself: what a plugin asks of a model goes the way of any other call, with routing, attempts and a row
of its own in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from .call import Call, Sink, encode_json
from .errors import RouterError, UpstreamUnavailable
from .identity import Identity

if TYPE_CHECKING:
    from .dialects.base import Dialect
    from .lifecycle import Lifecycle

#: whose the calls are that nobody else pays for: no key has this hash, and no limit holds
OURS = Identity(hash="router", id="router", name="router", rpm=-1, tpm=-1, rpd=-1, max_parallel=-1)


class Asked(Struct, kw_only=True):
    """The answer to a call of our own: its plain body, and the call, which knows who answered and what it cost."""

    call: Call
    body: bytes


async def ask(
    lifecycle: Lifecycle,
    dialect: Dialect,
    body: Mapping[str, Any],
    *,
    within: Call,
    charged: bool = False,
    deadline_s: float | None = None,
) -> Asked:
    """Run a call in the service of another one, which it ends with. Raises the RouterError that a client would have been told.

    `charged`: to the key of that call, whose limits of rate and of models do not count here; else to nobody. `deadline_s` is on the
    loop's clock; the other call's holds in any case.
    """
    sent = encode_json(body)

    async def read() -> bytes:
        return sent

    operation = dialect.paths[0].operation
    call = Call(
        dialect=dialect,
        body=b"",
        headers={"X-Request-Id": within.request_id},
        path={},
        presented=None,
        started_s=asyncio.get_running_loop().time(),
        operation=operation,
        asked_path=dialect.paths[0].path,
    )
    call.within, call.server = within, within.server
    call.deadline_s = within.deadline_s if deadline_s is None else min(deadline_s, within.deadline_s)
    call.identity = _unbounded(within.identity) if charged and within.identity is not None else OURS
    call.compat = {**within.compat, "always_stream": False}
    memory = _Memory()
    await lifecycle.execute(call, memory, read)
    if memory.failure is not None:
        raise memory.failure
    if memory.body is None:
        raise UpstreamUnavailable("the call ended without an answer")
    return Asked(call=call, body=memory.body)


def _unbounded(identity: Identity) -> Identity:
    """The key with its money, and without its other limits: it was admitted once."""
    return replace(
        identity,
        rpm=-1,
        tpm=-1,
        rpd=-1,
        max_parallel=-1,
        allowed_models=None,
        allowed_providers=None,
        allowed_endpoints=None,
    )


class _Memory(Sink):
    """Where the answer goes."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.failure: RouterError | None = None

    async def finish(self, data: bytes) -> None:
        """The whole body."""
        self.body = data

    async def error(self, error: RouterError) -> None:
        """What a client would have been told."""
        self.failure = error
