"""Workspaces: groups of keys (`store.workspaces`), with budgets that are asked behind those of guardrails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from ...api import Route
from ...hookspecs import hookimpl
from .budgets import WorkspaceBudgets
from .routes import ROUTES

if TYPE_CHECKING:
    from ...server import Server


class Workspaces:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Making, looking at and changing them."""
        return ROUTES

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Their budgets hold while the server runs."""
        return self._running()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        server = self._server
        budgets = server.ledger.budgets
        budgets.insert(budgets.index(server.ledger.balance), WorkspaceBudgets(server.workspaces, server.groups))
        yield
