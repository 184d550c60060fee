"""Ollama's own API as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

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
    Price,
    Provider,
    ProviderSettings,
    Reply,
    Timeouts,
    Upstream,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
    open_lines,
)

from . import decode, embeddings, encode, failures
from .shown import Shown, shown

HERE = "http://127.0.0.1:11434"
CLOUD = "https://ollama.com"


class OllamaSettings(ProviderSettings):
    """`[providers.<slug>]`. `num_ctx` is how many tokens of context models are loaded with (Ollama's own default cuts longer prompts
    off without a word), `keep_alive` how long they stay loaded ("5m"; seconds; -1 for ever)."""

    base_url: str = HERE
    discover: bool | None = None  # type: ignore[assignment]  # None: yes, but for the cloud
    local: bool | None = None  # type: ignore[assignment]
    num_ctx: int | None = None
    keep_alive: str | int | None = None


class Ollama(Provider):
    """An Ollama server, on this machine or another one, or Ollama's cloud."""

    name = "ollama"
    Settings = OllamaSettings
    automatic = (Automatic(slug="ollama", probe=f"{HERE}/api/version"),)
    fetches = frozenset({"image", "file"})
    many_choices = False
    needs_key = False
    translates = frozenset({"embeddings"})

    def __init__(self, slug: str, settings: OllamaSettings, timeouts: Timeouts) -> None:
        self.cloud = settings.base_url.rstrip("/") == CLOUD
        settings = msgspec.structs.replace(
            settings,
            discover=not self.cloud if settings.discover is None else settings.discover,
            local=not self.cloud if settings.local is None else settings.local,
        )
        super().__init__(slug, settings, timeouts)
        self._facts = {model.id: model for model in self.catalogue()}
        #: what the server told of its models, by the digests of their files
        self._shown: dict[str, Shown] = {}

    def encode(self, request: ChatRequest) -> Outgoing:
        """A request of `/api/chat`."""
        facts = self._facts.get(request.model)
        return encode.chat(
            request,
            reasons=facts.reasoning if facts is not None else None,
            num_ctx=self.settings.num_ctx,
            keep_alive=self.settings.keep_alive,
        )

    def messages(self, upstream: Upstream) -> AsyncIterator[MessageEvent]:
        """Ollama streams one JSON object a line."""
        return open_lines(upstream.pieces())

    def decode(self, body: bytes) -> Reply:
        """A whole answer."""
        return decode.reply(body)

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream."""
        return decode.events(stream)

    def embed(self, request: EmbedRequest) -> Outgoing:
        """A request of `/api/embed`."""
        return embeddings.embed(request, self.settings.keep_alive)

    def embedded(self, body: bytes) -> Embedded:
        """The vectors."""
        return embeddings.embedded(body)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong."""
        return failures.error(status, headers, body)

    # --- models ---

    def catalogue(self) -> list[Model]:
        """The models of Ollama's cloud; what a server of one's own has is found by asking."""
        return load_catalogue(__name__) if self.cloud else []

    def unknown(self, id: str) -> Model:
        """On one's own machine a model costs nothing."""
        price = Price() if self.settings.local else None
        if "embed" in id:
            return Model(id=id, name=id, output_modalities=["embeddings"], price=price)
        return Model(id=id, name=id, parameters=sorted(encode.PARAMETERS), price=price)

    async def models(self) -> list[Model]:
        """The models that the server has, with what it tells of each. Raises UpstreamError."""
        if not self.credentials:
            return []
        try:
            tags = _decode_tags(await self.exchange(Outgoing(path="/api/tags", method="GET"), self.credentials[0]))
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's list of models cannot be read") from error
        if self.cloud:
            return [self._facts.get(each.name) or self.unknown(each.name) for each in tags.models]
        self._shown = {each.digest: await self._show(each) for each in tags.models}
        found = [self._shown[each.digest].model(self.unknown(each.name)) for each in tags.models]
        self._facts = {model.id: model for model in found}
        # "qwen3" is the same as "qwen3:latest", and what people write
        self._facts |= {id.removesuffix(":latest"): model for id, model in self._facts.items()}
        return found

    async def _show(self, tag: _Tag) -> Shown:
        """What the server tells of a model; nothing where it will not say: the model may be used all the same."""
        known = self._shown.get(tag.digest)
        if known is not None and known.capabilities:
            return known
        body = msgspec.json.encode({"model": tag.name})
        try:
            return shown(await self.exchange(Outgoing(path="/api/show", body=body), self.credentials[0]))
        except UpstreamError:
            return Shown()


class _Tag(Struct):
    """An entry of `/api/tags`."""

    name: str
    digest: str = ""


class _Tags(Struct):
    models: list[_Tag] = []


_decode_tags = msgspec.json.Decoder(_Tags).decode


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Ollama."""
    return [Ollama]
