"""Sums are what the calls come to, however they were added up, and in files that were there before the sums too."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call import Generation
from router.prices import Usage
from router.store import Database, Generations
from router.store import behind as module
from router.store.statistics import MIGRATIONS, Statistics, Wanted

HOUR, DAY = 3600, 86400
ALWAYS = {"first_hour": 0, "last_hour": 10**6}

CALLS = st.lists(
    st.builds(
        dict,
        created_unix=st.integers(0, 5 * DAY).map(float),
        key_hash=st.sampled_from(["a" * 64, "b" * 64]),
        model=st.sampled_from(["acme/m", "acme/n", ""]),
        provider=st.sampled_from(["acme", "other", ""]),
        status=st.sampled_from(["ok", "error", "cancelled"]),
        cost=st.none() | st.integers(0, 10**12),
        list_cost=st.none() | st.integers(0, 10**12),
        is_byok=st.booleans(),
        usage=st.builds(Usage, input=st.integers(0, 1000), output=st.integers(0, 1000)),
        user=st.sampled_from([None, "u1", "u2"]),
        app_title=st.sampled_from([None, "An app", '"tags"']),
        tags=st.lists(st.sampled_from(["red", "blue", 'a "quoted" one']), unique=True),
        latency_ms=st.integers(0, 1000),
    ),
    max_size=25,
)


async def filled(database: Database, calls: list[dict[str, Any]]) -> None:
    generations = Generations(database)
    for number, call in enumerate(calls):
        await generations.add(Generation(id=f"gen-{number}", **call))


def by_hand(calls: list[dict[str, Any]], *columns: str) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Requests, errors, input tokens, charge and list price of own keys, apart by these columns."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 5)
    for call in calls:
        for word in call["tags"] if "word" in columns else [""]:
            values = {**call, "word": word, "hour": call["created_unix"] // HOUR, "scope": call["key_hash"]}
            if "word" in columns:
                values["hour"] = call["created_unix"] // DAY * 24
            row = sums[tuple(values[column] for column in columns)]
            counted = (1, call["status"] == "error", call["usage"].input, call["cost"] or 0)
            for place, amount in enumerate((*counted, (call["list_cost"] or 0) * call["is_byok"])):
                row[place] += amount
    return {key: tuple(row) for key, row in sums.items()}


async def read(statistics: Statistics, *columns: str, **wanted: Any) -> dict[tuple[Any, ...], tuple[int, ...]]:
    found = await statistics.sums(Wanted(**ALWAYS, by=columns, **wanted))
    return {
        tuple(each.values.values()): (each.requests, each.errors, each.input, each.charge, each.byok) for each in found
    }


@given(calls=CALLS, at_once=st.sampled_from([1, 3, 1000]))
async def test_sums_are_what_the_calls_come_to(
    tmp_path_factory: pytest.TempPathFactory, calls: list[dict[str, Any]], at_once: int
) -> None:
    path = tmp_path_factory.mktemp("sums") / "router.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        async with await Database.open(path, migrations=MIGRATIONS) as database:
            statistics = Statistics(database)
            half = len(calls) // 2
            await filled(database, calls[:half])
            assert await read(statistics) == by_hand(calls[:half])
            generations = Generations(database)
            for number, call in enumerate(calls[half:], half):
                await generations.add(Generation(id=f"gen-{number}", **call))

            for columns in ((), ("hour",), ("model", "provider"), ("scope",), ("hour", "scope", "model")):
                assert await read(statistics, *columns) == by_hand(calls, *columns)
            assert await read(statistics, "hour", "word", "model", kind="tag") == by_hand(
                calls, "hour", "word", "model"
            )
            own = [call for call in calls if call["key_hash"] == "a" * 64]
            assert await read(statistics, "word", kind="tag", hashes=["a" * 64]) == by_hand(own, "word")


async def test_a_file_without_sums_gets_those_of_its_calls(path: Path) -> None:
    calls = [
        {
            "created_unix": 1.0 * number * HOUR,
            "key_hash": "a" * 64,
            "tags": ["red"],
            "usage": Usage(input=number),
            "status": "ok",
        }
        for number in range(50)
    ]
    calls = [{"cost": 7, "list_cost": None, "is_byok": False, **call} for call in calls]
    async with await Database.open(path) as database:
        await filled(database, calls)

    async with await Database.open(path, migrations=MIGRATIONS) as database:
        statistics = Statistics(database)

        assert await read(statistics, "hour") == by_hand(calls, "hour")
        assert await read(statistics, "word", kind="tag") == by_hand(calls, "word")


async def test_a_period_has_its_hours_and_no_others(path: Path) -> None:
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        await filled(database, [{"created_unix": hour * HOUR + 1.0, "key_hash": "a"} for hour in (9, 10, 11, 12)])
        (found,) = await Statistics(database).sums(Wanted(first_hour=10, last_hour=11))

    assert found.requests == 2
