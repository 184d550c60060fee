"""Every recorded answer goes through the router to a Gemini client: Google's own byte for byte, all others with the same text, calls,
reason and usage."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from msgspec.structs import replace
from router_gemini import Gemini

from router.dialects.gemini_generate import GeminiGenerate
from router.provider import Timeouts

from .expected import Failure, Reply, expected
from .gemini_client import ask, events_of, failure, post
from .normal import camel, gemini_normal
from .recordings import MISSING, Recording, chat_recordings
from .replays import EXCLUDED, REFRAMED, splits, streams
from .stage import Stage, config, staged
from .surfaces import assert_tells, in_googles_words

pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="session")]

REPLAYED = [each for each in chat_recordings() if each.name not in EXCLUDED]
GOOGLES = [each for each in REPLAYED if each.dialect == "gemini-generate"]
NOTHING = [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]
OWN = [pytest.param(each, split, id=f"{each.name}-{split}") for each in GOOGLES for split in splits(each)] or NOTHING
ARRAYS = [pytest.param(each, "pieces", id=f"{each.name}-pieces") for each in GOOGLES if streams(each)] or NOTHING
ASKED = [pytest.param(each, id=each.name) for each in GOOGLES if each.asked is not None] or [
    pytest.param(None, marks=pytest.mark.skip(reason=MISSING))
]
OTHERS = [
    pytest.param(each, "pieces" if streams(each) else "whole", id=f"{each.name}-pieces")
    for each in REPLAYED
    if each.dialect != "gemini-generate"
] or NOTHING
CROSSED = [
    pytest.param(each, "pieces", id=f"{each.name}-crossed") for each in REPLAYED if each.name not in REFRAMED
] or NOTHING

BASE64 = re.compile(r'"data": "[^"]*"')
DIALECT = GeminiGenerate()
GOOGLE = Gemini("google", Gemini.Settings(plugin="gemini", api_key="key"), Timeouts())
#: the thoughts of models are part of the recordings
SHOWN = {"thinkingConfig": {"includeThoughts": True}}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gemini_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with two instances per recording: `NAME`, and `x-NAME` for answers the other way round."""
    if not REPLAYED:
        pytest.skip(MISSING)
    instances = {f"{prefix}{each.name}": each for prefix in ("", "x-") for each in REPLAYED}
    folder = tmp_path_factory.mktemp("wire")
    async with staged(instances, lambda url: config(url, instances), folder, REFRAMED) as stage:
        yield stage


def question(recording: Recording) -> dict[str, Any]:
    """The recorded request where it is Google's, else a plausible one."""
    if recording.dialect == "gemini-generate" and recording.asked is not None:
        return recording.asked
    body: dict[str, Any] = {"contents": [{"parts": [{"text": "Please go on."}]}], "generationConfig": SHOWN}
    if isinstance(said := expected(recording), Reply):
        names = {call.name for choice in said.choices.values() for call in choice.calls}
        declared = [{"name": name, "parameters": {"type": "OBJECT"}} for name in sorted(names)]
        body |= {"tools": [{"functionDeclarations": declared}]} if declared else {}
    return body


def model(recording: Recording) -> str:
    """A suffix such as ":free" means something to the router as well."""
    return recording.model.split(":")[0]


@pytest.mark.parametrize("recording", ASKED)
async def test_recorded_requests_survive_the_hub(recording: Recording) -> None:
    """As they go when a plugin wants to see them: nothing that Google was told is lost."""
    assert recording.asked is not None
    body = json.dumps(recording.asked).encode()
    head = DIALECT.peek(body, {"model": model(recording)}, "stream" if streams(recording) else "chat")

    sent = GOOGLE.encode(replace(DIALECT.decode(head), model=model(recording))).body

    recorded = recording.asked
    assert everything(json.loads(sent), recorded) == everything(recorded, recorded)


def everything(body: dict[str, Any], recorded: dict[str, Any]) -> dict[str, Any]:
    """A request in one spelling, with what no chat request could carry."""
    spelt = camel(body)
    tools = [{name: value} for tool in spelt.pop("tools", []) for name, value in tool.items()]
    functions = [tool for tool in tools if "functionDeclarations" in tool]
    normal = gemini_normal(spelt | ({"tools": functions} if functions else {}), recorded)
    kept = {name: value for name, value in spelt.items() if name in ("safetySettings", "labels", "cachedContent")}
    told = normal | kept | {"server tools": [tool for tool in tools if tool not in functions]}
    # base64 in either alphabet
    return json.loads(BASE64.sub(lambda found: found[0].replace("-", "+").replace("_", "/"), json.dumps(told)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("recording", "split"), OWN)
async def test_googles_is_relayed_byte_for_byte(
    recording: Recording, split: str, gemini_stage: Stage, http: aiohttp.ClientSession
) -> None:
    stage, body = gemini_stage, question(recording)
    stage.upstream.split[recording.name] = split
    form = "sse" if streams(recording) else ""

    status, _, raw = await post(http, stage.url, stage.key, f"{recording.name}/{model(recording)}", body, form)

    asked = stage.upstream.asked[recording.name][-1]
    assert asked.body == body
    method = "streamGenerateContent" if form else "generateContent"
    assert (asked.path, asked.query) == (
        f"/v1beta/models/{model(recording)}:{method}",
        {"alt": "sse"} if form else {},
    )
    assert asked.headers["x-goog-api-key"] == "test-key"
    recorded = expected(recording)
    if isinstance(recorded, Failure):
        said = failure(status, json.loads(raw))
        assert (said.status, said.kind) == (recorded.status, recorded.kind)
    elif recording.name in REFRAMED:
        assert (status, events_of(raw, [])) == (200, recording.frames)
    elif form:  # of some recordings the blank line at the end was cut off
        assert (status, raw.rstrip()) == (200, recording.raw.rstrip())
        assert raw.endswith((b"\r\n\r\n", b"\n\n"))
    else:
        assert (status, raw) == (200, recording.raw)


@pytest.mark.parametrize(("recording", "split"), ARRAYS)
async def test_googles_stream_is_an_array_where_no_events_were_asked_for(
    recording: Recording, split: str, gemini_stage: Stage, http: aiohttp.ClientSession
) -> None:
    stage = gemini_stage
    stage.upstream.split[recording.name] = split
    name = f"{recording.name}/{model(recording)}"

    status, kind, raw = await post(http, stage.url, stage.key, name, question(recording), "json")

    if isinstance(recorded := expected(recording), Failure):
        assert failure(status, json.loads(raw)).kind == recorded.kind
        return
    assert (status, kind, json.loads(raw)) == (200, "application/json", recording.frames)


@pytest.mark.parametrize(("recording", "split"), OTHERS)
async def test_others_say_the_same(
    recording: Recording, split: str, gemini_stage: Stage, http: aiohttp.ClientSession
) -> None:
    forms = ("sse", "json") if streams(recording) else ("",)
    for form in forms:
        await assert_says(recording, recording.name, split, form, gemini_stage, http)


@pytest.mark.parametrize(("recording", "split"), CROSSED)
async def test_the_other_way_round_says_the_same(
    recording: Recording, split: str, gemini_stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse, which takes the hub lane for Google's too."""
    form = "" if streams(recording) else "sse"
    await assert_says(recording, f"x-{recording.name}", split, form, gemini_stage, http)


async def assert_says(
    recording: Recording, instance: str, split: str, form: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Ask, and compare the answer with what was recorded."""
    stage.upstream.split[instance] = split
    name, body = f"{instance}/{model(recording)}", question(recording)
    if recording.dialect == "gemini-generate":
        body = body | {
            "generationConfig": (body.get("generationConfig") or body.get("generation_config") or {}) | SHOWN
        }
        body.pop("generation_config", None)

    answer = await ask(http, stage.url, stage.key, name, body, form)

    assert_tells(answer, in_googles_words(expected(recording), streamed=bool(form)), name)
