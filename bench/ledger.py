"""What the ledger costs a call: `python -m bench.ledger [--calls 20000] [--parallel 32] [--large FILE]`.

Calls are made in memory, without sockets: authentication, limits, reservation, price, settlement and the wait for the commit, against
the same calls without any of them, over an empty ledger and, in turns with it, over a copy of FILE, which is filled with a million
calls of 10,000 keys where it is not there (`bench.accounts`). Then what else comes with a call: what is added up behind it, a webhook
that hears of it, an idempotency key. CPU is that of the whole process, so the threads of the database count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from multidict import CIMultiDict

from router.builtin import log, statistics
from router.builtin.idempotency import Idempotency
from router.call import Attempt, Call, Candidate, Credential, Endpoint, Plan
from router.head import Head
from router.model import Model
from router.plugins import each
from router.prices import Price, Usage
from router.provider import Provider, ProviderSettings, Timeouts
from router.server import Server
from router.settings import LimitSettings, PluginSettings, ServerSettings, Settings
from router.store.audit import Change
from router.store.log import Log
from router.store.statistics import Statistics
from router.store.webhooks import Webhook, Webhooks

from . import accounts

HEADERS = {"User-Agent": "OpenAI/Python 3.5.0", "X-Title": "bench", "Content-Type": "application/json"}
STAGES = ("bare", "admitted", "priced", "committed")
#: each on top of what is committed
MORE = ("added up", "logged", "webhook", "idempotency key")


class Nowhere(Provider):
    """A provider that is never asked."""

    name = "nowhere"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=Path, metavar="FILE", help="a ledger to measure with as well")
    parser.add_argument("--generations", type=int, default=1_000_000, help="calls in it, where it has to be filled")
    parser.add_argument("--keys", type=int, default=10_000)
    asyncio.run(measure(parser.parse_args()))


async def measure(args: argparse.Namespace) -> None:
    """The best of some rounds, for each stage on top of the one before."""
    # What is added up behind the calls is when it is measured.
    log.EVERY_S = statistics.EVERY_S = 1e9
    with tempfile.TemporaryDirectory() as folder:
        desks = {"empty": Desk(Path(folder) / "empty.db", args)}
        if args.large is not None:
            if not args.large.exists():
                await accounts.fill(args.large, args)
            desks["large"] = Desk(Path(shutil.copy(args.large, Path(folder) / "large.db")), args)
        for desk in desks.values():
            await desk.open()
        best = {(name, stage): float("inf") for name in desks for stage in (*STAGES, *MORE)}
        print(f"load of the machine {os.getloadavg()[0]:.1f}")
        try:
            for _ in range(args.rounds):
                for stage in (*STAGES, *MORE):
                    for name, desk in desks.items():
                        best[name, stage] = min(best[name, stage], await desk.round(stage))
        finally:
            for desk in desks.values():
                await desk.close()
    for stage in (*STAGES, *MORE):
        cells = [f"{best[name, stage] * 1e6:8.1f} us CPU a call ({_more(best, name, stage):+6.1f})" for name in desks]
        ratio = f"   ratio {best['large', stage] / best['empty', stage]:.2f}" if "large" in desks else ""
        print(f"{stage:<16} {'   '.join(cells)}{ratio}")


def _more(best: dict[tuple[str, str], float], name: str, stage: str) -> float:
    """Than without anything, or for what comes on top: than what is committed."""
    return (best[name, stage] - best[name, "bare" if stage in STAGES else "committed"]) * 1e6


class Desk:
    """A server with one ledger, and as many keys as there are clients."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self._args = args
        settings = Settings(
            server=ServerSettings(database=str(path)),
            plugins=PluginSettings(disabled=["webhooks"]),
            limits=LimitSettings(rpm=10**8, tpm=10**12),
            providers={},
        )
        self._server = Server(settings, {})
        self._keys: list[str] = []
        self._plan = _plan()

    async def open(self) -> None:
        """Start, and catch up."""
        await self._server.start()
        for number in range(self._args.parallel):
            name = f"bench {time.time_ns()} {number}"
            self._keys.append((await self._server.keys.create(name, limit=10**18, limit_reset="monthly"))[0])
        await self._behind()

    async def close(self) -> None:
        """Stop."""
        await self._server.stop()

    async def round(self, stage: str) -> float:
        """CPU seconds per call."""
        server, calls = self._server, self._args.calls // self._args.parallel
        after: Callable[[], Awaitable[Any]] | None = None
        webhook: Webhook | None = None
        if stage == "added up":
            after = Statistics(server.database).add_up
        elif stage == "logged":
            after = Log(server.database).keep_up
        elif stage == "webhook":
            webhook = await self._listening()
        before = time.process_time()
        await asyncio.gather(*(self._caller(key, stage, calls) for key in self._keys))
        if after is not None:
            await after()
        spent = time.process_time() - before
        if webhook is not None:
            await server.database.write(("DELETE FROM webhook", ()), ("DELETE FROM webhook_event", ()))
        await self._behind()
        return spent / (calls * len(self._keys))

    async def _behind(self) -> None:
        await Statistics(self._server.database).add_up()
        await Log(self._server.database).keep_up()

    async def _listening(self) -> Webhook:
        """An endpoint that hears of each call; nobody delivers."""
        hooks = Webhooks(self._server.database, self._server.generations)
        webhook = Webhook(
            id="we_bench",
            name=None,
            url="http://127.0.0.1:9/",
            events=["generation.completed", "generation.failed"],
            salt="",
            created_unix=0,
            updated_unix=0,
        )
        await hooks.put(webhook, Change(action="webhook.create", target=webhook.id))
        return webhook

    async def _caller(self, key: str, stage: str, calls: int) -> None:
        """One client that makes one call after the other."""
        server = self._server
        hook, ledger = server.plugins.hook, server.ledger
        number = STAGES.index(stage) if stage in STAGES else len(STAGES) - 1
        idempotency = Idempotency(server) if stage == "idempotency key" else None
        for turn in range(calls):
            headers = (
                CIMultiDict(HEADERS) if idempotency is None else CIMultiDict(HEADERS, **{"Idempotency-Key": str(turn)})
            )
            call = Call(
                dialect=server.dialects[0],
                body=BODY,
                headers=headers,
                path={},
                presented=key,
                started_s=time.monotonic(),
            )
            call.head = Head(model="nowhere/m", prompt_tokens=1000, max_tokens=500, stream=True)
            call.plan = self._plan
            call.candidate = self._plan.candidates[0]
            call.attempts.append(Attempt(candidate=call.candidate, started_s=call.started_s, status=200))
            call.outcome.finish_reason, call.outcome.upstream_id = "stop", "chatcmpl-" + call.id
            await asyncio.sleep(0)
            if number >= 1:
                call.identity = hook.router_authenticate(call=call)
                await each(hook.router_admit(call=call))
                ledger.reserve(call)
                if idempotency is not None:
                    idempotency.router_received(call=call)
            if number >= 2:
                ledger.started(call)
                ledger.price(call, Usage(input=1000, output=200, cache_read=400))
            if number >= 3:
                await ledger.commit(call)
            else:
                for release in call.releases:
                    release(call)


BODY = b'{"model":"nowhere/m","messages":[{"role":"user","content":"' + b"x" * 2000 + b'"}]}'


def _plan() -> Plan:
    provider = Nowhere("nowhere", ProviderSettings(plugin="nowhere", api_key="none"), Timeouts())
    price = Price(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000)
    model = Model(id="m", max_output=16384, price=price)
    endpoint = Endpoint(provider=provider, model_id="nowhere/m", model=model, price=price)
    return Plan(candidates=[Candidate(endpoint=endpoint, credential=Credential(secret="none"))])


if __name__ == "__main__":
    main()
