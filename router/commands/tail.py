"""`router tail`: the calls and changes of a running router as they come. It comes back by itself where the connection is lost."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from ..errors import RouterError
from ..logs import escaped
from ..settings import address
from ..sse import open_events
from . import options
from .configured import settings_of
from .terminal import CommandError, coloured, write

#: where the key is read from, the first that is set
KEYS = ("ROUTER_KEY", "ROUTER_MANAGEMENT_KEY")
#: a feed says something at least so often, unless the router is set up otherwise
SILENCE_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
CONNECT_S = 10.0
LOST = (aiohttp.ClientError, TimeoutError, ConnectionError, RouterError)

Line = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--key", metavar="KEY", help="only the lines of this key: its name, hash, id or label")
    parser.add_argument("--kind", choices=("request", "admin"), help="only calls, or only changes")
    parser.add_argument(
        "--url", help=f"the router (default: where the configuration says); the key that asks is read from {KEYS[0]}"
    )


def run(args: argparse.Namespace) -> int:
    """Follow until interrupted."""
    secret = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
    if args.key and args.key.startswith(settings_of(args).auth.key_prefix + "-"):
        secret, args.key = args.key, None
    tail = Tail(_base(args), secret, _printed if args.json else _shown)
    asyncio.run(tail.follow(args.key, args.kind))
    return 0


def _base(args: argparse.Namespace) -> str:
    if args.url:
        return str(args.url).rstrip("/").removesuffix("/api").removesuffix("/v1").removesuffix("/api")
    server = settings_of(args).server
    host, port = address(server.listen)
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if server.tls_certificate else 'http'}://{here}:{port}"


class Tail:
    """A listener. `print` gets each line of the log."""

    def __init__(self, base: str, secret: str | None, print: Callable[[Line], None]) -> None:
        self._base = base
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._print = print
        self._last: str | None = None

    async def follow(self, key: str | None, kind: str | None) -> None:
        """Listen, for ever. Raises CommandError where the router refuses, or there is none from the beginning."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        heard, pause = False, FIRST_PAUSE_S
        async with aiohttp.ClientSession(timeout=timeout) as session:
            query = {"stream": "true", **({"kind": kind} if kind else {})}
            while True:
                try:
                    if key and "api_key_hash" not in query:
                        query["api_key_hash"] = await self._hash(session, key)
                    async for line in self._lines(session, query):
                        if line is not None:
                            self._print(line)
                        heard, pause = True, FIRST_PAUSE_S
                except LOST as error:
                    if not heard:
                        raise CommandError(f"no router answers at {self._base} ({type(error).__name__})") from None
                sys.stderr.write(f"the connection was lost; trying again in {pause:g} s\n")
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _lines(self, session: aiohttp.ClientSession, query: dict[str, str]) -> Any:
        """The lines of one connection; None when it stands. Raises CommandError, and what LOST names."""
        headers = {**self._headers, **({"Last-Event-ID": self._last} if self._last else {})}
        async with session.get(f"{self._base}/api/v1/logs", params=query, headers=headers) as answer:
            if answer.status != 200:
                raise await self._refusal(answer)
            yield None
            async for event in open_events(answer.content.iter_any(), session):
                self._last = event.last_event_id or self._last
                yield msgspec.json.decode(event.data, type=Line)

    async def _hash(self, session: aiohttp.ClientSession, key: str) -> str:
        """The hash of the key that is called so. Raises CommandError."""
        token: str | None = ""
        while token is not None:
            query = {"limit": "1000", "include_disabled": "true", **({"page_token": token} if token else {})}
            async with session.get(f"{self._base}/api/v1/keys", params=query, headers=self._headers) as answer:
                if answer.status != 200:
                    raise await self._refusal(answer)
                page = msgspec.json.decode(await answer.read(), type=Line)
            for each in page["data"]:
                if key in (each["name"], each["hash"], each["id"], each["label"]):
                    return str(each["hash"])
            token = page["next_page_token"]
        raise CommandError(f"there is no key {key!r}; `router keys list` shows them")

    async def _refusal(self, answer: aiohttp.ClientResponse) -> Exception:
        """Why there is no feed; a router that is about to stop is only lost."""
        if answer.status in (429, 502, 503, 504):
            return ConnectionError(f"{answer.status}")
        try:
            message = msgspec.json.decode(await answer.read())["error"]["message"]
        except (msgspec.DecodeError, KeyError, TypeError):
            message = "no message"
        hint = f" (a management key is read from {KEYS[0]})" if answer.status in (401, 403) else ""
        return CommandError(f"refused with {answer.status}: {message}{hint}")


# --- what is printed -------------------------------------------------------------------------------------------------


def _printed(line: Line) -> None:
    write(msgspec.json.encode(line).decode())
    sys.stdout.flush()


def _shown(line: Line) -> None:
    """A line for people: when, who, what, and how it went."""
    when = line["created_at"].replace("T", " ").removesuffix("Z")
    who = (line["key_hash"] or line["actor"] or "-")[:12]
    parts = [when, who, line["action"], line["target"]]
    if line["kind"] == "request":
        parts += [line["provider_name"] or "-", str(line["http_status"])]
        parts += [f"{line['latency_ms']} ms", f"{line['total_tokens']} tokens"]
        if line["cost"] is not None:
            parts.append(f"${line['cost']:.6f}")
        if line["error_code"]:
            parts.append(line["error_code"])
    text = "  ".join(escaped(str(part)) for part in parts)
    write(coloured(text, "red") if line["status"] != "ok" else text)
    sys.stdout.flush()
