"""Guardrails: what keys may ask and spend, and what is looked for in their content (api.md 14).

Requests are filtered as they come, before anybody else reads them: on all surfaces and lanes; what plugins add to them behind that.
Answers of chats are filtered as events, transcripts when they are whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from ...api import Route
from ...call import Call, Identity, Restriction
from ...dialects.openai_media import split
from ...hookspecs import Filter, Rewrite, Transform, hookimpl
from .added import Added
from .answers import Answer
from .combined import Book, GuardrailBudgets
from .content import REQUEST, Filters, Findings, TooSlow, Walk, too_slow
from .routes import ROUTES
from .transcripts import Transcript

if TYPE_CHECKING:
    from ...server import Server


class Guardrails:
    """The plugin."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._book = Book(server)

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Making, looking at, changing and assigning them."""
        return ROUTES

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Their budgets hold while the server runs."""
        return self._running()

    @hookimpl
    def router_restrict(self, identity: Identity) -> Restriction | None:
        """Which models and providers they leave."""
        return self._book.of(identity)

    @hookimpl
    def router_received(self, call: Call) -> None:
        """Redact what the client sent. Raises Forbidden where something in it blocks."""
        filters = self._filters(call)
        if filters is None:
            return
        findings = Findings(REQUEST)
        try:
            walk = Walk(filters, findings)
            call.body = _form(call.body, walk) if call.body.startswith(b"--") else walk.body(call.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # what is wrong with it is said where it is read
        except TooSlow:
            raise too_slow() from None
        if (entry := findings.entry()) is not None:
            call.pipeline.append(entry)
        findings.refuse()

    @hookimpl
    def router_review(self, call: Call) -> Transform | None:
        """Redact what plugins add. Raises Forbidden where something in it blocks."""
        filters = self._filters(call)
        return None if filters is None else Added(call, filters).review

    @hookimpl
    def router_filter(self, call: Call) -> Filter | None:
        """Redact what a model answers."""
        filters = self._filters(call)
        return Answer(call, filters.answers).events if filters is not None and filters.answers else None

    @hookimpl
    def router_rewrite(self, call: Call) -> Rewrite | None:
        """Redact what a model has heard."""
        if call.dialect.produces != "transcription":
            return None
        filters = self._filters(call)
        return Transcript(call, filters.answers).rewrite if filters is not None and filters.answers else None

    # --- helpers ---

    def _filters(self, call: Call) -> Filters | None:
        combined = None if call.identity is None else self._book.of(call.identity)
        return None if combined is None else combined.filters

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self._server.ledger.budgets.insert(0, GuardrailBudgets(self._server, self._book))
        yield


def _form(body: bytes, walk: Walk) -> bytes:
    """A form of several parts, whose files stay as they are. Raises TooSlow, BadRequest."""
    boundary, parts = split(body)
    pieces = []
    for part in parts:
        if not part.file:
            part.content = walk.text(part.content.decode()).encode()
        pieces.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, part.header, part.content))
    return b"".join((*pieces, b"--%b--\r\n" % boundary)) if walk.changed else body
