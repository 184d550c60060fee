"""The plain attempt: the provider sends. Everything that wraps `router_attempt` ends here."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from ..call import Call, Candidate
from ..errors import NotImplementedHere
from ..hookspecs import hookimpl
from ..provider import Upstream

if TYPE_CHECKING:
    from ..server import Server


class Send:
    """Leaves the attempt to `Provider.send`."""

    def __init__(self, server: Server) -> None:
        """Nothing is kept."""

    @hookimpl(trylast=True)
    def router_attempt(self, call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream]:
        """One exchange with the candidate's upstream. Raises NotImplementedHere for a dry run that nobody has answered."""
        if call.dry:
            raise NotImplementedHere(
                "dry runs are answered by the plugin explain, which is switched off here", code="not_configured"
            )
        return candidate.provider.send(call, candidate)
