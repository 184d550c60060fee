"""Vectors in Ollama's form. All traffic here is made up."""

from __future__ import annotations

import json

import pytest
from router_ollama import Ollama, OllamaSettings

from router import BadRequest, EmbedRequest, Text, Timeouts, UpstreamUnavailable, Usage

OLLAMA = Ollama("ollama", OllamaSettings(plugin="ollama", keep_alive="5m"), Timeouts())


def test_a_request() -> None:
    outgoing = OLLAMA.embed(EmbedRequest(inputs=["a", [Text(text="b")]], model="all-minilm", dimensions=8, user="u"))

    assert outgoing.path == "/api/embed"
    assert outgoing.dropped == ["user"]
    assert json.loads(outgoing.body) == {
        "model": "all-minilm",
        "input": ["a", "b"],
        "truncate": False,
        "dimensions": 8,
        "keep_alive": "5m",
    }


def test_tokens_are_refused() -> None:
    with pytest.raises(BadRequest):
        OLLAMA.embed(EmbedRequest(inputs=[[1, 2]], model="all-minilm"))


def test_an_answer() -> None:
    found = OLLAMA.embedded(b'{"embeddings":[[1,2],[3,4]],"prompt_eval_count":5}')

    assert (found.vectors, found.usage) == ([[1.0, 2.0], [3.0, 4.0]], Usage(input=5))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"embeddings":"x"}'])
def test_nonsense_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        OLLAMA.embedded(body)
