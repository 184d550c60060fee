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
from ...call import Call
from ...dialects.openai_media import split
from ...hookspecs import Filter, Rewrite, Transform, hookimpl
from ...identity import Identity, Restriction
from ..responses.rows import OWN
from .added import Added
from .answers import Answer
from .combined import Book, GuardrailBudgets
from .content import KEPT, REQUEST, Filters, Findings, Walk, too_slow
from .deadline import TooSlow
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
        if filters is not None:
            call.body = _redacted(call, filters, REQUEST, call.body)

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        """Redact what a response was kept of that the request goes on from: other guardrails may have held then. Raises Forbidden."""
        if OWN not in call.state or (filters := self._filters(call)) is None:
            return
        members = call.head.members
        body = _redacted(call, filters, KEPT, msgspec.json.encode({"input": members["input"]}))
        members["input"] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"]

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


def _redacted(call: Call, filters: Filters, where: str, body: bytes) -> bytes:
    """A request as it goes on. Raises Forbidden."""
    findings = Findings(where)
    walk = Walk(filters, findings)
    try:
        body = _form(body, walk) if body.startswith(b"--") else walk.body(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body  # what is wrong with it is said where it is read
    except TooSlow:
        raise too_slow() from None
    if (entry := findings.entry()) is not None:
        call.pipeline.append(entry)
    findings.refuse()
    return body


def _form(body: bytes, walk: Walk) -> bytes:
    """A form of several parts, whose files stay as they are. Raises TooSlow, BadRequest."""
    boundary, parts = split(body)
    pieces = []
    for part in parts:
        if not part.file:
            part.content = walk.text(part.content.decode()).encode()
        pieces.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, part.header, part.content))
    return b"".join((*pieces, b"--%b--\r\n" % boundary)) if walk.changed else body
