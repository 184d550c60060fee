"""Presets: a configuration of requests under a name, which a request takes by `preset`, `@preset/name` or `model@preset/name`.

`forms` says what a preset says in the words of each client API, `merge` lays that under a request, `routes` keeps them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...api import Route
from ...call import Call
from ...dialects.base import Dialect
from ...dialects.gemini_generate import fields as gemini
from ...errors import BadRequest, NotFound
from ...hookspecs import Transform, hookimpl
from ...model import ChatRequest, ReasoningConfig
from ...store.migrations import Migration
from ...store.presets import MIGRATIONS, Preset
from ...store.presets import Presets as Store
from .forms import Form, form
from .merge import MERGES, plain
from .routes import routes

if TYPE_CHECKING:
    from ...server import Server

AT = "@preset/"
#: under this name in `call.state`: how much to think, where that has to go into the hub's form
REASONING = "presets.reasoning"
SPELLINGS = {"gemini.generate": gemini.REQUEST, "gemini.embeddings": gemini.EMBED}
#: where Google's counting has its request
INNER = "generateContentRequest"

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.Decoder().decode


class Presets:
    """The plugin. Without it requests that name a preset are refused."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Store
        #: what versions say in the words of APIs, by the version's id and the name of the dialect
        self._forms: dict[tuple[str, str], Form] = {}

    # --- hooks ---

    @hookimpl
    def router_migrations(self) -> Sequence[Migration]:
        """The tables of presets."""
        return MIGRATIONS

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """Making, looking at and changing them."""
        return routes(self)

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """They are in memory while the server runs."""
        return self._running()

    @hookimpl
    def router_received(self, call: Call) -> None:
        """Lay the preset that the request names under it. Raises NotFound, BadRequest."""
        if b"preset" not in call.body and AT not in call.path.get("model", ""):
            return
        try:
            members, inner = _members(call)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # what is wrong with it is said where it is read
        asked = _asked(call, members)
        if asked is not None:
            preset = self._active(*asked)
            call.preset = preset.id
            merged = self._merged(call, preset, members)
            call.body = _encode({INNER: merged} if inner else merged)

    @hookimpl
    def router_transform(self, call: Call) -> Transform | None:
        """Thinking as the preset wants it, unless the request says how much."""
        wanted: ReasoningConfig | None = call.state.get(REASONING)
        return None if wanted is None else _thinking(wanted)

    # --- laying under ---

    def dialect(self, name: str) -> Dialect:
        """The client API of this name."""
        return next(each for each in self._server.dialects if each.name == name)

    def _active(self, slug: str, param: str) -> Preset:
        preset = self.store.find(slug)
        if preset is None:
            raise NotFound(f"there is no preset {slug[:100]!r}; GET /v1/presets lists what there is", param=param)
        if preset.status != "active":
            raise NotFound(f"the preset {slug!r} is {preset.status}; PATCH its status to use it again", param=param)
        return preset

    def _merged(self, call: Call, preset: Preset, own: dict[str, Any]) -> dict[str, Any]:
        name, version = call.dialect.name, preset.version
        found = self._form(preset, call.dialect)
        under = found.members
        if name in SPELLINGS:
            call.path, under = _path(call, under)
        if found.reasoning is not None:
            call.state[REASONING] = found.reasoning
        return MERGES.get(name, plain)(under, own, version.system_prompt if call.dialect.through_hub else None)

    def _form(self, preset: Preset, target: Dialect) -> Form:
        key = (preset.version.id, target.name)
        found = self._forms.get(key)
        if found is None:
            version = preset.version
            found = self._forms[key] = form(self.dialect(version.source), version.given, target)
        return found

    # --- while the server runs ---

    def forget(self) -> None:
        """Presets have changed: what was made of their versions may not be needed again."""
        self._forms.clear()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self.store = Store(self._server.database, self._server.clock.wall)
        await self.store.load()
        yield


# --- where it is named -----------------------------------------------------------------------------------------------


def _members(call: Call) -> tuple[dict[str, Any], bool]:
    """The members of a body, and whether they lay inside of another one (Google's counting)."""
    spelling = SPELLINGS.get(call.dialect.name)
    if spelling is None:
        return _decode_members(call.body), False
    members = spelling.members_of(call.body)[1]
    if INNER in members:
        return _decode_members(members[INNER]), True
    return members, False


def _asked(call: Call, members: dict[str, Any]) -> tuple[str, str] | None:
    """The preset that is named and the member that names it, which are taken out of the request."""
    if call.dialect.name in SPELLINGS:
        return _asked_of_gemini(call, members)
    by_member = _text(members.get("preset"))
    by_model, at = None, (_text(members.get("model")) or "").partition(AT)
    if at[1]:
        by_model = at[2]
        members["model"] = Raw(_encode(at[0] or None))
    if by_member is not None:
        del members["preset"]
    return _one(by_member, "preset", by_model, call.path)


def _asked_of_gemini(call: Call, members: dict[str, Any]) -> tuple[str, str] | None:
    """Google's clients name the model in the path, and what is the router's in `routerConfig`."""
    by_member = None
    raw = members.get("routerConfig")
    if raw is not None and bytes(memoryview(raw)[:1]) == b"{":
        inside = _decode_members(raw)
        by_member = _text(inside.get("preset"))
        if by_member is not None:
            del inside["preset"]
            members["routerConfig"] = Raw(_encode(inside))
    _, at, by_model = call.path.get("model", "").partition(AT)
    return _one(by_member, "routerConfig.preset", by_model if at else None, call.path)


def _one(by_member: str | None, param: str, by_model: str | None, path: Mapping[str, str]) -> tuple[str, str] | None:
    if by_member and by_model is not None and by_member != by_model:
        raise BadRequest(f"{param} is {by_member[:100]!r} and model names the preset {by_model[:100]!r}", param=param)
    if by_model is not None:
        return by_model, "model"
    return (by_member, param) if by_member else None


def _text(raw: Raw | None) -> str | None:
    value = None if raw is None or bytes(memoryview(raw)[:1]) != b'"' else _decode_any(raw)
    return value if isinstance(value, str) else None


def _path(call: Call, under: dict[str, Any]) -> tuple[Mapping[str, str], dict[str, Any]]:
    """The path with the model that is asked for, and the preset's members without it."""
    model, at, _ = call.path["model"].partition(AT)
    while model.startswith("models/"):
        model = model.removeprefix("models/")
    if at and not model:
        model = under.get("model", "")
        if not model:
            raise BadRequest("the preset names no model; name one before @preset/", param="model")
    rest = {name: value for name, value in under.items() if name != "model"}
    return {**call.path, "model": model}, rest


def _thinking(wanted: ReasoningConfig) -> Transform:
    async def think(request: ChatRequest) -> ChatRequest:
        if request.reasoning is not None and (request.reasoning.on or request.reasoning.off):
            return request
        return msgspec.structs.replace(request, reasoning=wanted)

    return think
