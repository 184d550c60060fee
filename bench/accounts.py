"""The endpoints of money and statistics over a large ledger.

`python -m bench.accounts [--generations 1000000] [--keys 10000] [--keep FILE]`
Fills a database by bulk SQL, as 30 days of settlements would leave it, starts the router on it and asks each endpoint over a socket:
the median and the worst of some rounds, once the pages that it needs are in memory. One of the keys has a fifth of all calls.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from aiohttp import ClientSession

from router.server import Server
from router.serving import listening
from router.settings import Settings
from router.store.database import Database
from router.store.keys import Keys

DAYS = 30

FILL = """
    WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :generations),
    drawn AS (
        SELECT n, abs(random()) AS dice, :first * 86400.0 + n * :days * 86400.0 / :generations AS at FROM number
    )
    INSERT INTO generation (id, created_unix, day, key_hash, request_id, api_type, model, requested_model, provider, status,
        upstream_id, charge, list_cost, input, output, latency_ms, generation_ms, trace_id, user, app_title, detail)
    SELECT printf('gen-%d-%016x', at, n), at, CAST(at / 86400 AS INTEGER),
        (SELECT hash FROM bench_key WHERE number = CASE WHEN n % 5 = 0 THEN 0 ELSE dice % :keys END), printf('req_%x', n), 'chat',
        CASE dice / 7 % 4 WHEN 0 THEN 'openai/gpt-x' WHEN 1 THEN 'anthropic/claude-x' WHEN 2 THEN 'google/gemini-x'
            ELSE 'acme/chat' END,
        'm', CASE dice / 11 % 2 WHEN 0 THEN 'one' ELSE 'two' END, 'ok', printf('chatcmpl-%x', dice), dice % 1000 * 1000000,
        dice % 1000 * 1000000, 100, 50, 10, 20,
        CASE WHEN n % 3 = 0 THEN printf('trace-%x', n) END, CASE WHEN n % 4 = 0 THEN 'user ' || (dice % 500) END,
        CASE WHEN n % 2 = 0 THEN 'app ' || (dice % 20) END,
        CASE WHEN n % 3 = 0 THEN '{"tags":["team ' || (dice % 30) || '"]}' ELSE '{}' END
    FROM drawn
"""


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounts")
    parser.add_argument("--generations", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="fill this database, or use it where it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(args, args.keep or Path(folder) / "bench.db"))


async def measure(args: argparse.Namespace, path: Path) -> None:
    """Ask each endpoint as the management key, the busiest key and a rare one."""
    if not os.path.exists(path):
        started = time.perf_counter()
        await fill(path, args)
        print(f"filled in {time.perf_counter() - started:.0f} s, {path.stat().st_size / 1e6:.0f} MB")
    settings = Settings(providers={})
    settings.server.database, settings.server.listen = str(path), "127.0.0.1:0"
    server = Server(settings, {})
    started = time.perf_counter()
    await server.start()
    print(f"started in {time.perf_counter() - started:.1f} s; load of the machine {os.getloadavg()[0]:.1f}")
    try:
        suffix = f"{time.time():.0f}"
        management, _ = await server.keys.create(f"boss {suffix}", management=True)
        busy, _ = await server.keys.rotate("key 0")
        rare, _ = await server.keys.rotate("key 77")
        async with listening(server) as url, ClientSession() as session:
            for who, key in (("management", management), ("busy key", busy), ("rare key", rare)):
                for question in questions(server.clock.wall()):
                    if "/logs" in question and who != "management":
                        continue  # ordinary keys lack the scope
                    await ask(session, url + question, key, who, args.rounds)
    finally:
        await server.stop()


def questions(now: float) -> list[str]:
    """What is asked: the last 30 days."""
    start = time.strftime("%Y-%m-%d", time.gmtime(now - (DAYS - 1) * 86400))
    end = time.strftime("%Y-%m-%d", time.gmtime(now))
    window = f"start_date={start}&end_date={end}"
    return [
        "/api/v1/credits",
        "/api/v1/balance",
        "/api/v1/transactions",
        f"/api/v1/transactions?{window}",
        f"/api/v1/transactions?{window}&type=usage&limit=1000",
        f"/api/v1/transactions?{window}&type=credit",
        f"/api/v1/transactions?{window}&offset=1000",
        *STATISTICS,
    ]


#: of the last 30 days, which nobody has to name; the last ones of the log are not there, or far back
STATISTICS = (
    "/api/v1/activity",
    *(
        f"/api/v1/activity?group_by={group}"
        for group in ("model", "provider", "day", "user", "app", "tag", "workspace", "key")
    ),
    "/api/v1/activity?model=acme/chat",
    "/api/v1/usage",
    *(f"/api/v1/usage?granularity={each}" for each in ("hourly", "daily", "monthly")),
    "/api/v1/usage?tag=team+7",
    "/api/v1/usage?granularity=monthly&group_by=key",
    "/api/usage/summary",
    "/api/v1/logs",
    "/api/v1/logs?trace_id=trace-3",
    "/api/v1/logs?request_id=req_7",
    "/api/v1/logs?tag=team+7",
    "/api/v1/logs?status=error",
    "/api/v1/logs?model=acme/none",
    "/api/usage/timeseries?granularity=hourly",
)


async def ask(session: ClientSession, url: str, key: str, who: str, rounds: int) -> None:
    """Median and worst of some rounds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
            body = await answer.read()
            assert answer.status == 200, body
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    path = url.partition("/api")[2].removeprefix("/v1")
    print(f"{who:<11} {path:<72} {times[len(times) // 2]:6.1f} ms  worst {times[-1]:6.1f}")


async def fill(path: Path, args: argparse.Namespace) -> None:
    """The keys, and as many settlements; the triggers of the schema do the rest."""
    async with await Database.open(path) as database:
        keys = Keys(database)
        for number in (0, 77):
            await keys.create(f"key {number}")
    await asyncio.to_thread(_fill, path, args)


def _fill(path: Path, args: argparse.Namespace) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = OFF", "cache_size = -400000", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    connection.execute("CREATE TEMP TABLE bench_key (number INTEGER PRIMARY KEY, hash TEXT NOT NULL)")
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
        "INSERT INTO key (hash, id, name, label, created_unix) "
        "SELECT h, h, 'key ' || i, 'sk-rt', 1 FROM (SELECT i, lower(hex(randomblob(32))) AS h FROM n) WHERE i NOT IN (0, 77)",
        (args.keys,),
    )
    connection.execute("INSERT INTO bench_key SELECT CAST(substr(name, 5) AS INTEGER), hash FROM key")
    first = int(time.time() // 86400) - DAYS + 1
    connection.execute(FILL, {"generations": args.generations, "keys": args.keys, "first": first, "days": DAYS})
    connection.execute("COMMIT")
    connection.close()


if __name__ == "__main__":
    main()
