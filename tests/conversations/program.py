"""The real program as a process of its own, which can be told to stop and be killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from .books import Books

ROOT = Path(__file__).parents[2]
CONFIG = """
[server]
listen = "127.0.0.1:0"
drain_seconds = {drain}

[providers.p0]
plugin = "openai-compatible"
base_url = "{url}"
api_key = "upstream-key"

[models."test/m"]
endpoints = [{{provider = "p0", model = "m", pricing = {{prompt = "0.000001", completion = "0.000002"}}}}]
"""
#: seconds; generous, since the machine may be busy with what is more urgent
START_S = 90


class Program:
    """`router serve` in a folder. `management` and `key` are the keys that its first start printed."""

    def __init__(self, folder: Path, upstream: str, *, drain_s: float = 30, tables: str = "") -> None:
        """`tables`: more of its configuration."""
        self._folder = folder
        config = CONFIG.format(url=f"{upstream}/v1", drain=drain_s) + tables
        (folder / "config.toml").write_text(config)
        self.books = Books(folder / "router.db")
        self.log = folder / "log.txt"
        self.url = ""
        self.management = ""
        self.key = ""
        self._process: Process | None = None

    async def spawn(self) -> None:
        """Start it and wait for nothing."""
        with self.log.open("ab") as log:
            command = (sys.executable, "-m", "router", "serve", "--config", "config.toml")
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self._folder, env=environ(), stdout=PIPE, stderr=log
            )

    async def start(self) -> None:
        """Start it and wait until it listens."""
        await self.spawn()
        async with asyncio.timeout(START_S):
            self.url = await self._line(r"listening on (\S+)")
            if not self.key:
                self.management = await self._line(r"management key\s+(\S+)")
                self.key = await self._line(r"inference key\s+(\S+)")

    async def _line(self, pattern: str) -> str:
        """What the pattern finds in the next line that it fits."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            if found := re.match(pattern, line):
                return found[1]
        raise AssertionError(self.log.read_text()[-2000:])

    def signal(self, which: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(which)

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        assert self._process is not None
        async with asyncio.timeout(START_S):
            await self._process.communicate()
            return await self._process.wait()

    async def kill(self) -> None:
        """`kill -9`, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self.ended()

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Another command of the program in the same folder: exit code and what it said."""
        command = (sys.executable, "-m", "router", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self._folder, env=environ(), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(START_S):
            said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


def environ() -> dict[str, str]:
    """The environment without anything that a router would take notice of."""
    noticed = re.compile(r".*_API_KEY|ROUTER_.*", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not noticed.fullmatch(name)}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))}
