"""What the ledger costs a call: `python -m bench.ledger [--calls 20000] [--parallel 32]`.

Calls are made in memory, without sockets: authentication, limits, reservation, price, settlement and the wait for the commit, against
the same calls without any of them. CPU is that of the whole process, so the threads of the database count.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from router.call import Attempt, Call, Candidate, Credential, Endpoint, Head, Plan
from router.model import Model
from router.plugins import each
from router.prices import Price, Usage
from router.provider import Provider, ProviderSettings, Timeouts
from router.server import Server
from router.settings import LimitSettings, ServerSettings, Settings

HEADERS = {"User-Agent": "OpenAI/Python 3.5.0", "X-Title": "bench", "Content-Type": "application/json"}


class Nowhere(Provider):
    """A provider that is never asked."""

    name = "nowhere"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(measure(parser.parse_args()))


async def measure(args: argparse.Namespace) -> None:
    """The best of some rounds, for each stage on top of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            server=ServerSettings(database=str(Path(folder) / "bench.db")),
            limits=LimitSettings(rpm=10**8, tpm=10**12),
            providers={},
        )
        server = Server(settings, {})
        await server.start()
        try:
            key, _ = await server.keys.create("bench", limit=10**18, limit_reset="monthly")
            provider = Nowhere("nowhere", ProviderSettings(plugin="nowhere", api_key="none"), Timeouts())
            price = Price(prompt=2_500_000, completion=10_000_000, input_cache_read=1_250_000)
            model = Model(id="m", max_output=16384, price=price)
            endpoint = Endpoint(provider=provider, model_id="nowhere/m", model=model, price=price)
            plan = Plan(candidates=[Candidate(endpoint=endpoint, credential=Credential(secret="none"))])
            stages = {"bare": 0, "admitted": 1, "priced": 2, "committed": 3}
            best = {name: float("inf") for name in stages}
            for _ in range(args.rounds):
                for name, stage in stages.items():
                    best[name] = min(best[name], await one_round(server, key, plan, stage, args))
        finally:
            await server.stop()
    for name, cpu in best.items():
        print(f"{name:<10} {cpu * 1e6:7.1f} us CPU a call  (+{(cpu - best['bare']) * 1e6:.1f})")


async def one_round(server: Server, key: str, plan: Plan, stage: int, args: argparse.Namespace) -> float:
    """CPU seconds per call."""
    calls = args.calls // args.parallel
    before = time.process_time()
    await asyncio.gather(*(caller(server, key, plan, stage, calls) for _ in range(args.parallel)))
    return (time.process_time() - before) / (calls * args.parallel)


async def caller(server: Server, key: str, plan: Plan, stage: int, calls: int) -> None:
    """One client that makes one call after the other."""
    hook, ledger = server.plugins.hook, server.ledger
    for _ in range(calls):
        call = Call(
            dialect=server.dialects[0], body=b"", headers=HEADERS, path={}, presented=key, started_s=time.monotonic()
        )
        call.head = Head(model="nowhere/m", prompt_tokens=1000, max_tokens=500, stream=True)
        call.plan = plan
        call.candidate = plan.candidates[0]
        call.attempts.append(Attempt(candidate=call.candidate, started_s=call.started_s, status=200))
        call.outcome.finish_reason, call.outcome.upstream_id = "stop", "chatcmpl-" + call.id
        await asyncio.sleep(0)
        if stage >= 1:
            call.identity = hook.router_authenticate(call=call)
            await each(hook.router_admit(call=call))
            ledger.reserve(call)
        if stage >= 2:
            ledger.started(call)
            ledger.price(call, Usage(input=1000, output=200, cache_read=400))
        if stage >= 3:
            await ledger.commit(call)
        else:
            for release in call.releases:
                release(call)


if __name__ == "__main__":
    main()
