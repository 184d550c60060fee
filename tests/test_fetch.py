"""Fetching what a request points to: whom it may reach, and how much of it one request may have."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from router import fetch
from router.errors import BadImage
from router.fetch import Fetcher
from router.model import ChatRequest, Image, Message

IMAGES = frozenset({"image"})


class Host:
    """A web server that counts who asks at the same time."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.now = self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        return web.Response(body=b"x" * 1000, content_type="image/png", status=404 if "gone" in request.path else 200)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_get("/{path:.*}", host.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield host
    await runner.cleanup()


def asking(host: Host, *paths: str) -> ChatRequest:
    return ChatRequest(messages=[Message(role="user", content=[Image(url=f"{host.url}/{path}") for path in paths])])


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::", "::1", "fe80::1", "fd00::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
    ],
)
async def test_no_address_within_is_reached_whichever_way_it_is_written(address: str) -> None:
    host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address

    with pytest.raises(BadImage, match="the address is not public"):
        await Fetcher(lambda: False).fetch(f"http://{host}:9/")


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0"])
async def test_nor_by_another_name_of_it(host: str) -> None:
    with pytest.raises(BadImage):
        await Fetcher(lambda: False).fetch(f"http://{host}:9/")


async def test_one_request_fetches_a_few_at_a_time_and_each_once(host: Host) -> None:
    paths = [f"{number}.png" for number in range(40)]

    request = await Fetcher(lambda: True).inline(asking(host, *paths, *paths), IMAGES)

    assert len(host.asked) == len(paths)
    assert host.most <= fetch.AT_ONCE
    assert all(isinstance(part, Image) and part.data and not part.url for part in request.messages[0].content)


async def test_what_one_request_points_to_has_a_bound_in_all(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_TOTAL_BYTES", 20_000)

    with pytest.raises(BadImage, match="in all") as refused:
        await Fetcher(lambda: True).inline(asking(host, *(f"{number}.png" for number in range(500))), IMAGES)

    assert refused.value.kind == "image_too_large"
    assert len(host.asked) < 60


async def test_the_first_failure_ends_the_others(host: Host) -> None:
    with pytest.raises(BadImage, match="404"):
        await Fetcher(lambda: True).inline(
            asking(host, "gone.png", *(f"{number}.png" for number in range(500))), IMAGES
        )
    asked = len(host.asked)
    await asyncio.sleep(0.2)

    assert len(host.asked) - asked <= fetch.AT_ONCE
