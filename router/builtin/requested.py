"""What a request asks for by name: plugins (`plugins`, `transforms`) and the variants of models that stand for something else than a
choice of endpoints (`:online`, `:thinking`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..call import Call
from ..dialects.openai_chat.peek import refuse_preset
from ..errors import BadRequest, NotImplementedHere
from ..hookspecs import Transform, hookimpl
from ..model import ChatRequest, ReasoningConfig
from ..planning import VARIANTS

if TYPE_CHECKING:
    from ..server import Server

#: what names a preset in the name of a model
PRESET = "@preset/"
#: what the contract knows (api.md 5); each is there where a plugin answers to it
CONTRACT = frozenset({"web", "file-parser", "response-healing", "context-compression", "auto-router", "moderation"})


class Requested:
    """Refuses names that nobody answers to, and reads variants."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        """What our own routing does."""
        return ("auto-router",)

    @hookimpl(tryfirst=True)
    async def router_admit(self, call: Call) -> None:
        """Raises BadRequest for a plugin that nobody knows and for a preset that nobody has laid under the request, NotImplementedHere
        for a plugin that is not set up."""
        head = call.head
        for name in (head.model, *head.models):
            if PRESET in name:
                refuse_preset(name.partition(PRESET)[2], param="model" if name is head.model else "models")
        if ":" in head.model or any(":" in name for name in head.models):
            self._read_variants(call)
        if head.plugins:
            self._check(call)

    @hookimpl
    def router_transform(self, call: Call) -> Transform | None:
        """Thinking for models that were asked for as `:thinking`, unless the request says how much."""
        return _thinking if "thinking" in call.state.get("variants", ()) else None

    def _read_variants(self, call: Call) -> None:
        head = call.head
        variants = call.state["variants"] = {
            variant for name in (head.model, *head.models) for variant in self._variants_of(name) if variant
        }
        if "online" in variants and all(each["id"] != "web" for each in head.plugins):
            head.plugins = [*head.plugins, {"id": "web"}]

    def _variants_of(self, name: str) -> set[str]:
        try:
            return {named.variant for named in self._server.table.find(name)}
        except BadRequest:  # it fits several models: routing refuses that, unless a header says whose is meant
            return {name.rpartition(":")[2]} & VARIANTS

    def _check(self, call: Call) -> None:
        known = {id for ids in self._server.plugins.hook.router_request_plugins() for id in ids}
        for each in call.head.plugins:
            id, member = each["id"], each.get("member", "plugins")
            if id in known:
                continue
            if id in CONTRACT:
                raise NotImplementedHere(
                    f"no plugin {id!r} is set up here; see [plugins.{id}] in the router's documentation",
                    code="not_configured",
                    param=member,
                )
            raise BadRequest(
                f"{member}: there is no plugin {id[:80]!r}; known are {', '.join(sorted(known))}", param=member
            )


async def _thinking(request: ChatRequest) -> ChatRequest:
    if request.reasoning is not None and (request.reasoning.on or request.reasoning.off):
        return request
    return replace(request, reasoning=ReasoningConfig(enabled=True))
