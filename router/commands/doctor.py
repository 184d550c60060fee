"""`router doctor`: looks for what could be wrong on this machine, and says what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct, structs

from .. import __version__
from ..settings import Settings, SettingsError, address, is_loopback
from ..store.database import Database
from ..store.errors import StoreError
from . import options
from .configured import Configured, configured, credentials_of, path_of, settings_of
from .terminal import Colour, coloured, write, write_json

Verdict = Literal["ok", "warn", "fail"]
COLOURS: dict[Verdict, Colour] = {"ok": "green", "warn": "yellow", "fail": "red"}

#: no clock that is right shows an earlier time: the first release is younger (2026-11-01, unix seconds)
RELEASED_UNIX = 1_793_491_200
ANSWER_S = 0.5
#: the first Python that nothing was tested with
NEWEST = (3, 14)


class Finding(Struct):
    """One line. `message` says what was found and, unless all is well, what to do."""

    about: str
    verdict: Verdict
    message: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.database(parser)
    options.as_json(parser)


def run(args: argparse.Namespace) -> int:
    """Look at everything; 1 where something fails."""
    findings = list(_findings(args))
    if args.json:
        write_json([structs.asdict(each) for each in findings])
    else:
        for each in findings:
            write(f"{coloured(f'{each.verdict:<4}', COLOURS[each.verdict])}  {each.about}: {each.message}")
    return 1 if any(each.verdict == "fail" for each in findings) else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    yield _python()
    yield from _packages()
    yield _clash()
    yield _clock()
    path = path_of(args)
    try:
        settings = settings_of(args)
        found = asyncio.run(configured(args))
    except SettingsError as error:
        yield Finding("configuration", "fail", str(error))
        return
    yield Finding("configuration", "ok", str(path or "built-in defaults, there is no config.toml here"))
    yield from _plugins(found)
    yield asyncio.run(_database(settings, Path(settings.server.database)))
    yield from _providers(found)
    yield from asyncio.run(_local_servers(found))
    yield asyncio.run(_port(settings))


# --- this Python -----------------------------------------------------------------------------------------------------


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if sys.version_info >= NEWEST:
        return Finding("python", "warn", f"{found}; tested with 3.11, 3.12 and 3.13")
    return Finding("python", "ok", found)


def _packages() -> Iterator[Finding]:
    """The packages that we need, in the versions that we need."""
    for line in metadata.requires("onebox-router") or []:
        requirement, _, condition = line.partition(";")
        if condition:
            continue  # of an extra
        name, wanted = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement.strip()).groups()  # type: ignore[union-attr]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "fail", f"not installed; `pip install '{requirement.strip()}'`")
            continue
        if _satisfies(version, wanted):
            yield Finding(name, "ok", version)
        else:
            yield Finding(name, "fail", f"{version}, needed is {wanted}; `pip install -U '{requirement.strip()}'`")


def _satisfies(version: str, wanted: str) -> bool:
    """True where the version lies within bounds like ">=3.14.5,<4"."""
    for bound in filter(None, wanted.split(",")):
        operator, limit = re.fullmatch(r"([<>=!~]+)\s*(.*)", bound.strip()).groups()  # type: ignore[union-attr]
        if operator == ">=" and _numbers(version) < _numbers(limit):
            return False
        if operator == "<" and _numbers(version) >= _numbers(limit):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", re.split(r"[a-z+]", version)[0]))


def _clash() -> Finding:
    """Another project on PyPI is called `router` and would install its files over ours."""
    try:
        other = metadata.version("router")
    except metadata.PackageNotFoundError:
        return Finding("onebox-router", "ok", f"{__version__} in {Path(__file__).parent.parent}")
    return Finding(
        "onebox-router",
        "fail",
        f"the unrelated distribution `router` {other} is installed over it; `pip uninstall router` and then "
        "`pip install --force-reinstall --no-deps onebox-router`",
    )


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < RELEASED_UNIX:
        return Finding("clock", "fail", f"{shown} is in the past; limits, prices and certificates need the right time")
    return Finding("clock", "ok", shown)


# --- what the configuration needs ------------------------------------------------------------------------------------


def _plugins(found: Configured) -> Iterator[Finding]:
    loaded = [each for each in found.plugins.listed.values() if each.state == "loaded"]
    if loaded:
        yield Finding("plugins", "ok", ", ".join(f"{each.name} {each.version}" for each in loaded))
    else:
        yield Finding("plugins", "warn", "none is in use; `router plugins` lists what is installed")
    for each in found.plugins.listed.values():
        if each.state == "failed":
            yield Finding(f"plugin {each.name}", "fail", f"{each.problem}; update or uninstall {each.distribution}")


async def _database(settings: Settings, path: Path) -> Finding:
    about = "database"
    existed = await asyncio.to_thread(path.exists)
    if not existed:
        if await asyncio.to_thread(os.access, path.parent, os.W_OK | os.X_OK):
            return Finding(about, "ok", f"{path} is not there yet, the first start makes it")
        return Finding(about, "fail", f"cannot make {path}: its folder is missing or not writable; set server.database")
    try:
        async with await Database.open(path, synchronous=settings.server.synchronous) as database:
            await database.write()
    except StoreError as error:
        return Finding(about, "fail", str(error))
    info = await asyncio.to_thread(path.stat)
    if os.name == "posix" and info.st_mode & 0o077:
        return Finding(about, "warn", f"{path} can be read by other users of this machine; `chmod 600 {path}`")
    return Finding(about, "ok", f"{path}, {info.st_size / 1e6:.1f} MB")


def _providers(found: Configured) -> Iterator[Finding]:
    for slug, provider in sorted(found.made.ready.items()):
        credentials = credentials_of(provider)
        about = f"provider {slug}"
        if credentials == "missing":
            yield Finding(about, "warn", f"no credentials; set providers.{slug}.api_key or the variable that it names")
        else:
            yield Finding(about, "ok", f"plugin {provider.name}, credentials {credentials}")
    for slug, problem in sorted(found.made.broken.items()):
        yield Finding(f"provider {slug}", "fail", problem)
    if not found.made.ready:
        yield Finding("providers", "warn", "there are none; add a [providers.<name>] table or delete them all")


async def _local_servers(found: Configured) -> list[Finding]:
    """Do the model servers on this machine answer?"""
    local = {
        slug: provider.settings.base_url
        for slug, provider in found.made.ready.items()
        if is_loopback(urlsplit(provider.settings.base_url).hostname or "")
    }
    answers = await asyncio.gather(*(_connects(url) for url in local.values()))
    return [
        Finding(f"server {url}", "ok", f"answers for {slug}")
        if answer
        else Finding(f"server {url}", "warn", f"does not answer; start it, or remove providers.{slug}")
        for (slug, url), answer in zip(local.items(), answers, strict=True)
    ]


async def _connects(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _port(settings: Settings) -> Finding:
    """Free, ours already, or somebody else's."""
    listen = settings.server.listen
    host, port = address(listen)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as trial:
            if os.name == "posix":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        if await _serves(host, port, tls=bool(settings.server.tls_certificate)):
            return Finding("port", "ok", f"a router serves on {listen}")
        reason = error.strerror or str(error)
        return Finding("port", "fail", f"{listen}: {reason}; stop what listens there or set server.listen")
    return Finding("port", "ok", f"{listen} is free")


async def _serves(host: str, port: int, *, tls: bool) -> bool:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
    shown = f"[{reached}]" if ":" in reached else reached
    url = f"{'https' if tls else 'http'}://{shown}:{port}/healthz"
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        try:
            async with session.get(url, allow_redirects=False, ssl=False) as answer:
                return answer.status == 200 and await answer.json() == {"status": "ok"}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return False
