"""Vectors and the order of documents in Cohere's form. All traffic here is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from router_cohere import Cohere, CohereSettings

from router import BadRequest, EmbedRequest, Image, RerankRequest, Text, Timeouts, UpstreamUnavailable

COHERE = Cohere("cohere", CohereSettings(plugin="cohere", api_key="cohere-key"), Timeouts())


def asked(*inputs: Any, **members: Any) -> dict[str, Any]:
    outgoing = COHERE.embed(EmbedRequest(inputs=list(inputs), model="embed-v4.0", **members))
    assert outgoing.path == "/v2/embed"
    body: dict[str, Any] = json.loads(outgoing.body)
    return body


@pytest.mark.parametrize(
    ("given", "sent"),
    [(None, "search_document"), ("query", "search_query"), ("classification", "classification")],
)
def test_what_vectors_are_for_is_always_said(given: str | None, sent: str) -> None:
    body = asked("a", input_type=given, dimensions=256)

    assert (body["texts"], body["input_type"], body["output_dimension"]) == (["a"], sent, 256)
    assert body["truncate"] == "NONE"


def test_images() -> None:
    body = asked("a", [Text(text="b"), Image(data="aGk=", media_type="image/png")])

    url = {"url": "data:image/png;base64,aGk="}
    assert [each["content"] for each in body["inputs"]] == [
        [{"type": "text", "text": "a"}],
        [{"type": "text", "text": "b"}, {"type": "image_url", "image_url": url}],
    ]


def test_tokens_are_refused() -> None:
    with pytest.raises(BadRequest):
        asked([1, 2])


def test_the_order_is_charged_by_the_search() -> None:
    outgoing = COHERE.rerank(RerankRequest(query="q", documents=["a", "b"], model="rerank-v3.5"))
    assert json.loads(outgoing.body) == {"model": "rerank-v3.5", "query": "q", "documents": ["a", "b"]}

    found = COHERE.reranked(
        b'{"id":"1","results":[{"index":1,"relevance_score":0.5}],"meta":{"billed_units":{"search_units":2}}}'
    )
    assert found.usage is not None
    assert (found.results[0].index, found.search_units, found.usage.searches) == (1, 2, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embeddings":{"int8":[[1]]}}'])
def test_nonsense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        COHERE.embedded(body)
    with pytest.raises(UpstreamUnavailable):
        COHERE.reranked(body)
