"""The load: keep-alive connections that ask again as soon as they were answered, on the bare protocol."""

from __future__ import annotations

import asyncio
import re
import time

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
END = b"0\r\n\r\n"


def request(path: str, key: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection:
    """One client. `ask` gives the seconds until the first content and until the end."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    def close(self) -> None:
        self.writer.close()

    async def ask(self, data: bytes) -> tuple[float, float]:
        started = time.perf_counter()
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError((head + await self.reader.read(2000)).decode(errors="replace"))
        if found := LENGTH.search(head):
            await self.reader.readexactly(int(found[1]))
            ended = time.perf_counter() - started
            return ended, ended
        first, tail = 0.0, b""
        while not tail.endswith(END):
            piece = await self.reader.read(1 << 18)
            if not piece:
                raise RuntimeError("the connection was closed in the middle of an answer")
            tail = tail[-5:] + piece
            if not first and b"word" in piece:
                first = time.perf_counter() - started
        return first, time.perf_counter() - started


async def load(port: int, data: bytes, connections: int, requests: int) -> list[tuple[float, float]]:
    """`requests` in all over `connections` at once. Returns what each took."""
    left = requests
    times: list[tuple[float, float]] = []

    async def one() -> None:
        nonlocal left
        connection = Connection(port)
        await connection.open()
        while left > 0:
            left -= 1
            times.append(await connection.ask(data))
        connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return times
