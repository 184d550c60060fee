"""Vectors in Google's form. All traffic here is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from router_gemini import Gemini, GeminiSettings

from router import BadRequest, EmbedRequest, Image, Text, Timeouts, UpstreamUnavailable

GEMINI = Gemini("gemini", GeminiSettings(plugin="gemini", api_key="google-key"), Timeouts())


def asked(*inputs: Any, **members: Any) -> dict[str, Any]:
    outgoing = GEMINI.embed(EmbedRequest(inputs=list(inputs), model="gemini-embedding-001", **members))
    assert outgoing.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    body: dict[str, Any] = json.loads(outgoing.body)
    return body


def test_each_input_is_a_request_of_its_own() -> None:
    requests = asked("a", "b", dimensions=8, input_type="search_query")["requests"]

    shared = {"model": "models/gemini-embedding-001", "outputDimensionality": 8, "taskType": "RETRIEVAL_QUERY"}
    assert requests == [shared | {"content": {"parts": [{"text": text}]}} for text in "ab"]


def test_text_with_an_image() -> None:
    [request] = asked([Text(text="a"), Image(data="aGk=", media_type="image/png")])["requests"]

    assert request["content"]["parts"] == [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]


@pytest.mark.parametrize("given", [[1, 2], [Image(url="https://x.test/y.png")]], ids=["tokens", "address"])
def test_what_google_does_not_take(given: Any) -> None:
    with pytest.raises(BadRequest):
        asked(given)


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        asked("a", input_type="poetry")

    assert refused.value.param == "input_type"


def test_older_models_count_nothing() -> None:
    found = GEMINI.embedded(b'{"embeddings":[{"values":[1,0.5]}]}')

    assert (found.vectors, found.usage) == ([[1.0, 0.5]], None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}"])
def test_nonsense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        GEMINI.embedded(body)
