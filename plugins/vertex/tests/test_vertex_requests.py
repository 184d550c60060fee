"""What is sent to Vertex for what a client asked, and how its two kinds of answers are told apart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from router_vertex import Vertex, VertexSettings

from router.errors import (
    BadRequest,
    StreamTruncated,
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamUnauthorized,
)
from router.events import Reply
from router.model import ChatRequest, File, Message, Text
from router.provider import Outgoing, Timeouts
from router.sse import open_events

Read = Callable[[str], dict[str, Any]]
CLAUDE, GEMINI = "claude-sonnet-4-5@20250929", "gemini-2.5-flash"
PLACE = "/projects/p1/locations/europe-west4/publishers"


def sent(vertex: Vertex, model: str, **members: Any) -> tuple[Outgoing, Any]:
    messages = [
        Message(role="system", content=[Text(text="Be brief.")]),
        Message(role="user", content=[Text(text="Hi")]),
    ]
    out = vertex.encode(ChatRequest(model=model, messages=messages, **members))
    return out, json.loads(out.body)


def test_gemini(vertex: Vertex) -> None:
    out, body = sent(vertex, GEMINI, temperature=0.5)

    assert out.path == f"/v1beta1{PLACE}/google/models/gemini-2.5-flash:generateContent"
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"temperature": 0.5},
    }


def test_claude(vertex: Vertex) -> None:
    out, body = sent(vertex, CLAUDE, max_tokens=50)

    assert out.path == f"/v1{PLACE}/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
    assert body == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_streams(vertex: Vertex) -> None:
    gemini, _ = sent(vertex, GEMINI, stream=True)
    claude, body = sent(vertex, CLAUDE, stream=True)

    assert gemini.path.endswith("gemini-2.5-flash:streamGenerateContent?alt=sse")
    assert claude.path.endswith("claude-sonnet-4-5@20250929:streamRawPredict")
    assert body["stream"] is True


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("endpoints/123", "/v1beta1/projects/p1/locations/europe-west4/endpoints/123:generateContent"),
        ("someone/their-model", f"/v1beta1{PLACE}/someone/models/their-model:generateContent"),
    ],
)
def test_other_names(vertex: Vertex, model: str, path: str) -> None:
    assert sent(vertex, model)[0].path == path


def test_who_asks_and_how_urgent_it_is(vertex: Vertex) -> None:
    plain, body = sent(vertex, GEMINI, user="user-7", service_tier="flex")
    _, odd = sent(vertex, GEMINI, user="Zoë@example.org")
    claude, _ = sent(vertex, CLAUDE, service_tier="priority")

    assert body["labels"] == {"user": "user-7"}
    assert "serviceTier" not in body
    assert plain.headers == {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}
    assert plain.dropped == []
    assert len(odd["labels"]["user"]) == 32
    assert claude.dropped == ["service_tier"]


def test_files_of_a_store_that_is_not_here(vertex: Vertex) -> None:
    file = Message(role="user", content=[File(file_id="files/abc")])

    with pytest.raises(BadRequest):
        vertex.encode(ChatRequest(model=GEMINI, messages=[file]))


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("us-east5", "https://us-east5-aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_places(location: str, url: str) -> None:
    settings = VertexSettings(plugin="vertex", project="p", access_token="t", location=location)

    assert Vertex("vertex", settings, Timeouts()).settings.base_url == url


def test_a_key_of_express_mode_needs_no_project() -> None:
    express = Vertex("vertex", VertexSettings(plugin="vertex", api_key="key"), Timeouts())

    assert sent(express, GEMINI)[0].path == "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"


def test_what_is_no_key_file() -> None:
    with pytest.raises(msgspec.ValidationError, match="key file") as failed:
        msgspec.convert({"plugin": "vertex", "credentials": "service-account.json"}, VertexSettings)

    assert "service-account.json" in str(failed.value)


@pytest.mark.parametrize("name", ["claude_plain", "gemini_plain"])
def test_whole_answers(vertex: Vertex, recording: Read, name: str) -> None:
    reply = vertex.decode(json.dumps(recording(name)["response"]["body"]).encode())

    assert reply.choices[0].text == "Hei, Ås! 🌍"
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (20, 5)


async def stream_of(vertex: Vertex, raw: bytes, size: int) -> Reply:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(raw), size):
            yield raw[at : at + size]

    return await Reply.from_events(vertex.events(open_events(pieces())))


@pytest.mark.parametrize("size", [1, 40, 10_000])
@pytest.mark.parametrize("name", ["claude_stream", "gemini_stream"])
async def test_streamed_answers(vertex: Vertex, recording: Read, name: str, size: int) -> None:
    reply = await stream_of(vertex, recording(name)["response"]["sse"].encode(), size)

    assert reply.choices[0].text == "Grüße aus Ås, 🌍!"
    assert reply.choices[0].finish.reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (12, 42)


@pytest.mark.parametrize("name", ["claude_stream", "gemini_stream"])
async def test_streams_that_end_early(vertex: Vertex, recording: Read, name: str) -> None:
    raw = recording(name)["response"]["sse"].encode()

    with pytest.raises(StreamTruncated):
        await stream_of(vertex, raw[: raw.rindex(b"data:")], 50)


async def test_a_stream_of_nothing(vertex: Vertex) -> None:
    with pytest.raises(UpstreamError):
        await stream_of(vertex, b"", 1)


async def test_errors_inside(vertex: Vertex) -> None:
    claude = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n'
    gemini = b'data: {"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}\n\n'

    with pytest.raises(UpstreamOverloaded):
        await stream_of(vertex, claude, 50)
    with pytest.raises(UpstreamBusy):
        await stream_of(vertex, gemini, 50)


@pytest.mark.parametrize(
    ("name", "kind", "row"),
    [
        ("error_token", UpstreamUnauthorized, "provider_unavailable"),
        ("error_forbidden", UpstreamUnauthorized, "provider_unavailable"),
        ("error_quota", UpstreamBusy, "rate_limit_exceeded"),
        ("error_model", UpstreamRejected, "not_found"),
        ("error_claude", UpstreamRejected, "context_length_exceeded"),
        ("error_claude_busy", UpstreamOverloaded, "provider_overloaded"),
    ],
)
def test_errors(vertex: Vertex, recording: Read, name: str, kind: type[UpstreamError], row: str) -> None:
    response = recording(name)["response"]

    error = vertex.error(response["status"], {}, json.dumps(response["body"]).encode())

    assert type(error) is kind
    assert error.kind == row


def test_the_catalogue(vertex: Vertex) -> None:
    models = vertex.catalogue()

    assert len({model.id for model in models}) == len(models) > 20
    chats = [model for model in models if model.output_modalities != ["embeddings"]]
    assert {model.id[:6] for model in chats} == {"claude", "gemini"}
    assert [model.id for model in models if model.id.startswith("claude") and model.price is None] == []
