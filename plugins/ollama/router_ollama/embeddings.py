"""Vectors, in Ollama's form: `/api/embed`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from router import BadRequest, Embedded, EmbedInput, EmbedRequest, Outgoing, Text, Usage
from router.wire.reading import reader


def embed(request: EmbedRequest, keep_alive: str | int | None) -> Outgoing:
    """The request. Raises BadRequest for tokens and images."""
    # too long an input is refused, not cut off without a word
    body: dict[str, Any] = {
        "model": request.model,
        "input": [_text(given) for given in request.inputs],
        "truncate": False,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    dropped = request.unused("input_type", "titles", "user")
    return Outgoing(path="/api/embed", body=msgspec.json.encode(body), dropped=dropped)


def _text(given: EmbedInput) -> str:
    if isinstance(given, str):
        return given
    pieces = [part.text for part in given if isinstance(part, Text)]
    if len(pieces) < len(given):
        raise BadRequest("input: Ollama takes text, neither tokens nor images", param="input")
    return "".join(pieces)


class _Answer(Struct):
    """`embedding` is that of `/api/embeddings`, the API before."""

    embeddings: list[list[float]] = []
    embedding: list[float] | None = None
    prompt_eval_count: int | None = None


_read = reader(_Answer, "vectors")


def embedded(body: bytes) -> Embedded:
    """The vectors of an answer."""
    told = _read(body)
    vectors = told.embeddings or ([told.embedding] if told.embedding else [])
    return Embedded(vectors=vectors, usage=Usage(input=told.prompt_eval_count) if told.prompt_eval_count else None)
