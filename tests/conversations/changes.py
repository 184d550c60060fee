"""Who changes things by hand while the router is killed again and again: makes keys, grants credits, has charges made and pays them.

Each change has a name, which is its idempotency key too, and is asked for until there is an answer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
from collections import Counter
from contextlib import suppress
from typing import Any

from aiohttp import ClientError, ClientSession, web

from router.prices import PICODOLLARS
from router.testing import FakeUpstream

from .program import Program

SECRET = "shared-secret-5678"
PATHS = {"key": "/v1/keys", "grant": "/v1/credits", "charge": "/v1/credits/coinbase"}
CENT = PICODOLLARS // 100


class Changes:
    """What was asked for and what was answered. `coinbase` makes all charges."""

    def __init__(self, program: Program, coinbase: FakeUpstream, chance: random.Random) -> None:
        self._program = program
        self._chance = chance
        self._charges = 0
        self.asked: dict[str, Any] = {}
        #: the answers to those that have one
        self.answered: dict[str, Any] = {}
        #: those of which it was said that they were made and their answer is lost
        self.lost: set[str] = set()
        #: ids of charges whose notice was taken
        self.paid: set[str] = set()
        self.notices = 0
        coinbase.will(self._charge)

    @property
    def pending(self) -> list[str]:
        """Nobody has said what became of these."""
        return [name for name in self.asked if name not in self.answered and name not in self.lost]

    async def client(self, killed: asyncio.Event) -> None:
        """Ask for one change after the other."""
        async with ClientSession() as session:
            while not killed.is_set():
                with suppress(ClientError, ConnectionError):
                    await (self._notice(session) if self._chance.random() < 0.2 else self._ask(session, self._next()))

    async def finish(self) -> None:
        """Ask in peace for all that is pending, and pay all charges."""
        async with ClientSession() as session:
            while self.pending:
                await self._ask(session, self.pending[0])
            for id in self._unpaid:
                await self._notice(session, id)

    def _next(self) -> str:
        """Mostly what is pending or new, sometimes what was answered already."""
        old = self.pending if self._chance.random() < 0.7 else list(self.asked)
        if old and self._chance.random() < 0.6:
            return self._chance.choice(old)
        kind, number = self._chance.choice(list(PATHS)), len(self.asked) + 1
        name = f"{kind} {number}"
        body: dict[str, Any] = {"amount": 1 + number / 100}
        if kind == "grant":
            body["description"] = name
        self.asked[name] = {"name": name} if kind == "key" else body
        return name

    async def _ask(self, session: ClientSession, name: str) -> None:
        path, headers = PATHS[name.split()[0]], self._headers | {"Idempotency-Key": name}
        async with session.post(self._program.url + path, json=self.asked[name], headers=headers) as answer:
            said = await answer.json()
        if answer.status in (200, 201):
            assert self.answered.setdefault(name, said) == said
            assert name not in self.lost
            return
        assert answer.status == 409, said
        if "still running" not in said["error"]["message"]:
            assert "its answer is lost" in said["error"]["message"]
            assert name not in self.answered
            self.lost.add(name)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._program.management}"}

    # --- Coinbase ---

    async def _charge(self, request: web.Request) -> web.Response:
        self._charges += 1
        return web.json_response({"data": {"id": f"charge-{self._charges}", "code": f"C{self._charges}"}}, status=201)

    @property
    def _known(self) -> dict[str, str]:
        """Charges that somebody could pay: id and name."""
        return {said["data"]["id"]: name for name, said in self.answered.items() if name.startswith("charge")}

    @property
    def _unpaid(self) -> set[str]:
        return self._known.keys() - self.paid

    async def _notice(self, session: ClientSession, id: str | None = None) -> None:
        """Coinbase says that a charge was paid, perhaps not for the first time."""
        if id is None:
            known = sorted(self._unpaid if self._chance.random() < 0.7 else self._known)
            if not known:
                return
            id = self._chance.choice(known)
        body = json.dumps({"id": 1, "event": {"id": "e", "type": "charge:confirmed", "data": {"id": id}}}).encode()
        headers = {"X-CC-Webhook-Signature": hmac.new(SECRET.encode(), body, "sha256").hexdigest()}
        self.notices += 1
        async with session.post(self._program.url + PATHS["charge"] + "/webhook", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        self.paid.add(id)

    # --- what became of it ---

    def compare(self) -> None:
        """Every change was made once, or not at all where nobody has said so."""
        made = self._made()
        assert set(made.values()) <= {1}
        assert self.answered.keys() | self.lost <= made.keys() <= self.asked.keys()
        recorded = dict(self._all("SELECT claim, count(*) FROM audit WHERE claim IS NOT NULL GROUP BY claim"))
        assert len(recorded) == len(made)
        assert set(recorded.values()) <= {1}
        booked = Counter(dict(self._all("SELECT idempotency_key, amount FROM entry WHERE idempotency_key IS NOT NULL")))
        worth = {f"charge:coinbase:{id}": self.asked[name]["amount"] * 100 for id, name in self._known.items()}
        assert booked.keys() <= worth.keys()
        assert all(amount == round(worth[key]) * CENT for key, amount in booked.items())
        assert {f"charge:coinbase:{id}" for id in self.paid} <= booked.keys()

    def _made(self) -> Counter[str]:
        """How often each change was made."""
        keys = self._all("SELECT name, count(DISTINCT id) FROM key WHERE name LIKE 'key %' GROUP BY name")
        grants = self._all("SELECT description, count(*) FROM entry WHERE counter_account = 'grants' GROUP BY 1")
        names = {round(body["amount"] * 100): name for name, body in self.asked.items() if name.startswith("charge")}
        charges = self._all(f"SELECT amount / {CENT}, count(*) FROM charge GROUP BY 1")
        return Counter(dict(keys) | dict(grants) | {names[amount]: count for amount, count in charges})

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        return self._program.books.all(query)
