"""OpenAI's embeddings (api.md 9): vectors for texts, tokens, or text with images.

Upstreams with the same API are relayed. Others get the inputs in the hub's form. Either way the client gets the encoding that it asked
for, whatever the upstream gave: base64 of little-endian 32-bit floats is what OpenAI's own clients ask for unless told otherwise.
"""

from __future__ import annotations

import binascii
import re
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Raw, Struct

from ..errors import BadRequest, UpstreamUnavailable
from ..head import Head
from ..modalities import EmbedInput, EmbedRequest
from ..model import Image, Text
from ..openai_words import merge_usage
from ..prices import Usage
from ..wire import openai as wire
from .again import Again
from .base import Path
from .openai_chat.fields import Check, convert, integer, one_of, text
from .openai_chat.peek import PART_TOKENS
from .whole import Whole, members_of, priced

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..provider import Outgoing

#: inputs of one request; OpenAI takes no more
MOST_INPUTS = 2048
MOST_DIMENSIONS = 65536
WANTED = "a string, a list of strings, tokens as a list of integers or of such lists, or a list of objects with content"


class OpenAIEmbeddings(Whole):
    """`POST /embeddings`."""

    name = "openai.embeddings"
    api_type = "embeddings"
    produces = "embeddings"
    paths = (Path("/embeddings", "embeddings"),)
    fields: ClassVar[Mapping[str, Check]] = {
        "dimensions": integer("dimensions", 1, MOST_DIMENSIONS),
        "encoding_format": one_of("encoding_format", "float", "base64"),
        "input_type": text("input_type", 64),
    }

    def head(self, members: dict[str, Raw]) -> Head:
        """The head of a request. `decoded` holds the inputs too."""
        raw = members.get("input", wire.NOTHING)
        head = super().head({name: each for name, each in members.items() if name != "input"})
        head.members = members
        inputs = head.decoded["input"] = _inputs(raw)
        head.prompt_tokens = sum(_tokens(each) for each in inputs)
        if any(isinstance(each, list) and any(isinstance(part, Image) for part in each) for each in inputs):
            head.modalities = frozenset({"image"})
        return head

    def translate(self, call: Call, candidate: Candidate) -> Outgoing:
        """The inputs for a provider with an API of its own."""
        values = call.head.decoded
        request = EmbedRequest(
            inputs=values["input"],
            model=candidate.endpoint.model.id,
            dimensions=values.get("dimensions"),
            input_type=values.get("input_type"),
            user=call.head.user,
        )
        return candidate.provider.embed(request)

    def answer(self, call: Call, body: bytes) -> None:
        """Read an answer, relayed or not. Raises an UpstreamError where it holds no vectors."""
        assert call.candidate is not None
        provider = call.candidate.provider
        call.outcome.finish_reason = "stop"
        call.outcome.media_type = "application/json"
        if provider.pass_path(self.name, call.candidate, call.operation) is None:
            embedded = provider.embedded(body)
            items = [_Item(index=index, embedding=vector) for index, vector in enumerate(embedded.vectors)]
            call.outcome.usage, call.outcome.upstream_id = embedded.usage, embedded.id
            call.outcome.decoded = _Read(members={}, items=items, counted={})
        else:
            self._relayed(call, body)
        found = len(call.outcome.decoded.items)
        if found != len(call.head.decoded["input"]):
            raise UpstreamUnavailable(f"the upstream gave {found} vectors for {len(call.head.decoded['input'])} inputs")
        wants_base64 = call.head.decoded.get("encoding_format") == "base64"
        for item in call.outcome.decoded.items:
            item.embedding = _encoded(item.embedding, wants_base64)

    def _relayed(self, call: Call, body: bytes) -> None:
        members = members_of(call, body)
        try:
            items = _decode_items(members.get("data", Raw(b"[]")))
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's answer holds no vectors") from error
        counted: dict[str, Any] = {}
        merge_usage(counted, members.get("usage", wire.NOTHING))
        outcome = call.outcome
        outcome.usage = _usage(counted)
        id = wire.decode_any(members["id"]) if "id" in members else None
        outcome.upstream_id = id if isinstance(id, str) else ""
        outcome.decoded = _Read(members=members, items=items, counted=counted)

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """The client's body."""
        found: _Read = call.outcome.decoded
        kept = {name: raw for name, raw in found.members.items() if name not in ("data", "usage")}
        told: dict[str, Any] = {
            **kept,
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": item.embedding}
                for index, item in enumerate(found.items)
            ],
            "model": call.model_id,
            "usage": priced(call, found.counted),
            "id": call.id,
        }
        if call.metadata is not None:
            told["openrouter_metadata"] = call.metadata
        return wire.encode(told)

    def again(self, call: Call) -> Again:
        """Its own id."""
        return Again({"id": call.id})


# --- requests --------------------------------------------------------------------------------------------------------


class _Url(Struct):
    url: str


class _Part(Struct):
    """A part of a multimodal input."""

    type: str
    text: str = ""
    image_url: _Url | str | None = None


class _Mixed(Struct):
    """A multimodal input: its parts make one vector."""

    content: str | list[_Part]


_decode_inputs = msgspec.json.Decoder(str | list[str | int | list[int] | _Mixed] | None).decode
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


def _inputs(raw: Raw) -> list[EmbedInput]:
    value = convert(_decode_inputs, "input", raw, WANTED) if wire.given(raw) else None
    if value is None or value == []:
        raise BadRequest(f"input is required: {WANTED}", param="input")
    if isinstance(value, str):
        return [value]
    if len({type(each) for each in value}) > 1:
        raise BadRequest(f"input must be {WANTED}", param="input")
    if isinstance(value[0], int):
        return [value]
    if len(value) > MOST_INPUTS:
        raise BadRequest(f"input may have at most {MOST_INPUTS} entries; got {len(value)}", param="input")
    return [_mixed(each, place) if isinstance(each, _Mixed) else each for place, each in enumerate(value)]


def _mixed(given: _Mixed, place: int) -> EmbedInput:
    if isinstance(given.content, str):
        return given.content
    parts: list[Text | Image] = []
    for index, part in enumerate(given.content):
        if part.type in ("text", "input_text"):
            parts.append(Text(text=part.text))
            continue
        url = part.image_url.url if isinstance(part.image_url, _Url) else part.image_url
        if part.type not in ("image_url", "input_image") or not url:
            name = f"input[{place}].content[{index}]"
            raise BadRequest(f"{name} must be of type text or image_url", param=name)
        found = _DATA.match(url)
        parts.append(Image(data=url[found.end() :], media_type=found[1]) if found else Image(url=url))
    return parts


def _tokens(given: EmbedInput) -> int:
    """An estimate: four characters a token, rounded up; tokens as many as there are."""
    if isinstance(given, str):
        return -(-len(given) // 4)
    return sum(
        1 if isinstance(part, int) else -(-len(part.text) // 4) if isinstance(part, Text) else PART_TOKENS["image"]
        for part in given
    )


# --- answers ---------------------------------------------------------------------------------------------------------


class _Item(Struct):
    """A vector: floats, or base64 of them. Voyage and others leave out the index of the only one."""

    embedding: list[float] | str
    index: int = 0


class _Read(Struct):
    """What an answer holds: `members` and `counted` (usage) as the upstream wrote them."""

    members: dict[str, Raw]
    items: list[_Item]
    counted: dict[str, Any]


_decode_list = msgspec.json.Decoder(list[_Item]).decode


def _decode_items(raw: Raw) -> list[_Item]:
    items = _decode_list(raw)
    return sorted(items, key=lambda item: item.index)


def _usage(counted: dict[str, Any]) -> Usage | None:
    """Tokens; Voyage says only the total. OpenRouter says what it charges, too."""
    tokens = counted.get("prompt_tokens") or counted.get("total_tokens")
    if not isinstance(tokens, int) or tokens <= 0:
        return None
    cost = counted.get("cost")
    usage = Usage(input=tokens)
    if isinstance(cost, int | float) and cost > 0:
        usage.cost = round(cost * 10**12)
    return usage.clamped()


def _encoded(vector: list[float] | str, base64: bool) -> list[float] | str:
    """The vector in the form that the client asked for. Raises UpstreamUnavailable where it cannot be read."""
    if isinstance(vector, str) == base64:
        return vector
    if isinstance(vector, str):
        try:
            floats = array("f", b64decode(vector, validate=True))
        except (binascii.Error, ValueError) as error:
            raise UpstreamUnavailable("the upstream's vectors cannot be read") from error
        _little(floats)
        return floats.tolist()
    floats = array("f", vector)
    _little(floats)
    return b64encode(floats.tobytes()).decode()


def _little(floats: array[float]) -> None:
    if sys.byteorder == "big":
        floats.byteswap()
