"""The router as a subprocess, with one provider instance per recording, all served by one replaying upstream."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import azure
from .recordings import ROOT, Recording
from .upstream import ReplayUpstream

#: a thousand instances on a machine that has other things to do
START_SECONDS = 100
STOP_SECONDS = 15

PLUGINS = {"anthropic-messages": "anthropic", "gemini-generate": "gemini"}
#: providers of recordings that have a preset of `openai-compatible`; the others go without one
PRESETS = {
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "groq": "groq",
    "huggingface": "huggingface",
    "llamacpp": "llamacpp",
    "moonshotai": "moonshot",
    "perplexity": "perplexity",
    "vllm": "vllm",
    "xai": "xai",
    "zai": "zai",
}


@dataclass
class Stage:
    """What a test works with: the router's address, a key for it, and the upstream behind it."""

    url: str
    key: str
    upstream: ReplayUpstream


@asynccontextmanager
async def staged(
    instances: Mapping[str, Recording], written: Callable[[str], str], folder: Path, reframed: Collection[str] = ()
) -> AsyncIterator[Stage]:
    """A router before an upstream that replays these; its configuration is `written` for the upstream's address."""
    upstream = ReplayUpstream(instances, frozenset(reframed))
    await upstream.start()
    try:
        router = await start_router(written(upstream.url), folder)
        yield Stage(router.url, router.key, upstream)
        await router.stop()
    finally:
        await upstream.stop()


@dataclass
class RouterProcess:
    """`router serve` with a configuration of its own."""

    process: asyncio.subprocess.Process
    url: str
    key: str
    log: Path

    async def stop(self) -> None:
        """Ask it to end, as an operator would."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def start_router(config: str, folder: Path) -> RouterProcess:
    """Start the router on a free port and read address and inference key from what it prints."""
    (folder / "config.toml").write_text(config)
    log = folder / "router.log"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = ["serve", "--config", str(folder / "config.toml"), "--listen", "127.0.0.1:0"]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "router", *command, "--database", str(folder / "router.db")),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=environment,
        )
    found: dict[str, str] = {}
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while not {"url", "key"} <= found.keys() and (line := await process.stdout.readline()):
                for name, pattern in (("url", r"listening on (http://\S+)"), ("key", r"(sk-rt-v1-[\w-]+)")):
                    if match := re.search(pattern, line.decode()):
                        found[name] = match[1]
    except TimeoutError:
        process.kill()
    if not {"url", "key"} <= found.keys():
        await process.wait()
        raise AssertionError(f"the router did not start; it said: {log.read_text()[-3000:]}")
    return RouterProcess(process, found["url"], found["key"], log)


def config(upstream: str, instances: Mapping[str, Recording], plain: Collection[str] = ()) -> str:
    """A configuration with a provider per instance, whose base URL leads to its recording. `plain` instances of OpenAI's API are behind
    a plugin that knows nothing of who they are, and relays chat only."""
    parts = ["[server]\ndrain_seconds = 1\n"]
    for instance, recording in instances.items():
        base = f"{upstream}/x/{instance}"
        lines: dict[str, Any] = {"api_key": "test-key"}
        if recording.dialect in PLUGINS:
            lines |= {"plugin": PLUGINS[recording.dialect], "base_url": base}
        elif instance in plain:
            lines |= {"plugin": "openai-compatible", "base_url": f"{base}/v1"}
        elif recording.provider == "azure":
            lines |= azure.settings(recording, base)
        elif recording.provider in ("openai", "openrouter"):
            lines |= {"plugin": recording.provider, "base_url": f"{base}/v1"}
        else:
            lines |= {"plugin": "openai-compatible", "base_url": f"{base}/v1"}
            if recording.provider in PRESETS:
                lines["preset"] = PRESETS[recording.provider]
        parts.append(f"[providers.{instance}]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in lines.items()))
    return "\n".join(parts)


def toml(value: Any) -> str:
    """A string or a table of strings as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {json.dumps(each)}" for name, each in value.items()) + " }"
    return json.dumps(value)
