"""What makes the next endpoint, or the next model, serve: for the SDKs of all four client APIs, whole and streamed.

Each SDK has a first endpoint whose answers are relayed to it where there is one, and a second one of the other kind: so both lanes
fail, and both help out. Every way to fail is a model of its own, so that one does not darken the other's health.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web

from router.testing.upstream import Handler

from .lanes import CUT, FOREVER, RELAYED, TEXT, TRANSLATED, WORDS, Lane, sends
from .sdks import SDKS, Heard
from .stage import Stage, served, stage
from .test_fallback import TOO_LONG, failures

#: by client API: the lanes of the first and the second endpoint, and how its SDK tells of a stream that broke in the middle
LANES = {
    "chat": (RELAYED, TRANSLATED, "APIError"),
    "responses": (RELAYED, TRANSLATED, "response.failed"),
    "messages": (TRANSLATED, RELAYED, "APIStatusError"),
    "gemini": (RELAYED, TRANSLATED, "ServerError"),
}
pytestmark = pytest.mark.long
each_sdk = pytest.mark.parametrize("sdk", SDKS)
plain_and_stream = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
#: a refused credential is used for no model any more, so these come last
LAST = ("status_402", "status_403", "status_401")
#: what the model itself cannot take: the next model is asked, and not the next endpoint
REFUSALS = {
    "too_long": (400, TOO_LONG),
    "policy": (400, "rejected by our content policy"),
    "moderated": (403, "flagged by moderation"),
}


def by_model(answers: Mapping[str, Handler], otherwise: Handler) -> Handler:
    """Answer as the model that is asked for does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        return await answers.get(model, otherwise)(request)

    return answer


def put(
    folder: Path, sdk: str, stream: bool, faults: Mapping[str, Callable[[Lane], Handler]]
) -> AbstractAsyncContextManager[Stage]:
    """A model for each fault; its first endpoint has it, its second one serves."""
    first, second, _ = LANES[sdk]
    answers = {name: make(first) for name, make in faults.items()}
    return stage(
        folder,
        (first, second),
        [by_model(answers, first.whole(stream))],
        [second.whole(stream)],
        timeouts={"first_token_seconds": 0.4, "idle_seconds": 0.4},
        models={f"test/{name}": served(("p0", name), ("p1", name)) for name in faults},
    )


async def ask(play: Stage, sdk: str, model: str, stream: bool) -> tuple[Heard, list[int]]:
    """What the SDK hears, and how often each upstream was asked for it."""
    before = play.asked
    heard = await asyncio.to_thread(SDKS[sdk], play.router.url, play.router.key, model, stream)
    return heard, [after - earlier for after, earlier in zip(play.asked, before, strict=True)]


@each_sdk
@plain_and_stream
async def test_the_next_endpoint_serves(tmp_path: Path, sdk: str, stream: bool) -> None:
    """Whatever happens before the first content."""
    faults = failures(stream)
    faults = {name: faults[name] for name in sorted(faults, key=lambda name: (name in LAST, LAST[::-1].count(name)))}
    wrong = {}
    async with put(tmp_path, sdk, stream, faults) as play:
        for name in faults:
            if name in LAST:
                play.router.server.health.reset()
            heard, asked = await ask(play, sdk, f"test/{name}", stream)
            if heard != Heard(TEXT) or not asked[0] or asked[1] != 1:
                wrong[name] = (heard, asked)
        rows = await play.books.come(len(faults))

    assert not wrong
    assert {(row.status, row.provider) for row in rows} == {("ok", "p1")}


@each_sdk
@plain_and_stream
async def test_a_connection_that_cannot_be_made(tmp_path: Path, sdk: str, stream: bool) -> None:
    """Nobody listens at the first, the second speaks no TLS."""
    first, second, _ = LANES[sdk]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with stage(
            tmp_path, (first, first, second), [first.whole(stream)], [first.whole(stream)], [second.whole(stream)]
        ) as play:
            play.candidate(0).provider.settings.base_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            play.candidate(1).provider.settings.base_url = play.upstreams[1].url.replace("http", "https")

            heard, asked = await ask(play, sdk, "test/m", stream)

    assert (heard, asked) == (Heard(TEXT), [0, 0, 1])


@each_sdk
@plain_and_stream
async def test_the_next_model_serves(tmp_path: Path, sdk: str, stream: bool) -> None:
    first, second, _ = LANES[sdk]
    refused = {name: first.fails(status, words, "invalid_request_error") for name, (status, words) in REFUSALS.items()}
    models = {f"test/{name}": served(("p0", name), ("p0", f"{name}-again")) for name in REFUSALS}
    async with stage(
        tmp_path,
        (first, second),
        [by_model(refused, first.whole(stream))],
        [second.whole(stream)],
        models={**models, "test/other": served(("p1", "other"))},
        aliases={name: [f"test/{name}", "test/other"] for name in REFUSALS},
    ) as play:
        for name in REFUSALS:
            assert await ask(play, sdk, name, stream) == (Heard(TEXT), [1, 1]), name


@each_sdk
async def test_content_that_was_sent_binds(tmp_path: Path, sdk: str) -> None:
    """No other endpoint after the first content: the words that came, and then the error as this API has it."""
    faults: dict[str, Callable[[Lane], Handler]] = {
        "cut": lambda lane: lane.breaks(CUT, stream=True),
        "error": lambda lane: lane.breaks(lane.failing(), stream=True),
        "end": lambda lane: lane.breaks(stream=True),
        "silence": lambda lane: lane.breaks(FOREVER, stream=True),
        "garbage": lambda lane: lane.breaks(b"data: {not json\n\n", stream=True),
    }
    async with put(tmp_path, sdk, True, faults) as play:
        for name in faults:
            heard, asked = await ask(play, sdk, f"test/{name}", True)

            assert asked == [1, 0], name
            assert heard.text == WORDS[0] + WORDS[1], name
            assert heard.failed == LANES[sdk][2], name


@each_sdk
async def test_half_of_a_plain_answer_binds_nobody(tmp_path: Path, sdk: str) -> None:
    """Its first byte was not sent yet."""
    faults = {"half": lambda lane: lane.breaks(CUT, stream=False), "silence": lambda lane: sends(FOREVER, stream=False)}
    async with put(tmp_path, sdk, False, faults) as play:
        for name in faults:
            assert await ask(play, sdk, f"test/{name}", False) == (Heard(TEXT), [1, 1]), name
