"""The endpoints of money and statistics over a large ledger.

`python -m bench.accounts [--generations 1000000] [--keys 10000] [--keep FILE] [--only TEXT]`
Fills a database by bulk SQL, as 30 days of settlements would leave it, starts the router on it and asks each endpoint over a socket:
the best, the median and the worst of some rounds, once the pages that it needs are in memory, and the CPU time of the median, asking
included. One of the keys has a fifth of all calls. What takes more than `AIM_MS` at its best is marked.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import ClientSession

from router.server import Server
from router.serving import listening
from router.settings import Settings
from router.store.database import Database
from router.store.keys import Keys

DAYS = 30
AIM_MS = 50.0

FILL = """
    WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :generations),
    drawn AS (
        SELECT n, abs(random()) AS dice, :first * 86400.0 + n * :days * 86400.0 / :generations AS at FROM number
    )
    INSERT INTO generation (id, created_unix, day, key_hash, request_id, api_type, model, requested_model, provider, status,
        upstream_id, charge, list_cost, input, output, latency_ms, generation_ms, trace_id, user, app_title, detail)
    SELECT printf('gen-%d-%016x', at, n), at, CAST(at / 86400 AS INTEGER),
        (SELECT hash FROM bench_key WHERE number = CASE WHEN n % 5 = 0 THEN 0 ELSE dice % :keys END), printf('req_%x', n), 'chat',
        'acme/chat-' || (dice / 7 % 8),
        'm', CASE dice / 11 % 2 WHEN 0 THEN 'one' ELSE 'two' END, 'ok', printf('chatcmpl-%x', dice), dice % 1000 * 1000000,
        dice % 1000 * 1000000, 100, 50, 10, 20,
        CASE WHEN n % 3 = 0 THEN printf('trace-%x', n) END, CASE WHEN n % 4 = 0 THEN 'user ' || (dice % 5000) END,
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
    parser.add_argument("--only", default="", help="ask only what has this in its path")
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
        busy, busiest = await server.keys.rotate("key 0")
        rare, _ = await server.keys.rotate("key 77")
        (newest,) = await server.database.all("SELECT id, upstream_id FROM generation ORDER BY seq LIMIT 1 OFFSET 1000")
        asked = questions(server.clock.wall(), busiest.hash, *newest)
        async with listening(server) as url, ClientSession() as session:
            for who, key in (("management", management), ("busy key", busy), ("rare key", rare)):
                for question in asked:
                    if args.only in question.path and (question.anybody or who == "management"):
                        await ask(session, url, question, key, who, args.rounds)
    finally:
        await server.stop()


class Question(NamedTuple):
    """A request. Not `anybody`: ordinary keys lack the scope, or have nothing of it."""

    path: str
    body: Any = None
    anybody: bool = True


def questions(now: float, busiest: str, id: str, upstream_id: str) -> list[Question]:
    """What is asked: the last 30 days."""
    start = time.strftime("%Y-%m-%d", time.gmtime(now - (DAYS - 1) * 86400))
    end = time.strftime("%Y-%m-%d", time.gmtime(now))
    window = f"start_date={start}&end_date={end}"
    return [
        *(Question(path) for path in EVERYBODYS),
        *(Question(f"/api/v1/transactions?{window}{more}") for more in TRANSACTIONS),
        Question(f"/api/v1/generation?id={id}", anybody=False),
        Question(f"/api/v1/generation?id={upstream_id}", anybody=False),
        Question(f"/api/v1/generation/{id}", anybody=False),
        *(Question(path, anybody=False) for path in MANAGEMENTS),
        *(Question(f"{path}{busiest}", anybody=False) for path in OF_A_KEY),
        Question(f"/api/v1/transactions?{window}&offset=150000&api_key_hash={busiest}", anybody=False),
        *(Question("/api/v1/analytics/query", body) for body in ANALYTICS),
        *(Question("/api/v1/analytics/query", body, anybody=False) for body in ANALYTICS_OF_KEYS),
    ]


#: of the last 30 days, which nobody has to name
EVERYBODYS = (
    "/api/v1/key",
    "/api/v1/credits",
    "/api/v1/credits?format=number",
    "/api/v1/balance",
    "/api/v1/transactions",
    "/api/v1/activity",
    *(
        f"/api/v1/activity?group_by={group}"
        for group in ("model", "provider", "day", "user", "app", "tag", "workspace", "key")
    ),
    "/api/v1/activity?model=acme/chat-3",
    "/api/v1/activity?group_by=user&model=acme/chat-3",
    "/api/v1/activity?group_by=key&model=acme/chat-3",
    "/api/v1/activity?user_id=user+7",
    "/api/v1/activity?format=csv",
    "/api/v1/usage",
    *(f"/api/v1/usage?granularity={each}" for each in ("hourly", "daily", "monthly")),
    "/api/v1/usage?granularity=hourly&group_by=provider",
    *(
        f"/api/v1/usage?granularity=monthly&group_by={each}"
        for each in ("model", "user", "app", "tag", "key", "workspace")
    ),
    *(f"/api/v1/usage?group_by={each}" for each in ("model", "user", "app", "tag", "key", "workspace")),
    "/api/v1/usage?tag=team+7",
    "/api/v1/usage?group_by=key&format=csv",
    "/api/usage/summary",
    "/api/usage/summary?model=acme/chat-3",
    "/api/usage/timeseries",
    "/api/usage/timeseries?granularity=hourly",
    "/api/usage/timeseries?granularity=hourly&provider_id=one",
    "/api/usage/timeseries?granularity=hourly&format=csv",
)
TRANSACTIONS = (
    "",
    "&type=usage&limit=1000",
    "&type=credit",
    "&offset=1000",
    "&offset=900000",
    "&type=usage&offset=500000",
    "&limit=1000&format=csv",
)
#: the last ones of the log are not there, or far back
MANAGEMENTS = (
    "/api/v1/keys",
    "/api/v1/keys?limit=1000",
    "/api/v1/keys?offset=9000&include_disabled=true&workspace_id=default",
    "/api/v1/workspaces",
    "/api/v1/workspaces/default/budgets",
    "/api/v1/guardrails",
    "/api/v1/logs",
    "/api/v1/logs?kind=admin",
    "/api/v1/logs?limit=1000&format=csv",
    "/api/v1/logs?trace_id=trace-3",
    "/api/v1/logs?request_id=req_7",
    "/api/v1/logs?tag=team+7",
    "/api/v1/logs?status=error",
    "/api/v1/logs?model=acme/none",
)
OF_A_KEY = (
    "/api/v1/keys/",
    "/api/v1/logs?api_key_hash=",
    "/api/v1/transactions?api_key_hash=",
    "/api/v1/activity?api_key_hash=",
    "/api/v1/usage?granularity=hourly&api_key_hash=",
    "/api/usage/summary?key_id=",
)
SOME = ["request_count", "total_cost", "total_tokens", "average_latency_ms"]
ALL = [
    *(*SOME, "error_count", "error_rate", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"),
    *("cache_hit_rate", "byok_cost", "average_cost", "average_generation_ms", "tokens_per_second"),
]
ANALYTICS = (
    {"metrics": ALL},
    *({"metrics": SOME, "dimensions": [name]} for name in ("model", "provider", "user", "app", "tag", "workspace")),
    *({"metrics": SOME, "dimensions": [name], "granularity": "day"} for name in ("model", "user", "tag", "workspace")),
    {"metrics": ALL, "granularity": "hour"},
    {"metrics": SOME, "granularity": "hour", "dimensions": ["provider"]},
    {"metrics": SOME, "granularity": "month", "dimensions": ["user"]},
    {"metrics": SOME, "dimensions": ["model", "provider"], "granularity": "day"},
    {"metrics": SOME, "dimensions": ["user", "model"]},
    {"metrics": SOME, "dimensions": ["model"], "filters": {"user": "user 7"}},
    {"metrics": SOME, "dimensions": ["user"], "filters": {"model": "acme/chat-3"}},
    {"metrics": SOME, "dimensions": ["app"], "filters": [{"field": "app", "operator": "neq", "value": "app 3"}]},
    {"metrics": SOME, "dimensions": ["model"], "filters": [{"field": "model", "operator": "neq", "value": "none"}]},
)
#: management only: for one key there is one row
ANALYTICS_OF_KEYS = (
    {"metrics": ALL, "dimensions": ["api_key"]},
    {"metrics": SOME, "dimensions": ["api_key"], "order_by": {"field": "average_latency_ms", "direction": "desc"}},
    {"metrics": SOME, "dimensions": ["api_key"], "granularity": "day"},
    {"metrics": SOME, "dimensions": ["api_key"], "granularity": "hour"},
    {"metrics": SOME, "dimensions": ["api_key"], "granularity": "month"},
    {"metrics": SOME, "dimensions": ["api_key", "model"]},
    {"metrics": SOME, "dimensions": ["api_key", "model", "provider"], "granularity": "day"},
    {"metrics": SOME, "dimensions": ["api_key", "user"]},
    {"metrics": SOME, "dimensions": ["api_key"], "filters": {"model": "acme/chat-3"}},
    {
        "metrics": SOME,
        "dimensions": ["api_key"],
        "granularity": "day",
        "order_by": {"field": "total_cost", "direction": "desc"},
    },
)


async def ask(session: ClientSession, url: str, question: Question, key: str, who: str, rounds: int) -> None:
    """Best, median and worst of some rounds, milliseconds."""
    times = []
    method = "GET" if question.body is None else "POST"
    for _ in range(rounds):
        started, before = time.perf_counter(), time.process_time()
        headers = {"Authorization": f"Bearer {key}"}
        async with session.request(method, url + question.path, json=question.body, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == 200, body
        times.append(((time.perf_counter() - started) * 1000, (time.process_time() - before) * 1000))
    times.sort()
    median = times[len(times) // 2]
    path = question.path.partition("/api")[2].removeprefix("/v1")
    told = path if question.body is None else f"{path} {_brief(question.body)}"
    slow = "  <-- SLOW" if times[0][0] > AIM_MS else ""
    print(
        f"{who:<11} {told[:100]:<100} {times[0][0]:6.1f} {median[0]:6.1f} worst {times[-1][0]:6.1f} ms, cpu {median[1]:6.1f}{slow}"
    )


def _brief(body: dict[str, Any]) -> str:
    return " ".join(str(value) for name, value in body.items() if name != "metrics")


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
