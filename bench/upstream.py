"""A fast fake upstream, in a process of its own: OpenAI's chat API with a fixed answer.

The first segment of the path says how it answers: `plain` a JSON body, `paced` a stream with a pause between its chunks, `burst`
the same stream in one write, each event a chunk of its own, as servers under load send it. Written on the bare protocol, so that it
is never the bottleneck.

    python -m bench.upstream [--chunks 100] [--pause-ms 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1790000000,
            "model": "bench-model",
            "system_fingerprint": "fp_bench",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
    )


def _event(value: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600}
LAST = _event(
    {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1790000000, "model": "bench-model"}
    | {"choices": [], "usage": USAGE}
)
BODY = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "bench-model",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"},
        ],
        "usage": USAGE,
    }
).encode()
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, events: list[bytes], pause_s: float) -> None:
        self.events = events
        self.pause_s = pause_s
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            found = LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self.answer(head.split(b" ", 2)[1])

    def answer(self, path: bytes) -> None:
        if path.startswith(b"/plain"):
            self.transport.write(PLAIN)
        elif path.startswith(b"/burst"):
            self.transport.write(HEAD + b"".join(framed(event) for event in self.events) + b"0\r\n\r\n")
        else:
            self.transport.write(HEAD)
            self.send(0)

    def send(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number == len(self.events):
            self.transport.write(b"0\r\n\r\n")
            return
        self.transport.write(framed(self.events[number]))
        asyncio.get_running_loop().call_later(self.pause_s, self.send, number + 1)


async def serve(chunks: int, pause_s: float) -> None:
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": f"word{number} "}) for number in range(chunks)]
    events += [chunk({}, "stop"), LAST, b"data: [DONE]\n\n"]
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(events, pause_s), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--pause-ms", type=float, default=20)
    args = parser.parse_args()
    asyncio.run(serve(args.chunks, args.pause_ms / 1000))
