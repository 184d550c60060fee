"""The process: listens, greets, reloads on SIGHUP, and stops on SIGTERM when what is under way has ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from .app import Connection, application
from .server import SECRET_IN_ENVIRONMENT, Server
from .settings import Settings
from .tasks import spawn

log = logging.getLogger(__name__)

#: what the sockets get to send the ends of calls that were ended by the router
LAST_S = 1.0


def run(settings: Settings, load: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT. `load` reads the configuration again (SIGHUP). Returns the exit code."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(settings, load))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed (extra `speed`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: Settings, load: Callable[[], Settings]) -> int:
    server = Server(settings, os.environ, load)
    try:
        await server.start()
        stop = _signals(server)
        async with listening(server) as url:
            print(f"listening on {url}", flush=True)
            await _welcome(server, url)
            _tune_collector()
            await stop.wait()
            server.draining = True
    finally:
        await server.stop()
    return 0


def _tune_collector() -> None:
    """What start-up has made stays: take it out of the collector's sight, and let it look less often at what calls make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@contextlib.asynccontextmanager
async def listening(server: Server, app: web.Application | None = None) -> AsyncIterator[str]:
    """The socket is open inside the block; behind it, calls under way have ended or were ended after the drain time."""
    runner = web.AppRunner(app or application(server), handler_cancellation=True, shutdown_timeout=LAST_S)
    await runner.setup()
    manager = runner.server
    assert manager is not None
    host, _, port = server.settings.server.listen.rpartition(":")
    tls = _tls(server.settings)
    door: asyncio.Server | None = None
    try:
        door = await asyncio.get_running_loop().create_server(
            lambda: Connection(server, manager), host.strip("[]"), int(port), ssl=tls, reuse_address=True, backlog=128
        )
        bound = door.sockets[0].getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"{'https' if tls else 'http'}://{shown}:{bound[1]}"
    finally:
        if door is not None:
            door.close()
        await asyncio.sleep(0)  # what has just come in is taken
        manager.pre_shutdown()
        await server.lifecycle.drain(server.settings.server.drain_seconds)
        await runner.cleanup()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.server.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.server.tls_certificate, settings.server.tls_key or None)
    return context


async def _welcome(server: Server, url: str) -> None:
    """What a person reads first: what was found, and at the very first start the keys, which are never shown again."""
    for found in server.found:
        print(f"found {found}", flush=True)
    if server.settings.auth.mode == "open" or SECRET_IN_ENVIRONMENT in server.environ:
        return
    created = await server.keys.create_first()
    if created is None:
        return
    management, inference = created
    listed = server.table.entries
    model = "echo/echo" if "echo/echo" in listed else min(listed, default="provider/model")
    print(
        f"\nmanagement key  {management}\ninference key   {inference}\n"
        "These are shown only once; `router keys create` makes more.\n\n"
        f"Try it:\ncurl {url}/v1/chat/completions -H 'Authorization: Bearer {inference}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"""  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello there"}}], "stream": true}}' -N""",
        flush=True,
    )


def _signals(server: Server) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        if server.ending:
            os._exit(1)
        if stop.is_set():
            log.warning("a second signal: what is under way ends now")
            server.ending = True
            server.lifecycle.end()
        stop.set()

    async def reloading() -> None:
        try:
            await server.reload(server.load())
            log.info("the configuration was reloaded")
        except Exception as error:
            log.error("the configuration was not reloaded: %s", error)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, lambda: spawn("reload", reloading()))
    return stop
