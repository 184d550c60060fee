"""`kill -9` at any moment: whatever was promised is there, once, and nobody pays for the rest."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLED = Path(__file__).with_name("killed.py")
ROOT = KILLED.parents[2]


def round_of(path: Path, name: str, seconds: float) -> tuple[int, set[str], set[str]]:
    """Run until the time is up, then kill. How many calls the start found interrupted; what began; what was promised."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(KILLED), str(path), name], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().split()
            assert ready[0] == b"ready"
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().decode().splitlines()
    started = {line.split()[1] for line in lines if line.startswith("started ")}
    committed = {line.split()[1] for line in lines if line.startswith("committed ")}
    return int(ready[1]), started, committed


def rounds(path: Path, number: int) -> None:
    rng = random.Random(number)
    started: set[str] = set()
    committed: set[str] = set()
    interrupted = 0
    for each in range(number):
        found, begun, promised = round_of(path, f"r{each}", rng.uniform(0.02, 0.5))
        interrupted += found
        started |= begun
        committed |= promised

    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT id, status, charge FROM generation").fetchall()
    connection.close()
    kept = {id for id, status, _ in rows if status == "ok"}
    assert len(rows) == len({id for id, *_ in rows})
    assert committed <= kept <= started, "a promised row is missing, or one that nobody asked for is there"
    assert sum(status == "interrupted" for _, status, _ in rows) == interrupted
    assert {charge for _, status, charge in rows if status == "interrupted"} <= {0}
    assert sum(charge for *_, charge in rows) == len(kept)
    assert committed
    assert interrupted


def test_a_killed_ledger_keeps_its_promises(tmp_path: Path) -> None:
    rounds(tmp_path / "router.db", 4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_ledger_killed_a_hundred_times_keeps_its_promises(tmp_path: Path) -> None:
    rounds(tmp_path / "router.db", 100)
