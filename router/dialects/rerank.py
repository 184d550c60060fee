"""Rerank (api.md 9): documents in the order of how well they answer a query. There is no API that many share: all are translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Raw

from ..errors import BadRequest, UpstreamUnavailable
from ..head import Head
from ..modalities import Reranked, RerankRequest
from ..prices import PICODOLLARS, Usage
from ..wire import openai as wire
from .again import Again
from .base import Path
from .openai_chat.common import provider_of
from .openai_chat.fields import MAX_COUNT, Check, boolean, convert, integer, text
from .whole import Whole

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..provider import Outgoing

#: documents of one request
MOST_DOCUMENTS = 10_000


class Rerank(Whole):
    """`POST /rerank`."""

    name = "rerank"
    api_type = "rerank"
    produces = "rerank"
    paths = (Path("/rerank", "rerank"),)
    fields: ClassVar[Mapping[str, Check]] = {
        "query": text("query"),
        "top_n": integer("top_n", 1, MAX_COUNT),
        "return_documents": boolean("return_documents"),
    }

    def head(self, members: dict[str, Raw]) -> Head:
        """The head of a request. `decoded` holds the documents too."""
        raw = members.get("documents", wire.NOTHING)
        head = super().head({name: each for name, each in members.items() if name != "documents"})
        head.members = members
        if not head.decoded.get("query"):
            raise BadRequest("query is required: a string that is not empty", param="query")
        documents = head.decoded["documents"] = _documents(raw)
        chars = len(head.decoded["query"]) * len(documents) + sum(len(_text(each)) for each in documents)
        head.prompt_tokens = -(-chars // 4)
        return head

    def translate(self, call: Call, candidate: Candidate) -> Outgoing:
        """The query and the documents for this provider."""
        values = call.head.decoded
        request = RerankRequest(
            query=values["query"],
            documents=[_text(each) for each in values["documents"]],
            model=candidate.endpoint.model.id,
            top_n=values.get("top_n"),
        )
        return candidate.provider.rerank(request)

    def answer(self, call: Call, body: bytes) -> None:
        """Read an answer. Raises an UpstreamError where it names documents that there are not."""
        assert call.candidate is not None
        found = call.candidate.provider.reranked(body)
        count = len(call.head.decoded["documents"])
        if any(not 0 <= each.index < count for each in found.results):
            raise UpstreamUnavailable("the upstream's answer names documents that it was not sent")
        outcome = call.outcome
        outcome.usage, outcome.upstream_id, outcome.finish_reason = found.usage, found.id, "stop"
        # what is charged by the search has no tokens to estimate a price from
        outcome.media_type = "application/json"
        outcome.uncounted = found.usage is None
        outcome.decoded = found

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """The client's body."""
        found: Reranked = call.outcome.decoded
        values = call.head.decoded
        wanted = found.results[: values.get("top_n")]
        told: dict[str, Any] = {
            "id": call.id,
            "object": "list",
            "model": call.model_id,
            "provider": provider_of(call),
            "results": [_result(each.index, each.score, values) for each in wanted],
            "usage": _usage(call, found),
        }
        if call.metadata is not None:
            told["openrouter_metadata"] = call.metadata
        return wire.encode(told)

    def again(self, call: Call) -> Again:
        """Its own id."""
        return Again({"id": call.id})


_decode_documents = msgspec.json.Decoder(list[str | dict[str, Any]] | None).decode


def _documents(raw: Raw) -> list[str | dict[str, Any]]:
    wanted = "a list of strings or of objects with text"
    found: list[str | dict[str, Any]] | None = (
        convert(_decode_documents, "documents", raw, wanted) if wire.given(raw) else None
    )
    if not found:
        raise BadRequest(f"documents is required: {wanted}", param="documents")
    if len(found) > MOST_DOCUMENTS:
        raise BadRequest(f"documents may have at most {MOST_DOCUMENTS} entries; got {len(found)}", param="documents")
    for place, each in enumerate(found):
        if isinstance(each, dict) and not isinstance(each.get("text"), str):
            name = f"documents[{place}].text"
            raise BadRequest(f"{name} is required: only text can be put in order here", param=name)
    return found


def _text(document: str | dict[str, Any]) -> str:
    return document if isinstance(document, str) else str(document["text"])


def _result(index: int, score: float, values: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"index": index, "relevance_score": score}
    if values.get("return_documents") is not False:
        document = values["documents"][index]
        told["document"] = {"text": document} if isinstance(document, str) else document
    return told


def _usage(call: Call, found: Reranked) -> dict[str, Any]:
    usage = call.usage or Usage()
    told: dict[str, Any] = {
        "total_tokens": usage.input,
        "cost": None if call.charge is None else call.charge / PICODOLLARS,
    }
    if found.search_units is not None:
        told["search_units"] = found.search_units
    if usage.source == "estimated":
        told["estimated"] = True
    return told
