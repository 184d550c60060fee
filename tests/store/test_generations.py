"""The record of calls: whole, found by either id, seen by its owner only, and with sums that agree."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import fields

from router.generation import Generation
from router.identity import Identity
from router.prices import Usage
from router.store import Database, Entries, Generations, Keys
from router.store.generations import OF_UPSTREAM, Spent, day_of

FULL = Generation(
    id="gen-1700000000-aa",
    created_unix=1_700_000_000.25,
    key_hash="k" * 64,
    request_id="req_aa",
    api_type="chat",
    model="openai/gpt-x",
    requested_model="gpt-x",
    provider="openai",
    status="cancelled",
    http_status=499,
    error_code="client_closed_request",
    streamed=True,
    cancelled=True,
    finish_reason="stop",
    native_finish_reason="end_turn",
    upstream_id="chatcmpl-1",
    cost=1234,
    list_cost=1300,
    prompt_cost=1000,
    completion_cost=300,
    cache_discount=-5,
    priced=True,
    is_byok=True,
    usage=Usage(input=10, output=20, reasoning=3, cache_read=4, audio_input=1, source="estimated"),
    latency_ms=120,
    generation_ms=900,
    moderation_ms=120,
    attempts=[{"provider": "openai", "model": "openai/gpt-x", "status": 200, "latency_ms": 120}],
    session_id="s",
    trace_id="t",
    user="u",
    tags=["a", "b"],
    app_title="An app, 日本語",
    http_referer="https://example.org/",
    user_agent="curl/8",
    service_tier="flex",
    preset_id="brief",
    response_cache_source_id="gen-0",
)
OWNER = Identity(hash="k" * 64, id="key_1")
BOSS = Identity(hash="m" * 64, id="key_2", management=True)


def test_the_example_sets_every_member() -> None:
    plain = Generation(id="", created_unix=0, key_hash="")
    same = [info.name for info in fields(Generation) if getattr(FULL, info.name) == getattr(plain, info.name)]
    assert same == ["priced"]


async def test_a_generation_comes_back_as_it_was(database: Database) -> None:
    generations = Generations(database)
    bare = Generation(id="gen-2", created_unix=1.0, key_hash="k" * 64, cost=None, priced=False)
    await generations.add(FULL)
    await generations.add(bare)

    assert await generations.find(FULL.id, OWNER) == FULL
    assert await generations.find("chatcmpl-1", OWNER) == FULL
    assert await generations.find("gen-2", OWNER) == bare


async def test_others_do_not_see_it(database: Database) -> None:
    generations = Generations(database)
    await generations.add(FULL)

    assert await generations.find(FULL.id, Identity(hash="x" * 64, id="key_3")) is None
    assert await generations.find("chatcmpl-1", Identity(hash="x" * 64, id="key_3")) is None
    assert await generations.find(FULL.id, BOSS) == FULL
    assert await generations.find("gen-unknown", BOSS) is None
    assert await generations.find("", BOSS) is None


async def test_a_rotated_key_still_sees_what_it_did(database: Database) -> None:
    keys, generations = Keys(database), Generations(database)
    await keys.load()
    _, old = await keys.create("one")
    await generations.add(Generation(id="gen-1", created_unix=1.0, key_hash=old.hash, cost=5))
    _, new = await keys.rotate("one")

    assert await generations.find("gen-1", new) is not None
    assert await generations.spent(0) == [Spent(new.id, 0, 5, 0, 1)]


async def test_the_lookup_uses_indexes(database: Database) -> None:
    plan = await database.all(
        f"EXPLAIN QUERY PLAN SELECT id FROM generation WHERE id = ? OR seq IN ({OF_UPSTREAM}) ORDER BY seq DESC",
        ("a", "a"),
    )
    assert not [step for *_, step in plan if step.startswith("SCAN") and step != "SCAN part"]


async def test_the_upstreams_id_is_found_in_all_parts_of_its_index(database: Database) -> None:
    generations = Generations(database)
    for seq in (1, 4095, 4096, 123_456):
        values = (seq, f"gen-{seq}", f"chatcmpl-{seq}")
        insert = "INSERT INTO generation (seq, id, upstream_id, created_unix, day, key_hash, status) VALUES (?, ?, ?, 1, 0, 'k', 'ok')"
        await database.write((insert, values))

    for seq in (1, 4095, 4096, 123_456):
        found = await generations.find(f"chatcmpl-{seq}", BOSS)
        assert found is not None
        assert found.id == f"gen-{seq}"
    assert await generations.find("chatcmpl-2", BOSS) is None


async def test_days_before_the_window_come_as_one_sum(database: Database) -> None:
    generations = Generations(database)
    for number, day in enumerate((1, 2, 10, 10, 11)):
        row = Generation(
            id=f"gen-{number}",
            created_unix=day * 86400.0 + 3600,
            key_hash="k",
            cost=10**number,
            is_byok=day == 11,
            list_cost=7,
        )
        await generations.add(row)

    spent = await generations.spent(10)

    assert sorted((each.day, each.charge, each.byok, each.requests) for each in spent) == [
        (-1, 11, 0, 2),
        (10, 1100, 0, 2),
        (11, 10000, 7, 1),
    ]
    assert await generations.last_used() == {"k": 11 * 86400.0 + 3600}


async def test_what_a_crash_left_is_recorded_as_interrupted(database: Database) -> None:
    generations = Generations(database)
    insert = "INSERT INTO reservation VALUES (?, ?, ?, ?, 'a/b', 'b', 'chat', 1, 'req_1', 99)"
    await generations.add(Generation(id="gen-1", created_unix=5.0, key_hash=OWNER.hash, cost=7))
    await database.write((insert, ("gen-1", 5.0, 0, OWNER.hash)), (insert, ("gen-2", 6.0, 0, OWNER.hash)))

    assert await generations.interrupt() == 2
    assert await generations.interrupt() == 0

    settled, interrupted = await generations.find("gen-1", OWNER), await generations.find("gen-2", OWNER)
    assert settled is not None
    assert interrupted is not None
    assert (settled.status, settled.cost) == ("ok", 7)
    assert (interrupted.status, interrupted.cost, interrupted.model, interrupted.streamed) == (
        "interrupted",
        0,
        "a/b",
        True,
    )
    assert await Entries(database).check() == []


@pytest.mark.parametrize(("unix", "day"), [(0, 0), (86399.9, 0), (86400, 1), (-1, -1)])
def test_days(unix: Any, day: int) -> None:
    assert day_of(unix) == day
