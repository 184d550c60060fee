"""`router explain`: where a request would go, and why; by a running router, or by what the configuration says."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw

from ..builtin.explain.endpoints import DEFAULT, split
from ..call import Call, Sink
from ..errors import RouterError
from ..identity import Identity
from ..server import Server
from ..settings import Settings
from . import options
from .configured import settings_of
from .terminal import CommandError, coloured, write, write_json, write_table

KEY = "ROUTER_KEY"
PATIENCE_S = 30
#: whose request it is where no router runs
NOBODY = Identity(hash="offline", id="offline", name="nobody (offline)")

Told = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)
    parser.add_argument("body", metavar="BODY.json", help="the request; - reads it from standard input")
    parser.add_argument("--endpoint", metavar="PATH", help=f"where it would be sent (default: {DEFAULT})")
    parser.add_argument("--bodies", choices=("first", "all"), default="first", help="whose upstream body to show")
    parser.add_argument(
        "--url",
        help=f"ask the router that runs there, with the key in {KEY}; without it the configuration is read alone",
    )


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    body = _body(args.body, args.endpoint)
    told = asyncio.run(
        _asked(args.url, body, args.bodies) if args.url else _alone(settings_of(args), body, args.bodies)
    )
    write_json(told) if args.json else _write(told)
    return 0


def _body(path: str, endpoint: str | None) -> bytes:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        members = msgspec.json.decode(data, type=dict[str, Raw])
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is no JSON object: {error}") from None
    if endpoint is not None:
        members["endpoint"] = Raw(msgspec.json.encode(endpoint))
    return msgspec.json.encode(members)


# --- who explains ----------------------------------------------------------------------------------------------------


async def _asked(url: str, body: bytes, bodies: str) -> Told:
    """The explanation of a running router."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    base = url.rstrip("/").removesuffix("/api").removesuffix("/v1").removesuffix("/api")
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{base}/api/v1/explain?bodies={bodies}", data=body, headers=headers) as answer,
        ):
            told = msgspec.json.decode(await answer.read(), type=Told)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CommandError(f"no router answers at {url} ({type(error).__name__})") from None
    if answer.status != 200:
        raise CommandError(f"refused with {answer.status}: {_message(told)}{_hint(answer.status)}")
    return told


def _message(told: Told) -> str:
    error = told.get("error")
    return str(error.get("message")) if isinstance(error, dict) else "no message"


def _hint(status: int) -> str:
    return f" (the key is read from {KEY})" if status in (401, 403) else ""


async def _alone(settings: Settings, body: bytes, bodies: str) -> Told:
    """The explanation of a router that is started for this alone, with a database of its own: it knows no keys and no presets."""
    with tempfile.TemporaryDirectory() as folder:
        settings.server.database = str(Path(folder) / "router.db")
        server = Server(settings, os.environ)
        try:
            await server.start()
            memory = _Memory()
            await server.lifecycle.execute(*_call(server, body, bodies, memory))
        finally:
            await server.stop()
    if memory.failure is not None:
        raise CommandError(f"it would be refused with {memory.failure.status}: {memory.failure.message}")
    return msgspec.json.decode(memory.body, type=Told)


def _call(server: Server, body: bytes, bodies: str, memory: _Memory) -> tuple[Call, Sink, Any]:
    meant, there = split(server.dialects, body)
    now_s = server.clock.monotonic()
    call = Call(
        dialect=there.dialect,
        body=b"",
        headers={},
        path=there.values,
        presented=None,
        started_s=now_s,
        operation=there.operation,
        query=f"bodies={bodies}",
        asked_path=there.path,
    )
    call.identity, call.compat, call.server, call.dry = NOBODY, server.compat, server, True
    call.deadline_s = now_s + PATIENCE_S

    async def read() -> bytes:
        return meant

    return call, memory, read


class _Memory(Sink):
    """Keeps the answer."""

    def __init__(self) -> None:
        self.body = b""
        self.failure: RouterError | None = None

    async def finish(self, data: bytes) -> None:
        self.body = data

    async def error(self, error: RouterError) -> None:
        self.failure = error


# --- what is printed -------------------------------------------------------------------------------------------------


def _write(told: Told) -> None:
    """Tables: who would be asked, who would not, and the steps that led there; then what the upstream would get."""
    candidates = told["candidates"]
    headings = [
        "",
        "endpoint",
        "upstream model",
        "lane",
        "price $/M",
        "share",
        "latency s",
        "tok/s",
        "circuit",
        "cost $",
    ]
    write_table(headings, [_row(each) for each in candidates], none="nobody would be asked")
    if told["filtered"]:
        write()
        write_table(["excluded", "reason"], [[each["endpoint"], each["reason"]] for each in told["filtered"]], none="")
    write()
    write_table(["step", "what"], [[each["step"], each.get("summary")] for each in told["policy"]], none="")
    for each in candidates:
        if upstream := each.get("upstream"):
            write()
            _write_upstream(each["endpoint"], upstream)


def _row(each: Told) -> list[object]:
    scores, share = each["scores"], each["scores"]["expected_share"]
    return [
        each["position"],
        each["endpoint"],
        each["upstream_model"],
        each["lane"],
        _number(scores["price"]),
        None if share is None else f"{share:.0%}",
        _number(scores["latency"]),
        _number(scores["throughput"]),
        scores["circuit"],
        _number(each["estimate"]["usd"]),
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _write_upstream(endpoint: str, upstream: Told) -> None:
    if "error" in upstream:
        write(f"{endpoint} would get nothing: {upstream['error']['message']}")
        return
    write(coloured(f"{endpoint}: {upstream['method']} {upstream['path']}", "bold"))
    for name, what in (("dropped_params", "dropped"), ("warnings", "warning")):
        for each in upstream[name]:
            write(f"{what}: {each}")
    if upstream["body"] is not None:
        write_json(upstream["body"])
