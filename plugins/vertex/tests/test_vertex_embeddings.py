"""Vectors on Vertex: what is asked and what comes back. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from router_vertex import Vertex

from router import BadRequest, EmbedRequest, Image, Text, UpstreamUnavailable
from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running

PLACE = "/v1beta1/projects/p1/locations/europe-west4/publishers/google/models"
VECTOR = [0.5, -0.25, 1.0]


def asked(vertex: Vertex, model: str, *inputs: Any, **members: Any) -> tuple[str, Any]:
    outgoing = vertex.embed(EmbedRequest(inputs=list(inputs), model=model, **members))
    return outgoing.path, json.loads(outgoing.body)


def test_older_models_predict(vertex: Vertex) -> None:
    path, body = asked(
        vertex, "text-embedding-005", "a", "b", dimensions=8, input_type="search_document", titles=["A", ""]
    )

    assert path == f"{PLACE}/text-embedding-005:predict"
    purpose = {"task_type": "RETRIEVAL_DOCUMENT"}
    assert body == {
        "instances": [{"content": "a", "title": "A", **purpose}, {"content": "b", **purpose}],
        "parameters": {"autoTruncate": False, "outputDimensionality": 8},
    }


def test_gemini_embeds_one_content_or_a_batch(vertex: Vertex) -> None:
    path, body = asked(vertex, "gemini-embedding-001", "a", dimensions=8)
    request = {
        "content": {"role": "user", "parts": [{"text": "a"}]},
        "embedContentConfig": {"outputDimensionality": 8, "autoTruncate": False},
    }
    assert (path, body) == (f"{PLACE}/gemini-embedding-001:embedContent", request)

    path, body = asked(vertex, "gemini-embedding-001", "a", "a", dimensions=8)
    assert (path, body) == (f"{PLACE}/gemini-embedding-001:batchEmbedContents", {"requests": [request, request]})


def test_pictures_are_for_gemini_only(vertex: Vertex) -> None:
    mixed = [Text(text="a"), Image(data="aGk=", media_type="image/png")]

    _, body = asked(vertex, "gemini-embedding-2", mixed)

    assert body["content"]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    with pytest.raises(BadRequest):
        asked(vertex, "text-embedding-005", mixed)
    with pytest.raises(BadRequest):
        asked(vertex, "text-embedding-005", [1, 2])


@pytest.mark.parametrize(
    ("body", "vectors", "tokens"),
    [
        (
            {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 3.0}}}] * 2},
            [[1.0], [1.0]],
            6,
        ),
        ({"embedding": {"values": [1.0]}, "usageMetadata": {"promptTokenCount": 4}}, [[1.0]], 4),
        ({"embeddings": [{"values": [1.0]}, {"values": [2.0]}]}, [[1.0], [2.0]], None),
    ],
)
def test_all_forms_of_answers(vertex: Vertex, body: Any, vectors: list[list[float]], tokens: int | None) -> None:
    found = vertex.embedded(json.dumps(body).encode())

    assert found.vectors == vectors
    assert (found.usage.input if found.usage else None) == tokens


@pytest.mark.parametrize("body", [b"", b"[]", b'{"embeddings":[{}]}'])
def test_nonsense_is_an_error(vertex: Vertex, body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        vertex.embedded(body)


# --- over sockets ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    instance = {"plugin": "vertex", "project": "p1", "access_token": "token-1", "base_url": upstream.url}
    async with running(Settings(providers={"vertex": instance}), tmp_path) as router:
        yield router


async def test_openais_sdk_gets_vectors(router: Running, upstream: FakeUpstream) -> None:
    prediction = {"embeddings": {"values": VECTOR, "statistics": {"token_count": 3, "truncated": False}}}
    upstream.will(json_answer({"predictions": [prediction, prediction]}))

    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        found = await client.embeddings.create(model="vertex/text-embedding-005", input=["a", "b"])

    assert [each.embedding for each in found.data] == [VECTOR, VECTOR]
    assert found.usage.prompt_tokens == 6
    assert found.usage.model_extra is not None
    assert found.usage.model_extra["cost"] is None  # nobody knows its price here
    assert upstream.asked[0].headers["Authorization"] == "Bearer token-1"


async def test_googles_own_client_is_relayed(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"embedding": {"values": VECTOR}, "usageMetadata": {"promptTokenCount": 4}, "new": 1}))
    content = {"parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}]}
    body = {"model": "models/vertex/gemini-embedding-001", "content": content, "new": 2}

    answer = await router.post("/v1beta/models/vertex/gemini-embedding-001:embedContent", body)

    assert (await answer.json())["new"] == 1
    assert upstream.asked[0].path.endswith("/publishers/google/models/gemini-embedding-001:embedContent")
    assert upstream.asked[0].body == {"content": content, "new": 2}
    # $0.15 a million tokens
    assert answer.headers["X-Router-Cost"] == "0.0000006"


async def test_a_batch_of_googles_client_is_written_anew(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"embeddings": [{"values": VECTOR}] * 2}))
    requests = [{"model": "models/x", "content": {"parts": [{"text": text}]}, "title": text} for text in "ab"]

    answer = await router.post("/v1beta/models/vertex/gemini-embedding-001:batchEmbedContents", {"requests": requests})

    assert (await answer.json())["embeddings"] == [{"values": VECTOR}] * 2
    assert [each["embedContentConfig"]["title"] for each in upstream.asked[0].body["requests"]] == ["a", "b"]
