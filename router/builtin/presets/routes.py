"""Making, looking at and changing presets, in OpenRouter's shapes. For keys with the scope `config:manage`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ...api import Handler, Request, Route, shapes
from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest, NotFound
from ...store.presets import Preset, Version
from .forms import said

if TYPE_CHECKING:
    from . import Presets

SCOPE = "config:manage"
#: below `/presets/{slug}`: the dialect that reads the body
SOURCES = {
    "/chat/completions": "openai.chat",
    "/messages": "anthropic.messages",
    "/responses": "openai.responses",
}
DEFAULT_PAGE, LONGEST_PAGE = 50, 100
LONGEST_TEXT = 1000

T = TypeVar("T")

_slug = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class Changes(Struct, forbid_unknown_fields=True):
    """What PATCH takes."""

    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT)] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=LONGEST_TEXT)] | UnsetType | None = UNSET
    status: Literal["active", "disabled", "archived"] | UnsetType = UNSET


class Page(Struct):
    """Which part of a list."""

    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PAGE)] = DEFAULT_PAGE


class Handlers:
    """All handlers."""

    def __init__(self, plugin: Presets) -> None:
        self._plugin = plugin

    async def list(self, request: Request, query: Page) -> dict[str, Any]:
        """All presets, the one that was changed last first."""
        found = self._plugin.store.all()
        return {"data": [_preset(each) for each in _page(query, found)], "total_count": len(found)}

    async def one(self, request: Request) -> dict[str, Any]:
        """One of them, with the version that is in force. Raises NotFound."""
        return {"data": _whole(self._found(request))}

    async def versions(self, request: Request, query: Page) -> dict[str, Any]:
        """All its versions, the oldest first. Raises NotFound."""
        found = await self._plugin.store.versions(_slug_of(request))
        return {"data": [_version(each) for each in _page(query, found)], "total_count": len(found)}

    async def version(self, request: Request) -> dict[str, Any]:
        """One version by its number. Raises NotFound."""
        number = request.http.match_info["version"]
        for each in await self._plugin.store.versions(_slug_of(request)):
            if str(each.number) == number:
                return {"data": _version(each)}
        raise NotFound(f"the preset {_slug_of(request)!r} has no version {number[:20]!r}", param="version")

    def make(self, source: str) -> Handler:
        """Keep what a body of this API says as a new version, which is in force from now on. Raises BadRequest."""

        async def make(request: Request, body: dict[str, Raw]) -> dict[str, Any]:
            slug = _slug_of(request)
            if not _slug(slug):
                raise BadRequest(
                    "the name of a preset has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit",
                    param="slug",
                )
            found = said(self._plugin.dialect(source), body)
            version = Version(
                id="",
                preset_id="",
                number=0,
                created_unix=0.0,
                creator=request.caller.id,
                source=source,
                given=found.given,
                config=found.config,
                system_prompt=found.system_prompt,
            )
            preset = await self._plugin.store.add(slug, version, request.change("preset.version", slug, source=source))
            self._plugin.forget()
            return {"data": _whole(preset)}

        return make

    async def change(self, request: Request, body: Changes) -> dict[str, Any]:
        """Change name, description or status. Raises NotFound."""
        slug, changes = _slug_of(request), given(body)
        change = request.change("preset.update", slug, **changes)
        return {"data": _whole(await self._plugin.store.update(slug, change, **changes))}

    async def delete(self, request: Request) -> dict[str, Any]:
        """Take it away with all its versions. Raises NotFound."""
        slug = _slug_of(request)
        await self._plugin.store.delete(slug, request.change("preset.delete", slug))
        self._plugin.forget()
        return {"deleted": True}

    def _found(self, request: Request) -> Preset:
        slug = _slug_of(request)
        if (preset := self._plugin.store.find(slug)) is None:
            raise NotFound(f"there is no preset {slug[:100]!r}; GET /v1/presets lists what there is", param="slug")
        return preset


def routes(plugin: Presets) -> list[Route]:
    """The routes."""
    handlers = Handlers(plugin)
    one = "/presets/{slug}"
    plain: list[tuple[str, str, Handler, Any]] = [
        ("GET", "/presets", handlers.list, shapes.PresetList),
        ("GET", one, handlers.one, shapes.PresetFound),
        ("PATCH", one, handlers.change, shapes.PresetFound),
        ("DELETE", one, handlers.delete, shapes.Deleted),
        ("GET", f"{one}/versions", handlers.versions, shapes.PresetVersionList),
        ("GET", f"{one}/versions/{{version}}", handlers.version, shapes.PresetVersionFound),
    ]
    made = [("POST", one + path, handlers.make(source), shapes.PresetFound) for path, source in SOURCES.items()]
    return [
        Route(method=method, path=path, handler=handler, scope=SCOPE, answers={200: answer})
        for method, path, handler, answer in plain + made
    ]


# --- what comes in ---------------------------------------------------------------------------------------------------


def _slug_of(request: Request) -> str:
    return request.http.match_info["slug"]


def _page(query: Page, found: Sequence[T]) -> Sequence[T]:
    return found[query.offset : query.offset + query.limit]


# --- what goes out ---------------------------------------------------------------------------------------------------


def _preset(preset: Preset) -> dict[str, Any]:
    return {
        "id": preset.id,
        "slug": preset.slug,
        "name": preset.name,
        "description": preset.description,
        "status": preset.status,
        "status_updated_at": None if preset.status_unix is None else moment(preset.status_unix),
        "designated_version_id": preset.version.id,
        "creator_user_id": preset.creator,
        "workspace_id": None,
        "created_at": moment(preset.created_unix),
        "updated_at": moment(preset.updated_unix),
    }


def _whole(preset: Preset) -> dict[str, Any]:
    return _preset(preset) | {"designated_version": _version(preset.version)}


def _version(version: Version) -> dict[str, Any]:
    return {
        "id": version.id,
        "preset_id": version.preset_id,
        "version": version.number,
        "creator_id": version.creator,
        "system_prompt": version.system_prompt,
        "config": version.config,
        "created_at": moment(version.created_unix),
        "updated_at": moment(version.created_unix),
    }
