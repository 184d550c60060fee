"""GET and DELETE of a kept response, its cancelling, and the list of what it was asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...api import Request, Route
from ...errors import BadRequest, NotFound
from ...store.responses import KeptResponse
from .rows import owner_of

if TYPE_CHECKING:
    from . import Responses

MOST_ITEMS = 100
DEFAULT_ITEMS = 20


class Handlers:
    """All handlers. A response of another key is not there."""

    def __init__(self, plugin: Responses) -> None:
        self._plugin = plugin

    async def one(self, request: Request) -> dict[str, Any]:
        """The response as it stands. Raises NotFound, BadRequest."""
        if request.http.query.get("stream", "false") not in ("false", ""):
            raise BadRequest("stream: a kept response is given whole; ask without stream", param="stream")
        return (await self._found(request)).response

    async def delete(self, request: Request) -> dict[str, Any]:
        """Forget it. One that still runs is ended first."""
        id, owner = _which(request)
        if self._plugin.on and (run := self._plugin.background.find(id, owner)) is not None:
            await self._plugin.background.cancel(run)
        if not self._plugin.on or not await self._plugin.store.delete(id, owner):
            raise self._missing(id)
        return {"id": id, "object": "response", "deleted": True}

    async def cancel(self, request: Request) -> dict[str, Any]:
        """End a response in the background. One that has ended stays as it is."""
        id, owner = _which(request)
        if self._plugin.on and (run := self._plugin.background.find(id, owner)) is not None:
            await self._plugin.background.cancel(run)
        found = await self._found(request)
        if not found.background:
            raise BadRequest("only responses with background true can be cancelled; close the connection instead")
        return found.response

    async def input_items(self, request: Request) -> dict[str, Any]:
        """The items of the request, the newest first."""
        query = request.http.query
        items = (await self._found(request)).input
        if query.get("order", "desc") != "asc":
            items = items[::-1]
        after = query.get("after")
        if after is not None:
            places = [index for index, item in enumerate(items) if item.get("id") == after]
            if not places:
                raise BadRequest(f"after: no item {after[:100]!r} in this response", param="after")
            items = items[places[0] + 1 :]
        page = items[: _limit(query.get("limit"))]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0].get("id") if page else None,
            "last_id": page[-1].get("id") if page else None,
            "has_more": len(items) > len(page),
        }

    async def _found(self, request: Request) -> KeptResponse:
        id, owner = _which(request)
        if not self._plugin.on:
            raise self._missing(id)
        run = self._plugin.background.find(id, owner)
        found = run.row if run is not None and not run.ended else await self._plugin.store.find(id, owner)
        if found is None:
            raise self._missing(id)
        return found

    def _missing(self, id: str) -> NotFound:
        if not self._plugin.on:
            return NotFound("responses are not kept here (the setting responses.store is off)")
        return NotFound(f"no response {id[:100]!r} of this key; they are kept for 30 days, unless store is false")


def routes(plugin: Responses) -> list[Route]:
    """The routes, for keys that may make responses."""
    handlers = Handlers(plugin)
    return [
        Route(method="GET", path="/responses/{id}", handler=handlers.one, scope="inference"),
        Route(method="DELETE", path="/responses/{id}", handler=handlers.delete, scope="inference"),
        Route(method="POST", path="/responses/{id}/cancel", handler=handlers.cancel, scope="inference"),
        Route(method="GET", path="/responses/{id}/input_items", handler=handlers.input_items, scope="inference"),
    ]


def _which(request: Request) -> tuple[str, str]:
    return request.http.match_info["id"], owner_of(request.caller)


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_ITEMS
    if not given.isdecimal() or not 1 <= int(given) <= MOST_ITEMS:
        raise BadRequest(f"limit must be an integer from 1 to {MOST_ITEMS}", param="limit")
    return int(given)
