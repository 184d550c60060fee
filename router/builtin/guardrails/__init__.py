"""Guardrails: what keys may ask and spend, and what is looked for in their content (api.md 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...api import Route
from ...hookspecs import hookimpl
from .routes import ROUTES

if TYPE_CHECKING:
    from ...server import Server


class Guardrails:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Making, looking at, changing and assigning them."""
        return ROUTES
