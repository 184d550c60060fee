"""Cohere's Chat API, version 2, as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

import msgspec
from msgspec import Struct

from router import (
    Automatic,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Event,
    MessageEvent,
    Model,
    Outgoing,
    Provider,
    ProviderSettings,
    Reply,
    Reranked,
    RerankRequest,
    Timeouts,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)

from . import decode, encode, failures, others

#: pages of the list of models, of a thousand each
_MAX_PAGES = 10
#: the members of a request that its models take, in the words of OpenAI's chat
PARAMETERS = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "logprobs"),
        *("frequency_penalty", "presence_penalty", "response_format", "structured_outputs", "tools", "tool_choice"),
    }
)


class CohereSettings(ProviderSettings):
    """`[providers.<slug>]`."""

    base_url: str = "https://api.cohere.com"


class Cohere(Provider):
    """Cohere's Command models."""

    name = "cohere"
    Settings = CohereSettings
    automatic = (Automatic(slug="cohere", environment="COHERE_API_KEY"),)
    fetches = frozenset({"file"})  # it reads the URLs of images itself
    many_choices = False
    translates = frozenset({"embeddings", "rerank"})

    def __init__(self, slug: str, settings: CohereSettings, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        self._facts = {model.id: model for model in self.catalogue()}

    def encode(self, request: ChatRequest) -> Outgoing:
        """A request of `/v2/chat`."""
        return encode.chat(request, self.reasons(request.model))

    def decode(self, body: bytes) -> Reply:
        """A whole answer."""
        return decode.reply(body)

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream."""
        return decode.events(stream)

    def embed(self, request: EmbedRequest) -> Outgoing:
        """A request of `/v2/embed`."""
        return others.embed(request)

    def embedded(self, body: bytes) -> Embedded:
        """The vectors."""
        return others.embedded(body)

    def rerank(self, request: RerankRequest) -> Outgoing:
        """A request of `/v2/rerank`."""
        return others.rerank(request)

    def reranked(self, body: bytes) -> Reranked:
        """The order."""
        return others.reranked(body)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong."""
        return failures.error(status, headers, body)

    def reasons(self, model: str) -> bool | None:
        """Does the model think when it is asked to? None where nobody knows it."""
        facts = self._facts.get(model)
        return True if "reasoning" in model else facts.reasoning if facts is not None else None

    # --- models ---

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin."""
        return load_catalogue(__name__)

    def unknown(self, id: str) -> Model:
        """A new or fine-tuned model takes what they all take."""
        if "embed" in id or "rerank" in id:
            return Model(id=id, name=id, output_modalities=["embeddings" if "embed" in id else "rerank"])
        reasons = "reasoning" in id
        more = {"reasoning", "include_reasoning"} if reasons else set()
        return Model(id=id, name=id, parameters=sorted(PARAMETERS | more), reasoning=reasons, tokenizer="Cohere")

    async def models(self) -> list[Model]:
        """The models that chat, as Cohere lists them now. Raises UpstreamError."""
        found: list[Model] = []
        token = ""
        for _ in range(_MAX_PAGES if self.credentials else 0):
            path = "/v1/models?endpoint=chat&page_size=1000" + (f"&page_token={quote(token, safe='')}" if token else "")
            body = await self.exchange(Outgoing(path=path, method="GET"), self.credentials[0])
            try:
                page = _decode_page(body)
            except msgspec.DecodeError as error:
                raise UpstreamUnavailable("the upstream's list of models cannot be read") from error
            found += [self._facts.get(each.name) or self._model(each) for each in page.models]
            token = page.next_page_token or ""
            if not token:
                break
        return found

    def _model(self, listed: _Listed) -> Model:
        model = self.unknown(listed.name)
        model.context_length = int(listed.context_length or 0)
        if listed.supports_vision or "vision" in (listed.features or ()):
            model.input_modalities = ["text", "image"]
        model.reasoning = model.reasoning or "reasoning" in (listed.features or ())
        model.deprecated = bool(listed.is_deprecated)
        return model


class _Listed(Struct):
    """An entry of the list of models."""

    name: str
    context_length: float | None = None
    features: list[str] | None = None
    supports_vision: bool | None = None
    is_deprecated: bool | None = None


class _Page(Struct):
    models: list[_Listed] = []
    next_page_token: str | None = None


_decode_page = msgspec.json.Decoder(_Page).decode


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Cohere."""
    return [Cohere]
