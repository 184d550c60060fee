"""Vectors from OpenAI's API, for clients that speak another one."""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..errors import UpstreamUnavailable
from ..modalities import Embedded, EmbedInput, EmbedRequest
from ..model import Text
from ..openai_words import ErrorReader, failure
from ..prices import Usage
from ..wire import openai as wire


def members(request: EmbedRequest) -> dict[str, Raw]:
    """The members of the body; base64 is shorter than numbers, where it is known."""
    told: dict[str, Any] = {
        "model": request.model,
        "input": [_input(each) for each in request.inputs],
        "encoding_format": "base64",
        "dimensions": request.dimensions,
        "input_type": request.input_type,
        "user": request.user,
    }
    return {name: Raw(wire.encode(value)) for name, value in told.items() if value is not None}


def _input(given: EmbedInput) -> Any:
    """Text with images as OpenRouter writes it: OpenAI's own models take none."""
    if isinstance(given, str) or all(isinstance(part, int) for part in given):
        return given
    parts: list[dict[str, Any]] = []
    for part in given:
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif not isinstance(part, int):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"content": parts}


class _Item(Struct):
    """A vector: floats, or base64 of them. Some leave out the index of the only one."""

    embedding: list[float] | str
    index: int = 0


class _Counted(Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(Struct):
    data: list[_Item] | None = None
    usage: _Counted | None = None
    id: str | None = None
    error: Raw = wire.NOTHING


_decode = msgspec.json.Decoder(_Answer).decode


def embedded(body: bytes, read: ErrorReader) -> Embedded:
    """The vectors of an answer, in the order of the inputs. Raises an UpstreamError where it holds none."""
    try:
        told = _decode(body)
        if wire.given(told.error):
            raise failure(told.error, read)
        items = sorted(told.data or [], key=lambda item: item.index)
        found = [_floats(item.embedding) for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise UpstreamUnavailable("the upstream's answer holds no vectors") from error
    counted = told.usage or _Counted()
    tokens = counted.prompt_tokens or counted.total_tokens or 0
    return Embedded(vectors=found, usage=Usage(input=tokens) if tokens > 0 else None, id=told.id or "")


def _floats(vector: list[float] | str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    floats = array("f", b64decode(vector, validate=True))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
