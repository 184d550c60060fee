"""Vectors and the order of documents: Cohere's `/v2/embed` and `/v2/rerank`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from router import (
    BadRequest,
    Embedded,
    EmbedInput,
    EmbedRequest,
    Outgoing,
    Ranked,
    Reranked,
    RerankRequest,
    Text,
    Usage,
)
from router.wire.reading import reader

#: what vectors are for, by the words of other APIs
_TYPES = {
    **dict.fromkeys(("query", "question_answering", "fact_verification", "code_retrieval_query"), "search_query"),
    **dict.fromkeys(("document", "passage"), "search_document"),
    "semantic_similarity": "clustering",  # the one that treats both sides alike
}


def embed(request: EmbedRequest) -> Outgoing:
    """The request: Cohere wants to know what vectors are for, and is told documents where the client does not say. Raises BadRequest
    for tokens."""
    kind = request.input_type or "search_document"
    body: dict[str, Any] = {
        "model": request.model,
        "input_type": _TYPES.get(kind, kind),
        "embedding_types": ["float"],
        "truncate": "NONE",  # too long an input is refused, not cut off without a word
    }
    if all(isinstance(given, str) for given in request.inputs):
        body["texts"] = request.inputs
    else:
        body["inputs"] = [{"content": _content(given)} for given in request.inputs]
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return Outgoing(path="/v2/embed", body=msgspec.json.encode(body), dropped=request.unused("titles", "user"))


def _content(given: EmbedInput) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    parts: list[dict[str, Any]] = []
    for part in given:
        if isinstance(part, int):
            raise BadRequest("input: Cohere takes text, not tokens", param="input")
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        else:
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def rerank(request: RerankRequest) -> Outgoing:
    """The request."""
    body: dict[str, Any] = {"model": request.model, "query": request.query, "documents": request.documents}
    if request.top_n is not None:
        body["top_n"] = request.top_n
    return Outgoing(path="/v2/rerank", body=msgspec.json.encode(body))


class _Billed(Struct):
    input_tokens: float | None = None
    search_units: float | None = None


class _Meta(Struct):
    billed_units: _Billed | None = None


class _Vectors(Struct):
    numbers: list[list[float]] = field(name="float")


class _Embedded(Struct):
    embeddings: _Vectors
    id: str = ""
    meta: _Meta | None = None


class _Result(Struct):
    index: int
    relevance_score: float


class _Reranked(Struct):
    results: list[_Result]
    id: str = ""
    meta: _Meta | None = None


_read_vectors = reader(_Embedded, "vectors")
_read_order = reader(_Reranked, "order")


def embedded(body: bytes) -> Embedded:
    """The vectors of an answer."""
    told = _read_vectors(body)
    tokens = int(_billed(told.meta).input_tokens or 0)
    return Embedded(vectors=told.embeddings.numbers, usage=Usage(input=tokens) if tokens else None, id=told.id)


def reranked(body: bytes) -> Reranked:
    """The order that an answer gives. Cohere charges by the search."""
    told = _read_order(body)
    units = int(_billed(told.meta).search_units or 0)
    return Reranked(
        results=[Ranked(index=each.index, score=each.relevance_score) for each in told.results],
        usage=Usage(searches=units) if units else None,
        search_units=units or None,
        id=told.id,
    )


def _billed(meta: _Meta | None) -> _Billed:
    return (meta.billed_units if meta is not None else None) or _Billed()
