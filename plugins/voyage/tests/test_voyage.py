"""Voyage: what is sent, what answers become, and the way through a running router. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from router_voyage import Voyage, VoyageSettings

from router import BadRequest, EmbedRequest, Image, RerankRequest, Text, Timeouts, UpstreamUnavailable
from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running

VOYAGE = Voyage("voyage", VoyageSettings(plugin="voyage", api_key="voyage-key"), Timeouts())
VECTORS = {
    "object": "list",
    "data": [
        {"object": "embedding", "embedding": [0.5, 0.25], "index": 1},
        {"object": "embedding", "embedding": [1.0, -1.0], "index": 0},
    ],
    "model": "voyage-4",
    "usage": {"total_tokens": 6},
}
ORDER = {
    "object": "list",
    "data": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
    "model": "rerank-2.5",
    "usage": {"total_tokens": 20},
}


@pytest.fixture
async def router(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[Running]:
    settings = Settings(
        providers={"voyage": {"plugin": "voyage", "api_key": "voyage-key", "base_url": f"{upstream.url}/v1"}}
    )
    async with running(settings, tmp_path) as router:
        yield router


def sent(*inputs: Any, model: str = "voyage-4", **members: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of a request for vectors."""
    outgoing = VOYAGE.embed(EmbedRequest(inputs=list(inputs), model=model, **members))
    return outgoing.path, json.loads(outgoing.body)


def test_text() -> None:
    assert sent("a", "b", dimensions=256, input_type="search_query") == (
        "/embeddings",
        {
            "model": "voyage-4",
            "truncation": False,
            "input": ["a", "b"],
            "output_dimension": 256,
            "input_type": "query",
        },
    )


def test_images_go_elsewhere() -> None:
    path, body = sent([Text(text="a"), Image(data="aGk=", media_type="image/png"), Image(url="https://x.test/y.png")])

    assert path == "/multimodalembeddings"
    assert body["inputs"] == [
        {
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_base64", "image_base64": "data:image/png;base64,aGk="},
                {"type": "image_url", "image_url": "https://x.test/y.png"},
            ]
        }
    ]


def test_a_multimodal_model_has_a_path_of_its_own() -> None:
    assert sent("a", model="voyage-multimodal-3")[0] == "/multimodalembeddings"


def test_tokens_are_refused() -> None:
    with pytest.raises(BadRequest):
        sent([1, 2])


def test_what_voyage_does_not_know_is_dropped_and_named() -> None:
    outgoing = VOYAGE.embed(EmbedRequest(inputs=["a"], model="voyage-4", user="u", input_type="clustering"))

    assert outgoing.dropped == ["user", "input_type"]
    assert "input_type" not in json.loads(outgoing.body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":[{"embedding":"x"}]}'])
def test_nonsense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        VOYAGE.embedded(body)
    with pytest.raises(UpstreamUnavailable):
        VOYAGE.reranked(body)


def test_rerank() -> None:
    outgoing = VOYAGE.rerank(RerankRequest(query="q", documents=["a"], model="rerank-2.5", top_n=1))

    assert outgoing.path == "/rerank"
    assert json.loads(outgoing.body) == {
        "model": "rerank-2.5",
        "query": "q",
        "documents": ["a"],
        "truncation": False,
        "top_k": 1,
    }


def test_a_new_model_is_what_its_name_says() -> None:
    assert VOYAGE.unknown("rerank-9").output_modalities == ["rerank"]
    assert VOYAGE.unknown("voyage-9").output_modalities == ["embeddings"]
    assert all(model.output_modalities in (["embeddings"], ["rerank"]) for model in VOYAGE.catalogue())


# --- through a router ------------------------------------------------------------------------------------------------


async def test_vectors(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(VECTORS))

    response = await router.post("/v1/embeddings", {"model": "voyage/voyage-4", "input": ["a", "b"]})

    told = await response.json()
    assert [each["embedding"] for each in told["data"]] == [[1.0, -1.0], [0.5, 0.25]]
    assert told["usage"] == {"prompt_tokens": 6, "total_tokens": 6, "cost": 3.6e-7, "is_byok": False}
    assert upstream.asked[0].path == "/v1/embeddings"
    assert upstream.asked[0].headers["Authorization"] == "Bearer voyage-key"


@pytest.mark.parametrize("path", ["/v1/rerank", "/api/v1/rerank"])
async def test_order(router: Running, upstream: FakeUpstream, path: str) -> None:
    upstream.will(json_answer(ORDER))

    documents = ["one", {"text": "two", "id": 7}]
    response = await router.post(path, {"model": "voyage/rerank-2.5", "query": "q", "documents": documents})

    told = await response.json()
    assert response.status == 200, told
    assert upstream.asked[0].body["documents"] == ["one", "two"]
    assert told["id"] == response.headers["X-Generation-Id"]
    assert (told["model"], told["provider"]) == ("voyage/rerank-2.5", "voyage")
    assert told["results"] == [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "two", "id": 7}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "one"}},
    ]
    assert told["usage"] == {"total_tokens": 20, "cost": 1e-6}
    row = await (await router.get(f"/api/v1/generation?id={told['id']}")).json()
    assert (row["data"]["api_type"], row["data"]["total_cost"]) == ("rerank", 1e-6)


async def test_an_order_of_strangers_is_an_error(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ORDER))

    response = await router.post("/v1/rerank", {"model": "voyage/rerank-2.5", "query": "q", "documents": ["one"]})

    assert response.status == 502


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "", "documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": "a"}, "documents"),
        ({"query": "q", "documents": [{"image": "x"}]}, "documents[0].text"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
async def test_bad_requests_name_the_member(router: Running, members: dict[str, Any], param: str) -> None:
    response = await router.post("/v1/rerank", {"model": "voyage/rerank-2.5", **members})

    assert response.status == 400
    assert (await response.json())["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/rerank", "voyage/voyage-4"),
        ("/v1/embeddings", "voyage/rerank-2.5"),
        ("/v1/chat/completions", "voyage/voyage-4"),
    ],
)
async def test_a_model_serves_only_what_it_does(router: Running, path: str, model: str) -> None:
    body = {
        "model": model,
        "query": "q",
        "documents": ["a"],
        "input": "a",
        "messages": [{"role": "user", "content": "a"}],
    }
    response = await router.post(path, body)

    expected = (400, "wrong_endpoint") if "chat" in path else (404, "no_endpoints")
    assert (response.status, (await response.json())["error"]["availability"]["code"]) == expected


async def test_errors_are_voyages_own_words(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"detail": "Your input is too long."}, status=400))

    response = await router.post("/v1/embeddings", {"model": "voyage/voyage-4", "input": "a"})

    assert response.status == 400
    assert (await response.json())["error"]["message"] == "Your input is too long."
