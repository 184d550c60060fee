"""Voyage's requests and answers. From its API reference, seen in November 2026."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from router import (
    BadRequest,
    Embedded,
    EmbedInput,
    EmbedRequest,
    Image,
    Outgoing,
    Ranked,
    Reranked,
    RerankRequest,
    Text,
    Usage,
)
from router.wire.reading import reader

#: what vectors are for, by the words of other APIs
_TYPES = {"search_query": "query", "search_document": "document", "passage": "document"}
_KNOWN = ("query", "document")


def embed(request: EmbedRequest) -> Outgoing:
    """The request. Too long an input is refused, not cut off without a word. Raises BadRequest for tokens."""
    dropped = request.unused("titles", "user")
    body: dict[str, Any] = {"model": request.model, "truncation": False}
    if request.input_type is not None:
        kind = _TYPES.get(request.input_type, request.input_type)
        if kind in _KNOWN:
            body["input_type"] = kind
        else:
            dropped.append("input_type")
    mixed = "multimodal" in request.model or any(_has_image(given) for given in request.inputs)
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if mixed:
        body["inputs"] = [{"content": _content(given)} for given in request.inputs]
    else:
        body["input"] = [_text(given) for given in request.inputs]
    path = "/multimodalembeddings" if mixed else "/embeddings"
    return Outgoing(path=path, body=msgspec.json.encode(body), dropped=dropped)


def _has_image(given: EmbedInput) -> bool:
    return isinstance(given, list) and any(isinstance(part, Image) for part in given)


def _text(given: EmbedInput) -> str:
    if isinstance(given, str):
        return given
    return "".join(part.text for part in _parts(given) if isinstance(part, Text))


def _parts(given: list[int] | list[Text | Image]) -> list[Text | Image]:
    parts = [part for part in given if not isinstance(part, int)]
    if len(parts) < len(given):
        raise BadRequest("input: Voyage takes text, not tokens", param="input")
    return parts


def _content(given: EmbedInput) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    content: list[dict[str, Any]] = []
    for part in _parts(given):
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif part.url:
            content.append({"type": "image_url", "image_url": part.url})
        else:
            content.append({"type": "image_base64", "image_base64": f"data:{part.media_type};base64,{part.data}"})
    return content


def rerank(request: RerankRequest) -> Outgoing:
    """The request."""
    body: dict[str, Any] = {
        "model": request.model,
        "query": request.query,
        "documents": request.documents,
        "truncation": False,
    }
    if request.top_n is not None:
        body["top_k"] = request.top_n
    return Outgoing(path="/rerank", body=msgspec.json.encode(body))


class _Counted(Struct):
    total_tokens: int = 0


class _Vector(Struct):
    embedding: list[float]
    index: int = 0


class _Embedded(Struct):
    data: list[_Vector]
    usage: _Counted | None = None


class _Result(Struct):
    index: int
    relevance_score: float


class _Reranked(Struct):
    data: list[_Result]
    usage: _Counted | None = None


_read_vectors = reader(_Embedded, "vectors")
_read_order = reader(_Reranked, "order")


def embedded(body: bytes) -> Embedded:
    """The vectors of an answer, in the order of the inputs."""
    told = _read_vectors(body)
    vectors = [each.embedding for each in sorted(told.data, key=lambda each: each.index)]
    return Embedded(vectors=vectors, usage=_usage(told.usage))


def reranked(body: bytes) -> Reranked:
    """The order that an answer gives. Voyage charges by the token."""
    told = _read_order(body)
    return Reranked(
        results=[Ranked(index=each.index, score=each.relevance_score) for each in told.data], usage=_usage(told.usage)
    )


def _usage(counted: _Counted | None) -> Usage | None:
    return Usage(input=counted.total_tokens) if counted is not None and counted.total_tokens > 0 else None
