"""`router usage` on a database, and `router tail` on a running router that it loses and finds again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.cli import main
from router.commands import tail
from router.settings import StreamSettings
from router.tasks import spawn
from router.testing import Running, until

from .records import recorded
from .test_log import ECHO, ONE, OTHER

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO, stream=StreamSettings(keepalive_seconds=0.3))


# --- usage -----------------------------------------------------------------------------------------------------------


async def usage(router: Running, capsys: pytest.CaptureFixture[str], *arguments: str, fails: int = 0) -> str:
    path = router.server.settings.server.database
    assert await asyncio.to_thread(main, ["usage", "--database", path, *arguments]) == fails
    captured = capsys.readouterr()
    return captured.err if fails else captured.out


async def test_usage_by_model_provider_key_and_day(router: Running, capsys: pytest.CaptureFixture[str]) -> None:
    _, identity = await router.server.keys.create("mine")
    await recorded(router, identity.hash, model="acme/n", usd=2.0)
    await recorded(router, ONE, days_ago=1)
    await recorded(router, ONE, days_ago=1)

    async def rows(by: str) -> list[Any]:
        return [
            (row[by], row["requests"], row["cost"])
            for row in json.loads(await usage(router, capsys, "--json", "--by", by))
        ]

    assert await rows("model") == [("acme/n", 1, 2.0), ("acme/m", 2, 1.0)]
    assert await rows("provider") == [("acme", 3, 3.0)]
    assert await rows("key") == [("mine", 1, 2.0), (ONE[:12], 2, 1.0)]
    assert [requests for _, requests, _ in await rows("day")] == [2, 1]
    table = await usage(router, capsys, "--by", "model")
    assert table.splitlines()[1].split() == ["acme/n", "1", "0", "100", "50", "40", "2.000000"]


async def test_usage_since_a_day(router: Running, capsys: pytest.CaptureFixture[str]) -> None:
    await recorded(router, ONE, days_ago=100)

    assert "nothing was used" in await usage(router, capsys)
    assert "acme/m" in await usage(router, capsys, "--since", "2020-01-01")
    assert "no ISO date" in await usage(router, capsys, "--since", "soon", fails=1)


# --- tail ------------------------------------------------------------------------------------------------------------


class Listening:
    """`router tail` in a task of its own."""

    def __init__(self, router: Running, secret: str, *, key: str | None = None, kind: str | None = None) -> None:
        self.lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        follower = tail.Tail(router.url, secret, self.lines.put_nowait)
        self.task = spawn("tail", follower.follow(key, kind))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self.lines.get()


async def heard(router: Running) -> None:
    """Wait until somebody listens."""
    feed = router.server.plugins._manager.get_plugin("log").feed
    await until(lambda: feed.listeners)
    await asyncio.sleep(0.1)


async def test_tail_follows_and_comes_back_where_the_connection_is_lost(
    router: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "FIRST_PAUSE_S", 0.1)
    listening = Listening(router, router.management)
    await heard(router)
    await recorded(router, ONE, id="a")
    assert (await listening.next())["id"] == "a"

    router.server.draining = True
    await recorded(router, ONE, id="b")
    feed = router.server.plugins._manager.get_plugin("log").feed
    await until(lambda: not feed.listeners)
    await recorded(router, ONE, id="c")
    router.server.draining = False

    assert [(await listening.next())["id"] for _ in range(2)] == ["b", "c"]
    listening.task.cancel()


async def test_tail_of_one_key_by_its_name(router: Running) -> None:
    _, identity = await router.server.keys.create("mine")
    listening = Listening(router, router.management, key="mine", kind="request")
    await heard(router)
    await recorded(router, OTHER, id="foreign")
    await recorded(router, identity.hash, id="mine")

    assert (await listening.next())["id"] == "mine"
    listening.task.cancel()


@pytest.mark.parametrize(
    ("secret", "key", "said"),
    [("key", None, "logs:read"), ("management", "nobody", "no key 'nobody'"), (None, None, "401")],
)
async def test_tail_says_why_it_cannot(
    router: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    secret: str | None,
    key: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("ROUTER_KEY", raising=False)
    monkeypatch.delenv("ROUTER_MANAGEMENT_KEY", raising=False)
    if secret:
        monkeypatch.setenv("ROUTER_KEY", getattr(router, secret))
    arguments = ["tail", "--url", f"{router.url}/api/v1", *(["--key", key] if key else [])]

    assert await asyncio.to_thread(main, arguments) == 1
    assert said in capsys.readouterr().err


async def test_tail_without_a_router_says_so(router: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["tail", "--url", "http://127.0.0.1:9"]) == 1
    assert "no router answers" in capsys.readouterr().err


def test_a_line_is_printed_for_people_without_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    line = {
        "created_at": "2027-01-31T12:00:00.000Z",
        "key_hash": ONE,
        "actor": None,
        "action": "chat",
        "target": "acme/\x1b[31mm",
        "kind": "request",
        "provider_name": "acme",
        "http_status": 429,
        "latency_ms": 12,
        "total_tokens": 150,
        "cost": 0.5,
        "error_code": "rate_limited",
        "status": "error",
    }
    tail._shown(line)

    printed = capsys.readouterr().out
    assert printed.split() == [
        *(
            "2027-01-31",
            "12:00:00.000",
            ONE[:12],
            "chat",
            "acme/\\x1b[31mm",
            "acme",
            "429",
            "12",
            "ms",
            "150",
            "tokens",
        ),
        *("$0.500000", "rate_limited"),
    ]
