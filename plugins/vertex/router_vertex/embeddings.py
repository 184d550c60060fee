"""Vectors on Vertex: `:predict` for the text-embedding models, `:embedContent` and its batch for Gemini's.

https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api, seen in November 2026.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field
from router_gemini.embeddings import parts, task

from router import BadRequest, Embedded, EmbedInput, EmbedRequest, Text, Usage
from router.wire.reading import reader

_encode = msgspec.json.Encoder().encode


def is_gemini(model: str) -> bool:
    """True for the models that have `:embedContent`."""
    return model.rpartition("/")[2].startswith("gemini-")


def method(request: EmbedRequest) -> str:
    """What is asked of the model."""
    if not is_gemini(request.model):
        return "predict"
    return "embedContent" if len(request.inputs) == 1 else "batchEmbedContents"


def body(request: EmbedRequest) -> bytes:
    """The request. Too long an input is refused, not cut off without a word. Raises BadRequest where it cannot be expressed."""
    purpose = task(request.input_type) if request.input_type is not None else None
    titles = request.titles or [""] * len(request.inputs)
    if not is_gemini(request.model):
        return _encode(_predict(request, purpose, titles))
    shared = {"taskType": purpose, "outputDimensionality": request.dimensions, "autoTruncate": False}
    requests = [
        {
            "content": {"role": "user", "parts": parts(given)},
            "embedContentConfig": _set(shared | {"title": title or None}),
        }
        for given, title in zip(request.inputs, titles, strict=True)
    ]
    return _encode(requests[0] if len(requests) == 1 else {"requests": requests})


def _predict(request: EmbedRequest, purpose: str | None, titles: list[str]) -> dict[str, Any]:
    instances = [
        _set({"content": _text(given), "task_type": purpose, "title": title or None})
        for given, title in zip(request.inputs, titles, strict=True)
    ]
    return {
        "instances": instances,
        "parameters": _set({"autoTruncate": False, "outputDimensionality": request.dimensions}),
    }


def _text(given: EmbedInput) -> str:
    if isinstance(given, str):
        return given
    texts = [part.text for part in given if isinstance(part, Text)]
    if len(texts) < len(given):
        raise BadRequest("input: this model takes text, neither tokens nor images", param="input")
    return "\n".join(texts)


def _set(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


# --- answers ---------------------------------------------------------------------------------------------------------


class _Statistics(Struct):
    token_count: float = 0


class _Vector(Struct):
    values: list[float]
    statistics: _Statistics = field(default_factory=_Statistics)


class _Prediction(Struct):
    embeddings: _Vector


class _Counted(Struct, rename="camel"):
    prompt_token_count: int = 0


class _Answer(Struct, rename="camel"):
    """One of the three forms."""

    predictions: list[_Prediction] | None = None
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: _Counted | None = None


_read = reader(_Answer, "vectors")


def embedded(body: bytes) -> Embedded:
    """The vectors of an answer of any kind."""
    told = _read(body)
    found = [each.embeddings for each in told.predictions or ()] or told.embeddings or []
    if told.embedding is not None:
        found = [told.embedding]
    counted = told.usage_metadata.prompt_token_count if told.usage_metadata else 0
    tokens = counted or int(sum(each.statistics.token_count for each in found))
    return Embedded(vectors=[each.values for each in found], usage=Usage(input=tokens) if tokens > 0 else None)
