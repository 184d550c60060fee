"""A router for tests: the real server on port 0, in this process, with a key of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientSession, web
from msgspec import Struct

from ..app import application
from ..server import Server
from ..serving import listening
from ..settings import Settings
from ..store.database import Database
from ..store.migrations import Migration

#: hear every answer of every router that is started here, before it is sent
observers: list[Callable[[Server, web.Request, web.StreamResponse], None]] = []


class Running(Struct, kw_only=True):
    """A running router. `key` may infer, `management` may manage."""

    server: Server
    url: str
    key: str
    management: str
    session: ClientSession

    async def post(
        self, path: str, body: Any, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """POST JSON (or bytes as they are); the answer's body is read."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json", **(headers or {})}
        async with self.session.post(self.url + path, data=data, headers=sent) as answer:
            await answer.read()
            return answer

    async def get(
        self, path: str, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """GET; the answer's body is read."""
        sent = {"Authorization": f"Bearer {key or self.key}", **(headers or {})}
        async with self.session.get(self.url + path, headers=sent) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def running(
    settings: Settings,
    folder: Path,
    *,
    plugins: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Start a router whose database lies in `folder`. `plugins` are registered by name as if they had been installed."""
    settings.server.database = str(folder / "router.db")
    settings.server.listen = "127.0.0.1:0"
    server = Server(settings, environ or {})
    for name, plugin in (plugins or {}).items():
        server.plugins.register(plugin, name, state="loaded")
    server.load_plugins()
    await _lay(folder / "router.db", server.migrations())
    await server.start()
    try:
        created = await server.keys.create_first()
        assert created is not None, "the folder holds the database of another router"
        management, key = created
        async with listening(server, _observed(server)) as url, ClientSession() as session:
            yield Running(server=server, url=url, key=key, management=management, session=session)
    finally:
        await server.stop()


async def _lay(path: Path, migrations: Sequence[Migration]) -> None:
    """Put a new database there. Making its tables takes longer than most tests; so all but the first are a copy of the first."""
    steps = tuple(migrations)
    if steps not in _laid:
        async with await Database.open(path, migrations=steps):
            pass
    _copy(path, steps)


#: new databases, by the steps that made them
_laid: dict[tuple[Migration, ...], bytes] = {}


def _copy(path: Path, steps: tuple[Migration, ...]) -> None:
    if steps not in _laid:
        _laid[steps] = path.read_bytes()
    elif not path.exists():
        path.write_bytes(_laid[steps])


def _observed(server: Server) -> web.Application:
    """The application, with those who listen."""
    app = application(server)

    async def tell(request: web.Request, response: web.StreamResponse) -> None:
        for observer in observers:
            observer(server, request, response)

    if observers:
        app.on_response_prepare.append(tell)
    return app
