"""Vectors by InvokeModel: what is asked and what comes back. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from router_bedrock import Bedrock, embeddings

from router import BadRequest, EmbedRequest, Image, Text, UpstreamUnavailable
from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"
PICTURE = Image(data="aGk=", media_type="image/png")


def asked(bedrock: Bedrock, model: str, *inputs: Any, **members: Any) -> list[Any]:
    outgoing = bedrock.embed(EmbedRequest(inputs=list(inputs), model=model, **members))
    assert outgoing.path.startswith("/model/")
    assert outgoing.path.endswith("/invoke")
    return [json.loads(body) for body in embeddings.bodies(outgoing.body)]


def test_titan_takes_one_text_a_request(bedrock: Bedrock) -> None:
    assert asked(bedrock, TITAN, "a", [Text(text="b"), Text(text="c")], dimensions=256) == [
        {"inputText": "a", "dimensions": 256},
        {"inputText": "b\nc", "dimensions": 256},
    ]


def test_titan_with_pictures(bedrock: Bedrock) -> None:
    assert asked(bedrock, "amazon.titan-embed-image-v1", [Text(text="a"), PICTURE], dimensions=256) == [
        {"inputText": "a", "inputImage": "aGk=", "embeddingConfig": {"outputEmbeddingLength": 256}}
    ]


@pytest.mark.parametrize(
    ("given", "kind"), [(None, "search_document"), ("query", "search_query"), ("clustering", "clustering")]
)
def test_cohere_takes_all_at_once(bedrock: Bedrock, given: str | None, kind: str) -> None:
    shared = {"input_type": kind, "embedding_types": ["float"], "truncate": "NONE"}
    assert asked(bedrock, COHERE, "a", "b", input_type=given) == [{**shared, "texts": ["a", "b"]}]


def test_cohere_with_pictures(bedrock: Bedrock) -> None:
    [body] = asked(bedrock, COHERE, [Text(text="a"), PICTURE], dimensions=256)

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert body["inputs"] == [{"content": [{"type": "text", "text": "a"}, picture]}]
    assert body["output_dimension"] == 256


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (TITAN, [1, 2]),
        (TITAN, [PICTURE]),
        (COHERE, [1, 2]),
        (COHERE, [Image(url="https://x.test/y.png")]),
        ("cohere.embed-english-v3", [PICTURE]),
        ("amazon.titan-embed-image-v1", [PICTURE, PICTURE]),
        ("amazon.nova-lite-v1:0", "a"),
    ],
)
def test_what_is_refused(bedrock: Bedrock, model: str, given: Any) -> None:
    with pytest.raises(BadRequest):
        asked(bedrock, model, given)


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"body":{}}]', b'[{"body":{"embedding":"x"}}]'])
def test_nonsense_is_an_error(bedrock: Bedrock, body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        bedrock.embedded(body)


# --- over sockets ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    instance = {"plugin": "bedrock", "api_key": "bedrock-api-key", "base_url": upstream.url}
    async with running(Settings(providers={"bedrock": instance}), tmp_path) as router:
        yield router


@pytest.fixture
async def client(router: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        yield client


async def titan(request: web.Request) -> web.StreamResponse:
    """The vector of a number is that number."""
    text = (await request.json())["inputText"]
    return web.json_response({"embedding": [float(text)], "inputTextTokenCount": 2})


async def test_titans_vectors_come_in_order(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.will(titan)

    found = await client.embeddings.create(model=f"bedrock/{TITAN}", input=[str(number) for number in range(20)])

    assert [each.embedding for each in found.data] == [[float(number)] for number in range(20)]
    assert found.usage.prompt_tokens == 40
    assert found.usage.model_extra is not None
    assert found.usage.model_extra["cost"] is None  # nobody knows its price here
    assert {each.path for each in upstream.asked} == {"/model/amazon.titan-embed-text-v2%3A0/invoke"}


async def test_coheres_tokens_are_in_the_head(client: AsyncOpenAI, upstream: FakeUpstream) -> None:
    answer = {"id": "c1", "embeddings": {"float": [[1.0], [2.0]]}, "response_type": "embeddings_by_type"}
    upstream.will(json_answer(answer, headers={embeddings.COUNT: "7"}))

    found = await client.embeddings.create(model=f"bedrock/{COHERE}", input=["a", "b"], encoding_format="float")

    assert [each.embedding for each in found.data] == [[1.0], [2.0]]
    assert found.usage.prompt_tokens == 7


async def test_googles_client_gets_vectors_too(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(titan)

    answer = await router.post(f"/v1beta/models/bedrock/{TITAN}:embedContent", {"content": {"parts": [{"text": "3"}]}})

    assert (await answer.json())["embedding"] == {"values": [3.0]}


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [("ThrottlingException", 429, openai.RateLimitError), ("ValidationException", 400, openai.BadRequestError)],
)
async def test_failures(
    client: AsyncOpenAI, upstream: FakeUpstream, name: str, status: int, error: type[Exception]
) -> None:
    headers = {"x-amzn-ErrorType": name, "retry-after": "60"}
    upstream.will(json_answer({"message": "Not so."}, status=status, headers=headers))

    with pytest.raises(error, match="Not so"):
        await client.embeddings.create(model=f"bedrock/{TITAN}", input="1")
