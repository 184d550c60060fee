"""A client that reads its answer from the socket byte by byte: it knows when the last one has come, and can leave before."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

ASK = {"model": "test/m", "messages": [{"role": "user", "content": "hello there"}]}


class Broken(Exception):
    """The connection ended before the answer did."""


class Talk:
    """One request and its answer. `body` is what has come so far, `whole` tells that its last byte has."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.whole = False

    async def head(self) -> Talk:
        """Read status and headers."""
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Broken from error
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        return self

    async def until(self, mark: bytes, times: int = 1) -> None:
        """Read on until this stands in the body, so many times."""
        while self.body.count(mark) < times:
            assert await self._more(), f"the answer ended without {mark!r}: {self.body!r}"

    async def end(self) -> Talk:
        """Read everything. Nothing is waited for behind the last byte. Raises Broken where it does not come."""
        if not self.status:
            await self.head()
        while await self._more():
            pass
        return self

    async def to_the_close(self) -> bytes:
        """Everything that comes until the other side closes the connection."""
        return await self._reader.read()

    def leave(self) -> None:
        """Go away in the middle."""
        self._writer.transport.abort()

    # --- what it said ---

    @property
    def json(self) -> Any:
        """A plain body."""
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The data of the events of a stream so far."""
        frames = self.body.decode().split("\n\n")
        return [frame.removeprefix("data: ") for frame in frames if frame.startswith("data: ")]

    @property
    def chunks(self) -> list[Any]:
        """The events, but for the end mark, as JSON."""
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def text(self) -> str:
        """What the model says, plain or streamed."""
        if "event-stream" not in self.headers["content-type"]:
            return str(self.json["choices"][0]["message"]["content"])
        deltas = (choice["delta"] for chunk in self.chunks for choice in chunk["choices"])
        return "".join(delta.get("content") or "" for delta in deltas)

    async def _more(self) -> bool:
        """Read a piece of the body; False behind its end."""
        if self.whole:
            return False
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                self.body += (await self._reader.readexactly(size + 2))[:-2]
                self.whole = size == 0
            else:
                left = int(self.headers["content-length"]) - len(self.body)
                piece = await self._reader.read(min(left, 65536))
                if not piece and left:
                    raise Broken
                self.body += piece
                self.whole = len(piece) == left
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Broken from error
        return True


@asynccontextmanager
async def talk(
    url: str,
    key: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    version: str = "1.1",
    receive_buffer: int = 0,
) -> AsyncIterator[Talk]:
    """Send a chat request. The connection is closed behind the block. `receive_buffer` (bytes) bounds the kernel's."""
    parts = urlsplit(url)
    made = socket.socket()
    made.setblocking(False)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(made, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=made, limit=receive_buffer or 2**16)
    except BaseException:
        made.close()
        raise
    content = json.dumps({**ASK, **(body or {})}).encode()
    sent = {
        "Host": parts.netloc,
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }
    lines = [f"POST /v1/chat/completions HTTP/{version}", *(f"{name}: {value}" for name, value in sent.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    try:
        yield Talk(reader, writer)
    finally:
        writer.transport.abort()
