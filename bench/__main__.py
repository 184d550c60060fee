"""Run everything and print the figures: `make bench`, or `python -m bench [--quick] [--markdown]`.

The floor and the router take turns in short rounds against the same upstream, so that whatever else the machine does hits both. CPU
is the time that the process itself used (user and system), read before and after each round; each figure is the median over the
rounds."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import client

CHUNKS = 100
CONNECTIONS = 32
CONFIG = """
[server]
listen = "127.0.0.1:0"
database = "bench.db"
[models."bench/plain"]
endpoints = [{{ provider = "plain", model = "bench-model", pricing = {{ prompt = "0.000001", completion = "0.000002" }} }}]
[models."bench/paced"]
endpoints = [{{ provider = "paced", model = "bench-model", pricing = {{ prompt = "0.000001", completion = "0.000002" }} }}]
[models."bench/burst"]
endpoints = [{{ provider = "burst", model = "bench-model", pricing = {{ prompt = "0.000001", completion = "0.000002" }} }}]
[limits]
rpm = 100000000
tpm = 1000000000000
""" + "\n".join(
    f"""[providers.{name}]
plugin = "openai-compatible"
base_url = "http://127.0.0.1:{{port}}/{name}/v1"
api_key = "upstream"
max_connections = 1000
"""
    for name in ("plain", "paced", "burst")
)


class Process:
    """A server of ours, and the CPU and memory that it uses."""

    def __init__(self, *command: str, cwd: str) -> None:
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=cwd,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        self.started_s = time.perf_counter() - started

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def processes(folder: str) -> Iterator[dict[str, Process]]:
    upstream = Process("-m", "bench.upstream", "--chunks", str(CHUNKS), cwd=folder)
    running = {"upstream": upstream}
    try:
        (Path(folder) / "config.toml").write_text(CONFIG.format(port=upstream.port))
        running["floor"] = Process("-m", "bench.floor", str(upstream.port), cwd=folder)
        running["reads"] = Process("-m", "bench.floor", str(upstream.port), "--by", "reads", cwd=folder)
        running["router"] = Process("-m", "router", "serve", "--config", "config.toml", cwd=folder)
        yield running
    finally:
        for process in reversed(running.values()):
            process.stop()


def body(model: str, *, stream: bool) -> bytes:
    """A request of about 2 kB."""
    question = {"role": "user", "content": "How long is a piece of string? " * 60}
    return json.dumps({"model": model, "stream": stream, "messages": [question], "temperature": 0.5}).encode()


async def measure(process: Process, path: str, key: str, model: str, *, stream: bool, connections: int, requests: int):
    """CPU microseconds and wall seconds per request, and the median seconds to the first content."""
    data = client.request(path, key, body(model, stream=stream))
    cpu, wall = process.cpu_s(), time.perf_counter()
    times = await client.load(process.port, data, connections, requests)
    wall = time.perf_counter() - wall
    # A round's commits may still be running.
    await asyncio.sleep(0.05)
    return (process.cpu_s() - cpu) / requests * 1e6, wall / requests, statistics.median(first for first, _ in times)


async def scenario(running: dict[str, Process], key: str, name: str, *, rounds: int, requests: int, connections: int):
    """Medians over the rounds for each server that takes part."""
    results: dict[str, list[tuple[float, float, float]]] = {}
    servers = ("floor", "router") if name == "plain" else ("floor", "reads", "router")
    for number in range(-1, rounds):
        for server in servers:
            model = f"bench/{name}" if server == "router" else "bench-model"
            path = "/v1/chat/completions" if server == "router" else f"/{name}/v1/chat/completions"
            result = await measure(
                running[server], path, key, model, stream=name != "plain", connections=connections, requests=requests
            )
            if number >= 0:  # the first round warms up
                results.setdefault(server, []).append(result)
    return {
        server: [statistics.median(column) for column in zip(*rows, strict=True)] for server, rows in results.items()
    }


def show(markdown: bool, rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells))
        if markdown and number == 0:
            print("|" + "|".join("---" if column == 0 else "---:" for column in range(len(row))) + "|")


async def run(args: argparse.Namespace) -> None:
    quick = args.quick
    with tempfile.TemporaryDirectory() as folder, processes(folder) as running:
        router = running["router"]
        key = args.key or create_key(folder)
        idle_mb = router.memory_mb()
        rounds = 2 if quick else 7
        plain = await scenario(
            running, key, "plain", rounds=rounds, requests=500 if quick else 2000, connections=CONNECTIONS
        )
        paced = await scenario(
            running, key, "paced", rounds=1 if quick else 3, requests=CONNECTIONS * 2, connections=CONNECTIONS
        )
        burst = await scenario(
            running, key, "burst", rounds=rounds, requests=200 if quick else 600, connections=CONNECTIONS
        )
        single = await scenario(running, key, "burst", rounds=rounds, requests=50, connections=1)
        rows = [("at 32 connections", "floor", "router", "ratio")]
        rows.append(row("CPU µs per plain request", plain["floor"][0], plain["router"][0]))
        rows.append(row("plain requests per second", 1 / plain["floor"][1], 1 / plain["router"][1]))
        events = CHUNKS + 4
        rows.append(row("CPU µs per paced chunk", paced["floor"][0] / events, paced["router"][0] / events))
        rows.append(row("CPU µs per chunk in bursts", burst["floor"][0] / events, burst["router"][0] / events))
        rows.append(
            row("  the same, floor relaying whole reads", burst["reads"][0] / events, burst["router"][0] / events)
        )
        rows.append(row("CPU µs per stream in bursts", burst["floor"][0], burst["router"][0]))
        rows.append(row("ms to the first content, 1 connection", single["floor"][2] * 1e3, single["router"][2] * 1e3))
        rows.append(row("memory MB after the run", running["floor"].memory_mb(), router.memory_mb()))
        show(args.markdown, rows)
        print(f"\nstart to listening {router.started_s:.2f} s, idle memory {idle_mb:.0f} MB")
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores")


def row(name: str, floor: float, router: float) -> tuple[str, ...]:
    return name, f"{floor:.1f}", f"{router:.1f}", f"{router / floor:.2f}"


def create_key(folder: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "router", "keys", "create", "--name", "bench", "--json", "--config", "config.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )
    time.sleep(0.6)  # until the server has seen it
    return json.loads(done.stdout)["key"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds instead of minutes; for a look, not for figures"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/performance.md")
    parser.add_argument("--key", help="use this key instead of making one")
    asyncio.run(run(parser.parse_args()))
