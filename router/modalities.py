"""The hub of operations other than chat: what their dialects and the providers with an API of their own for them meet in.

Providers that have OpenAI's form of an operation are relayed and need nothing of this (`Provider.passes`).
"""

from __future__ import annotations

from msgspec import Struct, field

from .model import Image, Text
from .prices import Usage

#: what is embedded: text, tokens, or parts that make one vector together
EmbedInput = str | list[int] | list[Text | Image]


class EmbedRequest(Struct, kw_only=True):
    """A request for vectors, one for each of `inputs`. `model` is the upstream's id. `input_type` says what the vectors are for, as
    the client wrote it (search_query, search_document, classification, clustering, …). `titles` are those of documents, one for each of
    `inputs` ("" for none), or empty."""

    inputs: list[EmbedInput]
    model: str = ""
    dimensions: int | None = None
    input_type: str | None = None
    titles: list[str] = []
    user: str | None = None

    def unused(self, *members: str) -> list[str]:
        """Those of these members that the client has set: what a provider that does not take them names in `Outgoing.dropped`."""
        return [name for name in members if getattr(self, name)]


class Embedded(Struct, kw_only=True):
    """Vectors, in the order of the inputs. `usage` is None where the upstream counts nothing."""

    vectors: list[list[float]]
    usage: Usage | None = None
    id: str = ""


class RerankRequest(Struct, kw_only=True):
    """Documents to be put in order by how well they answer `query`. `top_n` is how many are wanted, None for all."""

    query: str
    documents: list[str]
    model: str = ""
    top_n: int | None = None


class Ranked(Struct, kw_only=True):
    """One document: its place in the request and its score, higher is better."""

    index: int
    score: float


class Reranked(Struct, kw_only=True):
    """Documents, best first. `search_units` is what some upstreams charge by."""

    results: list[Ranked] = field(default_factory=list)
    usage: Usage | None = None
    search_units: int | None = None
    id: str = ""


__all__ = ["EmbedInput", "EmbedRequest", "Embedded", "Ranked", "RerankRequest", "Reranked"]
