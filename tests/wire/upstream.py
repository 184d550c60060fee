"""An upstream that answers from recordings, cut into packets as a test wishes, and that keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .recordings import Recording

#: of a longer stream only the first bytes go singly, the rest in random pieces: each write costs a system call
SINGLE_BYTES = 600
#: the first of these give the reader time, in turns of the loop: the kernel joins what a reader is too slow to take singly
ALONE_BYTES = 150
TURNS = 10
#: the longest random piece, in bytes, and how many pieces a stream is cut into at most
LONGEST_PIECE = 97
MOST_PIECES = 150


@dataclass(frozen=True)
class Asked:
    """A request that came in: what the router sent. The names of headers are in small letters."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class ReplayUpstream:
    """Answers `<url>/x/<instance>/...` from the recording of that instance, whatever the path behind it.

    `split` names how an instance's stream is cut (see `packets`; default: whole). `asked`: each instance's requests.
    """

    replies: Mapping[str, Recording]
    #: recordings whose answer is a JSON array, to be framed as an event stream
    reframed: frozenset[str] = frozenset()
    split: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    url: str = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback; `url` says where."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/x/{instance}/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        instance = request.match_info["instance"]
        recording = self.replies[instance]
        body = await request.read()
        self.asked.setdefault(instance, []).append(
            Asked(
                method=request.method,
                path="/" + request.match_info["rest"],
                query=dict(request.query),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=json.loads(body) if body else None,
            )
        )
        if recording.streamed or recording.name in self.reframed:
            return await self._stream(request, recording, self.split.get(instance, "whole"))
        return web.Response(status=recording.status, headers=sent_headers(recording), body=recording.raw)

    async def _stream(self, request: web.Request, recording: Recording, split: str) -> web.StreamResponse:
        raw, headers = recording.raw, sent_headers(recording)
        if recording.name in self.reframed:
            raw = b"".join(b"data: " + json.dumps(frame).encode() + b"\r\n\r\n" for frame in recording.frames)
            headers["content-type"] = "text/event-stream"
        response = web.StreamResponse(status=recording.status, headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number, packet in enumerate(packets(raw, split)):
            await response.write(packet)
            for _ in range(TURNS if split == "bytes" and number < ALONE_BYTES else 1):
                await asyncio.sleep(0)
        await response.write_eof()
        return response


def packets(raw: bytes, split: str) -> Iterator[bytes]:
    """Cut a body: `whole`, `pieces` (random, the same at each run), `bytes` (single ones, as far as `SINGLE_BYTES`)."""
    rest = 0
    if split == "bytes":
        rest = min(len(raw), SINGLE_BYTES)
        yield from (raw[at : at + 1] for at in range(rest))
    if split == "whole":
        yield raw
        return
    rng = random.Random(len(raw))
    longest = max(LONGEST_PIECE, 2 * len(raw) // MOST_PIECES)
    while rest < len(raw):
        end = rest + rng.randint(1, longest)
        yield raw[rest:end]
        rest = end


def sent_headers(recording: Recording) -> dict[str, str]:
    """The recorded headers that a client may care for: content type, rate limits, retry-after."""
    return {name: value for name, value in recording.headers.items() if name.lower() not in ("content-length", "date")}
