"""What the router sends upstream equals the recorded request where the mapping is determined, and fits the specs."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from . import azure
from .as_chat import UNDETERMINED, anthropic_as_chat, gemini_as_chat
from .normal import anthropic_normal, gemini_normal, without
from .recordings import MISSING, Recording, chat_recordings
from .replays import EXCLUDED, REFUSED, ROUTER_MEMBERS, question, streams
from .schemas import breaches
from .stage import Stage
from .upstream import Asked

#: bodies that the specs do not allow although the provider took them: recording, with the reason
BREACHES = {
    "huggingface-05ee28": "parts with null members",
    "openrouter-18db67": "OpenRouter's own tool type",
    "openrouter-0be2db": "OpenRouter's own tool type",
    "openrouter-0b1db8": "OpenRouter's own tool type",
}

#: members that differ on purpose, at any depth: recording -> (members, reason)
DIFFERENT: dict[str, tuple[set[str], str]] = {
    "openai-3ff1ea": ({"role"}, "`developer` becomes `system` for a model that does not know it"),
    "vercel-gateway-c945a9": ({"effort"}, "a plain server is asked for an effort: `enabled` alone is a medium one"),
    "vercel-gateway-738cf6": ({"effort"}, "a plain server is asked for an effort: `enabled` alone is a medium one"),
    "vercel-gateway-5ec12d": ({"effort"}, "a plain server is asked for an effort: `enabled` alone is a medium one"),
    "perplexity-e3abb3": ({"name"}, "the schema gets a name, which OpenAI insists on"),
    "vllm-3a54d5": ({"n"}, "one answer is what comes without `n`"),
    "llamacpp-d6393c": ({"reasoning_content"}, "thinking goes back only to upstreams that want it"),
    "llamacpp-561442": ({"reasoning_content"}, "thinking goes back only to upstreams that want it"),
    "xai-19f1fb": ({"reasoning_content"}, "thinking goes back only to upstreams that want it"),
    "xai-cb10f7": ({"reasoning_content"}, "thinking goes back only to upstreams that want it"),
    "xai-d2d04c": ({"reasoning_content"}, "thinking goes back only to upstreams that want it"),
}

#: streams that cannot be asked for usage, with the reason
UNCOUNTED = {"azure-114aca": "Azure's API of 2023"}

pytestmark = pytest.mark.wire


def cases(*dialects: str) -> list[Any]:
    """The recordings with a request that can be compared."""
    found = [
        pytest.param(recording, id=recording.name)
        for recording in chat_recordings()
        if recording.dialect in dialects and recording.name not in UNDETERMINED and recording.name not in EXCLUDED
        if recording.asked is not None
    ]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=MISSING))]


async def sent(stage: Stage, http: aiohttp.ClientSession, recording: Recording, body: dict[str, Any]) -> Asked:
    """Ask the router and return what it asked the upstream. Its answer is the other test's business."""
    instance = f"q-{recording.name}"
    before = len(stage.upstream.asked.get(instance, []))
    headers = {"authorization": f"Bearer {stage.key}", "x-trace": "not for the upstream", "cookie": "a=b"}
    async with http.post(f"{stage.url}/v1/chat/completions", json=body, headers=headers) as response:
        said = await response.text()
    asked = stage.upstream.asked.get(instance, [])[before:]
    assert asked, f"the upstream was not asked; the client got {response.status} {said[:500]}"
    assert len(asked) == 1, f"the upstream was asked {len(asked)} times"
    assert not {"cookie", "x-trace"} & asked[0].headers.keys()
    assert stage.key not in str(asked[0])
    return asked[0]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", cases("anthropic-messages"))
async def test_anthropic_gets_the_recorded_request(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    assert recording.asked is not None
    body = anthropic_as_chat(recording.asked) | {"model": f"q-{recording.name}/{recording.model}"}

    asked = await sent(stage, http, recording, body | {"stream": streams(recording)})

    assert asked.method == "POST"
    assert asked.path == "/v1/messages"
    assert asked.headers["x-api-key"] == "test-key"
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.body["model"] == recording.model
    assert_same(recording, anthropic_normal(asked.body), anthropic_normal(recording.asked))
    assert_valid(recording, {name: value for name, value in asked.body.items() if name != "stream"})


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", cases("gemini-generate"))
async def test_gemini_gets_the_recorded_request(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    assert recording.asked is not None
    body = gemini_as_chat(recording.asked) | {"model": f"q-{recording.name}/{recording.model}"}

    asked = await sent(stage, http, recording, body | {"stream": streams(recording)})

    verb = "streamGenerateContent" if streams(recording) else "generateContent"
    assert asked.path == f"/v1beta/models/{recording.model}:{verb}"
    assert asked.query == ({"alt": "sse"} if streams(recording) else {})
    assert asked.headers["x-goog-api-key"] == "test-key"
    recorded = recording.asked
    assert_same(recording, gemini_normal(asked.body, recorded), gemini_normal(recorded, recorded))
    assert_valid(recording, asked.body)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", cases("openai-chat"))
async def test_openai_chat_is_passed_on_untouched(
    recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    assert recording.asked is not None
    body = question(recording, f"q-{recording.name}") | {"models": [], "usage": {"include": True}, "session_id": "s"}

    asked = await sent(stage, http, recording, body)

    if recording.provider == "azure":
        assert (asked.path, asked.query) == azure.address(recording, "/chat/completions")
        assert asked.headers["api-key"] == "test-key"
        assert asked.body["model"] == azure.deployment(recording)
    else:
        assert asked.path == "/v1/chat/completions"
        assert asked.headers["authorization"] == "Bearer test-key"
        assert asked.body["model"] == recording.model.split(":")[0]
    if recording.model in ("o4-mini", "gpt-5", "gpt-5-mini"):
        assert "max_tokens" not in asked.body  # OpenAI's reasoning models refuse it
    if asked.body.get("stream") and recording.name not in UNCOUNTED and recording.provider != "zai":  # it comes unasked
        assert asked.body["stream_options"]["include_usage"] is True
    refused, _ = REFUSED.get(recording.name, ("", ""))
    recorded = {name: value for name, value in recording.asked.items() if name != refused}
    assert_same(recording, openai_normal(asked.body), openai_normal(recorded))
    assert_valid(recording, asked.body)


def test_tables_name_recordings(wire: dict[str, Recording]) -> None:
    """No table keeps the name of a recording that is gone."""
    assert UNDETERMINED.keys() | BREACHES.keys() | DIFFERENT.keys() <= wire.keys()


def openai_normal(body: dict[str, Any]) -> dict[str, Any]:
    """Without what the router replaces (`model`), adds (`stream_options`) or keeps to itself; synonyms under one name."""
    ours = {"model", "stream", "stream_options", "usage", "session_id", *ROUTER_MEMBERS}
    normal = {name: value for name, value in body.items() if name not in ours}
    if limit := normal.pop("max_tokens", None) or normal.pop("max_completion_tokens", None):
        normal["limit"] = limit
    reasoning = normal.pop("reasoning", {})
    if effort := normal.pop("reasoning_effort", None) or reasoning.get("effort") or reasoning:
        normal["effort"] = effort
    normal["messages"] = [
        {name: value for name, value in message.items() if value is not None} for message in normal["messages"]
    ]
    return normal


def assert_same(recording: Recording, ours: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Equal, member by member, but for the differences that are explained."""
    explained, _ = DIFFERENT.get(recording.name, (set(), ""))
    ours, recorded = without(ours, explained), without(recorded, explained)
    for name in sorted(ours.keys() | recorded.keys()):
        assert ours.get(name) == recorded.get(name), name


def assert_valid(recording: Recording, body: dict[str, Any]) -> None:
    """By the provider's interface description, but for the breaches that are explained."""
    found = breaches(recording.dialect, body)
    assert bool(found) == (recording.name in BREACHES), found
