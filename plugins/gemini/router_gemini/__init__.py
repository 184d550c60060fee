"""Google's Gemini API as a provider."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar
from urllib.parse import quote

import msgspec
from msgspec import Raw

from router import (
    Automatic,
    Candidate,
    ChatRequest,
    Credential,
    Embedded,
    EmbedRequest,
    Event,
    MessageEvent,
    Model,
    Outgoing,
    Provider,
    ProviderSettings,
    Reply,
    Upstream,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)
from router.wire.gemini import ListedModel, ModelList, TokenCount

from . import decode, embeddings, encode, errors

_decode_count = msgspec.json.Decoder(TokenCount).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(ModelList).decode
_YOUTUBE = re.compile(r"https?://(?:(?:www|m)\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE)
#: pages of the list of models; Google sends 1000 models a page
_MAX_PAGES = 10


class GeminiSettings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]` of a Gemini instance. `version` is the version of Google's API, the first step of its paths."""

    base_url: str = "https://generativelanguage.googleapis.com"
    version: str = "v1beta"


class Gemini(Provider):
    """The Gemini Developer API."""

    name = "gemini"
    speaks: ClassVar[Mapping[str, str]] = {"gemini.generate": "/v1beta/models/{model}:generateContent"}  # see raw_path
    passes: ClassVar[Mapping[str, str]] = {"gemini.embeddings": "/v1beta/models/{model}:embedContent"}  # see pass_path
    Settings = GeminiSettings
    automatic = (
        Automatic(slug="gemini", environment="GEMINI_API_KEY"),
        Automatic(slug="gemini", environment="GOOGLE_API_KEY"),
    )
    fetches = frozenset({"image", "file", "audio", "video"})
    translates = frozenset({"embeddings"})

    def headers(self, key: str) -> dict[str, str]:
        """Google's header."""
        return {"x-goog-api-key": key} if key else {}

    def searches(self, model: str) -> bool:
        """Gemini does, since 2.0; what makes pictures or sound does not."""
        return (
            model.startswith("gemini-")
            and not model.startswith("gemini-1")
            and "-tts" not in model
            and "-image" not in model
        )

    def encode(self, request: ChatRequest) -> Outgoing:
        """generateContent, or its stream."""
        encoded = encode.generate_body(request, self._file_uri)
        return Outgoing(
            path=self._path(request.model, _method(request.stream)),
            body=encoded.body,
            dropped=encoded.dropped,
            warnings=encoded.warnings,
        )

    def decode(self, body: bytes) -> Reply:
        """A whole answer."""
        return decode.reply(body)

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream of answers."""
        return decode.events(stream)

    def embed(self, request: EmbedRequest) -> Outgoing:
        """batchEmbedContents, for one input too."""
        return Outgoing(
            path=self._path(request.model, "batchEmbedContents"),
            body=embeddings.body(request),
            dropped=request.unused("user"),
        )

    def embedded(self, body: bytes) -> Embedded:
        """The vectors."""
        return embeddings.embedded(body)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """google.rpc.Status."""
        return errors.error(status, headers, body)

    def reads(self, url: str) -> bool:
        """Google's own file store, YouTube, and what is no http at all (Cloud Storage)."""
        own = f"{self.settings.base_url.rstrip('/')}/"
        return not url.startswith(("http://", "https://")) or url.startswith(own) or bool(_YOUTUBE.match(url))

    def raw_path(self, dialect: str, candidate: Candidate, stream: bool) -> str:
        """The model and the method are in the path."""
        return self._path(candidate.endpoint.model.id, _method(stream))

    def pass_path(self, dialect: str, candidate: Candidate, operation: str) -> str | None:
        """Google's own clients get what they ask for."""
        if dialect not in self.passes:
            return None
        method = "batchEmbedContents" if operation == "embed_batch" else "embedContent"
        return self._path(candidate.endpoint.model.id, method)

    async def count_tokens(self, request: ChatRequest, credential: Credential) -> int | None:
        """countTokens, of the request that would be sent."""
        asked = {"model": f"models/{request.model}"} | _decode_members(self.encode(request).body)
        body = msgspec.json.encode({"generateContentRequest": asked})
        answer = await self.exchange(Outgoing(path=self._path(request.model, "countTokens"), body=body), credential)
        try:
            return _decode_count(answer).total_tokens
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's count of tokens cannot be read") from error

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin."""
        return load_catalogue("router_gemini")

    async def models(self) -> list[Model]:
        """The models that generate, as Google lists them now."""
        listed: list[Model] = []
        token = ""
        for _ in range(_MAX_PAGES):
            page = await self._page(token)
            listed += [_model(each) for each in page.models or () if _generates(each)]
            token = page.next_page_token or ""
            if not token:
                break
        return listed

    async def _page(self, token: str) -> ModelList:
        path = f"/{self.settings.version}/models?pageSize=1000" + (
            f"&pageToken={quote(token, safe='')}" if token else ""
        )
        response = await self.request(Outgoing(path=path, method="GET"), self.credentials[0])
        async with response:
            body = await Upstream(response=response).read()
            if response.status != 200:
                raise self.cleaned(self.error(response.status, response.headers, body))
        try:
            return _decode_list(body)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's list of models cannot be read") from error

    def _path(self, model: str, method: str) -> str:
        """`model` may name another collection, as in tunedModels/x."""
        collection, _, name = model.rpartition("/")
        return f"/{self.settings.version}/{quote(collection or 'models')}/{quote(name, safe='')}:{method}"

    def _file_uri(self, id: str) -> str:
        """Ids of the file store look like files/abc."""
        if "://" in id:
            return id
        return f"{self.settings.base_url.rstrip('/')}/{self.settings.version}/{id}"


def _method(stream: bool) -> str:
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def _generates(listed: ListedModel) -> bool:
    return "generateContent" in (listed.supported_generation_methods or ())


def _model(listed: ListedModel) -> Model:
    id = listed.name.removeprefix("models/")
    return Model(
        id=id,
        name=listed.display_name or id,
        description=listed.description or "",
        context_length=listed.input_token_limit or 0,
        max_output=listed.output_token_limit or 0,
        reasoning=bool(listed.thinking),
    )


@hookimpl
def router_providers() -> list[type[Provider]]:
    """The one that this plugin brings."""
    return [Gemini]
