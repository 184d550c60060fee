"""The plain attempt: the provider sends. Everything that wraps `router_attempt` ends here."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from ..call import Call, Candidate
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
        """One exchange with the candidate's upstream."""
        return candidate.provider.send(call, candidate)
