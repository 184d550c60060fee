"""Gemini's embedContent and batchEmbedContents: relayed to Google, translated to everybody else. Over sockets."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.dialects.gemini_embeddings import BATCH, SINGLE, GeminiEmbeddings
from router.errors import BadRequest
from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running

DIALECT = GeminiEmbeddings()
VECTOR = [0.5, -0.25, 1.0]
PACKED = b64encode(struct.pack("<3f", *VECTOR)).decode()
GOOGLE = "gemini/gemini-embedding-001"
OPENAI = "openai/text-embedding-3-small"


def content(*texts: str) -> dict[str, Any]:
    return {"parts": [{"text": text} for text in texts]}


def openai_answer(*vectors: Any) -> dict[str, Any]:
    data = [{"index": index, "embedding": each} for index, each in enumerate(vectors)]
    return {"data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}}


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    key = {"api_key": "upstream-key"}
    settings = Settings(
        providers={
            "gemini": {"plugin": "gemini", "base_url": upstream.url, **key},
            "openai": {"plugin": "openai", "base_url": f"{upstream.url}/v1", **key},
            "cohere": {"plugin": "cohere", "base_url": upstream.url, **key},
            "echo": {"plugin": "echo"},
        }
    )
    async with running(settings, tmp_path) as router:
        yield router


async def post(router: Running, model: str, method: str, body: Any, **headers: str) -> tuple[int, Any]:
    answer = await router.post(f"/v1beta/models/{model}:{method}", body, headers=headers)
    return answer.status, await answer.json()


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        (SINGLE, {}, "content"),
        (SINGLE, {"content": {"parts": []}}, "content"),
        (SINGLE, {"content": "words"}, "content"),
        (SINGLE, {"content": content("a"), "outputDimensionality": 0}, "outputDimensionality"),
        (SINGLE, {"content": content("a"), "output_dimensionality": 0}, "outputDimensionality"),
        (SINGLE, {"content": content("a"), "taskType": 3}, "taskType"),
        (SINGLE, {"content": content("a"), "routerConfig": {"colour": 1}}, "routerConfig.colour"),
        (BATCH, {}, "requests"),
        (BATCH, {"requests": []}, "requests"),
        (BATCH, {"requests": [{"content": content("a")}] * 2049}, "requests"),
        (BATCH, {"requests": [{"content": content("a")}, {"content": {}}]}, "requests[1].content"),
        (BATCH, {"requests": [{"content": content("a"), "title": []}]}, "requests[0].title"),
    ],
)
def test_bad_requests_name_the_member(operation: str, body: Any, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        DIALECT.peek(json.dumps(body).encode(), {"model": "m"}, operation)

    assert refused.value.param == param


# --- Google's own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("embedContent", b'{ "content": {"parts": [{"text": "a"}]}, "taskType": "CLUSTERING", "new": [1.0] }'),
        (
            "batchEmbedContents",
            b'{ "requests": [ {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}} ] }',
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["/v1beta/models/", "/v1/models/", "/api/v1beta/models/models/", "/v1beta/"])
async def test_google_gets_the_clients_bytes_and_the_client_googles(
    router: Running, upstream: FakeUpstream, prefix: str, method: str, body: bytes
) -> None:
    vector: dict[str, Any] = {"values": VECTOR}
    given = {"embedding": vector} if method == "embedContent" else {"embeddings": [vector]}
    raw = json.dumps({**given, "usageMetadata": {"promptTokenCount": 9}, "new": 1}, indent=1)
    upstream.will(json_answer(raw.encode()))

    answer = await router.post(f"{prefix}{GOOGLE}:{method}", body)

    assert (answer.status, await answer.text()) == (200, raw)
    assert upstream.asked[0].path == f"/v1beta/models/gemini-embedding-001:{method}"
    assert upstream.asked[0].body == json.loads(body)
    assert upstream.asked[0].headers["Content-Length"] == str(len(body))
    row = await (await router.get(f"/api/v1/generation?id={answer.headers['X-Generation-Id']}")).json()
    assert (row["data"]["api_type"], row["data"]["tokens_prompt"]) == ("embeddings", 9)
    # $0.15 a million tokens
    assert row["data"]["total_cost"] == pytest.approx(1.35e-6)


async def test_the_model_in_the_body_is_googles_own(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"embeddings": [{"values": VECTOR}] * 2}))
    requests: list[dict[str, Any]] = [
        {"model": f"models/{GOOGLE}", "content": content("a"), "new": 1},
        {"content": content("b")},
    ]

    body = {"requests": requests, "routerConfig": {"user": "somebody"}}
    assert (await post(router, GOOGLE, "batchEmbedContents", body))[0] == 200

    named = {"model": "models/gemini-embedding-001"}
    assert upstream.asked[0].body == {"requests": [requests[0] | named, requests[1] | named]}


@pytest.mark.parametrize("given", [{}, {"embeddings": []}, {"embeddings": [{"values": [1]}] * 2}, b"nonsense"])
async def test_what_holds_other_vectors_is_an_error(router: Running, upstream: FakeUpstream, given: Any) -> None:
    upstream.will(json_answer(given))

    status, told = await post(router, GOOGLE, "batchEmbedContents", {"requests": [{"content": content("a")}]})

    assert (status, told["error"]["status"]) == (502, "UNAVAILABLE")


async def test_googles_error_reaches_the_client(router: Running, upstream: FakeUpstream) -> None:
    error = {"code": 400, "message": "Too long.", "status": "INVALID_ARGUMENT"}
    upstream.will(json_answer({"error": error}, status=400))

    status, told = await post(router, GOOGLE, "embedContent", {"content": content("a")})

    assert (status, told["error"]["status"], told["error"]["message"]) == (400, "INVALID_ARGUMENT", "Too long.")


# --- everybody else --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [VECTOR, PACKED], ids=["numbers", "base64"])
async def test_a_single_content_for_openai(router: Running, upstream: FakeUpstream, given: Any) -> None:
    upstream.will(json_answer(openai_answer(given)))
    body = {"content": content("one", "two"), "embedContentConfig": {"output_dimensionality": 3}}

    status, told = await post(router, OPENAI, "embedContent", body)

    assert (status, told) == (200, {"embedding": {"values": VECTOR}, "usageMetadata": {"promptTokenCount": 7}})
    sent = {"model": "text-embedding-3-small", "input": ["one\ntwo"], "dimensions": 3, "encoding_format": "base64"}
    assert (upstream.asked[0].path, upstream.asked[0].body) == ("/v1/embeddings", sent)


async def test_a_batch_keeps_its_order(router: Running, upstream: FakeUpstream) -> None:
    given = openai_answer([1.0], [2.0])
    given["data"].reverse()
    upstream.will(json_answer(given))

    body = {"requests": [{"content": content("a")}, {"content": content("b")}]}
    _, told = await post(router, OPENAI, "batchEmbedContents", body, **{"X-OpenRouter-Metadata": "enabled"})

    assert told["embeddings"] == [{"values": [1.0]}, {"values": [2.0]}]
    # $0.02 a million tokens
    assert told["usageMetadata"] == {"promptTokenCount": 7, "cost": 1.4e-7, "is_byok": False}
    assert told["provider"] == "openai"


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("RETRIEVAL_QUERY", "search_query"),
        ("RETRIEVAL_DOCUMENT", "search_document"),
        ("classification", "classification"),
        ("QUESTION_ANSWERING", "search_query"),
        ("TASK_TYPE_UNSPECIFIED", "search_document"),
    ],
)
async def test_what_vectors_are_for_in_coheres_words(
    router: Running, upstream: FakeUpstream, task: str, kind: str
) -> None:
    upstream.will(json_answer({"id": "1", "embeddings": {"float": [VECTOR]}}))

    status, _ = await post(router, "cohere/embed-v4.0", "embedContent", {"content": content("a"), "task_type": task})

    assert (status, upstream.asked[0].body["input_type"]) == (200, kind)


async def test_pictures(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"id": "1", "embeddings": {"float": [VECTOR]}}))
    parts = [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": "-_=="}}]

    status, _ = await post(router, "cohere/embed-v4.0", "embedContent", {"content": {"parts": parts}})

    assert status == 200
    [sent] = upstream.asked[0].body["inputs"]
    assert sent["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,+/=="}}


@pytest.mark.parametrize(
    ("requests", "param"),
    [
        ([{"content": {"parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}]}}], "requests[0].content"),
        ([{"content": content("a"), "taskType": "CLUSTERING"}, {"content": content("b")}], "requests[1].taskType"),
        ([{"content": content("a")}, {"content": content("b"), "outputDimensionality": 3}], "requests[1].outputDim"),
    ],
    ids=["sound", "purposes", "lengths"],
)
async def test_what_has_no_form_elsewhere_is_refused(router: Running, requests: Any, param: str) -> None:
    status, told = await post(router, "echo/echo", "batchEmbedContents", {"requests": requests})

    assert (status, told["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert told["error"]["message"].startswith(param)


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [
        (json_answer({"error": {"message": "Slow down."}}, status=429), 429, "RESOURCE_EXHAUSTED"),
        (json_answer({"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}), 429, "RESOURCE_EXHAUSTED"),
        (json_answer(openai_answer()), 502, "UNAVAILABLE"),
        (json_answer(openai_answer("no base64!")), 502, "UNAVAILABLE"),
        (json_answer(b"[]"), 502, "UNAVAILABLE"),
    ],
)
async def test_failures_in_googles_envelope(
    router: Running, upstream: FakeUpstream, given: Any, status: int, word: str
) -> None:
    upstream.will(given)

    found, told = await post(router, OPENAI, "embedContent", {"content": content("a")})

    assert (found, told["error"]["status"]) == (status, word)


async def test_a_model_that_chats_gives_no_vectors(router: Running) -> None:
    status, told = await post(router, "openai/gpt-4o-mini", "embedContent", {"content": content("a")})

    assert (status, told["error"]["status"]) == (404, "NOT_FOUND")
    assert told["error"]["availability"]["code"] == "no_endpoints"


async def test_the_next_model_is_asked_where_one_fails(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "Down."}}, status=500))

    status, told = await post(
        router, OPENAI, "embedContent", {"content": content("a"), "routerConfig": {"models": ["echo/echo"]}}
    )

    assert (status, len(told["embedding"]["values"])) == (200, 256)
