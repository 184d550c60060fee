"""Work in a process of its own, which ends when it takes too long or too much."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from router import Confined, OutOfBounds

SHOUT = "import sys\nsys.stdout.write(sys.stdin.read().upper())"
LIMITLESS = 60


def script(folder: Path, code: str) -> Path:
    path = folder / "script.py"
    path.write_text(code)
    return path


async def test_what_the_script_writes_comes_back(tmp_path: Path) -> None:
    confined = Confined(script(tmp_path, SHOUT), megabytes=256, at_once=2)

    answers = await asyncio.gather(*(confined.run(b"hello %d" % number, seconds=LIMITLESS) for number in range(3)))

    assert answers == [b"HELLO 0", b"HELLO 1", b"HELLO 2"]


async def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    confined = Confined(script(tmp_path, "while True: pass"), megabytes=256)
    started = time.monotonic()

    with pytest.raises(OutOfBounds, match=r"longer than 0\.5 s"):
        await confined.run(b"", seconds=0.5)

    assert time.monotonic() - started < 10


async def test_one_that_takes_all_memory_is_stopped(tmp_path: Path) -> None:
    confined = Confined(script(tmp_path, "x = bytearray(1 << 30)"), megabytes=128)

    with pytest.raises(OutOfBounds, match="more than 128 MB"):
        await confined.run(b"", seconds=LIMITLESS)


async def test_one_that_breaks_says_so(tmp_path: Path) -> None:
    confined = Confined(script(tmp_path, "raise SystemExit(3)"), megabytes=128)

    with pytest.raises(OutOfBounds, match="status 3"):
        await confined.run(b"x" * 1_000_000, seconds=LIMITLESS)


async def test_it_does_not_know_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    confined = Confined(script(tmp_path, "import os\nprint(dict(os.environ))"), megabytes=128)

    assert b"canary" not in await confined.run(b"", seconds=LIMITLESS)


async def test_it_ends_with_the_call_that_wanted_it(tmp_path: Path) -> None:
    beating = tmp_path / "beating"
    code = f"""
import pathlib, time
while True:
    print(end=".", flush=True)
    pathlib.Path({str(beating)!r}).touch()
    time.sleep(0.05)
"""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await Confined(script(tmp_path, code), megabytes=256).run(b"", seconds=LIMITLESS)

    beating.unlink(missing_ok=True)
    await asyncio.sleep(0.3)
    assert not beating.exists()
