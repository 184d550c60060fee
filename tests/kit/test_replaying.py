"""An upstream that answers from recordings: through a router, and what it says of requests that were not recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from router.testing import Recording, ReplayingUpstream, Running, read_recordings, write_recording
from router.testing.recordings import Expected, Response

Start = Callable[..., Awaitable[Running]]
ASK = {"model": "small", "messages": [{"role": "user", "content": "Say hello."}]}
ANSWER = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain answer, a failure, and one that does not say what was asked."""
    found = tmp_path / "recordings"
    found.mkdir()
    for name, body, response in (
        ("text", ASK, Response(headers={"content-type": "application/json"}, body=ANSWER)),
        ("busy", ASK | {"model": "busy"}, Response(status=429, headers={"retry-after": "7"}, body={"error": None})),
    ):
        asked = {"method": "POST", "path": "/chat/completions", "headers": {}, "body": body}
        write_recording(found, Recording(name=name, request=asked, response=response))
    write_recording(found, Recording(name="unasked", response=Response(text="hello")))
    return found


async def test_a_client_of_the_router_gets_what_was_recorded(start: Start, folder: Path) -> None:
    async with ReplayingUpstream(folder).listening() as upstream:
        providers = {"it": {"plugin": "openai-compatible", "base_url": f"{upstream.url}/v1", "api_key": "a-key"}}
        router = await start(providers=providers)
        answer = await router.post("/v1/chat/completions", ASK | {"model": "it/small"})
        busy = await router.post("/v1/chat/completions", ASK | {"model": "it/busy"})

    assert (await answer.json())["choices"][0]["message"]["content"] == "Hello."
    assert busy.status == 429
    assert upstream.replayed[0] == "text"
    assert set(upstream.replayed) == {"text", "busy"}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/elsewhere", ASK, "POST /elsewhere is not recorded; these are: POST …/chat/completions"),
        (
            "/v1/chat/completions",
            ASK | {"top_p": 0.5},
            "nearest is text, which differs in: top_p (recorded null, asked 0.5)",
        ),
        ("/v1/chat/completions", [1], "differs in: the whole body"),
    ],
)
async def test_what_was_not_recorded_fails_the_test(folder: Path, path: str, body: Any, message: str) -> None:
    upstream = ReplayingUpstream(folder)
    told = ""
    with pytest.raises(AssertionError) as failed:
        async with (
            upstream.listening(),
            ClientSession() as session,
            session.post(upstream.url + path, json=body) as answer,
        ):
            told = await answer.text()

    assert answer.status == 599
    assert message in told
    assert message in str(failed.value)


def test_recordings_that_do_not_say_what_was_asked_are_of_no_use() -> None:
    with pytest.raises(ValueError, match="router record"):
        ReplayingUpstream([Recording(response=Response())])


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Members that say nothing are left out, but not those of a body: there null was sent."""
    recording = Recording(
        name="one",
        request={"method": "POST", "path": "/x", "headers": {}, "body": {"a": None, "b": {}}},
        response=Response(status=200, headers={"content-type": "application/json"}, body={"c": None, "d": {}, "e": ""}),
        expected=Expected(text="", usage={"input": 1}),
    )

    write_recording(tmp_path, recording)

    (again,) = read_recordings(tmp_path)
    assert again.request == {"method": "POST", "path": "/x", "body": {"a": None, "b": {}}}
    assert (again.response, again.name) == (recording.response, "one")
    assert again.expected == Expected(usage={"input": 1})
