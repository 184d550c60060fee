"""Embeddings: what is asked, what goes upstream, and that every client gets the encoding that it asked for. Over sockets."""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.dialects.openai_embeddings import OpenAIEmbeddings
from router.errors import BadRequest
from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running

DIALECT = OpenAIEmbeddings()
#: numbers that 32 bits hold exactly
VECTOR = [0.5, -0.25, 1.0]
PACKED = b64encode(struct.pack("<3f", *VECTOR)).decode()


def answer(*vectors: Any, **members: Any) -> dict[str, Any]:
    """An answer as OpenAI's API gives it."""
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage, **members}


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    """A router with OpenAI, a server of one's own, and echo."""
    async with running(settings(upstream.url), tmp_path) as router:
        yield router


def settings(url: str) -> Settings:
    return Settings(
        providers={
            "openai": {"plugin": "openai", "base_url": f"{url}/v1", "api_key": "upstream-key"},
            "own": {"plugin": "openai-compatible", "base_url": f"{url}/own"},
            "echo": {"plugin": "echo"},
        }
    )


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [1, [2]]}, "input"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": [{"content": [{"type": "video_url"}]}]}, "input[0].content[0]"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "x", "provider": {"colour": 1}}, "provider.colour"),
    ],
)
def test_bad_requests_name_the_member(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        DIALECT.peek(json.dumps({"model": "m", **members}).encode(), {}, "embeddings")

    assert refused.value.param == param


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [
        ("x" * 40, 1, 10),
        (["x" * 40, "y"], 2, 11),
        ([1, 2, 3], 1, 3),
        ([[1, 2], [3]], 2, 3),
        ([{"content": [{"type": "text", "text": "four"}]}, {"content": "word"}], 2, 2),
    ],
)
def test_all_forms_of_input(given: Any, count: int, tokens: int) -> None:
    head = DIALECT.peek(json.dumps({"model": "m", "input": given}).encode(), {}, "embeddings")

    assert len(head.decoded["input"]) == count
    assert head.prompt_tokens == tokens


# --- relayed ---------------------------------------------------------------------------------------------------------


async def test_an_upstream_with_the_same_api_gets_the_clients_own_members(
    router: Running, upstream: FakeUpstream
) -> None:
    upstream.will(json_answer(answer(VECTOR)))
    asked = {"model": "openai/text-embedding-3-small", "input": [[1, 2]], "dimensions": 3, "new": {"a": 1}}

    response = await router.post("/v1/embeddings", {**asked, "provider": {"order": ["openai"]}, "input_type": "query"})

    told = await response.json()
    assert response.status == 200, told
    assert upstream.asked[0].path == "/v1/embeddings"
    assert upstream.asked[0].body == {**asked, "model": "text-embedding-3-small"}
    assert told["data"] == [{"object": "embedding", "index": 0, "embedding": VECTOR}]
    assert told["model"] == "openai/text-embedding-3-small"
    assert told["id"].startswith("gen-")
    # $0.02 a million tokens
    assert told["usage"] == {"prompt_tokens": 7, "total_tokens": 7, "cost": 1.4e-7, "is_byok": False}
    assert response.headers["X-Router-Cost"] == "0.00000014"


@pytest.mark.parametrize("given", [VECTOR, PACKED], ids=["numbers", "base64"])
@pytest.mark.parametrize("wanted", ["float", "base64", None])
@pytest.mark.parametrize("model", ["openai/text-embedding-3-small", "own/some-embedding"])
async def test_the_client_gets_the_encoding_that_it_asked_for(
    router: Running, upstream: FakeUpstream, given: Any, wanted: str | None, model: str
) -> None:
    upstream.will(json_answer(answer(given, given)))
    body = {"model": model, "input": ["a", "b"]} | ({"encoding_format": wanted} if wanted else {})

    told = await (await router.post("/v1/embeddings", body)).json()

    for each in told["data"]:
        found = each["embedding"]
        assert found == (PACKED if wanted == "base64" else VECTOR)
    # a server that may not know base64 is not asked for it
    assert upstream.asked[0].body.get("encoding_format") == (wanted if model.startswith("openai") else None)


async def test_vectors_come_in_the_order_of_the_inputs(router: Running, upstream: FakeUpstream) -> None:
    given = answer([1.0], [2.0])
    given["data"].reverse()
    upstream.will(json_answer(given))

    told = await (await router.post("/v1/embeddings", {"model": "own/x-embed", "input": ["a", "b"]})).json()

    assert [each["embedding"] for each in told["data"]] == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}, 429),
        (b"not json", 502),
        (b"", 502),
        (answer(VECTOR, VECTOR), 502),
        (answer(["x"]), 502),
        (answer("no base64!"), 502),
    ],
    ids=["error", "nonsense", "empty", "too many", "words", "no base64"],
)
async def test_what_holds_no_vectors_is_an_error(
    router: Running, upstream: FakeUpstream, given: Any, status: int
) -> None:
    upstream.will(json_answer(given))

    response = await router.post("/v1/embeddings", {"model": "own/x-embed", "input": "a"})

    assert response.status == status, await response.text()
    assert "error" in await response.json()


async def test_an_upstream_that_counts_nothing_is_estimated(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(answer(VECTOR, usage=None)))

    body = {"model": "openai/text-embedding-3-small", "input": "x" * 40}
    told = await (await router.post("/v1/embeddings", body)).json()

    assert told["usage"]["prompt_tokens"] == 10
    assert told["usage"]["estimated"] is True


# --- which models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "openai/gpt-4o-mini", "input": "a"}),
        (
            "/v1/chat/completions",
            {"model": "openai/text-embedding-3-small", "messages": [{"role": "user", "content": "a"}]},
        ),
    ],
)
async def test_a_model_serves_only_what_it_does(router: Running, path: str, body: dict[str, Any]) -> None:
    response = await router.post(path, body)

    error = (await response.json())["error"]
    expected = (400, "invalid_request", "wrong_endpoint") if "chat" in path else (404, "no_endpoints", "no_endpoints")
    assert (response.status, error["code"], error["availability"]["code"]) == expected
    assert "modality" in error["message"]


async def test_a_model_that_nobody_knows_may_do_anything(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(answer(VECTOR)))

    assert (await router.post("/v1/embeddings", {"model": "own/anything", "input": "a"})).status == 200


async def test_models_that_give_vectors_are_listed(router: Running) -> None:
    listed = (await (await router.get("/api/v1/embeddings/models")).json())["data"]

    ids = {each["id"] for each in listed}
    assert {"openai/text-embedding-3-small", "echo/echo"} <= ids
    assert "openai/gpt-4o-mini" not in ids


async def test_the_next_model_is_asked_where_one_fails(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"error": {"message": "Down."}}, status=500))

    body = {"models": ["own/x-embed", "echo/echo"], "input": "a"}
    response = await router.post("/v1/embeddings", body)

    assert (await response.json())["model"] == "echo/echo"


# --- echo, and the ledger --------------------------------------------------------------------------------------------


async def test_echo_gives_the_same_vector_for_the_same_text(router: Running) -> None:
    asked = {"model": "echo/echo", "input": ["one", "two", "one"], "dimensions": 8}
    first = await (await router.post("/v1/embeddings", asked)).json()
    packed = await (await router.post("/v1/embeddings", {**asked, "encoding_format": "base64"})).json()

    one, two, again = (each["embedding"] for each in first["data"])
    assert one == again != two
    assert sum(number * number for number in one) == pytest.approx(1)
    assert list(struct.unpack("<8f", b64decode(packed["data"][0]["embedding"]))) == one


async def test_a_row_is_written(router: Running) -> None:
    response = await router.post("/v1/embeddings", {"model": "echo/echo", "input": "two words"})

    row = await (await router.get(f"/api/v1/generation?id={response.headers['X-Generation-Id']}")).json()
    assert row["data"]["api_type"] == "embeddings"
    assert row["data"]["tokens_prompt"] == 2
    assert row["data"]["total_cost"] == 0


async def test_echo_makes_no_mountains_of_numbers(router: Running) -> None:
    response = await router.post("/v1/embeddings", {"model": "echo/echo", "input": ["a"] * 2000, "dimensions": 65536})

    assert response.status == 400
