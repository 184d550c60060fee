"""Recorded answers of Bedrock and Vertex reach an OpenAI client by their own plugins, which send what the recorded clients sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from . import clouds
from .as_chat import UNDETERMINED, NoForm, anthropic_as_chat, gemini_as_chat
from .expected import Reply
from .normal import anthropic_normal, gemini_normal
from .recordings import MISSING, Recording, recordings
from .replays import assert_says, streams
from .stage import Stage, staged
from .upstream import Asked

pytestmark = pytest.mark.wire

NOTHING = [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]
CHATS = clouds.chats()
ANSWERS = [
    pytest.param(each, split, id=f"{each.name}-{split}")
    for each in CHATS
    for split in (("whole", "pieces", "bytes") if each.streamed else ("whole",))
] or NOTHING
REQUESTS = [
    pytest.param(each, id=each.name) for each in CHATS if each.asked is not None and each.name not in UNDETERMINED
]

#: recordings whose request has no form in OpenAI's chat, with the reason
WITHOUT_FORM = {
    "bedrock-77a004": "a document of plain text with citations",
    "bedrock-f242fc": "a document of plain text with citations",
    "bedrock-cd77be": "search results inside a tool result",
    "bedrock-0c7583": "a tool that Amazon runs, in the history",
    "bedrock-636e6f": "a video in S3",
    "bedrock-e19b94": "a document in S3",
    "bedrock-c45217": "content for the guardrail alone",
    "bedrock-272291": "content for the guardrail alone",
    "bedrock-f11fea": "content for the guardrail alone",
}
#: members that differ on purpose: recording -> (members, reason)
DIFFERENT = {
    "bedrock-b0a958": (
        {"additionalModelRequestFields"},
        "a summary of the thinking is asked for, not left to the default",
    ),
    "bedrock-a567bd": (
        {"outputConfig", "toolConfig"},
        "a schema is asked for by a forced call, which more models take",
    ),
    "bedrock-f96793": (
        {"outputConfig", "toolConfig"},
        "a schema is asked for by a forced call, which more models take",
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with two instances per recording: `NAME` for answers, `q-NAME` for requests."""
    if not CHATS:
        pytest.skip(MISSING)
    instances = {prefix + each.name: each for prefix in ("", "q-") for each in (*CHATS, *clouds.counts())}
    folder = tmp_path_factory.mktemp("clouds")
    async with staged(instances, lambda url: clouds.config(url, instances), folder) as stage:
        yield stage


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), ANSWERS)
async def test_client_gets_what_the_provider_said(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    said = clouds.said_by(recording)
    body = plausible(recording, said) | {"model": f"{recording.name}/{clouds.model_of(recording)}"}
    stage.upstream.split[recording.name] = split

    await assert_says(said, body, stage, http)


def plausible(recording: Recording, said: Any) -> dict[str, Any]:
    """A question to which the recorded answer could be one: with the tools that it calls."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Please go on."}]}
    names = (
        {call.name for choice in said.choices.values() for call in choice.calls} if isinstance(said, Reply) else set()
    )
    if names:
        schema = {"type": "object", "properties": {}}
        body["tools"] = [{"type": "function", "function": {"name": n, "parameters": schema}} for n in sorted(names)]
    if streams(recording):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", REQUESTS)
async def test_the_upstream_gets_the_recorded_request(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    recorded = recording.asked
    assert recorded is not None
    if recording.name in WITHOUT_FORM:
        with pytest.raises((NoForm, KeyError)):
            chat_of(recording, recorded)
        return

    asked = await sent(stage, http, recording, chat_of(recording, recorded))

    assert_path_and_credential(recording, asked)
    ours, theirs = normal(recording, asked.body, recorded)
    explained, _ = DIFFERENT.get(recording.name, (set[str](), ""))
    assert all(ours.get(name) != theirs.get(name) for name in explained)
    for name in sorted((ours.keys() | theirs.keys()) - explained):
        assert ours.get(name) == theirs.get(name), name


def chat_of(recording: Recording, recorded: dict[str, Any]) -> dict[str, Any]:
    if recording.dialect in clouds.CONVERSE:
        return clouds.converse_as_chat(recorded)
    return gemini_as_chat(recorded) if recording.dialect == "gemini-generate" else anthropic_as_chat(recorded)


def normal(
    recording: Recording, ours: dict[str, Any], recorded: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    if recording.dialect in clouds.CONVERSE:
        return clouds.converse_normal(ours), clouds.converse_normal(recorded)
    if recording.dialect == "gemini-generate":
        return gemini_normal(ours, recorded), gemini_normal(recorded, recorded)
    return anthropic_normal(ours), anthropic_normal(recorded)


def assert_path_and_credential(recording: Recording, asked: Asked) -> None:
    model = clouds.model_of(recording)
    if recording.provider == "bedrock":
        method = ("invoke", "converse")[recording.dialect in clouds.CONVERSE]
        suffix = ("-with-response-stream", "-stream")[method == "converse"] if recording.streamed else ""
        if not recording.dialect.endswith("-stream") or recording.streamed:
            assert asked.path == f"/model/{model}/{method}{suffix}"
        assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
        assert "/eu-north-1/bedrock/aws4_request" in asked.headers["authorization"]
        return
    assert asked.headers["authorization"] == "Bearer test-token"
    if recording.dialect == "gemini-generate":
        verb = "streamGenerateContent" if recording.streamed else "generateContent"
        assert (
            asked.path == f"/v1beta1/projects/test-project/locations/us-east5/publishers/google/models/{model}:{verb}"
        )
    else:
        verb = "streamRawPredict" if recording.streamed else "rawPredict"
        assert asked.path == f"/v1/projects/test-project/locations/us-east5/publishers/anthropic/models/{model}:{verb}"
        assert asked.body["anthropic_version"] == "vertex-2023-10-16"
        assert "model" not in asked.body


async def sent(stage: Stage, http: aiohttp.ClientSession, recording: Recording, body: dict[str, Any]) -> Asked:
    """Ask the router and return what it asked the upstream. Its answer is the other test's business."""
    instance = f"q-{recording.name}"
    body = body | {"model": f"{instance}/{clouds.model_of(recording)}", "stream": recording.streamed}
    async with http.post(
        f"{stage.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {stage.key}"}
    ) as response:
        said = await response.text()
    asked = stage.upstream.asked.get(instance, [])
    assert asked, f"the upstream was not asked; the client got {response.status} {said[:500]}"
    assert len(asked) == 1
    assert stage.key not in str(asked[0])
    return asked[0]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", [pytest.param(each, id=each.name) for each in clouds.counts()])
async def test_counts(recording: Recording, stage: Stage, http: aiohttp.ClientSession) -> None:
    body = {
        "model": f"{recording.name}/{count_model(recording)}",
        "messages": [{"role": "user", "content": "How long?"}],
    }

    async with http.post(
        f"{stage.url}/v1/messages/count_tokens", json=body, headers={"x-api-key": stage.key}
    ) as response:
        counted = (await response.json())["input_tokens"]

    assert response.status == 200
    if recording.status == 200:
        assert counted == recording.body.get("inputTokens", recording.body.get("totalTokens"))
        assert "x-router-estimate" not in response.headers
    else:
        assert counted > 0
        assert response.headers["x-router-estimate"] == "true"


def count_model(recording: Recording) -> str:
    return recording.model if recording.provider == "vertex" else clouds.model_of(recording)


def test_all_is_replayed_or_excluded_by_name() -> None:
    """The tables name only what is there, and every recording of Bedrock's own dialects is in one of them."""
    if not recordings():
        pytest.skip(MISSING)
    own = {each.name for each in recordings() if each.dialect.startswith("bedrock-")}
    replayed = {each.name for each in (*CHATS, *clouds.counts())}
    assert clouds.EXCLUDED.keys() <= own
    assert own - clouds.EXCLUDED.keys() <= replayed
    assert WITHOUT_FORM.keys() | DIFFERENT.keys() <= replayed
