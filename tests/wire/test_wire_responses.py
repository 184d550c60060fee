"""Recorded answers for clients of Responses and of text completions: those of the same API byte for byte, all others with the same
text, calls, reason and usage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from . import azure
from . import stage as staging
from .expected import Failure, Reply, expected, failure
from .recordings import MISSING, Recording, chat_recordings, recordings
from .replays import EXCLUDED, REFRAMED, streams
from .responses_client import ask, post
from .responses_client import failure as told_failure
from .stage import Stage, staged
from .surfaces import assert_tells, in_responses_words

pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="session")]

PATHS = {"openai-responses": "/responses", "openai-completions": "/completions"}
OWN = [each for each in recordings() if each.dialect in PATHS]
CHAT = [each for each in chat_recordings() if each.name not in EXCLUDED]
NOTHING = [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]
RELAYED = [
    pytest.param(each, split, id=f"{each.name}-{split}")
    for each in OWN
    for split in (("whole", "pieces", "bytes") if each.streamed else ("whole",))
] or NOTHING
TRANSLATED = [pytest.param(each, "pieces", id=f"{each.name}-pieces") for each in CHAT] or NOTHING
CROSSED = [
    pytest.param(each, "pieces", id=f"{each.name}-crossed") for each in CHAT if each.name not in REFRAMED
] or NOTHING

#: recordings that went wrong inside of a success: what becomes of them before the first content
FAILED = {"openai-e5a06a": (429, "rate_limit_exceeded")}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with an instance per recording, `NAME`, and for chat another one, `x-NAME`, for answers the other way round."""
    if not OWN:
        pytest.skip(MISSING)
    instances = {each.name: each for each in (*OWN, *CHAT)} | {f"x-{each.name}": each for each in CHAT}
    folder = tmp_path_factory.mktemp("wire")
    async with staged(instances, lambda url: config(url, instances), folder, REFRAMED) as stage:
        yield stage


def config(upstream: str, instances: dict[str, Recording]) -> str:
    """Plugins that relay Responses, OpenAI's for those that have none. All else is behind a plugin that has to translate."""
    owners = ("openai", "azure", "openrouter")
    plain = [name for name, each in instances.items() if each.provider in owners and each.dialect != "openai-responses"]
    told = staging.config(upstream, instances, plain)
    for name, each in instances.items():
        if each.dialect == "openai-responses" and each.provider not in owners:
            before = f"[providers.{name}]\n"
            head, _, rest = told.partition(before)
            table, gap, others = rest.partition("\n\n")
            table = table.replace('"openai-compatible"', '"openai"').split("\npreset")[0]
            told = head + before + table + gap + others
    return told


def question(recording: Recording) -> dict[str, Any]:
    """The recorded request, else a plausible one, for the model of its instance."""
    plausible = {"input" if recording.dialect == "openai-responses" else "prompt": "Please go on."}
    body = {**(recording.asked or plausible), "model": f"{recording.name}/{model(recording)}"}
    return body | {"stream": True} if recording.streamed else body


def model(recording: Recording) -> str:
    """A suffix such as ":free" means something to the router as well."""
    return recording.model.split(":")[0]


@pytest.mark.parametrize(("recording", "split"), RELAYED)
async def test_the_same_api_is_relayed(
    recording: Recording, split: str, own_stage: Stage, http: aiohttp.ClientSession
) -> None:
    own_stage.upstream.split[recording.name] = split
    body, path = question(recording), PATHS[recording.dialect]

    status, _, raw, _ = await post(http, own_stage.url, own_stage.key, path, body)

    asked = own_stage.upstream.asked[recording.name][-1]
    own = recording.provider == "azure" and recording.dialect == "openai-responses"
    assert (asked.path, asked.query) == (azure.address(recording, path) if own else (f"/v1{path}", {}))
    sent = {"model": azure.deployment(recording) if own else model(recording)}
    assert without(asked.body, "stream_options") == without(body, "stream_options") | sent
    if recording.name in FAILED:
        assert (status, told_failure(status, json.loads(raw)).kind) == FAILED[recording.name]
    elif recording.status != 200:
        recorded = failure(recording.status, recording.body, recording.headers)
        said = told_failure(status, json.loads(raw))
        assert (said.status, said.kind) == (recorded.status, recorded.kind)
    elif recording.dialect == "openai-responses":
        assert (status, raw) == (200, events(recording) if recording.streamed else recording.raw)
    elif recording.streamed:
        assert_completes(recording, raw)
    else:
        assert status == 200
        assert without(json.loads(raw), "usage") == without(recording.body, "usage")
        assert json.loads(raw)["usage"]["total_tokens"] >= (recording.body.get("usage") or {}).get("total_tokens", 0)


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A body without one of its members."""
    return {key: value for key, value in body.items() if key != name}


def events(recording: Recording) -> bytes:
    """The recorded stream up to its last event; comments are the upstream's own affair, and so is `[DONE]`."""
    blocks = recording.raw.split(b"\n\n")[:-1]
    return b"".join(each + b"\n\n" for each in blocks if b"data: {" in each)


def assert_completes(recording: Recording, raw: bytes) -> None:
    """Chunks as they were recorded; then usage, in a chunk of its own, and the end mark."""
    *frames, last, done, rest = raw.split(b"\n\n")
    recorded = [each for each in recording.raw.split(b"\n\n") if b"data: {" in each]
    chunks = [each for each in recorded if json.loads(each[6:])["choices"]]
    assert frames == chunks
    assert (done, rest) == (b"data: [DONE]", b"")
    told = json.loads(last[6:])
    assert told["choices"] == []
    assert told["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(("recording", "split"), TRANSLATED)
async def test_others_say_the_same(
    recording: Recording, split: str, own_stage: Stage, http: aiohttp.ClientSession
) -> None:
    body = plausible(recording, recording.name) | {"stream": streams(recording)}

    await assert_says(in_responses_words(expected(recording)), split, body, own_stage, http)


@pytest.mark.parametrize(("recording", "split"), CROSSED)
async def test_the_other_way_round_says_the_same(
    recording: Recording, split: str, own_stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse."""
    body = plausible(recording, f"x-{recording.name}") | {"stream": not streams(recording)}

    await assert_says(in_responses_words(expected(recording)), split, body, own_stage, http)


def plausible(recording: Recording, instance: str) -> dict[str, Any]:
    """A question to which the recorded answer could be one: with the tools that it calls."""
    body: dict[str, Any] = {"model": f"{instance}/{model(recording)}", "input": "Please go on."}
    if isinstance(said := expected(recording), Reply):
        names = {call.name for choice in said.choices.values() for call in choice.calls}
        schema = {"type": "object", "properties": {}}
        tools = [{"type": "function", "name": name, "parameters": schema} for name in sorted(names)]
        body |= {"tools": tools} if tools else {}
    return body


async def assert_says(
    recorded: Reply | Failure, split: str, body: dict[str, Any], stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Ask, and compare the answer with what was recorded."""
    stage.upstream.split[body["model"].partition("/")[0]] = split

    answer = await ask(http, stage.url, stage.key, body)

    assert_tells(answer, recorded, body["model"])
