"""Gemini's embedContent and batchEmbedContents (api.md 8): vectors, for Google's clients.

Google's own models get the client's bytes. All others get the inputs in the hub's form, where one request has one purpose and one
length of vectors; titles go to who takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ..errors import BadRequest, UpstreamUnavailable
from ..head import Head
from ..modalities import EmbedInput, EmbedRequest
from ..model import Image, Text
from ..prices import Usage
from ..wire import gemini as wire
from ..wire.reading import reader
from . import envelopes
from .again import Again
from .base import Dialect, Path
from .gemini_generate import METHODS as GENERATING
from .gemini_generate import common, fields
from .gemini_generate.common import encode_json, given
from .gemini_generate.patch import OURS
from .gemini_generate.peek import as_list, model_of, read_members, weigh
from .openai_chat.fields import convert, text
from .openai_chat.peek import routing
from .whole import members_of

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..errors import RouterError
    from ..provider import Outgoing

SINGLE, BATCH = "embed", "embed_batch"
#: the methods below a model and the operations that they are
METHODS = {"embedContent": SINGLE, "batchEmbedContents": BATCH}
#: with those of chat: all of Google's API that is answered here
ALL_METHODS = GENERATING.keys() | METHODS
#: requests of one batch
MOST_REQUESTS = 2048
MOST_DIMENSIONS = 65536
#: what vectors are for, in the words of most other APIs; other purposes are Google's words in lower case
PURPOSES = {"RETRIEVAL_QUERY": "search_query", "RETRIEVAL_DOCUMENT": "search_document"}


class GeminiEmbeddings(Dialect):
    """`POST /models/{model}:embedContent` and `:batchEmbedContents`; some clients leave `/models` out."""

    name = "gemini.embeddings"
    surface = "gemini"
    api_type = "embeddings"
    produces = "embeddings"
    through_hub = False
    prefixes = ("/v1beta", "/v1", "/api/v1beta", "/api/v1")
    paths = tuple(Path(f"/{{model:.+}}:{method}", operation) for method, operation in METHODS.items())
    keepalive = None
    keepalive_before_start = None

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        raw, members = read_members(body, fields.EMBED)
        head = Head(members=raw, unknown=[name for name in members if name not in fields.EMBED.names], max_tokens=0)
        values = fields.router_config(members["routerConfig"]) if "routerConfig" in members else {}
        routing(head, values | {"model": model_of(path["model"])})
        head.stream = False
        asked = [_asked(each, place) for each, place in _requests(members, operation)]
        head.prompt_tokens = sum(each.tokens for each in asked)
        head.modalities = frozenset().union(*(each.modalities for each in asked))
        head.decoded = asked
        return head

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """The client's own bytes wherever nothing of it is ours and the model is called the same."""
        head = call.head
        call.dropped, call.warnings = [], list(head.warnings)
        members = {name: raw for name, raw in head.members.items() if name not in OURS}
        model = Raw(encode_json(f"models/{candidate.endpoint.model.id}"))
        if "model" in members:
            members["model"] = model
        if "requests" in members:
            members["requests"] = _named(members["requests"], model)
        candidate.provider.raw_patch(self.name, members, candidate)
        return call.body if members == head.members else encode_json(members)

    def translate(self, call: Call, candidate: Candidate) -> Outgoing:
        """The inputs for a provider that does not speak like Google. Raises BadRequest where it cannot be expressed."""
        asked: list[Asked] = call.head.decoded
        first = asked[0]
        for each in asked:
            for name in ("task", "dimensions"):
                if getattr(each, name) != getattr(first, name):
                    what = f"{each.place}{'taskType' if name == 'task' else 'outputDimensionality'}"
                    raise BadRequest(f"{what}: all requests of a batch must have the same for this model", param=what)
        request = EmbedRequest(
            inputs=[_input(each) for each in asked],
            model=candidate.endpoint.model.id,
            dimensions=first.dimensions,
            input_type=PURPOSES.get(first.task, first.task.lower()) or None,
            titles=[each.title for each in asked] if any(each.title for each in asked) else [],
            user=call.head.user,
        )
        return candidate.provider.embed(request)

    def answer(self, call: Call, body: bytes) -> None:
        """Read an answer, relayed or not. Raises an UpstreamError where it does not hold as many vectors as were asked for."""
        assert call.candidate is not None
        outcome, provider = call.outcome, call.candidate.provider
        outcome.finish_reason, outcome.media_type = "stop", "application/json"
        if provider.pass_path(self.name, call.candidate, call.operation) is None:
            embedded = provider.embedded(body)
            outcome.usage, outcome.upstream_id, outcome.decoded = embedded.usage, embedded.id, embedded.vectors
            count = len(embedded.vectors)
        else:
            count, outcome.usage = _relayed(call, body)
        if count != len(call.head.decoded):
            raise UpstreamUnavailable(f"the upstream gave {count} vectors for {len(call.head.decoded)} contents")

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """The client's body: Google's as it came, unless the client asked for metadata."""
        vectors = call.outcome.decoded
        if vectors is None:
            return common.with_metadata(call, body) if call.metadata is not None else body
        told: dict[str, Any] = {"embeddings": [{"values": each} for each in vectors]}
        if call.operation == SINGLE:
            told = {"embedding": {"values": vectors[0]}}
        usage = call.usage or Usage(source="estimated")
        counted: dict[str, Any] = {"promptTokenCount": usage.input}
        if usage.source == "estimated":
            counted["estimated"] = True
        told["usageMetadata"] = counted
        if call.metadata is not None:
            common.add_metadata(call, told, counted)
        return encode_json(told)

    def again(self, call: Call) -> Again:
        """There is no id to it."""
        return Again({}, usage="usageMetadata")

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope; the code is a number for everybody."""
        return envelopes.gemini(error)


# --- requests --------------------------------------------------------------------------------------------------------


class Asked(Struct, kw_only=True):
    """One content to embed, still as bytes. `place` is where it stands in the body, `task` "" where it has no purpose."""

    place: str
    content: Raw
    task: str = ""
    title: str = ""
    dimensions: int | None = None
    tokens: int = 0
    modalities: frozenset[str] = frozenset()


_decode_requests = msgspec.json.Decoder(list[dict[str, Raw]] | None).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw] | None).decode
_decode_peeked = msgspec.json.Decoder(wire.PeekedContent | None).decode
_decode_content = msgspec.json.Decoder(wire.GivenContent).decode
_decode_batch = msgspec.json.Decoder(list[dict[str, Raw]]).decode


def _requests(members: dict[str, Raw], operation: str) -> list[tuple[dict[str, Raw], str]]:
    """The requests of a body, each with its place."""
    if operation == SINGLE:
        return [(members, "")]
    raw = members.get("requests", wire.NOTHING)
    found = convert(_decode_requests, "requests", raw, "a list of requests") if given(raw) else None
    if not found:
        raise BadRequest("requests must be a list of at least one request", param="requests")
    if len(found) > MOST_REQUESTS:
        raise BadRequest(f"requests may have at most {MOST_REQUESTS} entries; got {len(found)}", param="requests")
    return [(each, f"requests[{index}].") for index, each in enumerate(found)]


def _asked(members: dict[str, Raw], place: str) -> Asked:
    raw = members.get("content", wire.NOTHING)
    name = f"{place}content"
    content = convert(_decode_peeked, name, raw, "a content with parts") if given(raw) else None
    parts = as_list(content.parts) if content else []
    if not parts:
        raise BadRequest(f"{name} must have at least one part", param=name)
    weights = [weigh(part) for part in parts]
    config = members.get("embedContentConfig", wire.NOTHING)
    if given(config):
        members = members | (convert(_decode_object, f"{place}embedContentConfig", config, "an object") or {})
    task = _text(members, place, "taskType").upper()
    return Asked(
        place=place,
        content=raw,
        task="" if task.endswith("UNSPECIFIED") else task,
        title=_text(members, place, "title"),
        dimensions=_dimensions(members, place),
        tokens=-(-sum(size for size, _ in weights) // 4) + sum(_TOKENS for _, modality in weights if modality),
        modalities=frozenset(modality for _, modality in weights if modality),
    )


#: what a part that is not text counts as: an estimate
_TOKENS = 800


def _text(members: dict[str, Raw], place: str, name: str) -> str:
    return text(f"{place}{name}", 1024)(members[name]) or "" if name in members else ""


def _dimensions(members: dict[str, Raw], place: str) -> int | None:
    name = "outputDimensionality"
    return fields.integer(f"{place}{name}", 1, MOST_DIMENSIONS)(members[name]) if name in members else None


def _named(requests: Raw, model: Raw) -> Raw:
    """The requests of a batch with the upstream's name of the model, which each of them must have."""
    found = _decode_batch(requests)
    if all(each.get("model") == model for each in found):
        return requests
    return Raw(encode_json([{**each, "model": model} for each in found]))


def _input(asked: Asked) -> EmbedInput:
    """A content in the hub's form: text, or parts that make one vector."""
    content = convert(_decode_content, f"{asked.place}content", asked.content, "a content with parts")
    parts = [_part(part, f"{asked.place}content.parts[{index}]") for index, part in enumerate(as_list(content.parts))]
    texts = [part.text for part in parts if isinstance(part, Text)]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def _part(part: wire.Part, place: str) -> Text | Image:
    if part.text is not None:
        return Text(text=part.text)
    if (blob := part.inline_data) is not None and (blob.mime_type or "").startswith("image/"):
        # Google's own SDKs write base64 for URLs.
        data = (blob.data or "").replace("-", "+").replace("_", "/")
        return Image(data=data, media_type=blob.mime_type or "")
    if (file := part.file_data) is not None and (file.file_uri or "").startswith(("http://", "https://", "data:")):
        return Image(url=file.file_uri or "", media_type=file.mime_type or "")
    raise BadRequest(f"{place}: this model takes text and images only", param=place)


# --- answers ---------------------------------------------------------------------------------------------------------


class _Vector(Struct):
    values: Raw


class _Counted(Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Answer(Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: _Counted | None = None


_read_answer = reader(_Answer, "vectors")


def _relayed(call: Call, body: bytes) -> tuple[int, Usage | None]:
    """How many vectors Google's answer holds, and what it counts; older models count nothing."""
    members_of(call, body)
    told = _read_answer(body)
    vectors = told.embeddings if told.embeddings is not None else [told.embedding] if told.embedding else []
    counted = (told.usage_metadata.prompt_token_count if told.usage_metadata else None) or 0
    return len(vectors), Usage(input=counted).clamped() if counted > 0 else None
