"""Every answer is in the ledger exactly once, whatever happens to the conversation; nothing else is charged."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import web

from router import Call, hookimpl
from router.tasks import spawn
from router.testing import until
from router.testing.upstream import Handler

from .books import Row
from .lanes import CUT, FOREVER, INPUT, LANES, OUTPUT, RELAYED, TEXT, TRANSLATED, WORDS, Lane, sends, silent
from .stage import COMPLETION, PROMPT, Stage, stage
from .talk import Talk, talk

Answer = Callable[[Lane, bool], Handler]
BROKEN_OFF = "".join(WORDS[:2])
WHOLE_COST = INPUT * PROMPT + OUTPUT * COMPLETION


def whole(lane: Lane, stream: bool) -> Handler:
    return lane.whole(stream)


def large(lane: Lane, stream: bool) -> Handler:
    return lane.whole(stream, text="x" * 8_000_000)


def fails(status: int) -> Answer:
    return lambda lane, stream: lane.fails(status)


def never(lane: Lane, stream: bool) -> Handler:
    return silent


def begins_and_waits(lane: Lane, stream: bool) -> Handler:
    return lane.begins(FOREVER, stream=stream)


def begins_and_breaks(lane: Lane, stream: bool) -> Handler:
    return lane.begins(CUT, stream=stream)


def halts(lane: Lane, stream: bool) -> Handler:
    return lane.breaks(FOREVER, stream=stream)


def breaks(lane: Lane, stream: bool) -> Handler:
    return lane.breaks(CUT, stream=stream)


# --- what the client does --------------------------------------------------------------------------------------------


async def stays(conversation: Talk, play: Stage) -> None:
    await conversation.end()


async def leaves_before(conversation: Talk, play: Stage) -> None:
    """When the last upstream has been asked; a moment later the reservation is on disk."""
    await until(lambda: play.upstreams[-1].asked, 1)
    await asyncio.sleep(0.15)
    conversation.leave()


async def leaves_after(conversation: Talk, play: Stage) -> None:
    await conversation.head()
    if "event-stream" in conversation.headers["content-type"]:
        await conversation.until(WORDS[1].encode())
    conversation.leave()


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A conversation and what the ledger says of it.

    `upstreams` is what each upstream answers, `http` the status that the client sees (0: it has left before), `charged` what it pays
    for: the usage that the upstream told, an estimate of what was relayed, or nothing. `left` upstream requests are given up, and
    `failures` count against the health of the first upstream.
    """

    upstreams: tuple[Answer, ...]
    client: Callable[[Talk, Stage], Any] = stays
    headers: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    http: int = 200
    status: Literal["ok", "error", "cancelled"] = "ok"
    row_http: int = 200
    code: str | None = None
    finish: str | None = "stop"
    charged: Literal["usage", "estimate", "nothing"] = "usage"
    asked: tuple[int, ...] = (1,)
    attempts: tuple[int | None, ...] = (200,)
    left: int = 0
    failures: int = 0


FAILED = Case((fails(500),), status="error", finish=None, charged="nothing", attempts=(0,), failures=1)
CANCELLED = replace(
    FAILED,
    client=leaves_before,
    http=0,
    status="cancelled",
    row_http=499,
    code="client_closed_request",
    attempts=(-1,),
    left=1,
    failures=0,
)
SOON = {"X-Router-Timeout": "0.4"}
LATE = replace(FAILED, headers=SOON, http=408, row_http=408, code="request_timeout", attempts=(-1,), left=1, failures=0)
SILENT = replace(FAILED, http=504, row_http=504, code="upstream_timeout", left=1)
UNAVAILABLE = replace(FAILED, http=502, row_http=502, code="upstream_error")


def in_the_stream(case: Case) -> Case:
    """The same failure when the client has seen some content: it is told inside of the stream."""
    return replace(case, http=200, finish="error")


#: name -> the case of a plain answer, the case of a stream
CASES: dict[str, tuple[Case, Case]] = {
    "ok": (Case((whole,)), Case((whole,))),
    "refused": (
        replace(
            FAILED, upstreams=(fails(400),), http=400, row_http=400, code="invalid_request", attempts=(400,), failures=0
        ),
    )
    * 2,
    "failed": (replace(UNAVAILABLE, upstreams=(fails(500),), asked=(2,), attempts=(500, 500), failures=2),) * 2,
    "fallback": (Case((fails(429), whole), asked=(1, 1), attempts=(429, 200), failures=1),) * 2,
    "fallback_from_a_cut": (Case((begins_and_breaks, whole), asked=(1, 1), attempts=(0, 200), left=0, failures=1),) * 2,
    "client_gone_before_an_answer": (replace(CANCELLED, upstreams=(never,)),) * 2,
    "client_gone_before_the_first_byte": (replace(CANCELLED, upstreams=(begins_and_waits,)),) * 2,
    "client_gone_before_the_first_byte_of_the_second": (
        replace(CANCELLED, upstreams=(breaks, never), asked=(1, 1), attempts=(0, -1), failures=1),
        replace(CANCELLED, upstreams=(begins_and_breaks, never), asked=(1, 1), attempts=(0, -1), failures=1),
    ),
    "client_gone_after_the_first_byte": (
        Case((large,), client=leaves_after),
        replace(CANCELLED, upstreams=(halts,), client=leaves_after, http=200, charged="estimate"),
    ),
    "cut_before_content": (replace(UNAVAILABLE, upstreams=(begins_and_breaks,)),) * 2,
    "cut_after_content": (
        replace(UNAVAILABLE, upstreams=(breaks,)),
        in_the_stream(replace(UNAVAILABLE, upstreams=(breaks,))),
    ),
    "deadline_before_content": (replace(LATE, upstreams=(never,)),) * 2,
    "deadline_after_content": (
        replace(LATE, upstreams=(halts,)),
        in_the_stream(replace(LATE, upstreams=(halts,))),
    ),
    "no_first_token": (replace(SILENT, upstreams=(never,), timeouts={"first_token_seconds": 0.2}),) * 2,
    "idle": (
        replace(SILENT, upstreams=(halts,), timeouts={"idle_seconds": 0.3}),
        in_the_stream(replace(SILENT, upstreams=(halts,), timeouts={"idle_seconds": 0.3})),
    ),
}
PARAMETERS = [
    pytest.param(lane, stream, cases[stream], id=f"{name}-{lane.name}-{'stream' if stream else 'plain'}")
    for name, cases in CASES.items()
    for lane in LANES
    for stream in (False, True)
]


@pytest.mark.parametrize(("lane", "stream", "case"), PARAMETERS)
async def test_exactly_once(tmp_path: Path, lane: Lane, stream: bool, case: Case) -> None:
    answers = [[answer(lane, stream)] for answer in case.upstreams]
    async with stage(tmp_path, lane, *answers, timeouts=case.timeouts) as play:
        async with talk(play.router.url, play.router.key, {"stream": stream}, case.headers) as conversation:
            await case.client(conversation, play)
            if conversation.whole and case.status == "ok":
                assert_booked(play.books.rows(), conversation)
            elif case.left:
                await until(lambda: play.upstreams[-1].left, 1)
            row = (await play.books.come(1))[0]

            assert_heard(conversation, case, stream)
            assert_row(row, case, stream)
            assert_charged(row, case, lane)
            assert_nothing_is_held(play, case)
        await asyncio.sleep(0)
    assert len(play.books.rows()) == 1


def assert_booked(rows: list[Row], conversation: Talk) -> None:
    """At the moment when the client has its last byte: the row is committed, and it is that of this answer."""
    assert [row.id for row in rows] == [conversation.headers["x-generation-id"]]
    assert conversation.text == TEXT
    told = conversation.chunks[-1] if "event-stream" in conversation.headers["content-type"] else conversation.json
    assert told["usage"]["cost"] == WHOLE_COST / 1e12
    assert (rows[0].status, rows[0].charge) == ("ok", WHOLE_COST)


def assert_heard(conversation: Talk, case: Case, stream: bool) -> None:
    """The client got what it should: an answer, an error, or an error at the end of a stream."""
    assert conversation.status == case.http
    if case.client is not stays:
        return
    assert conversation.whole
    if case.http != 200:
        assert conversation.json["error"]["code"] == case.code
    elif stream and case.status == "error":
        assert conversation.text == BROKEN_OFF
        assert conversation.events[-1] == "[DONE]"
        last = conversation.chunks[-1]
        assert (last["error"]["code"], last["choices"][0]["finish_reason"]) == (case.code, "error")


def assert_row(row: Row, case: Case, stream: bool) -> None:
    assert (row.status, row.http_status, row.error_code) == (case.status, case.row_http, case.code)
    assert (row.finish_reason, row.streamed) == (case.finish, stream)
    assert row.cancelled == (case.status == "cancelled")
    assert tuple(attempt["status"] for attempt in row.attempts) == case.attempts


def assert_charged(row: Row, case: Case, lane: Lane) -> None:
    match case.charged:
        case "usage":
            assert (row.charge, row.input, row.output, row.estimated) == (WHOLE_COST, INPUT, OUTPUT, False)
        case "estimate":
            assert row.output == -(-len(BROKEN_OFF) // 4)
            assert row.input > 0
            assert (row.charge, row.estimated) == (row.input * PROMPT + row.output * COMPLETION, True)
        case "nothing":
            assert row.charge == 0


def assert_nothing_is_held(play: Stage, case: Case) -> None:
    """One request per attempt and no more, nobody's connection is kept, no money is held back, health knows whose fault it was."""
    assert tuple(play.asked) == case.asked
    assert sum(play.asked) == len(case.attempts)
    assert play.left == case.left
    assert play.held == 0
    assert play.books.reservations() == []
    assert play.circuit(0).failures == case.failures


# --- what the table has no column for --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
async def test_the_last_byte_waits_for_the_commit(tmp_path: Path, lane: Lane, stream: bool) -> None:
    """As long as another process holds the database, the client gets everything but the end."""
    async with stage(tmp_path, lane, [lane.whole(stream)]) as play:
        path = play.router.server.database.path
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            # Not in the loop's thread: a transaction of the router's own may have to end first.
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            async with talk(play.router.url, play.router.key, {"stream": stream}) as conversation:
                if stream:
                    await conversation.head()
                    await conversation.until(WORDS[-1].encode())
                rest = spawn("the rest", conversation.end())
                await asyncio.wait([rest], timeout=0.3)
                assert not rest.done()
                assert b"finish_reason" not in conversation.body or b"stop" not in conversation.body
                assert play.books.rows() == []

                other.execute("ROLLBACK")
                await rest
                assert_booked(play.books.rows(), conversation)


async def test_a_client_that_leaves_while_its_last_byte_waits_is_charged_for_the_whole(tmp_path: Path) -> None:
    async with stage(tmp_path, RELAYED, [RELAYED.whole(True)]) as play:
        path = play.router.server.database.path
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
                await conversation.head()
                await conversation.until(WORDS[-1].encode())
                await asyncio.sleep(0.1)
                conversation.leave()
                await asyncio.sleep(0.1)
            other.execute("ROLLBACK")
        row = (await play.books.come(1))[0]

        assert (row.status, row.charge, row.estimated) == ("ok", WHOLE_COST, False)


async def test_what_the_upstream_says_all_along_is_no_estimate(tmp_path: Path) -> None:
    """Some tell with every chunk what has been used so far."""
    said = RELAYED.chunk({"content": WORDS[1]}, usage=RELAYED.usage(output=4))
    upstream = sends(RELAYED.opening(), RELAYED.says(WORDS[0]), said, FOREVER)
    async with stage(tmp_path, RELAYED, [upstream]) as play:
        async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
            await leaves_after(conversation, play)
        row = (await play.books.come(1))[0]

        assert (row.status, row.input, row.output, row.estimated) == ("cancelled", INPUT, 4, False)
        assert row.charge == INPUT * PROMPT + 4 * COMPLETION


async def test_a_prompt_that_the_upstream_has_counted_is_not_estimated(tmp_path: Path) -> None:
    """Most of a long prompt may come from the cache, at a tenth of the price. Only the output is a guess."""
    async with stage(tmp_path, TRANSLATED, [TRANSLATED.breaks(FOREVER, stream=True)]) as play:
        async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
            await leaves_after(conversation, play)
        row = (await play.books.come(1))[0]

        assert (row.input, row.output, row.estimated) == (INPUT, -(-len(BROKEN_OFF) // 4), True)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
async def test_text_of_an_attempt_that_failed_is_not_charged_to_a_client_that_left(tmp_path: Path, lane: Lane) -> None:
    """The first upstream streams though nobody asked for a stream, and breaks off; the client has seen nothing of it."""
    async with stage(tmp_path, lane, [lane.breaks(CUT, stream=True)], [silent]) as play:
        async with talk(play.router.url, play.router.key) as conversation:
            await leaves_before(conversation, play)
        row = (await play.books.come(1))[0]

        assert (row.status, row.charge, row.output) == ("cancelled", 0, 0)
        assert play.asked == [1, 1]


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
async def test_a_client_that_leaves_between_two_attempts_pays_nothing(tmp_path: Path, lane: Lane) -> None:
    async with stage(tmp_path, lane, [lane.fails(500)]) as play:
        async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
            await until(lambda: play.upstreams[0].finished, 1)
            await asyncio.sleep(0.05)
            conversation.leave()
        row = (await play.books.come(1))[0]

        assert (row.status, row.charge) == ("cancelled", 0)
        await asyncio.sleep(0.3)
        assert play.asked == [1]


async def test_the_timeout_of_a_plugin_is_not_that_of_the_call(tmp_path: Path) -> None:
    """Whose it was is what the operator wants to know."""

    class Slow:
        @hookimpl
        async def router_admit(self, call: Call) -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)

    async with stage(tmp_path, RELAYED, [RELAYED.whole(False)], plugins={"slow": Slow()}) as play:
        async with talk(play.router.url, play.router.key) as conversation:
            await conversation.end()

        assert conversation.status == 502
        assert "plugin slow failed in router_admit" in conversation.json["error"]["message"]
        assert play.books.rows() == []
        assert play.asked == [0]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_two_choices_are_one_row(tmp_path: Path, stream: bool) -> None:
    """Where the upstream gives one choice a request, there are two of them, and the sum of both is charged."""
    async with stage(tmp_path, TRANSLATED, [TRANSLATED.whole(stream)]) as play:
        async with talk(play.router.url, play.router.key, {"stream": stream, "n": 2}) as conversation:
            await conversation.end()
            rows = play.books.rows()

        assert [(row.id, row.charge) for row in rows] == [(conversation.headers["x-generation-id"], 2 * WHOLE_COST)]
        assert play.asked == [2]


async def test_a_client_that_leaves_two_choices_leaves_both(tmp_path: Path) -> None:
    async with stage(tmp_path, TRANSLATED, [TRANSLATED.breaks(FOREVER, stream=True)]) as play:
        async with talk(play.router.url, play.router.key, {"stream": True, "n": 2}) as conversation:
            await conversation.head()
            await until(lambda: play.asked == [2], 1)
            await conversation.until(WORDS[1].encode(), times=2)
            conversation.leave()
            await until(lambda: play.left == 2, 1)
        row = (await play.books.come(1))[0]

        assert (row.status, row.estimated) == ("cancelled", True)
        assert row.output == -(-2 * len(BROKEN_OFF) // 4)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
async def test_the_time_for_the_whole_call(tmp_path: Path, lane: Lane) -> None:
    """It holds over all attempts, and is nobody's fault in particular."""
    async with stage(tmp_path, lane, [lane.fails(429)], [silent]) as play:
        play.router.server.settings.timeouts.total_seconds = 0.3
        async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
            await conversation.end()
        await until(lambda: play.left, 1)
        row = (await play.books.come(1))[0]

        assert (conversation.status, conversation.json["error"]["code"]) == (504, "upstream_timeout")
        assert (row.status, row.http_status, row.charge) == ("error", 504, 0)
        assert play.asked == [1, 1]
        assert play.circuit(1).failures == 0


async def test_the_record_of_a_call_that_was_left(tmp_path: Path) -> None:
    """What `GET /generation` says of it."""
    async with stage(tmp_path, TRANSLATED, [TRANSLATED.breaks(FOREVER, stream=True)]) as play:
        async with talk(play.router.url, play.router.key, {"stream": True}) as conversation:
            await leaves_after(conversation, play)
        row = (await play.books.come(1))[0]
        answer = await play.router.get(f"/api/v1/generation?id={conversation.headers['x-generation-id']}")
        told = await answer.json()

        assert row.charge is not None
        assert told["usage"]["estimated"] is True
        data = told["data"]
        assert (data["cancelled"], data["finish_reason"], data["streamed"]) == (True, None, True)
        assert data["total_cost"] == row.charge / 1e12
        assert [each["provider_name"] for each in data["provider_responses"]] == ["p0"]


async def test_many_at_once(tmp_path: Path) -> None:
    """Plain and streamed calls side by side, a third of them left: one row each, and the sums are right."""

    async def one(play: Stage, number: int) -> tuple[str, int | None]:
        headers = {"X-Request-Id": f"call-{number}"}
        async with talk(play.router.url, play.router.key, {"stream": number % 2 == 1}, headers) as conversation:
            if number % 3 == 0:
                await asyncio.sleep(0.01 * (number % 7))
                conversation.leave()
                return f"call-{number}", None
            await conversation.end()
            charges = {row.id: row.charge for row in play.books.rows()}
            return f"call-{number}", charges[conversation.headers["x-generation-id"]]

    async with stage(tmp_path, RELAYED, [both_ways]) as play:
        heard = dict(await asyncio.gather(*(one(play, number) for number in range(60))))
        await until(lambda: not play.held and not play.router.server.lifecycle.running, 1)
        rows = {row.trace_id: row for row in play.books.rows()}

        assert len(rows) == len(play.books.rows())
        for name, charge in heard.items():
            if charge is not None:
                assert (charge, rows[name].status) == (WHOLE_COST, "ok")
        assert {row.status for row in rows.values()} <= {"ok", "cancelled"}
        assert sum(play.asked) <= sum(len(row.attempts) for row in rows.values())


async def test_a_storm_leaves_nothing_behind(tmp_path: Path) -> None:
    """Clients that come and go by the dozen: afterwards there are no more tasks and descriptors than before."""

    async def one(play: Stage, number: int) -> None:
        async with talk(play.router.url, play.router.key, {"stream": number % 2 == 1}) as conversation:
            if number % 4:
                await asyncio.sleep(0.004 * (number % 9))
                conversation.leave()
            else:
                await conversation.end()

    async def storm(play: Stage) -> tuple[int, int]:
        await asyncio.gather(*(one(play, number) for number in range(48)))
        await until(lambda: not play.held and not play.router.server.lifecycle.running, 1)
        await asyncio.sleep(0.6)  # connections to upstreams may wait half a second for the end of an answer
        return len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))

    async with stage(tmp_path, RELAYED, [both_ways]) as play:
        tasks, descriptors = await storm(play)
        for _ in range(2):
            more_tasks, more_descriptors = await storm(play)
            # a few connections to the upstream stay open for the next calls: how many is a matter of luck
            assert more_tasks <= tasks + 8
            assert more_descriptors <= descriptors + 16


async def both_ways(request: web.Request) -> web.StreamResponse:
    """A whole answer, streamed where a stream is asked for."""
    asked = await request.json()
    return await RELAYED.whole(bool(asked.get("stream")), pause_s=0.02)(request)
