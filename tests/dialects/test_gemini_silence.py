"""Silence on Gemini's streams: the head is sent in time, and then nothing but answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.settings import StreamSettings
from router.testing import FakeUpstream, completion, json_answer, sse_answer

from .gemini_making import ASK, USAGE, answer, sse

SLOW = StreamSettings(header_delay_seconds=0.05, keepalive_seconds=0.05)
FRAMES = [sse([answer({"text": "a"})]), sse([answer({"text": "b"}, finish="STOP", usageMetadata=USAGE)])]


async def routed(start: Any, upstream: FakeUpstream) -> Any:
    key = {"api_key": "k"}
    providers = {
        "google": {"plugin": "gemini", "base_url": upstream.url, **key},
        "other": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", **key},
    }
    return await start(providers=providers, stream=SLOW)


async def post(router: Any, model: str, query: str) -> tuple[int, bytes]:
    address = f"{router.url}/v1beta/models/{model}:streamGenerateContent{query}"
    async with router.session.post(address, json=ASK, headers={"x-goog-api-key": router.key}) as told:
        return told.status, await told.read()


@pytest.mark.parametrize("query", ["?alt=sse", ""])
async def test_no_comment_is_ever_sent(start: Any, upstream: FakeUpstream, query: str) -> None:
    router = await routed(start, upstream)
    upstream.will(sse_answer([b": ping\n\n", *FRAMES], pause_s=0.2))

    status, told = await post(router, "google/x", query)

    assert status == 200
    if query:
        assert told == b"".join(FRAMES)
    else:
        assert [each["candidates"][0]["content"]["parts"][0]["text"] for each in json.loads(told)] == ["a", "b"]


@pytest.mark.parametrize("query", ["?alt=sse", ""])
@pytest.mark.parametrize("model", ["google/x", "other/x"])
async def test_a_late_failure_is_told_inside_of_the_stream(
    start: Any, upstream: FakeUpstream, model: str, query: str
) -> None:
    router = await routed(start, upstream)
    upstream.will(json_answer({"error": {"code": 400, "message": "not so"}}, status=400, delay_s=0.3))

    status, told = await post(router, model, query)

    assert status == 200
    (error,) = [json.loads(told.removeprefix(b"data: "))] if query else json.loads(told)
    assert (error["error"]["code"], error["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("query", ["?alt=sse", ""])
async def test_an_upstream_that_does_not_stream(start: Any, upstream: FakeUpstream, query: str) -> None:
    """Also where it answers with an array, as Google does to who asks without alt=sse."""
    router = await routed(start, upstream)
    upstream.will(
        json_answer(completion("ab")), json_answer([answer({"text": "a"}), answer({"text": "b"}, finish="STOP")])
    )

    for model in ("other/x", "google/x"):
        status, told = await post(router, model, query)

        assert status == 200
        frames = told.decode().removesuffix("\r\n\r\n").split("\r\n\r\n")
        answers = [json.loads(frame.removeprefix("data: ")) for frame in frames] if query else json.loads(told)
        texts = [part["text"] for each in answers for part in each["candidates"][0]["content"]["parts"]]
        assert "".join(texts) == "ab"
        assert answers[-1]["candidates"][0]["finishReason"] == "STOP"
