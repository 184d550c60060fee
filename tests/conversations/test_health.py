"""What the router learns from its upstreams' answers, over sockets: who is asked less, who is asked no more, and when again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from router.settings import RoutingSettings
from router.tasks import spawn
from router.testing import until
from router.testing.upstream import Handler

from .lanes import RELAYED, TEXT, TRANSLATED, WORDS, Lane, sends, silent
from .stage import Stage, served, stage
from .talk import talk
from .test_fallback import SOON, ask

plain_and_stream = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
#: chance decides, but priorities come first: while all is well the first endpoint serves
BALANCED = RoutingSettings()
TWO_KEYS = {"api_key": "", "api_keys": ["first", "second"]}


def in_a_minute() -> str:
    return (datetime.now(UTC) + timedelta(minutes=1)).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- what their headers say ------------------------------------------------------------------------------------------

NOTHING_LEFT: dict[str, tuple[Lane, Callable[[], dict[str, str]]]] = {
    "openai_requests": (
        RELAYED,
        lambda: {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"},
    ),
    "openai_tokens": (RELAYED, lambda: {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60"}),
    "anthropic": (
        TRANSLATED,
        lambda: {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": in_a_minute(),
            "anthropic-ratelimit-tokens-remaining": "800",
        },
    ),
}


@pytest.mark.parametrize("name", NOTHING_LEFT)
@plain_and_stream
async def test_who_has_nothing_left_is_asked_last(tmp_path: Path, name: str, stream: bool) -> None:
    """And is still asked where nobody else can serve."""
    lane, headers = NOTHING_LEFT[name]
    busy = lane.fails(429)
    async with stage(
        tmp_path, lane, [with_headers(lane, stream, headers())], [lane.whole(stream), busy], routing=BALANCED
    ) as play:
        for _ in range(3):
            assert (await ask(play, stream=stream)).text == TEXT

        assert play.asked == [2, 2]  # p0; p1; p1 is busy, so p0 again
        assert not play.circuit(0).failures


async def test_it_is_asked_first_again_when_its_time_has_come(tmp_path: Path) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    answers = [with_headers(RELAYED, False, headers), RELAYED.whole(False)]
    async with stage(tmp_path, RELAYED, answers, [RELAYED.whole(False)], routing=BALANCED) as play:
        await ask(play)
        await asyncio.sleep(0.4)
        await ask(play)

        assert play.asked == [2, 0]


async def test_something_left_changes_nothing(tmp_path: Path) -> None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "1m"}
    answers = [with_headers(RELAYED, False, headers)]
    async with stage(tmp_path, RELAYED, answers, [RELAYED.whole(False)], routing=BALANCED) as play:
        for _ in range(3):
            await ask(play)

        assert play.asked == [3, 0]


async def test_a_429_rests_only_the_credential_that_got_it(tmp_path: Path) -> None:
    """Until the time that the upstream named."""

    async def answer(request: web.Request) -> web.StreamResponse:
        limited = request.headers["Authorization"] == "Bearer first"
        own = RELAYED.fails(429, headers={"retry-after": "60"}) if limited else RELAYED.whole(False)
        return await own(request)

    async with stage(tmp_path, RELAYED, [answer], providers=TWO_KEYS) as play:
        for _ in range(6):
            assert (await ask(play)).text == TEXT
        used = [asked.headers["Authorization"] for asked in play.upstreams[0].asked]

        assert (used.count("Bearer first"), used.count("Bearer second")) == (1, 6)


# --- who is asked no more --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "others"), [(401, 0), (403, 1), (402, 1)])
async def test_a_credential_that_is_unknown_is_unknown_for_all_models(tmp_path: Path, status: int, others: int) -> None:
    """401: it is used for no model of the provider. 402 and 403: for this model only. Until a reload."""
    answers = [RELAYED.fails(status), RELAYED.whole(False)]
    models = {"test/other": served(("p0", "other"), ("p1", "other"))}
    async with stage(tmp_path, RELAYED, answers, [RELAYED.whole(False)], models=models) as play:
        for model in ("test/m", "test/m", "test/other"):
            assert (await ask(play, model=model)).text == TEXT
        assert play.asked == [1 + others, 3 - others]

        await play.router.server.reload(play.router.server.settings)
        await ask(play)
        assert play.asked == [2 + others, 3 - others]


async def test_the_refused_credential_of_everybody_is_our_fault_and_not_the_clients(tmp_path: Path) -> None:
    async with stage(tmp_path, RELAYED, [RELAYED.fails(401)]) as play:
        told = [await ask(play) for _ in range(2)]

        assert [each.status for each in told] == [502, 502]
        assert play.asked == [1]
        assert "upstream-key" not in told[1].json["error"]["message"]


# --- circuits --------------------------------------------------------------------------------------------------------


async def broken(play: Stage, count: int = 3) -> None:
    """Calls that open the circuit of the first endpoint."""
    for _ in range(count):
        assert (await ask(play)).text == TEXT
    assert play.circuit(0).open_until


def pause_over(play: Stage) -> None:
    """The pause of the first endpoint's circuit is over: it is half open."""
    play.circuit(0).open_until = play.router.server.clock.monotonic()


@plain_and_stream
async def test_a_half_open_circuit_lets_one_call_through(tmp_path: Path, stream: bool) -> None:
    """The others of that time go elsewhere without waiting for it; when it has succeeded all come back."""
    go = asyncio.Event()

    async def probe(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return await RELAYED.whole(stream)(request)

    failing = [RELAYED.fails(504)] * 3
    async with stage(tmp_path, RELAYED, [*failing, probe, RELAYED.whole(stream)], [RELAYED.whole(False)]) as play:
        await broken(play)
        play.upstreams[1].will(RELAYED.whole(stream))
        await ask(play, stream=stream)
        assert play.asked == [3, 4], "while it is open nobody is sent there"

        pause_over(play)
        first = spawn("the probe", ask(play, stream=stream))
        await until(lambda: play.asked[0] >= 4)
        others = await asyncio.gather(*(ask(play, stream=stream) for _ in range(5)))
        assert [each.headers["x-router-provider"] for each in others] == ["p1"] * 5
        assert not first.done()

        go.set()
        assert (await first).headers["x-router-provider"] == "p0"
        assert (await ask(play, stream=stream)).headers["x-router-provider"] == "p0"
        assert play.asked == [5, 9]


async def test_a_probe_that_fails_costs_its_client_nothing_and_makes_the_pause_longer(tmp_path: Path) -> None:
    async with stage(tmp_path, RELAYED, [RELAYED.fails(504)], [RELAYED.whole(False)]) as play:
        await broken(play)
        pause_over(play)

        assert (await ask(play)).text == TEXT
        assert play.asked == [4, 4]
        left = play.circuit(0).open_until - play.router.server.clock.monotonic()
        assert 30 < left <= 60


async def test_clients_that_leave_and_requests_that_are_wrong_say_nothing_about_health(tmp_path: Path) -> None:
    wrong = RELAYED.fails(400, "temperature: must be at most 1", "invalid_request_error")
    async with stage(tmp_path, RELAYED, [wrong, wrong, wrong, silent], [RELAYED.whole(False)]) as play:
        for _ in range(3):
            assert (await ask(play)).status == 400
        for _ in range(3):
            play.upstreams[0].gone.clear()
            asked = play.asked[0]
            async with talk(play.router.url, play.router.key) as conversation:
                await until(lambda: play.asked[0] > asked)  # noqa: B023 - used at once
                conversation.leave()
            await asyncio.wait_for(play.upstreams[0].gone.wait(), 10)

        assert play.asked == [6, 0]
        assert not play.circuit(0).failures
        assert play.router.server.health.calm


# --- the retry budget ------------------------------------------------------------------------------------------------


async def test_a_provider_that_is_ill_in_everything_is_not_asked_twice_as_often(tmp_path: Path) -> None:
    """Three second tries in ten seconds while calls are few, whatever the model."""
    names = [f"m{number}" for number in range(8)]
    models = {f"test/{name}": served(("p0", name)) for name in names}
    async with stage(tmp_path, RELAYED, [RELAYED.fails(500, headers=SOON)], models=models) as play:
        for name in names:
            assert (await ask(play, model=f"test/{name}")).status == 502

        assert play.asked == [len(names) + 3]


# --- one provider and the others -------------------------------------------------------------------------------------

CROWD = 24


async def test_a_sick_provider_never_slows_another(tmp_path: Path) -> None:
    """One hangs, with all its connections in use and calls waiting for one; the calls of the other take what they took before."""
    models = {"test/sick": served(("p0", "m")), "test/well": served(("p1", "m"))}
    pools = {"max_connections": 4}
    async with stage(
        tmp_path,
        RELAYED,
        [silent],
        [RELAYED.whole(False)],
        models=models,
        providers=pools,
        timeouts={"first_token_seconds": 25},
    ) as play:
        before = await seconds(play, "test/well")
        waiting = [spawn("a caller who waits", ask(play, model="test/sick")) for _ in range(CROWD)]
        await until(lambda: play.asked[0] >= pools["max_connections"])
        during = await seconds(play, "test/well")
        hanging = [not each.done() for each in waiting]
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

        assert all(hanging)
        assert play.asked[0] == pools["max_connections"]
        assert during < 5 * before + 0.25


async def test_a_full_pool_is_left_for_the_next_endpoint(tmp_path: Path) -> None:
    """Waiting for a connection counts as waiting for the upstream."""
    async with stage(
        tmp_path,
        RELAYED,
        [silent],
        [RELAYED.whole(False)],
        providers={"max_connections": 1},
        timeouts={"first_token_seconds": 0.5},
    ) as play:
        told = await asyncio.gather(*(ask(play) for _ in range(4)))

        assert [each.text for each in told] == [TEXT] * 4
        assert play.asked[1] == 4


async def seconds(play: Stage, model: str, calls: int = 15) -> float:
    """What a call of this model takes, as the median of some, one after the other."""
    took = []
    for _ in range(calls):
        started = time.perf_counter()
        assert (await ask(play, model=model)).text == TEXT
        took.append(time.perf_counter() - started)
    return sorted(took)[calls // 2]


def with_headers(lane: Lane, stream: bool, headers: Mapping[str, str]) -> Handler:
    """A whole answer whose head has these too."""
    steps = (lane.opening(), *map(lane.says, WORDS), lane.ending()) if stream else (lane.body(),)
    return sends(*steps, stream=stream, headers=headers)
