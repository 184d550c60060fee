"""The table of kept responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.store import Database
from router.store.responses import MIGRATIONS, KeptResponse, Responses


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with await Database.open(path, migrations=MIGRATIONS, exclusive=True) as opened:
        yield opened


@pytest.fixture
async def responses(database: Database) -> Responses:
    return Responses(database)


def row(id: str, *, owner: str = "me", previous: str | None = None, **members: Any) -> KeptResponse:
    said = [{"id": f"msg_{id}_out", "type": "message", "content": [{"type": "output_text", "text": "ü\ud7ff\x00"}]}]
    return KeptResponse(
        id=id,
        owner=owner,
        previous=previous,
        response={"id": id, "output": said},
        **{
            "created_unix": 1000.0,
            "status": "completed",
            "input": [{"id": f"msg_{id}_in", "type": "message"}],
            **members,
        },
    )


async def written(responses: Responses) -> None:
    """Wait until nothing is on its way."""
    await asyncio.wait([future for _, future in responses._pending.values()])


@pytest.mark.parametrize("wait", [False, True], ids=["on its way", "on disk"])
async def test_a_response_is_found_by_its_owner_at_once_and_later(responses: Responses, wait: bool) -> None:
    responses.add(row("one"))
    responses.add(row("two", previous="one"))
    if wait:
        await written(responses)

    assert await responses.find("one", "me") == row("one")
    assert await responses.find("one", "you") is None
    assert await responses.chain("two", "me") == [row("one"), row("two", previous="one")]
    assert await responses.chain("two", "you") == []
    assert await responses.item("msg_one_in", "me") == row("one").input[0]
    assert await responses.item("msg_two_out", "me") == row("two").response["output"][0]
    assert await responses.item("msg_two_out", "you") is None


async def test_a_chain_may_be_half_on_disk(responses: Responses) -> None:
    responses.add(row("one"))
    await written(responses)
    responses.add(row("two", previous="one"))

    assert [each.id for each in await responses.chain("two", "me")] == ["one", "two"]


async def test_a_chain_is_read_as_far_as_it_is_wanted(responses: Responses) -> None:
    for number in range(1, 6):
        responses.add(row(str(number), previous=str(number - 1) if number > 1 else None))
    await written(responses)

    short = await responses.chain("5", "me", 1)

    assert [each.id for each in short] == ["5"]
    assert short[0].previous == "4"
    assert len(await responses.chain("5", "me", 100_000)) == 5


async def test_a_chain_does_not_lead_to_others(responses: Responses) -> None:
    responses.add(row("theirs", owner="you"))
    responses.add(row("mine", previous="theirs"))
    await written(responses)

    assert await responses.chain("mine", "me") == [row("mine", previous="theirs")]


async def test_a_chain_that_bites_its_tail_ends(responses: Responses) -> None:
    responses.add(row("one", previous="two"))
    responses.add(row("two", previous="one"))
    await written(responses)

    chain = await responses.chain("two", "me")

    assert chain[0].previous is not None


async def test_deleting_takes_the_items_with_it(responses: Responses, database: Database) -> None:
    responses.add(row("one"))

    assert not await responses.delete("one", "you")
    assert await responses.delete("one", "me")
    assert not await responses.delete("one", "me")

    assert await responses.item("msg_one_in", "me") is None
    assert await database.all("SELECT * FROM responses_item") == []


async def test_what_is_too_old_is_forgotten(responses: Responses, database: Database) -> None:
    responses.add(row("old", created_unix=10.0))
    responses.add(row("new", created_unix=20.0))
    await written(responses)

    await responses.expire(20.0)

    assert await responses.find("old", "me") is None
    assert await responses.find("new", "me") is not None
    assert await database.all("SELECT DISTINCT response FROM responses_item") == [("new",)]


async def test_a_run_is_a_row_until_it_ends(responses: Responses, database: Database) -> None:
    await responses.begin(row("one", status="in_progress"))
    await responses.begin(row("two", status="in_progress"))
    responses.add(row("one"))
    await written(responses)

    assert await database.all("SELECT id FROM responses_run") == [("two",)]
    assert await responses.interrupt({"code": "server_error"}) == 1
    await written(responses)
    found = await responses.find("two", "me")
    assert found is not None
    assert (found.status, found.response["status"], found.response["error"]) == (
        "failed",
        "failed",
        {"code": "server_error"},
    )
    assert await database.all("SELECT id FROM responses_run") == []


@pytest.mark.parametrize("wait", [False, True], ids=["on its way", "on disk"])
async def test_an_item_that_two_responses_hold_is_that_of_the_newer_one(responses: Responses, wait: bool) -> None:
    for id in ("one", "two"):
        responses.add(row(id, input=[{"id": "msg_same", "type": "message", "content": id}]))
        await written(responses) if wait else None

    found = await responses.item("msg_same", "me")

    assert found is not None
    assert found["content"] == "two"


async def test_a_row_that_is_there_stays_as_it_is(responses: Responses) -> None:
    responses.add(row("one"))
    await written(responses)
    responses.add(row("one", owner="you", status="failed"))
    await written(responses)

    assert await responses.find("one", "me") == row("one")
    assert await responses.find("one", "you") is None
