"""Says what would happen to a call (`POST /explain`, `X-Router-Dry-Run`), and what has happened (`X-OpenRouter-Metadata`).

endpoints     which operation a path means
explanation   the plan of a call, explained
report        what answers and errors say of it
translated    what an upstream would get

A dry run goes the way of every call, up to its plan: limits are checked and counted, but no upstream is asked and nothing is booked.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ...call import Call, encode_json
from ...hookspecs import hookimpl
from ...plugins import each
from .explanation import explanation
from .report import report
from .translated import translated

if TYPE_CHECKING:
    from ...server import Server

METADATA_HEADERS = (
    *("X-OpenRouter-Metadata", "X-OpenRouter-Experimental-Metadata"),
    *("X-Router-Metadata", "X-Router-Experimental-Metadata"),
)
EXPLAIN, DRY_RUN = "X-Router-Explain", "X-Router-Dry-Run"
OFF = ("", "0", "false")


class Explain:
    """Answers dry runs, and has answers tell what they come from where the client asks for it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl(tryfirst=True)
    def router_answer(self, call: Call) -> Coroutine[Any, Any, bytes] | None:
        """The explanation of a dry run. Other calls are only marked as what they are."""
        headers = call.headers
        if call.dry or _on(headers, DRY_RUN):
            return self._explained(call)
        if _on(headers, EXPLAIN):
            call.metadata = lambda: report(call) | {"explanation": explanation(self._server, call)}
        elif any(headers.get(name, "").lower() == "enabled" for name in METADATA_HEADERS):
            call.metadata = lambda: report(call)
        return None

    async def _explained(self, call: Call) -> bytes:
        """What would happen, as JSON. Raises what would refuse the call; the error says how far it came."""
        server, hook = self._server, self._server.plugins.hook
        call.dry = True
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


def _on(headers: Mapping[str, str], name: str) -> bool:
    value = headers.get(name)
    return value is not None and value.strip().lower() not in OFF


__all__ = ["Explain"]
