"""An upstream for tests: a real HTTP server on loopback that answers as a handler says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked(Struct, kw_only=True):
    """One request that the upstream got. `body` is its JSON; of a form its bytes."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class FakeUpstream:
    """Answers each request with the next of `answers`, and the last one for ever. `left` counts clients that went before the end."""

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.asked: list[Asked] = []
        self.left = 0
        #: set when a client has gone before the end
        self.gone = asyncio.Event()
        self.finished = 0
        self.url = ""

    def will(self, *answers: Handler) -> None:
        """Set what is answered from now on."""
        self.answers = list(answers)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FakeUpstream]:
        """The server runs inside the block."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        self.asked.append(
            Asked(
                method=request.method,
                path=request.raw_path,
                headers=dict(request.headers),
                body=_body(request, content),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            response = await answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            self.gone.set()
            raise
        self.finished += 1
        return response


def _body(request: web.Request, content: bytes) -> Any:
    if request.content_type.startswith("multipart/"):
        return content
    return msgspec.json.decode(content) if content else None


def json_answer(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, delay_s: float = 0.0
) -> Handler:
    """Answer with a JSON body; `value` may be bytes already."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return web.Response(body=body, status=status, content_type="application/json", headers=dict(headers or {}))

    return answer


def sse_answer(
    frames: Sequence[bytes], *, pause_s: float = 0.0, cut: bool = False, headers: Mapping[str, str] | None = None
) -> Handler:
    """Answer with an event stream, one write per frame. `cut`: the connection breaks behind the last one."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **(headers or {})})
        await response.prepare(request)
        for frame in frames:
            await response.write(frame)
            await asyncio.sleep(pause_s)
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return answer


def completion(text: str = "hi", *, tokens: tuple[int, int] = (10, 5), **message: Any) -> dict[str, Any]:
    """A whole chat completion as an OpenAI-compatible upstream sends it; `tokens` of the prompt and of the answer."""
    prompt, answer = tokens
    said = {"role": "assistant", "content": text, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
    }
