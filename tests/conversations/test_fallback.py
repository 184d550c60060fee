"""When the next endpoint is asked, when the next model, when nobody any more; and what the client is told then."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from router.settings import RoutingSettings
from router.testing import json_answer
from router.testing.upstream import Handler

from .lanes import CUT, LANES, RELAYED, TEXT, TRANSLATED, WORDS, Lane, sends, silent
from .stage import Stage, served, stage
from .talk import Talk, talk

each_lane = pytest.mark.parametrize("lane", LANES, ids=lambda lane: lane.name)
plain_and_stream = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
#: so that the second try at the same endpoint comes soon
SOON = {"retry-after-ms": "10"}


async def ask(play: Stage, **members: Any) -> Talk:
    """A whole conversation."""
    async with talk(play.router.url, play.router.key, members) as conversation:
        return await conversation.end()


def failures(stream: bool) -> dict[str, Callable[[Lane], Handler]]:
    """All that makes an attempt fail so that the next endpoint is asked, by name."""
    statuses = (408, 409, 425, 429, 500, 502, 503, 504, 520, 529, 401, 402, 403)
    made: dict[str, Callable[[Lane], Handler]] = {
        f"status_{status}": lambda lane, status=status: lane.fails(status, headers=SOON)  # type: ignore[misc]
        for status in statuses
    }
    made |= {
        "no_first_token": lambda lane: silent,
        "html": lambda lane: page,
        "empty_body": lambda lane: sends(stream=stream),
        "an_error_with_status_200": lambda lane: json_answer(lane.error("busy", "overloaded_error")),
        "no_json": lambda lane: sends(b'data: {"id": \n\n' if stream else b"{not json", stream=stream),
        "other_json": lambda lane: sends(b"data: [1, 2]\n\n" if stream else b"[1, 2]", stream=stream),
        "cut": lambda lane: lane.begins(CUT, stream=stream),
    }
    if stream:
        made |= {
            "an_error_in_the_stream": lambda lane: sends(lane.failing()),
            "an_error_in_the_stream_before_content": lambda lane: sends(lane.opening(), lane.failing()),
            "an_end_without_content": lambda lane: sends(lane.opening()),
        }
    return made


async def page(request: web.Request) -> web.Response:
    return web.Response(text="<html>maintenance</html>", content_type="text/html")


FAILURES = [
    pytest.param(lane, stream, failing, id=f"{name}-{lane.name}-{'stream' if stream else 'plain'}")
    for stream in (False, True)
    for name, failing in failures(stream).items()
    for lane in LANES
]
#: faults of the endpoint itself: it is asked once more
ASKED_AGAIN = {"status_500", "status_502", "status_503", "status_520", "status_529"}


@pytest.mark.parametrize(("lane", "stream", "failing"), FAILURES)
async def test_the_next_endpoint_serves(
    tmp_path: Path, lane: Lane, stream: bool, failing: Callable[[Lane], Handler], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.partition("-")[0]
    timeouts = {"first_token_seconds": 0.2} if name == "no_first_token" else {}
    async with stage(tmp_path, lane, [failing(lane)], [lane.whole(stream)], timeouts=timeouts) as play:
        conversation = await ask(play, stream=stream)
        row = (await play.books.come(1))[0]

        assert (conversation.status, conversation.text) == (200, TEXT)
        assert conversation.headers["x-router-provider"] == "p1"
        assert play.asked == [2 if name in ASKED_AGAIN else 1, 1]
        assert conversation.headers["x-router-attempts"] == str(sum(play.asked))
        assert [attempt["provider"] for attempt in row.attempts] == ["p0"] * play.asked[0] + ["p1"]
        assert (row.status, row.provider, row.charge) == ("ok", "p1", 20_000_000)
        assert play.circuit(0).failures or play.circuit(0).disabled
        assert not play.circuit(1).failures


@pytest.mark.parametrize("scheme", ["http", "https"])
@each_lane
@plain_and_stream
async def test_a_connection_that_cannot_be_made(tmp_path: Path, lane: Lane, scheme: str, stream: bool) -> None:
    """Nobody listens, or whoever does speaks no TLS. It is tried once more, then the next endpoint serves."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with stage(tmp_path, lane, [silent], [lane.whole(stream)]) as play:
            provider = play.candidate(0).provider
            spoken = play.upstreams[0].url.replace("http", "https")
            provider.settings.base_url = dead if scheme == "http" else spoken
            conversation = await ask(play, stream=stream)
            row = (await play.books.come(1))[0]

            assert (conversation.status, conversation.text) == (200, TEXT)
            assert play.asked == [0, 1]
            assert [attempt["provider"] for attempt in row.attempts] == ["p0", "p0", "p1"]
            assert play.circuit(0).failures == 2


@each_lane
async def test_content_that_was_sent_binds(tmp_path: Path, lane: Lane) -> None:
    async with stage(tmp_path, lane, [lane.breaks(CUT, stream=True)], [lane.whole(True)]) as play:
        conversation = await ask(play, stream=True)

        assert play.asked == [1, 0]
        assert conversation.text == WORDS[0] + WORDS[1]
        assert conversation.chunks[-1]["choices"][0]["finish_reason"] == "error"


@each_lane
@plain_and_stream
async def test_a_request_that_is_wrong_is_wrong_everywhere(tmp_path: Path, lane: Lane, stream: bool) -> None:
    wrong = lane.fails(400, "temperature: must be at most 1", "invalid_request_error")
    async with stage(tmp_path, lane, [wrong], [lane.whole(stream)]) as play:
        conversation = await ask(play, stream=stream, models=["test/other"])

        assert play.asked == [1, 0]
        assert (conversation.status, conversation.json["error"]["code"]) == (400, "invalid_request")
        assert conversation.json["error"]["message"] == "temperature: must be at most 1"
        assert not play.circuit(0).failures


# --- the same endpoint once more -------------------------------------------------------------------------------------


@each_lane
@plain_and_stream
async def test_a_second_try_at_the_same_endpoint(tmp_path: Path, lane: Lane, stream: bool) -> None:
    async with stage(tmp_path, lane, [lane.fails(500, headers=SOON), lane.whole(stream)]) as play:
        conversation = await ask(play, stream=stream)

        assert conversation.text == TEXT
        assert play.asked == [2]


async def test_a_long_wait_is_the_clients_business(tmp_path: Path) -> None:
    """Beyond five seconds the client is told instead."""
    async with stage(tmp_path, RELAYED, [RELAYED.fails(503, headers={"retry-after": "17"})]) as play:
        conversation = await ask(play)

        assert play.asked == [1]
        assert (conversation.status, conversation.headers["retry-after"]) == (503, "17")


# --- when nobody is left ---------------------------------------------------------------------------------------------


@each_lane
@plain_and_stream
async def test_the_last_error_reaches_the_client(tmp_path: Path, lane: Lane, stream: bool) -> None:
    """With its Retry-After, its words and what failed before."""
    first = lane.fails(429, "slow down", "rate_limit_error", {"retry-after": "30"})
    last = lane.fails(429, "slower please", "rate_limit_error", {"retry-after": "7"})
    async with stage(tmp_path, lane, [first], [last]) as play:
        conversation = await ask(play, stream=stream)
        error = conversation.json["error"]

        assert (conversation.status, conversation.headers["retry-after"]) == (429, "7")
        assert (error["code"], error["message"]) == ("rate_limited", "slower please")
        assert error["metadata"]["provider_name"] == "p1"
        assert error["metadata"]["provider_code"] == "rate_limit_error"
        assert error["metadata"]["previous_errors"] == [
            {"provider": "p0", "model": "test/m", "code": "rate_limit_error", "status": 429}
        ]


async def test_different_failures_are_told_as_one(tmp_path: Path) -> None:
    busy = RELAYED.fails(429, "slow down", "rate_limit_error", {"retry-after": "9"})
    async with stage(tmp_path, RELAYED, [RELAYED.fails(401, "bad key sk-secret1234567890")], [busy]) as play:
        conversation = await ask(play)
        error = conversation.json["error"]

        assert (conversation.status, error["code"]) == (502, "upstream_error")
        assert conversation.headers["retry-after"] == "9"
        assert [each["status"] for each in error["metadata"]["previous_errors"]] == [401, 429]
        assert "secret" not in conversation.body.decode()


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_credential_that_is_refused_is_our_fault(tmp_path: Path, status: int) -> None:
    """502, never 401: and nobody asks with it again."""
    async with stage(tmp_path, RELAYED, [RELAYED.fails(status)]) as play:
        first, second = await ask(play), await ask(play)

        assert (first.status, first.json["error"]["code"]) == (502, "upstream_error")
        assert second.status == 502
        assert play.asked == [1]


@each_lane
async def test_a_plain_answer_that_broke_off_is_better_than_none(tmp_path: Path, lane: Lane) -> None:
    """The upstreams stream though nobody asked for a stream. What came is shown with the error, and costs nothing."""
    broken = sends(lane.opening(), lane.says("so far"), lane.failing("it burst"))
    async with stage(tmp_path, lane, [broken], [lane.fails(429)]) as play:
        conversation = await ask(play)
        choice = conversation.json["choices"][0]
        row = (await play.books.come(1))[0]

        assert play.asked == [1, 1]
        assert (conversation.status, choice["message"]["content"]) == (200, "so far")
        assert choice["finish_reason"] == "error"
        assert choice["error"]["metadata"]["http_status"] in (429, 502)
        assert [each["provider"] for each in choice["error"]["metadata"]["previous_errors"]] == ["p0", "p1"]
        assert conversation.json["provider"] == "p0"
        assert conversation.json["usage"]["cost"] == 0
        assert (row.status, row.finish_reason, row.charge, row.provider) == ("error", "error", 0, "p0")


@each_lane
async def test_a_whole_plain_answer_is_better_than_a_broken_one(tmp_path: Path, lane: Lane) -> None:
    async with stage(tmp_path, lane, [lane.breaks(CUT, stream=True)], [lane.whole(True)]) as play:
        conversation = await ask(play)

        assert (conversation.text, conversation.json["provider"]) == (TEXT, "p1")
        assert conversation.json["choices"][0]["finish_reason"] == "stop"


# --- how far it goes -------------------------------------------------------------------------------------------------


async def test_attempts_are_counted(tmp_path: Path) -> None:
    busy = RELAYED.fails(429)
    routing = RoutingSettings(deterministic=True, max_attempts=3)
    async with stage(tmp_path, RELAYED, *([busy] for _ in range(5)), routing=routing) as play:
        assert (await ask(play)).status == 429
        assert play.asked == [1, 1, 1, 0, 0]


async def test_second_tries_are_attempts_too(tmp_path: Path) -> None:
    ill = RELAYED.fails(500, headers=SOON)
    routing = RoutingSettings(deterministic=True, max_attempts=3)
    async with stage(tmp_path, RELAYED, *([ill] for _ in range(3)), routing=routing) as play:
        assert (await ask(play)).status == 502
        assert play.asked == [2, 1, 0]


@pytest.mark.parametrize(
    ("preferences", "asked"),
    [
        ({"allow_fallbacks": False}, [1, 0, 0]),
        ({"allow_fallbacks": False, "order": ["p2", "p1"]}, [0, 1, 1]),
        ({"order": ["p2"]}, [1, 1, 1]),
        ({"only": ["p1"]}, [0, 1, 0]),
    ],
)
async def test_the_client_says_how_far(tmp_path: Path, preferences: dict[str, Any], asked: list[int]) -> None:
    busy = RELAYED.fails(429)
    async with stage(tmp_path, RELAYED, [busy], [busy], [busy]) as play:
        assert (await ask(play, provider=preferences)).status == 429
        assert play.asked == asked


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "asked_again"), [(401, False), (429, True)])
@plain_and_stream
async def test_the_next_credential_of_the_same_provider(
    tmp_path: Path, status: int, asked_again: bool, stream: bool
) -> None:
    """A refused one is not used again before a reload; one that is limited gets its turn again (no Retry-After was given)."""
    refused = "Bearer second"

    async def answer(request: web.Request) -> web.StreamResponse:
        own = RELAYED.fails(status) if request.headers["Authorization"] == refused else RELAYED.whole(stream)
        return await own(request)

    keys = {"api_key": "", "api_keys": ["first", "second", "third"]}
    async with stage(tmp_path, RELAYED, [answer], providers=keys) as play:
        for _ in range(6):
            assert (await ask(play, stream=stream)).text == TEXT
        used = [asked.headers["Authorization"] for asked in play.upstreams[0].asked]

        assert {"Bearer first", "Bearer third"} < set(used)
        assert used.count(refused) == (2 if asked_again else 1)
        assert len(used) == 6 + used.count(refused)


# --- models ----------------------------------------------------------------------------------------------------------

TOO_LONG = "This model's maximum context length is 8192 tokens: prompt is too long"


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, TOO_LONG), (400, "rejected by our content policy"), (403, "flagged by moderation")],
    ids=["too_long", "refused", "moderated"],
)
@each_lane
@plain_and_stream
async def test_the_next_model_is_asked_at_once(
    tmp_path: Path, lane: Lane, stream: bool, status: int, message: str
) -> None:
    """For what the model itself cannot take its other endpoints are not bothered."""
    refused = lane.fails(status, message, "invalid_request_error")
    models = {
        "test/m": served(("p0", lane.model), ("p1", lane.model)),
        "test/other": served(("p2", lane.model)),
    }
    async with stage(tmp_path, lane, [refused], [refused], [lane.whole(stream)], models=models) as play:
        conversation = await ask(play, stream=stream, models=["test/other"])

        assert play.asked == [1, 0, 1]
        assert (conversation.text, conversation.headers["x-router-model"]) == (TEXT, "test/other")
        assert not play.circuit(0).failures


@each_lane
async def test_without_another_model_the_refusal_is_told(tmp_path: Path, lane: Lane) -> None:
    refused = lane.fails(400, TOO_LONG, "invalid_request_error")
    async with stage(tmp_path, lane, [refused], [lane.whole(False)]) as play:
        conversation = await ask(play)

        assert play.asked == [1, 0]
        assert (conversation.status, conversation.json["error"]["code"]) == (400, "context_length_exceeded")


async def test_the_next_model_when_all_endpoints_of_the_first_have_failed(tmp_path: Path) -> None:
    models = {"test/m": served(("p0", "m"), ("p1", "m")), "test/other": served(("p2", "m"))}
    busy = RELAYED.fails(429)
    async with stage(tmp_path, RELAYED, [busy], [busy], [RELAYED.whole(False)], models=models) as play:
        conversation = await ask(play, models=["test/other"])

        assert play.asked == [1, 1, 1]
        assert conversation.json["model"] == "test/other"


async def test_from_one_lane_to_the_other(tmp_path: Path) -> None:
    """The relayed answer breaks before its first content; the translated one takes its place, under the same id."""
    lanes, first = (RELAYED, TRANSLATED), RELAYED.begins(CUT, stream=True)
    async with stage(tmp_path, lanes, [first], [TRANSLATED.whole(True)]) as play:
        conversation = await ask(play, stream=True)

        assert play.asked == [1, 1]
        assert conversation.text == TEXT
        assert {chunk["id"] for chunk in conversation.chunks} == {conversation.headers["x-generation-id"]}
        assert {chunk["provider"] for chunk in conversation.chunks} == {"p1"}
