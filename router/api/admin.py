"""POST /admin/reload and GET /admin/config: the configuration, read again and shown (api.md 17)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ..errors import BadRequest
from ..redaction import shown
from ..settings import SettingsError
from ..store.audit import recorded
from . import Request, Route


class Reloaded(Struct):
    """The configuration was read again and holds. `providers` are those that can serve, `broken` those whose plugin cannot load."""

    providers: list[str]
    broken: list[str]
    reloaded: bool = True


class ReloadedAnswer(Struct):
    """In the envelope of this API."""

    data: Reloaded


class Configuration(Struct):
    """The configuration that holds, without secrets, in its sections; providers null where they were found and not named."""

    data: dict[str, Any]
    #: what was found on this machine and in its environment, where no provider is named
    found: list[str]


async def reload(request: Request) -> ReloadedAnswer:
    """Read the configuration again, as SIGHUP does. Calls under way keep theirs; a wrong file changes nothing. Raises BadRequest."""
    server = request.server
    try:
        await server.reload(server.load())
    except SettingsError as error:
        raise BadRequest(f"nothing was changed: {error}") from None
    await server.database.write(recorded(request.change("config.reload", "config")))
    return ReloadedAnswer(Reloaded(sorted(server.providers), sorted(server.broken)))


async def config(request: Request) -> Configuration:
    """The configuration that holds, redacted."""
    server = request.server
    secrets = [each.secret for provider in server.providers.values() for each in provider.credentials]
    return Configuration(shown(server.settings, secrets), server.found)


ROUTES = [
    Route(method="POST", path="/admin/reload", handler=reload, scope="config:manage"),
    Route(method="GET", path="/admin/config", handler=config, scope="config:manage"),
]
