"""Voyage AI as a provider of vectors and of the order of documents. Nothing of it chats."""

from __future__ import annotations

from router import (
    Automatic,
    Embedded,
    EmbedRequest,
    Model,
    Outgoing,
    Provider,
    ProviderSettings,
    Reranked,
    RerankRequest,
    hookimpl,
    load_catalogue,
)

from . import wire


class VoyageSettings(ProviderSettings):
    """`[providers.<slug>]`."""

    base_url: str = "https://api.voyageai.com/v1"


class Voyage(Provider):
    """Voyage's embeddings, multimodal ones too, and its rerankers."""

    name = "voyage"
    Settings = VoyageSettings
    automatic = (Automatic(slug="voyage", environment="VOYAGE_API_KEY"),)
    translates = frozenset({"embeddings", "rerank"})

    def embed(self, request: EmbedRequest) -> Outgoing:
        """A request of `/embeddings`, or of `/multimodalembeddings` where the model or an input wants it."""
        return wire.embed(request)

    def embedded(self, body: bytes) -> Embedded:
        """The vectors."""
        return wire.embedded(body)

    def rerank(self, request: RerankRequest) -> Outgoing:
        """A request of `/rerank`."""
        return wire.rerank(request)

    def reranked(self, body: bytes) -> Reranked:
        """The order."""
        return wire.reranked(body)

    def catalogue(self) -> list[Model]:
        """Voyage's models."""
        return load_catalogue(__name__)

    def unknown(self, id: str) -> Model:
        """A new model: its name says what it does."""
        return Model(id=id, name=id, output_modalities=["rerank" if "rerank" in id else "embeddings"])


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Voyage."""
    return [Voyage]
