"""`router serve` as a process, and a fake upstream that outlives the event loops of single tests."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from router.testing import FakeUpstream

ROOT = Path(__file__).resolve().parents[1]
#: what a router would take notice of in the environment
NOTICED = re.compile(r".*_API_KEY|ROUTER_.*|NO_COLOR|HF_TOKEN", re.IGNORECASE)
STOP_S = 15
RELOADED = "the configuration was reloaded"


class Served(Struct, kw_only=True):
    """A router in a process of its own, and its first keys. `log` is what it writes to standard error."""

    url: str
    key: str
    management: str
    folder: Path
    log: Path
    process: subprocess.Popen[str]

    def reload(self) -> None:
        """Let it read its configuration again, and wait until it has."""
        before = self.log.read_text().count(RELOADED)
        self.process.send_signal(signal.SIGHUP)
        assert within(STOP_S, lambda: self.log.read_text().count(RELOADED) > before), self.log.read_text()

    def stop(self) -> str:
        """End it; what it printed behind its first keys."""
        assert self.process.stdout is not None
        self.process.terminate()
        rest = self.process.stdout.read()
        assert self.process.wait(STOP_S) == 0
        return rest


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Has it, this soon? Blocks its thread meanwhile."""
    until = time.monotonic() + seconds
    while not happened() and time.monotonic() < until:
        time.sleep(0.01)
    return happened()


@contextmanager
def serving(folder: Path, tables: Mapping[str, Any] | str, *arguments: str, **variables: str) -> Iterator[Served]:
    """Serve this configuration, tables or the text of a file, from a fresh folder."""
    (folder / "config.toml").write_text(tables if isinstance(tables, str) else toml(tables))
    environ = {name: value for name, value in os.environ.items() if not NOTICED.fullmatch(name)}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [environ.get("PYTHONPATH"), str(ROOT)]))
    log = folder / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "router", "serve", "--listen", "127.0.0.1:0", *arguments],
            cwd=folder,
            env={**environ, **variables},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    assert process.stdout is not None
    try:
        found: dict[str, str] = {}
        while "inference key" not in found:
            line = process.stdout.readline()
            assert line, log.read_text()
            if told := re.match(r"(listening on|management key|inference key) +(\S+)$", line):
                found[told[1]] = told[2]
        yield Served(
            url=found["listening on"],
            key=found["inference key"],
            management=found["management key"],
            folder=folder,
            log=log,
            process=process,
        )
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_S)
        process.stdout.close()


def toml(tables: Mapping[str, Any]) -> str:
    """Tables of tables as TOML; JSON's strings, numbers and lists are TOML's too."""
    lines: list[str] = []
    _write(lines, tables, "")
    return "\n".join(lines) + "\n"


def _write(lines: list[str], table: Mapping[str, Any], path: str) -> None:
    for name, value in table.items():
        if not isinstance(value, Mapping):
            lines.append(f"{name} = {json.dumps(value)}")
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines.append(f'[{path}"{name}"]')
            _write(lines, value, f'{path}"{name}".')


@contextmanager
def upstream_in_a_thread() -> Iterator[FakeUpstream]:
    """A fake upstream with an event loop of its own; `will` and `asked` are safe from the thread of the tests."""
    fake = FakeUpstream()
    ready = threading.Event()
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def listen() -> None:
        stop = asyncio.Event()
        async with fake.listening():
            stopping.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield fake
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
