"""Every recorded answer goes through the router to an Anthropic client: Anthropic's own byte for byte, all others with the same
text, calls, reason and usage."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from .anthropic_client import ask, failure, post
from .expected import Failure, Reply, expected
from .recordings import MISSING, Recording, chat_recordings
from .replays import EXCLUDED, REFRAMED, splits, streams
from .stage import Stage
from .surfaces import assert_tells, in_anthropics_words

pytestmark = pytest.mark.wire

REPLAYED = [each for each in chat_recordings() if each.name not in EXCLUDED]
NOTHING = [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]
OWN = [
    pytest.param(each, split, id=f"{each.name}-{split}")
    for each in REPLAYED
    if each.dialect == "anthropic-messages"
    for split in splits(each)
] or NOTHING
OTHERS = [
    pytest.param(each, "pieces" if streams(each) else "whole", id=f"{each.name}-pieces")
    for each in REPLAYED
    if each.dialect != "anthropic-messages"
] or NOTHING

#: requests that are not what the contract takes: recording, with the reason
REFUSED = {"anthropic-d44a38": "a message that is a string: the router itself refuses it"}

STOP = re.compile(rb'data: ?\{"type": ?"message_stop".*\}')


def first_message(recording: Recording) -> bytes:
    """The answer. One recording holds two in a row; of some the blank line at the end was cut off."""
    if not recording.streamed:
        return recording.raw
    stop = STOP.search(recording.raw)
    assert stop is not None
    return recording.raw[: stop.end()] + b"\n\n"


CROSSED = [
    pytest.param(each, "pieces", id=f"{each.name}-crossed")
    for each in REPLAYED
    if each.name not in (*REFRAMED, *REFUSED)
] or NOTHING


def question(recording: Recording, instance: str) -> dict[str, Any]:
    """The recorded request where it is Anthropic's, else a plausible one, for the model of this instance."""
    asked = recording.asked if recording.dialect == "anthropic-messages" else None
    body: dict[str, Any] = asked or {"max_tokens": 4096, "messages": [{"role": "user", "content": "Please go on."}]}
    body = body | {"model": f"{instance}/{recording.model.split(':')[0]}"}
    if asked is None and isinstance(said := expected(recording), Reply):
        names = {call.name for choice in said.choices.values() for call in choice.calls}
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in sorted(names)]
        body |= {"tools": tools} if tools else {}
    return body | {"stream": True} if streams(recording) else body


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), OWN)
async def test_anthropic_is_relayed_byte_for_byte(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    instance = f"a-{recording.name}"
    stage.upstream.split[instance] = split
    body = question(recording, instance)

    status, _, raw = await post(http, stage.url, stage.key, body)

    if recording.name in REFUSED:
        assert (status, failure(status, json.loads(raw)).kind) == (400, "invalid_request")
        return
    asked = stage.upstream.asked[instance][-1]
    assert asked.body == body | {"model": recording.model.split(":")[0]}
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.headers["x-api-key"] == "test-key"
    recorded = expected(recording)
    if isinstance(recorded, Failure):
        said = failure(status, json.loads(raw))
        assert (said.status, said.kind) == (recorded.status, recorded.kind)
    else:
        assert (status, raw) == (200, first_message(recording))


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), OTHERS)
async def test_others_say_the_same(recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession) -> None:
    body = question(recording, f"a-{recording.name}")

    await assert_says(in_anthropics_words(expected(recording)), split, body, stage, http)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), CROSSED)
async def test_the_other_way_round_says_the_same(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse, which takes the hub lane for Anthropic's too."""
    instance = f"ax-{recording.name}"
    body = question(recording, instance) | {"stream": not streams(recording)}

    await assert_says(in_anthropics_words(expected(recording)), split, body, stage, http)


async def assert_says(
    recorded: Reply | Failure, split: str, body: dict[str, Any], stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Ask, and compare the answer with what was recorded."""
    stage.upstream.split[body["model"].partition("/")[0]] = split

    answer = await ask(http, stage.url, stage.key, body)

    assert_tells(answer, recorded, body["model"])
