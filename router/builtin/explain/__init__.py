"""Says what would happen to a call (`POST /explain`, `X-Router-Dry-Run`), and what has happened (`X-OpenRouter-Metadata`).

endpoints     which operation a path means
explanation   the plan of a call, explained
report        what answers and errors say of it
translated    what an upstream would get

A dry run goes the way of every call, up to its plan: limits are checked and counted, but no upstream is asked and nothing is booked.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from multidict import istr

from ...call import Call, encode_json, switched_on
from ...hookspecs import hookimpl
from ...plugins import each
from .explanation import explanation
from .report import report
from .translated import translated

if TYPE_CHECKING:
    from ...server import Server

#: looked for in every call: a name that is folded already is found in a third of the time
METADATA_HEADERS = (
    *(istr("X-OpenRouter-Metadata"), istr("X-OpenRouter-Experimental-Metadata")),
    *(istr("X-Router-Metadata"), istr("X-Router-Experimental-Metadata")),
)
EXPLAIN = istr("X-Router-Explain")


class Explain:
    """Answers dry runs, and has answers tell what they come from where the client asks for it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl(tryfirst=True)
    def router_answer(self, call: Call) -> Coroutine[Any, Any, bytes] | None:
        """The explanation of a dry run. Other calls are only marked as what they are."""
        if call.dry:
            return self._explained(call)
        get = call.headers.get
        if switched_on(get(EXPLAIN)):
            call.metadata = lambda: report(call) | {"explanation": explanation(self._server, call)}
            return None
        for name in METADATA_HEADERS:
            if (value := get(name)) is not None and value.lower() == "enabled":
                call.metadata = lambda: report(call)
        return None

    async def _explained(self, call: Call) -> bytes:
        """What would happen, as JSON. Raises what would refuse the call; the error says how far it came."""
        server, hook = self._server, self._server.plugins.hook
        call.metadata = lambda: report(call) | {"explanation": explanation(server, call)}
        await each(hook.router_admit(call=call))
        await server.planner.plan(call)
        if call.identity is not None:
            server.ledger.affordable(call, call.identity)
        told = explanation(server, call)
        every = parse_qs(call.query).get("bodies") == ["all"]
        for candidate, shown in zip(call.plan.candidates, told["candidates"], strict=True):
            if every or shown["position"] == 1:
                shown["upstream"] = await translated(server, call, candidate)
        call.head.stream = False  # the answer is plain
        return encode_json(told)


__all__ = ["Explain"]
