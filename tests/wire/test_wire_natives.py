"""Recorded answers of Mistral, Cohere and Ollama reach an OpenAI client through their own plugins, and its requests reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from . import natives, replays
from .as_chat import NoForm
from .expected import Reply, Usage
from .recordings import MISSING, Recording, recordings
from .schemas import REQUESTS, breaches
from .stage import Stage, staged
from .upstream import Asked

pytestmark = pytest.mark.wire

REPLAYED = natives.replayed()
SKIPPED = pytest.mark.skip(reason=MISSING)
ANSWERS = [
    pytest.param(each, split, id=f"{each.name}-{split}")
    for each in REPLAYED
    for split in (("whole", "pieces", "bytes") if each.streamed else ("whole",))
] or [pytest.param(None, "", marks=SKIPPED)]
CROSSED = [pytest.param(each, id=f"{each.name}-crossed") for each in REPLAYED] or [pytest.param(None, marks=SKIPPED)]
ASKED = [pytest.param(each, id=each.name) for each in REPLAYED if each.asked is not None] or [
    pytest.param(None, marks=SKIPPED)
]
CITING = [
    pytest.param(each, id=each.name)
    for each in REPLAYED
    if each.provider == "cohere" and natives.cohere_citations(each)
] or [pytest.param(None, marks=SKIPPED)]

PATHS = {"mistral": "/v1/chat/completions", "cohere": "/v2/chat", "ollama": "/api/chat"}
#: members that differ on purpose, with the reason
DIFFERENT: dict[str, tuple[set[str], str]] = {
    "mistral-56323e": (
        {"messages"},
        "audio is text in base64 by Mistral's reference, an object with its format in the recording",
    ),
    "ollama-c879d4": ({"messages"}, "a tool's result names its tool"),
}
#: read from the files by eye: finish reason, length of the text, of the thinking, names of the calls, usage
BY_EYE = {
    "mistral-56323e": ("stop", 1051, 0, [], Usage(384, 201)),
    "mistral-88f17a": ("stop", 430, 0, [], Usage(254, 93, 48)),
    "mistral-63ef80": ("tool_calls", 0, 0, ["dice_roll"] * 3, Usage(109, 19)),
    "cohere-de578b": ("tool_calls", 0, 33, ["dice_roll"] * 3, Usage(1490, 94, 112)),
    "cohere-122c19": ("tool_calls", 0, 56, ["get_time", "get_weather"], Usage(968, 83)),
    "cohere-2cfd5c": ("length", 16, 0, [], Usage(506, 5, 448)),
    "ollama-3412e6": ("stop", 212, 0, [], Usage(17, 50)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with three instances per recording: `NAME` and `x-NAME` for answers, `q-NAME` for requests."""
    if not REPLAYED:
        pytest.skip(MISSING)
    instances = {prefix + each.name: each for prefix in ("", "x-", "q-") for each in REPLAYED}
    folder = tmp_path_factory.mktemp("natives")
    async with staged(instances, lambda url: natives.config(url, instances), folder) as stage:
        yield stage


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), ANSWERS)
async def test_client_gets_what_the_provider_said(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    stage.upstream.split[recording.name] = split

    await assert_says(recording, recording.name, recording.streamed, stage, http)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", CROSSED)
async def test_the_other_way_round_says_the_same(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse."""
    await assert_says(recording, f"x-{recording.name}", not recording.streamed, stage, http)


async def assert_says(
    recording: Recording, instance: str, stream: bool, stage: Stage, http: aiohttp.ClientSession
) -> None:
    said = natives.said_by(recording)
    body = plausible(said) | {"model": f"{instance}/{natives.model_of(recording)}"}
    body |= {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    await replays.assert_says(said, body, stage, http)


def plausible(said: Any) -> dict[str, Any]:
    """A question to which this answer could be one: with the tools that it calls."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Please go on."}]}
    names = {call.name for choice in said.choices.values() for call in choice.calls} if isinstance(said, Reply) else ()
    if names:
        schema = {"type": "object", "properties": {}}
        body["tools"] = [{"type": "function", "function": {"name": n, "parameters": schema}} for n in sorted(names)]
    return body


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", ASKED)
async def test_the_upstream_gets_the_recorded_request(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    assert recording.asked is not None
    if recording.name in natives.WITHOUT_FORM:
        with pytest.raises(NoForm):
            natives.as_chat(recording)
        return

    asked = await sent(stage, http, recording, natives.as_chat(recording) | {"stream": recording.streamed})

    assert asked.path == PATHS[recording.provider]
    assert asked.headers.get("authorization") == (None if recording.provider == "ollama" else "Bearer test-key")
    ours, theirs = natives.normal(asked.body), natives.normal(recording.asked)
    explained, _ = DIFFERENT.get(recording.name, (set[str](), ""))
    assert all(ours[name] != theirs[name] for name in explained)
    for name in sorted((ours.keys() | theirs.keys()) - explained):
        assert ours.get(name) == theirs.get(name), name
    if recording.dialect in REQUESTS:
        assert breaches(recording.dialect, asked.body) == []


async def sent(stage: Stage, http: aiohttp.ClientSession, recording: Recording, body: dict[str, Any]) -> Asked:
    """Ask the router and return what it asked the upstream. Its answer is the other tests' business."""
    instance = f"q-{recording.name}"
    body |= {"model": f"{instance}/{natives.model_of(recording)}"}
    headers = {"authorization": f"Bearer {stage.key}", "cookie": "a=b"}
    async with http.post(f"{stage.url}/v1/chat/completions", json=body, headers=headers) as response:
        said = await response.text()
    asked = stage.upstream.asked.get(instance, [])
    assert asked, f"the upstream was not asked; the client got {response.status} {said[:500]}"
    assert len(asked) == 1
    assert "cookie" not in asked[0].headers
    assert stage.key not in str(asked[0])
    return asked[0]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", CITING)
async def test_citations_reach_the_client(recording: Recording, stage: Stage, http: aiohttp.ClientSession) -> None:
    """The offsets are those of the cited words in the text that the client got."""
    cited = natives.cohere_citations(recording)
    body = plausible(None) | {"model": f"x-{recording.name}/{natives.model_of(recording)}"}

    headers = {"authorization": f"Bearer {stage.key}"}
    async with http.post(f"{stage.url}/v1/chat/completions", json=body, headers=headers) as response:
        message = (await response.json())["choices"][0]["message"]

    notes = [note["url_citation"] for note in message["annotations"]]
    assert [(note["url"], note["start_index"], note["end_index"]) for note in notes] == [
        (each["url"], each["start_index"], each["end_index"]) for each in cited
    ]
    assert [message["content"][note["start_index"] : note["end_index"]] for note in notes] == [
        each["text"] for each in cited
    ]


@pytest.mark.parametrize("name", BY_EYE)
def test_statement_agrees_with_what_the_eye_sees(name: str) -> None:
    found = {each.name: each for each in REPLAYED}
    if not found:
        pytest.skip(MISSING)
    finish, text, thought, names, usage = BY_EYE[name]

    said = natives.said_by(found[name])

    assert isinstance(said, Reply)
    choice = said.choices[0]
    assert (choice.finish, len(choice.text), len(choice.reasoning)) == (finish, text, thought)
    assert [call.name for call in choice.calls] == names
    assert said.usage == usage


def test_all_is_replayed_or_excluded_by_name() -> None:
    """The tables name only what is there, and every chat of these three is replayed or in one of them."""
    if not recordings():
        pytest.skip(MISSING)
    own = {each.name for each in recordings() if each.dialect in (*natives.DIALECTS, "ollama-generate")}
    assert natives.EXCLUDED.keys() <= own
    assert own - natives.EXCLUDED.keys() == {each.name for each in REPLAYED}
    assert natives.WITHOUT_FORM.keys() | DIFFERENT.keys() | BY_EYE.keys() <= {each.name for each in REPLAYED}
