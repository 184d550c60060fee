"""A ledger under load that waits to be killed: prints what it has promised, for `test_crash.py`."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

from router.generation import Generation
from router.store import Database, Generations
from router.store.generations import RESERVATION

PARALLEL = 24


async def main(path: str, name: str) -> None:
    """Calls without end; each prints its id when it starts and when its row is on disk."""
    database = await Database.open(path, exclusive=True)
    generations = Generations(database)
    interrupted = await generations.interrupt()
    say(f"ready {interrupted}")
    await asyncio.gather(*(calls(generations, f"{name}-{number}") for number in range(PARALLEL)))


async def calls(generations: Generations, name: str) -> None:
    """One client: short calls and long ones."""
    rng = random.Random(name)
    number = 0
    while True:
        number += 1
        id = f"gen-{name}-{number}"
        values = {"id": id, "created_unix": time.time(), "day": 1, "key_hash": "k", "streamed": 0, "amount": 5}
        generations.reserve(tuple(values.get(column, "x") for column in RESERVATION))
        say(f"started {id}")
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.02, 0.25]))
        await generations.add(
            Generation(id=id, created_unix=time.time(), key_hash="k", cost=1, model="a/b", provider="a")
        )
        say(f"committed {id}")


def say(line: str) -> None:
    """At once: what is buffered dies with us."""
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
