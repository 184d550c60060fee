"""Vectors by InvokeModel: Amazon's Titan, one input a request, and Cohere's models, many.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and model-parameters-embed.html, seen in
November 2026.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct, field

from router import BadRequest, Embedded, EmbedInput, EmbedRequest, Outgoing, Text, UpstreamUnavailable, Usage

from .traits import maker_of

#: how many tokens an input had: Cohere's answers do not say it themselves
COUNT = "X-Amzn-Bedrock-Input-Token-Count"
#: what vectors are for, in Cohere's words
_TYPES = {
    **dict.fromkeys(("query", "question_answering", "fact_verification", "code_retrieval_query"), "search_query"),
    **dict.fromkeys(("document", "passage"), "search_document"),
    "semantic_similarity": "clustering",
}
_encode = msgspec.json.Encoder().encode
_decode_bodies = msgspec.json.Decoder(list[Raw]).decode


def outgoing(request: EmbedRequest) -> Outgoing:
    """The requests to send, as one list: `bodies` takes it apart. Raises BadRequest where they cannot be expressed."""
    match maker_of(request.model):
        case "cohere":
            made, dropped = [_cohere(request)], request.unused("titles", "user")
        case "amazon" if "titan-embed" in request.model:
            made = [_titan(request, given) for given in request.inputs]
            dropped = request.unused("input_type", "titles", "user")
        case _:
            raise BadRequest("vectors come from Titan's and Cohere's embedding models here", param="model")
    return Outgoing(path=f"/model/{quote(request.model, safe='')}/invoke", body=_encode(made), dropped=dropped)


def bodies(listed: bytes) -> list[bytes]:
    """The bodies of the single requests."""
    return [bytes(each) for each in _decode_bodies(listed)]


def _titan(request: EmbedRequest, given: EmbedInput) -> dict[str, Any]:
    if "embed-image" in request.model:
        length = {"embeddingConfig": {"outputEmbeddingLength": request.dimensions}} if request.dimensions else {}
        return _with_image(given) | length
    told: dict[str, Any] = {"inputText": _text(given, "Titan")}
    if request.dimensions is not None:
        told["dimensions"] = request.dimensions
    return told


def _with_image(given: EmbedInput) -> dict[str, Any]:
    """Text, an image, or both."""
    told: dict[str, Any] = {}
    for part in [Text(text=given)] if isinstance(given, str) else given:
        name, value = ("inputText", part.text) if isinstance(part, Text) else ("inputImage", _data(part))
        if name in told:
            raise BadRequest("input: Titan takes one text and one image at once", param="input")
        told[name] = value
    return told


def _data(part: Any) -> str:
    data: str = getattr(part, "data", "")
    if not data:
        raise BadRequest("input: Titan takes text, and images as data URLs only", param="input")
    return data


def _text(given: EmbedInput, who: str) -> str:
    if isinstance(given, str):
        return given
    texts = [part.text for part in given if isinstance(part, Text)]
    if len(texts) < len(given):
        raise BadRequest(f"input: {who} takes text, neither tokens nor images", param="input")
    return "\n".join(texts)


def _cohere(request: EmbedRequest) -> dict[str, Any]:
    kind = request.input_type or "search_document"
    told: dict[str, Any] = {
        "input_type": _TYPES.get(kind, kind),
        "embedding_types": ["float"],
        "truncate": "NONE",  # too long an input is refused, not cut off without a word
    }
    if all(isinstance(given, str) for given in request.inputs):
        told["texts"] = request.inputs
    elif "embed-v4" in request.model:
        told["inputs"] = [{"content": _content(given)} for given in request.inputs]
    else:
        told["texts"] = [_text(given, "this model of Cohere's") for given in request.inputs]
    if request.dimensions is not None:
        told["output_dimension"] = request.dimensions
    return told


def _content(given: EmbedInput) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in [Text(text=given)] if isinstance(given, str) else given:
        if isinstance(part, int):
            raise BadRequest("input: Cohere takes text, not tokens", param="input")
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif part.data:
            url = f"data:{part.media_type};base64,{part.data}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        else:
            raise BadRequest("input: Cohere takes images as data URLs only here", param="input")
    return parts


# --- answers ---------------------------------------------------------------------------------------------------------


class Answered(Struct):
    """One answer of InvokeModel, and what its head counts."""

    body: Raw
    tokens: int = 0


class _ByType(Struct):
    numbers: list[list[float]] = field(name="float")


class _Answer(Struct):
    """Titan's has one vector; Cohere's many, by type or, in older forms, as they are."""

    embedding: list[float] | None = None
    embeddings: _ByType | list[list[float]] | None = None
    counted: int | None = field(default=None, name="inputTextTokenCount")
    id: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(list[Answered]).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def joined(answers: list[Answered]) -> bytes:
    """The answers as one body."""
    return _encode(answers)


def embedded(body: bytes) -> Embedded:
    """The vectors of all answers."""
    vectors: list[list[float]] = []
    tokens, id = 0, ""
    try:
        for each in _decode(body):
            answer = _decode_answer(each.body)
            vectors += _vectors(answer)
            tokens += answer.counted or each.tokens
            id = id or answer.id or ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamUnavailable("bedrock's answer holds no vectors") from error
    return Embedded(vectors=vectors, usage=Usage(input=tokens) if tokens > 0 else None, id=id)


def _vectors(answer: _Answer) -> list[list[float]]:
    if answer.embedding is not None:
        return [answer.embedding]
    if isinstance(answer.embeddings, _ByType):
        return answer.embeddings.numbers
    if answer.embeddings is None:
        raise UpstreamUnavailable(answer.message or "bedrock's answer holds no vectors")
    return answer.embeddings
