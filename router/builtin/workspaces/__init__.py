"""Workspaces: groups of keys (`store.workspaces`), with budgets that are asked behind those of guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...api import Route
from ...hookspecs import hookimpl
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
