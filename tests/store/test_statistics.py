"""Sums are what the calls come to, however they were added up, and in files that were there before the sums too."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.generation import Generation
from router.prices import Usage
from router.store import Database, Generations, until
from router.store import behind as module
from router.store import statistics as statistics_module
from router.store.statistics import Statistics
from router.store.sums import MIGRATIONS, faults
from router.store.wanted import Rank, Wanted

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
    found = await statistics.sums(Wanted(**{**ALWAYS, **wanted}, by=columns))
    return {
        tuple(each.values.values()): (each.requests, each.errors, each.input, each.charge, each.byok) for each in found
    }


@given(
    calls=CALLS,
    at_once=st.sampled_from([1, 3, 1000]),
    wide=st.sampled_from([0, 2, 300]),
    days=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
async def test_sums_are_what_the_calls_come_to(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[dict[str, Any]],
    at_once: int,
    wide: int,
    days: tuple[int, int],
) -> None:
    path = tmp_path_factory.mktemp("sums") / "router.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        patch.setattr(until, "WIDE", wide)
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
            for columns in (("scope", "word"), ("hour", "scope", "model"), ("word", "scope", "provider")):
                kind = "tag" if "word" in columns else ""
                assert await read(statistics, *columns, kind=kind, hashes=["a" * 64]) == by_hand(own, *columns)
            # A period of whole days: by running totals, whether its end is in the past or not.
            first, last = sorted(days)
            within = [call for call in calls if first <= call["created_unix"] // DAY <= last]
            period = {"first_hour": first * 24, "last_hour": last * 24 + 23}
            assert await read(statistics, "scope", **period) == by_hand(within, "scope")
            assert await read(statistics, "word", kind="tag", **period) == by_hand(within, "word")
            months = await read(statistics, "hour", "word", kind="tag", step=0, **period)
            assert months == {(0, *word): sums for word, sums in by_hand(within, "word").items()}
            months = await read(
                statistics, "hour", "word", "model", kind="tag", step=0, hashes=["a" * 64, "unused"], **period
            )
            within_own = [call for call in within if call in own]
            assert months == {(0, *each): sums for each, sums in by_hand(within_own, "word", "model").items()}
            # Of one key, which may have totals of its words.
            its: dict[str, Any] = {"kind": "tag", "hashes": ["a" * 64], **period}
            for columns in (("word",), ("scope", "word")):
                assert await read(statistics, *columns, **its) == by_hand(within_own, *columns)
            months = await read(statistics, "hour", "word", step=0, **its)
            assert months == {(0, *word): sums for word, sums in by_hand(within_own, "word").items()}
            since_five = {**period, "first_hour": first * 24 + 5}
            later = [call for call in within if call["created_unix"] >= first * DAY + 5 * HOUR]
            months = await read(statistics, "hour", "provider", step=0, **since_five)
            assert months == {(0, *each): sums for each, sums in by_hand(later, "provider").items()}
            # The newest of them: those that any way of looking for them finds.
            daily = by_hand(own, "hour", "word")
            newest = await read(statistics, "hour", "word", kind="tag", step=24, hashes=["a" * 64], most=3)
            assert newest == dict(sorted(daily.items())[-3:])
            assert await read(statistics, "model", **period) == by_hand(within, "model")
            assert await read(statistics, "provider", **since_five) == by_hand(later, "provider")
            assert await faults(database) == []


async def test_the_first_of_an_order_are_told(path: Path) -> None:
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        calls = [
            {
                "created_unix": 10.0 * day * DAY,
                "key_hash": "abcde"[number],
                "cost": number * 10 + day,
                "user": f"u{number % 3}",
            }
            for day in (1, 2)
            for number in range(5)
        ]
        await filled(database, calls)
        statistics = Statistics(database)

        async def first(*by: str, most: int, rank: Rank, **wanted: Any) -> list[tuple[Any, int]]:
            found = await statistics.sums(Wanted(**ALWAYS, by=by, most=most, rank=rank, sums=("charge",), **wanted))
            return [(tuple(each.values.values()), each.charge) for each in found]

        dearest = Rank(("charge",))
        assert await first("scope", most=2, rank=dearest) == [(("e",), 83), (("d",), 63)]
        assert await first("scope", most=1, rank=Rank(("charge",), "requests", descending=False)) == [(("a",), 3)]
        assert await first("scope", "model", most=1, rank=dearest) == [(("e", ""), 83)]
        assert await first("hour", "scope", most=1, rank=dearest, step=24) == [((480, "e"), 42)]
        assert await first("word", most=1, rank=Rank(("word",)), kind="user") == [(("u2",), 43)]
        # Whole months, each of which may have the dearest.
        months = [((0, "e"), 83), ((0, "d"), 63)]
        assert await first("hour", "scope", most=2, rank=dearest, step=0) == months
        assert await first("hour", "scope", "model", most=1, rank=dearest, step=0) == [((0, "e", ""), 83)]
        cheapest = Rank(("charge",), descending=False)
        assert await first("hour", "scope", most=2, rank=cheapest, step=0) == [((0, "a"), 3), ((0, "b"), 23)]
        assert await first("word", most=1, rank=dearest, kind="user", hashes=["a", "e"]) == [(("u1",), 83)]
        assert await first("model", most=9, rank=dearest, unless={"word": ["u0"]}, kind="user") == [(("",), 149)]


@pytest.mark.parametrize("by", [("scope", "model"), ("scope", "word"), ("word", "provider")])
async def test_of_too_many_rows_those_used_most_are_told_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, by: tuple[str, str]
) -> None:
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        calls = [
            {"created_unix": float(hour * HOUR), "key_hash": key, "cost": 1, "user": f"of {key}"}
            for key, hours in (("a", 5), ("b", 60), ("c", 3))
            for hour in range(0, hours * 24, 24)
        ]
        await filled(database, calls)
        monkeypatch.setattr(statistics_module, "MOST_SCANNED", 40)
        statistics = Statistics(database)
        kind = "user" if "word" in by else ""

        rows, whole = await statistics.find(Wanted(**ALWAYS, by=by, kind=kind, most=3, rank=Rank(("charge",))))
        days, all_days = await statistics.find(Wanted(**ALWAYS, by=("hour", *by), kind=kind, most=2, step=24))

        assert (whole, all_days) == (False, False)
        assert [each.requests for each in rows] == [60]
        assert [each.values["hour"] for each in days] == [58 * 24, 59 * 24]


async def test_of_a_key_with_too_many_rows_the_words_used_most_are_told_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_module, "MOST_SCANNED", 40)
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        calls = [
            {"created_unix": float(day * DAY), "key_hash": "a", "cost": 1, "user": user, "provider": provider}
            for user, days in (("often", 30), ("seldom", 9))
            for day in range(days)
            for provider in ("one", "other")
        ]
        await filled(database, calls)
        own = {"kind": "user", "hashes": ["a"], "rank": Rank(("charge",))}
        found, whole = await Statistics(database).find(Wanted(**ALWAYS, **own, by=("word", "provider")))
        by_word = await Statistics(database).find(Wanted(**ALWAYS, **own, by=("word",)))

    assert not whole
    assert [(each.values["word"], each.requests) for each in found] == [("often", 30)] * 2
    assert by_word.whole
    assert [each.requests for each in by_word.sums] == [60, 18]


@pytest.mark.parametrize("compared", [2, 200])
async def test_what_was_used_most_of_all_is_not_taken_for_what_was_used_most_in_a_period(
    path: Path, monkeypatch: pytest.MonkeyPatch, compared: int
) -> None:
    monkeypatch.setattr(until, "MOST_COMPARED", compared)
    monkeypatch.setattr(statistics_module, "HEAVIEST", 1)
    monkeypatch.setattr(statistics_module, "MOST_SCANNED", 5)
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        days = {"old": [0] * 30 + [50], "older": [1] * 20 + [50], "new": list(range(40, 50)), "rare": [50, 51, 52]}
        await filled(
            database,
            [{"created_unix": float(day * DAY), "key_hash": key} for key, used in days.items() for day in used],
        )
        wanted = Wanted(first_hour=40 * 24, last_hour=52 * 24, by=("scope", "model"), most=9)
        found = await Statistics(database).sums(wanted)

    assert [(each.values["scope"], each.requests) for each in found] == [("new", 10)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE statistic SET charge = charge + 1 WHERE kind = 'day'", "3 days come to other sums"),
        ("UPDATE generation SET input = input + 1 WHERE seq = 1", "1 days are not what their calls"),
        ("UPDATE statistic_word SET requests = 9 WHERE kind = 'user'", "totals of 1 keys"),
        ("UPDATE statistic_until SET output = output + 1", "6 running totals"),
        ("DELETE FROM statistic_word WHERE kind = '*user'", "totals of 1 keys"),
    ],
)
async def test_sums_that_are_damaged_are_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, words: str
) -> None:
    monkeypatch.setattr(until, "WIDE", 0)
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        await filled(database, [{"created_unix": day * DAY + 1.0, "key_hash": "a", "user": "u"} for day in (1, 2, 4)])
        await Statistics(database).add_up()
        assert await faults(database) == []

        await database.write((damage, ()))

        assert words in "; ".join(await faults(database))


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


async def test_sums_in_their_first_order_are_taken_over(path: Path) -> None:
    calls: list[dict[str, Any]] = [
        {"created_unix": hour * HOUR + 1.0, "key_hash": "a", "user": "u", "cost": hour} for hour in (1, 2, 30, 60)
    ]
    async with await Database.open(path, migrations=MIGRATIONS[:1]) as database:
        await filled(database, calls)
        # As the first version had added up the first three of them; the first has been forgotten since.
        for call in calls[:3]:
            hour, charge = int(call["created_unix"] // HOUR), call["cost"]
            day = hour - hour % 24
            for scope, kind, at, word in (
                *(("", "", hour, ""), ("a", "", hour, ""), ("", "user", day, "u"), ("a", "user", day, "u")),
                *(("", "key", day, "a"), ("", "workspace", day, "default")),
            ):
                await database.write(
                    (
                        "INSERT INTO statistic (scope, kind, hour, word, model, provider, requests, errors, input, output, reasoning,"
                        " cached, charge, byok, latency_ms, generation_ms)"
                        " VALUES (?, ?, ?, ?, '', '', 1, 0, 0, 0, 0, 0, ?, 0, 0, 0)"
                        " ON CONFLICT (scope, kind, hour, word, model, provider) DO UPDATE SET"
                        " requests = requests + 1, charge = charge + excluded.charge",
                        (scope, kind, at, word, charge),
                    )
                )
        await database.write(("UPDATE statistic_seen SET seq = 3", ()), ("DELETE FROM generation WHERE seq = 1", ()))

    async with await Database.open(path, migrations=MIGRATIONS) as database:
        statistics = Statistics(database)
        assert await read(statistics, "hour") == {
            (1,): (1, 0, 0, 1, 0),
            (2,): (1, 0, 0, 2, 0),
            (30,): (1, 0, 0, 30, 0),
            (60,): (1, 0, 0, 60, 0),
        }
        assert await read(statistics, "hour", step=24) == {
            (0,): (2, 0, 0, 3, 0),
            (24,): (1, 0, 0, 30, 0),
            (48,): (1, 0, 0, 60, 0),
        }
        assert await read(statistics, "scope") == {("a",): (4, 0, 0, 93, 0)}
        assert await read(statistics, "word", kind="user", last_hour=47) == {("u",): (3, 0, 0, 33, 0)}
        assert await read(statistics, "word", kind="workspace") == {("default",): (4, 0, 0, 93, 0)}
        assert await faults(database) == []


async def test_a_period_has_its_hours_and_no_others(path: Path) -> None:
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        await filled(database, [{"created_unix": hour * HOUR + 1.0, "key_hash": "a"} for hour in (9, 10, 11, 12)])
        (found,) = await Statistics(database).sums(Wanted(first_hour=10, last_hour=11))

    assert found.requests == 2
