"""Vectors, in Google's form: batchEmbedContents."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from router import BadRequest, Embedded, EmbedInput, EmbedRequest, Text, Usage
from router.wire.reading import reader

#: what vectors are for, by the words of other APIs; Google's own are taken too
_TASKS = {
    "query": "RETRIEVAL_QUERY",
    "search_query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "passage": "RETRIEVAL_DOCUMENT",
    "search_document": "RETRIEVAL_DOCUMENT",
}
_OWN_TASKS = frozenset(
    {
        *("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING"),
        *("QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY"),
    }
)


def body(request: EmbedRequest) -> bytes:
    """The request. Raises BadRequest for tokens, and for images that are not in it."""
    shared: dict[str, Any] = {"model": f"models/{request.model}"}
    if request.dimensions is not None:
        shared["outputDimensionality"] = request.dimensions
    if request.input_type is not None:
        shared["taskType"] = task(request.input_type)
    titles = request.titles or [""] * len(request.inputs)
    return msgspec.json.encode(
        {
            "requests": [
                shared | ({"title": title} if title else {}) | {"content": {"parts": parts(given)}}
                for given, title in zip(request.inputs, titles, strict=True)
            ]
        }
    )


def task(input_type: str) -> str:
    """Google's word for what vectors are for. Raises BadRequest where it has none."""
    word = _TASKS.get(input_type.lower(), input_type.upper())
    if word not in _OWN_TASKS:
        raise BadRequest(f"input_type: {input_type!r} is not known to Gemini", param="input_type")
    return word


def parts(given: EmbedInput) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"text": given}]
    found: list[dict[str, Any]] = []
    for part in given:
        if isinstance(part, int):
            raise BadRequest("input: Gemini takes text, not tokens", param="input")
        if isinstance(part, Text):
            found.append({"text": part.text})
        elif part.data:
            found.append({"inlineData": {"mimeType": part.media_type, "data": part.data}})
        else:
            raise BadRequest("input: Gemini takes images as data URLs only", param="input")
    return found


class _Vector(Struct):
    values: list[float]


class _Counted(Struct, rename="camel"):
    prompt_token_count: int = 0


class _Answer(Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Counted | None = None


_read = reader(_Answer, "vectors")


def embedded(body: bytes) -> Embedded:
    """The vectors of an answer. Older models count nothing."""
    told = _read(body)
    counted = told.usage_metadata.prompt_token_count if told.usage_metadata else 0
    return Embedded(
        vectors=[each.values for each in told.embeddings], usage=Usage(input=counted) if counted > 0 else None
    )
