"""What a kill leaves behind each single commit, and what a router makes of it that starts there.

`test_crash` kills real processes, at moments that chance picks; here every moment has its turn.
"""

from __future__ import annotations

import hmac
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from router.builtin import DEFAULT_PLUGINS, webhooks
from router.server import Server
from router.serving import listening
from router.settings import FetchSettings, PluginSettings, Settings
from router.testing import FakeUpstream, json_answer, running, until

from .changes import SECRET
from .lanes import RELAYED
from .listener import TYPES
from .stage import served

COINBASE = {"api_key": "none", "webhook_secret": SECRET}
FILES = ("router.db", "router.db-wal", "router.db.secret", "router.db.lock")


def settings(upstream: FakeUpstream) -> Settings:
    """One provider, a Coinbase at the same place, and webhooks to this machine."""
    return Settings(
        providers={"p0": RELAYED.provider(upstream.url)},
        models={"test/m": served(("p0", RELAYED.model))},
        plugins=PluginSettings(tables={"coinbase": {**COINBASE, "base_url": upstream.url}}),
        fetch=FetchSettings(allow_private=True),
    )


@contextmanager
def photographed(server: Server, folder: Path, note: Callable[[], Any]) -> Iterator[list[tuple[Path, Any]]]:
    """Copies of the database as it lies there after each commit, with what was noted at that moment."""
    writer: Any = server.database._writer
    step, source = writer._step, server.database.path.parent
    copies: list[tuple[Path, Any]] = []
    size = -1

    def take() -> None:
        nonlocal size
        now = (source / "router.db-wal").stat().st_size
        if now == size:
            return
        size = now
        copy = folder / f"left-{len(copies)}"
        copy.mkdir()
        for name in FILES:
            if (source / name).exists():
                shutil.copy(source / name, copy)
        copies.append((copy, note()))

    async def stepped() -> bool:
        again: bool = await step()
        take()
        return again

    take()
    writer._step = stepped
    try:
        yield copies
    finally:
        writer._step = step


@asynccontextmanager
async def revived(upstream: FakeUpstream, folder: Path) -> AsyncIterator[tuple[Server, str]]:
    """A router that starts with what is left, and its URL."""
    made = settings(upstream)
    made.server.database, made.server.listen = str(folder / "router.db"), "127.0.0.1:0"
    server = Server(made, {})
    await server.start()
    try:
        async with listening(server) as url:
            yield server, url
    finally:
        await server.stop()


def left_waiting(folder: Path) -> set[str]:
    """The events that nobody was told of. Looked up in a copy: a router that starts tells them at once, and a look changes files."""
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name}-look"))
    with closing(sqlite3.connect(copy / "router.db")) as connection:
        return {id for (id,) in connection.execute("SELECT id FROM webhook_event")}


class Owner:
    """Who makes changes, each under a key of its own."""

    def __init__(self, management: str, old: str) -> None:
        self._management = management
        self._changes: dict[str, tuple[str, Any]] = {
            "key.create": ("/v1/keys", {"name": "new"}),
            "key.rotate": (f"/v1/keys/{old}/rotate", {}),
            "credits.grant": ("/v1/credits", {"amount": 5}),
            "credits.charge": ("/v1/credits/coinbase", {"amount": 3}),
            "webhook.create": ("/api/webhooks/endpoints", {"url": "http://127.0.0.1:9/hook", "events": TYPES}),
        }
        #: what was answered, by what was asked for
        self.answered: dict[str, tuple[int, Any]] = {}

    async def ask(self, url: str) -> None:
        """Ask for all changes, one after the other, and have the charge paid."""
        async with ClientSession() as session:
            for name, (path, body) in self._changes.items():
                headers = {"Authorization": f"Bearer {self._management}", "Idempotency-Key": name}
                async with session.post(url + path, json=body, headers=headers) as answer:
                    said = await answer.json()
                self.answered[name] = answer.status, said["error"]["message"] if answer.status >= 400 else said
            self.answered["credits.paid"] = await _paid(session, url), {}


async def _paid(session: ClientSession, url: str) -> int:
    body = json.dumps({"event": {"type": "charge:confirmed", "data": {"id": "c1"}}}).encode()
    headers = {"X-CC-Webhook-Signature": hmac.new(SECRET.encode(), body, "sha256").hexdigest()}
    async with session.post(url + "/v1/credits/coinbase/webhook", data=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_a_change_is_made_once_wherever_a_kill_cuts_it_off(tmp_path: Path, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"data": {"id": "c1"}}, status=201))
    async with running(settings(upstream), tmp_path) as router:
        _, old = await router.server.keys.create("old")
        owner = Owner(router.management, old.hash)
        with photographed(router.server, tmp_path, lambda: dict(owner.answered)) as copies:
            await owner.ask(router.url)

    lost = []
    for folder, before in copies:
        owner.answered.clear()
        async with revived(upstream, folder) as (server, url):
            await owner.ask(url)
            after = dict(owner.answered)
            await owner.ask(url)
            made = await server.database.all("SELECT action, count(*) FROM audit WHERE request_id <> '' GROUP BY 1")
            booked = server.ledger.balance.amount / 10**12

        assert dict(made) == dict.fromkeys(after, 1)
        assert booked == 8
        assert owner.answered == after
        assert after.items() >= before.items()
        cut = [name for name, (status, _) in after.items() if status == 409]
        assert all(f"its answer is lost ({name} of " in after[name][1] for name in cut)
        lost += cut
    # Each was once cut off between change and answer.
    assert sorted(lost) == sorted(owner._changes)


async def test_a_call_is_told_wherever_a_kill_cuts_it_off(
    tmp_path: Path, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(server: Any) -> webhooks.Webhooks:
        plugin = webhooks.Webhooks(server)
        plugin.look_s = 0.02
        return plugin

    async def told(generations: int) -> None:
        await until(lambda: len({data["id"] for _, data in heard()}) >= generations)

    monkeypatch.setitem(DEFAULT_PLUGINS, "webhooks", quick)
    async with FakeUpstream().listening() as receiver:

        def heard() -> list[tuple[str, Any]]:
            return [(each.body["id"], each.body["data"]) for each in receiver.asked]

        receiver.will(json_answer({}))
        upstream.will(RELAYED.whole(False))
        async with running(settings(upstream), tmp_path) as router:
            await router.post("/api/webhooks/endpoints", {"url": receiver.url, "events": TYPES}, key=router.management)
            with photographed(router.server, tmp_path, heard) as copies:
                await router.post(
                    "/v1/chat/completions", {"model": "test/m", "messages": [{"role": "user", "content": "hi"}]}
                )
                await told(1)
                await until(lambda: len(copies) >= 3)
        (event,) = heard()

        for folder, _ in copies:
            receiver.asked.clear()
            waiting = left_waiting(folder)
            assert waiting <= {event[0]}
            async with revived(upstream, folder) as (server, _):
                booked = await server.database.all("SELECT id FROM generation")
                await told(len(waiting))
            assert {id for id, _ in heard()} == waiting
            assert all(data["id"] == booked[0][0] for _, data in heard())
        # Behind the booking, and behind the event that was taken.
        assert len(copies) == 3
