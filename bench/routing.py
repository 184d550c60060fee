"""What routing costs a call: `python -m bench.routing [--calls 2000]`.

Plans are made by the server's own planner, through its hooks with all default plugins, in memory and without sockets, over a table of
5,000 models of 50 providers. A head is read once and planned again and again, each time by a new call. CPU is that of this thread; each
figure is the least of some rounds, since whatever else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from router.call import Attempt, Call
from router.errors import UpstreamUnavailable
from router.planning import Planner
from router.prices import Usage
from router.server import Server
from router.settings import EndpointSettings, ModelSettings, PriceSettings, ServerSettings, Settings

PROVIDERS = [f"p{number}" for number in range(50)]
MODELS = 5000
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
QUESTION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How long is a piece of string? " * 60},
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/performance.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(folder, args))


async def measure(folder: str, args: argparse.Namespace) -> None:
    """One line for each kind of request."""
    server = Server(settings(folder), {})
    await server.start()
    rows: list[tuple[str, float]] = []
    try:
        made = call_maker(server, body("bench/m1"))
        rows.append(("making the call, without a plan", await least(made, None, args)))
        for name, make, happens in cases(server):
            for _ in range(5):
                happens(await planned(server, make))
            rows.append((name, await least(make, Planner(server.plugins.hook), args) - rows[0][1]))
    finally:
        await server.stop()
    for name, cpu in rows:
        figure = f"{cpu * 1e6:.1f}"
        print(f"| {name} | {figure} |" if args.markdown else f"{name:<44} {figure:>7} us CPU")
    print(f"load {os.getloadavg()[0]:.1f}")


def settings(folder: str) -> Settings:
    """5,000 models, most of them with one endpoint; some of 5 and of 50, with prices of their own."""
    providers: dict[str, Any] = {
        slug: {"plugin": "openai-compatible", "base_url": "http://127.0.0.1:9", "api_key": "k"} for slug in PROVIDERS
    }
    sizes = {
        "bench/m5": 5,
        "bench/m50": 50,
        "bench/cached": 5,
        **{f"bench/m{number}": 1 for number in range(100, MODELS + 96)},
    }
    sizes["bench/m1"] = 1
    models = {
        id: ModelSettings(
            context_length=128_000,
            supported_parameters=["tools", "temperature"],
            endpoints=[
                endpoint(slug, number, cached=id == "bench/cached") for number, slug in enumerate(PROVIDERS[:count])
            ],
        )
        for id, count in sizes.items()
    }
    return Settings(server=ServerSettings(database=str(Path(folder) / "bench.db")), providers=providers, models=models)


def endpoint(slug: str, number: int, *, cached: bool) -> EndpointSettings:
    price = f"0.0000{10 + number}"
    pricing = PriceSettings(prompt=price, completion=price, input_cache_read="0.000001" if cached else None)
    return EndpointSettings(provider=slug, model="m", pricing=pricing)


Make = Callable[[], Call]


def cases(server: Server) -> list[tuple[str, Make, Callable[[Call], None]]]:
    """What is asked, and what happens to some of its calls before it is measured."""
    soft = {"order": ["p3"], "max_price": {"prompt": 900}}
    hard = {"sort": "price", "ignore": ["p1"], "require_parameters": True, "data_collection": "deny"}
    made = {
        "1 endpoint": call_maker(server, body("bench/m1")),
        "5 endpoints": call_maker(server, body("bench/m5")),
        "50 endpoints": call_maker(server, body("bench/m50")),
        "5 endpoints, tools": call_maker(server, body("bench/m5", tools=TOOLS)),
        "50 endpoints, tools": call_maker(server, body("bench/m50", tools=TOOLS)),
        "5 endpoints, `order` and `max_price`": call_maker(server, body("bench/m5", provider=soft)),
        "5 endpoints, `sort` and hard preferences": call_maker(server, body("bench/m5", provider=hard)),
        "50 endpoints, `order` and `max_price`": call_maker(server, body("bench/m50", provider=soft)),
        "50 endpoints, `sort` and hard preferences": call_maker(server, body("bench/m50", provider=hard)),
        "5 endpoints, a session that sticks": call_maker(server, body("bench/cached", session_id="s1")),
        "5 endpoints, a conversation without a name": call_maker(server, body("bench/cached")),
    }
    found = [(name, make, served(server)) for name, make in made.items()]
    # Behind these one circuit is open for the whole process.
    found += [
        ("5 endpoints, one circuit open", made["5 endpoints"], broken(server)),
        ("50 endpoints, one circuit open", made["50 endpoints"], broken(server)),
    ]
    return found


def body(model: str, **members: Any) -> bytes:
    """A request of about 2 kB."""
    return msgspec.json.encode({"model": model, "messages": QUESTION, "temperature": 0.5, **members})


def call_maker(server: Server, content: bytes) -> Make:
    dialect = server.dialects[0]
    headers: Mapping[str, str] = {"User-Agent": "bench", "Content-Type": "application/json"}
    head = dialect.peek(content, {}, "chat")

    def make() -> Call:
        call = Call(dialect=dialect, body=content, headers=headers, path={}, presented=None, started_s=0.0)
        call.head = head
        return call

    return make


def served(server: Server) -> Callable[[Call], None]:
    """The call goes well at its first endpoint."""

    def happens(call: Call) -> None:
        tell(server, call, Attempt(candidate=call.plan.candidates[0], started_s=0.0, latency_s=0.1, duration_s=0.5))

    return happens


def broken(server: Server) -> Callable[[Call], None]:
    """One endpoint of it fails."""

    def happens(call: Call) -> None:
        for candidate in call.plan.candidates:
            if candidate.provider.slug == "p2":  # no longer there once its circuit is open
                tell(server, call, Attempt(candidate=candidate, started_s=0.0, error=UpstreamUnavailable("no")))

    return happens


def tell(server: Server, call: Call, attempt: Attempt) -> None:
    call.usage = Usage(input=1000, output=10, cache_read=500)
    server.health.attempted(attempt)
    server.plugins.hook.router_attempted(call=call, attempt=attempt)


async def planned(server: Server, make: Make) -> Call:
    call = make()
    await Planner(server.plugins.hook).plan(call)
    return call


async def least(make: Make, planner: Planner | None, args: argparse.Namespace) -> float:
    """CPU seconds per call."""
    best = float("inf")
    for _ in range(args.rounds):
        before = time.thread_time()
        for _ in range(args.calls):
            call = make()
            if planner is not None:
                await planner.plan(call)
        best = min(best, (time.thread_time() - before) / args.calls)
    return best


if __name__ == "__main__":
    main()
