"""The floor: the least that a relay in aiohttp can do. No keys, no limits, no ledger, no look into any body.

`--by chunks` hands on each chunk of the upstream as it came (what a relay does that delays nothing), `--by reads` whatever one read
gave.

    python -m bench.floor UPSTREAM_PORT [--by chunks|reads]
"""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from router.serving import loop_factory


def application(base: str, by: str) -> web.Application:
    app = web.Application(client_max_size=32 * 1024 * 1024)

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json", "Authorization": "Bearer upstream"}
        async with session.post(base + request.path, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.content_type != "text/event-stream":
                return web.Response(body=await answer.read(), content_type="application/json")
            out = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await out.prepare(request)
            if by == "chunks":
                async for piece, _ in answer.content.iter_chunks():
                    await out.write(piece)
            else:
                async for piece in answer.content.iter_any():
                    await out.write(piece)
            await out.write_eof()
            return out

    async def lifespan(app: web.Application):
        nonlocal session
        session = ClientSession(
            connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), timeout=ClientTimeout(total=None)
        )
        yield
        await session.close()

    session: ClientSession
    app.cleanup_ctx.append(lifespan)
    app.router.add_post("/{path:.*}", relay)
    return app


async def serve(base: str, by: str) -> None:
    runner = web.AppRunner(application(base, by), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--by", choices=("chunks", "reads"), default="chunks")
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(f"http://127.0.0.1:{args.port}", args.by))
