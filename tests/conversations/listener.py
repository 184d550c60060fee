"""Who is told by webhooks of every call, by a router that is killed again and again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random

from aiohttp import ClientSession, web

from router.testing import FakeUpstream, until

from .books import Books, Row
from .program import Program

ENDPOINTS = "/api/webhooks/endpoints"
TYPES = ["generation.completed", "generation.failed"]


class Listener:
    """An endpoint that takes everything, sometimes slowly, and checks who says it."""

    def __init__(self, upstream: FakeUpstream, chance: random.Random) -> None:
        self._upstream = upstream
        self._chance = chance
        self._secret = ""
        #: ids of generations, and of the events that told of them
        self.heard: dict[str, set[str]] = {}
        self.times = 0
        upstream.will(self._hear)

    async def subscribe(self, program: Program) -> None:
        """Be told of all calls from now on."""
        body = {"url": f"{self._upstream.url}/hook", "events": TYPES}
        headers = {"Authorization": f"Bearer {program.management}"}
        async with (
            ClientSession() as session,
            session.post(program.url + ENDPOINTS, json=body, headers=headers) as answer,
        ):
            assert answer.status == 201, await answer.text()
            self._secret = (await answer.json())["secret"]

    async def _hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        parts = dict(part.split("=") for part in request.headers["X-Router-Signature"].split(","))
        made = hmac.new(self._secret.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
        assert parts["v1"] == made
        if self._chance.random() < 0.1:
            await asyncio.sleep(self._chance.uniform(0, 0.1))
        event = await request.json()
        assert event["type"] == TYPES[event["data"]["status"] != "ok"]
        self.times += 1
        self.heard.setdefault(event["data"]["id"], set()).add(event["id"])
        return web.json_response({})

    def compare(self, rows: list[Row]) -> None:
        """Nothing was told that is not in the ledger, and each time of one call it was the same event."""
        assert self.heard.keys() <= {row.id for row in rows}
        assert {len(events) for events in self.heard.values()} <= {1}

    async def hear_all(self, books: Books) -> None:
        """Wait until nothing is left to be told; then everything was."""
        await until(lambda: not books.all("SELECT 1 FROM webhook_event LIMIT 1"), 600)
        rows = books.rows()
        self.compare(rows)
        assert self.heard.keys() == {row.id for row in rows}
