"""Fetching what a request points to, for upstreams that cannot do it themselves.

Only http and https, only public addresses unless `fetch.allow_private`, at most 20 MB, 10 s and 3 redirects, each checked anew. The
address that was checked is the address that is connected to, so a name that changes its mind gains nothing.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec.structs import replace
from yarl import URL

from .errors import BadImage, BadRequest
from .model import AnyPart, ChatRequest, File, Image, Message, ToolResult, Video

MAX_BYTES = 20 * 1024 * 1024
#: what one request may have fetched, at a time and in all: a body of some kB can name a hundred thousand URLs
AT_ONCE = 8
MAX_TOTAL_BYTES = 5 * MAX_BYTES
MAX_REDIRECTS = 3
SECONDS = 10


class Fetcher:
    """The one fetcher. `allow_private` is asked at each use, so that a reload counts."""

    def __init__(self, allow_private: Callable[[], bool]) -> None:
        self._allow_private = allow_private

    async def inline(
        self, request: ChatRequest, kinds: frozenset[str], keeps: Callable[[str], bool] = lambda url: False
    ) -> ChatRequest:
        """The request with the URLs of these kinds of parts replaced by their content, but for those that `keeps` names.

        Raises BadImage.
        """
        wanted = [
            part
            for message in request.messages
            for part in _parts(message.content)
            if part.__struct_config__.tag in kinds and getattr(part, "url", None) and not keeps(part.url)
        ]
        if not wanted:
            return request
        fetched = await self._all(list(dict.fromkeys(part.url for part in wanted)))
        contents = {id(part): fetched[part.url] for part in wanted}
        messages = [_with(message, contents) for message in request.messages]
        return replace(request, messages=messages)

    async def _all(self, urls: list[str]) -> dict[str, tuple[str, bytes]]:
        """The content of each. The first failure ends them all: none is left running behind it."""
        fetched: dict[str, tuple[str, bytes]] = {}
        waiting, size = iter(urls), 0

        async def some() -> None:
            nonlocal size
            for url in waiting:
                fetched[url] = await self.fetch(url)
                size += len(fetched[url][1])
                if size > MAX_TOTAL_BYTES:
                    raise BadImage(
                        f"what the request points to is larger than {MAX_TOTAL_BYTES // 1024 // 1024} MB in all",
                        kind="image_too_large",
                    )

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(urls))):
                    group.create_task(some())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return fetched

    async def fetch(self, url: str, *, max_bytes: int = MAX_BYTES) -> tuple[str, bytes]:
        """Media type and content of a URL. Raises BadImage, of the kind image_download_failed or image_too_large."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._follow(url, min(max_bytes, MAX_BYTES))
        except TimeoutError:
            raise _failed(url, f"no answer within {SECONDS} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(url, str(error) or type(error).__name__) from error

    async def _follow(self, url: str, most: int) -> tuple[str, bytes]:
        connector = aiohttp.TCPConnector(resolver=Public(self._allow_private), use_dns_cache=False)
        async with aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            at = URL(url)
            for _ in range(MAX_REDIRECTS + 1):
                self._check(at)
                async with session.get(at, allow_redirects=False) as answer:
                    if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
                        at = at.join(URL(answer.headers["location"]))
                        continue
                    if answer.status != 200:
                        raise _failed(url, f"the server answered {answer.status}")
                    return answer.content_type, await _read(answer, url, most)
            raise _failed(url, f"more than {MAX_REDIRECTS} redirects")

    def _check(self, url: URL) -> None:
        try:
            refuse_private(url, allow_private=self._allow_private())
        except BadRequest as error:
            raise _failed(str(url), error.message) from None


def refuse_private(url: URL, *, allow_private: bool) -> None:
    """What can be said of a URL before its name is resolved (`Public` does that). Raises BadRequest."""
    if url.scheme not in ("http", "https") or not url.host:
        raise BadRequest("only http and https URLs are fetched", param="url")
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        return  # a name: the resolver checks what it means
    if not allow_private and not _public(address):
        raise BadRequest("the address is not public (fetch.allow_private)", param="url")


class Public(AbstractResolver):
    """Resolves names and gives only addresses that may be connected to. `allow_private` is asked each time."""

    def __init__(self, allow_private: Callable[[], bool]) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = []
        for family_, _, proto, _, address in found:
            if not self._allow_private() and not _public(ipaddress.ip_address(address[0])):
                raise PermissionError(errno.EACCES, "the name leads to an address that is not public")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=family_,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is kept open."""


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        address = _inside(address) or address
    return address.is_global and not address.is_multicast


#: IPv6 addresses that lead to the IPv4 address in their last 32 bits: through a translator of the network, and of old
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if any(address in each for each in _EMBEDDING) and int(address) > 1:  # :: and ::1 are themselves
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def _read(answer: aiohttp.ClientResponse, url: str, most: int) -> bytes:
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > most:
            raise BadImage(f"{url[:200]} is larger than {most / 1024 / 1024:g} MB", kind="image_too_large")
    return bytes(content)


def _failed(url: str, why: str) -> BadImage:
    return BadImage(f"{url[:200]} cannot be fetched: {why[:200]}", kind="image_download_failed")


def _parts(content: list[AnyPart]) -> list[Any]:
    parts: list[Any] = []
    for part in content:
        parts.append(part)
        if isinstance(part, ToolResult):
            parts.extend(part.content)
    return parts


def _with(message: Message, contents: dict[int, tuple[str, bytes]]) -> Message:
    return replace(message, content=[_filled(part, contents) for part in message.content])


def _filled(part: AnyPart, contents: dict[int, tuple[str, bytes]]) -> AnyPart:
    if isinstance(part, ToolResult):
        return replace(part, content=[_filled(inner, contents) for inner in part.content])
    if id(part) not in contents or not isinstance(part, Image | File | Video):
        return part
    media_type, content = contents[id(part)]
    return replace(part, url="", data=base64.b64encode(content).decode(), media_type=part.media_type or media_type)
