"""Where the services differ (`[compat]`, and a key's own): switches that change how a request is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..call import Call
from ..errors import BadRequest
from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ..server import Server


class Compat:
    """`strict_params` refuses members that nobody knows; `always_stream` answers with a stream whether one was asked for or not."""

    def __init__(self, server: Server) -> None:
        """Nothing is kept."""

    @hookimpl(tryfirst=True)
    async def router_admit(self, call: Call) -> None:
        """Raises BadRequest for the first unknown member of a strict call."""
        head, compat = call.head, call.compat
        if head.unknown and compat.get("strict_params"):
            raise BadRequest(f"{head.unknown[0]!r} is not a parameter (compat.strict_params)", param=head.unknown[0])
        if compat.get("always_stream"):
            head.stream = True
