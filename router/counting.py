"""Counting the tokens of a prompt without running it: by an upstream that can tell, else by our own estimate (api.md 7 and 8).

It is free: nothing is reserved and no row is written, but the limits of the key hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from .call import Call, Candidate
from .errors import NoEndpoint, NotFound, UpstreamError
from .lifecycle import recognise
from .planning import Planner
from .plugins import Plugins, each

if TYPE_CHECKING:
    from .ledger import Ledger
    from .model import ChatRequest

#: clients count before they ask: an upstream that is slower than this is not waited for
PATIENCE_S = 10.0


class Counted(NamedTuple):
    """A number of tokens; `estimated` where no upstream has counted."""

    tokens: int
    estimated: bool


class Counting:
    """Counts. One per server."""

    def __init__(self, plugins: Plugins, planner: Planner, ledger: Ledger) -> None:
        self._plugins = plugins
        self._planner = planner
        self._ledger = ledger

    async def count(self, call: Call, read: Callable[[], Awaitable[bytes]]) -> Counted:
        """The tokens of this call's prompt. `read` gives the client's body. Raises RouterError, but never for an unknown model."""
        hook = self._plugins.hook
        call.identity = await recognise(hook, call)
        call.body = await read()
        hook.router_received(call=call)
        call.head = call.dialect.peek(call.body, call.path, call.operation)
        try:
            await each(hook.router_admit(call=call))
            tokens = await self._by_upstream(call)
        finally:
            self._ledger.settle(call)
        return Counted(call.head.prompt_tokens, True) if tokens is None else Counted(tokens, False)

    async def _by_upstream(self, call: Call) -> int | None:
        """What the first endpoint says that can count for the model asked for."""
        try:
            call.plan = await self._planner.plan(call)
        except (NotFound, NoEndpoint, UpstreamError):
            return None
        request = call.request or call.dialect.decode(call.head)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                for candidate in call.plan.candidates:
                    if candidate.group == call.plan.candidates[0].group:
                        asked = replace(
                            request, model=candidate.endpoint.model.id, headers=call.dialect.raw_headers(call)
                        )
                        tokens = await _ask(candidate, asked)
                        if tokens is not None:
                            return tokens
        return None


async def _ask(candidate: Candidate, request: ChatRequest) -> int | None:
    try:
        return await candidate.provider.count_tokens(request, candidate.credential)
    except UpstreamError:
        return None
