"""Google's Vertex AI as a provider: Gemini, and Anthropic's Claude, each in its own words."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace
from router_anthropic import decode as claude_decode
from router_anthropic import encode as claude_encode
from router_anthropic.failures import failure as claude_failure
from router_gemini import decode as gemini_decode
from router_gemini import encode as gemini_encode
from router_gemini import errors as gemini_errors

from router import (
    BadRequest,
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
    Timeouts,
    UpstreamError,
    UpstreamUnauthorized,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)

from . import embeddings
from .tokens import Tokens

#: what Anthropic's bodies say here in place of a header
ANTHROPIC_VERSION = "vertex-2023-10-16"
#: the part of Google's API that Anthropic's models are in
_ANTHROPIC_API = "v1"
#: Claude's members that stand in the path here, or that Google refuses
_NOT_HERE = ("model", "service_tier")
_TIER = "X-Vertex-AI-LLM-Shared-Request-Type"
_TIERS = ("flex", "priority")
#: what counts the tokens of Claude's prompts
_COUNTER = "count-tokens"
#: members that change how long a prompt is
_COUNTED = frozenset({"messages", "system", "tools", "tool_choice", "thinking", "contents", "systemInstruction"})
#: where Google serves more than one region at once
_MULTI_REGIONS = ("us", "eu")
#: what the value of a label may be
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_YOUTUBE = re.compile(r"https?://(?:(?:www|m)\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE)


class _Peek(Struct):
    """Anthropic's bodies and events say what they are, Google's do not."""

    type: str | None = None


class _Count(Struct):
    """How long a prompt is: one of the two."""

    input_tokens: int | None = None
    total_tokens: int | None = field(default=None, name="totalTokens")


_peek = msgspec.json.Decoder(_Peek).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_count = msgspec.json.Decoder(_Count).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class VertexSettings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]` with `plugin = "vertex"`.

    `credentials` is the content of a key file (`file:service-account.json`), `access_token` a token that somebody else renews; without
    either it is who the machine is for Google. `api_key` is one of Vertex's express mode. `version` is that of Google's own API.
    """

    project: str = ""
    location: str = "global"
    credentials: str = ""
    access_token: str = ""
    version: str = "v1beta1"

    def __post_init__(self) -> None:
        if self.credentials:
            try:
                _decode_object(self.credentials)
            except msgspec.DecodeError:
                raise ValueError('credentials: this is no key file: write "file:service-account.json"') from None


class Vertex(Provider):
    """Gemini and Claude on Vertex AI."""

    name = "vertex"
    #: the model stands in the path, and decides which of the two is spoken: see relays
    speaks: ClassVar[Mapping[str, str]] = {
        "anthropic.messages": "/v1/…/publishers/anthropic/models/{model}:rawPredict",
        "gemini.generate": "/v1beta1/…/publishers/google/models/{model}:generateContent",
    }
    #: of Google's own clients; the batch of the Developer API has another form here
    passes: ClassVar[Mapping[str, str]] = {
        "gemini.embeddings": "/v1beta1/…/publishers/google/models/{model}:embedContent",
    }
    translates = frozenset({"embeddings"})
    Settings = VertexSettings
    fetches: ClassVar[frozenset[str]] = frozenset({"image", "file", "audio", "video"})
    # Claude gives one choice a call: where somebody wants more of Gemini, several calls do as well.
    many_choices = False

    def __init__(self, slug: str, settings: Any, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        if not settings.base_url:
            settings.base_url = _base_url(settings.location)
        info = _decode_object(settings.credentials) if settings.credentials else None
        self._project = settings.project or (info or {}).get("project_id") or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
        self._tokens: Tokens | None = None
        self._with_key = bool(self.credentials)
        if not self.credentials and settings.access_token:
            self.credentials = [Credential(secret=settings.access_token)]
        elif not self.credentials:
            self._tokens = Tokens(info)
            # Nobody reads it: it is there to be masked.
            self.credentials = [Credential(secret=str((info or {}).get("private_key", "")), label="google")]
        self._max_output = {id: model.max_output for model in self.catalogue() for id in (model.id, *model.aliases)}
        self._betas = next((text for name, text in settings.headers.items() if name.lower() == "anthropic-beta"), "")

    async def sign(self, outgoing: Outgoing, key: str) -> Outgoing:
        """Google's token of the moment, or a key."""
        if self._with_key:
            outgoing.headers["x-goog-api-key"] = key
            return outgoing
        if not self._project:
            raise UpstreamUnauthorized("no Google project is configured: set project")
        if self._tokens is not None:
            assert self._session is not None
            key = await self._tokens.token(self._session)
        outgoing.headers["Authorization"] = f"Bearer {key}"
        return outgoing

    def encode(self, request: ChatRequest) -> Outgoing:
        """Google's or Anthropic's body, by the model."""
        return self._encode_claude(request) if is_claude(request.model) else self._encode_gemini(request)

    def decode(self, body: bytes) -> Reply:
        """A whole answer of either kind."""
        return claude_decode.reply(body) if _is_anthropic(body) else gemini_decode.reply(body)

    async def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream of either kind: its first event tells which."""
        async for first in stream:
            reader = claude_decode.events if _is_anthropic(first.data.encode()) else gemini_decode.events
            break
        else:
            reader, first = gemini_decode.events, None
        async for event in reader(_from(first, stream)):
            yield event

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Anthropic's error, or google.rpc.Status."""
        return (
            claude_failure(status, headers, body) if _is_anthropic(body) else gemini_errors.error(status, headers, body)
        )

    def cleaned(self, error: UpstreamError) -> UpstreamError:
        """The token of the moment is a credential too."""
        if self._tokens is not None and self._tokens.current:
            error.message = error.message.replace(self._tokens.current, "***")
        return super().cleaned(error)

    def relays(self, dialect: str, candidate: Candidate) -> bool:
        """Each dialect is relayed to the models of its maker."""
        return dialect == ("anthropic.messages" if is_claude(candidate.endpoint.model.id) else "gemini.generate")

    def raw_path(self, dialect: str, candidate: Candidate, stream: bool) -> str:
        """The model and the method are in the path."""
        model = candidate.endpoint.model.id
        return self._path(model, _method(model, stream=stream))

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """Claude's version stands in the body, its model does not."""
        if dialect == "anthropic.messages":
            for name in _NOT_HERE:
                members.pop(name, None)
            members["anthropic_version"] = Raw(_encode(ANTHROPIC_VERSION))
        elif dialect == "gemini.embeddings":
            members.pop("model", None)

    def pass_path(self, dialect: str, candidate: Candidate, operation: str) -> str | None:
        """Google's clients are relayed to the models that have `:embedContent`, one content at a time."""
        model = candidate.endpoint.model.id
        if dialect in self.passes and operation == "embed" and embeddings.is_gemini(model):
            return self._path(model, "embedContent")
        return None

    def embed(self, request: EmbedRequest) -> Outgoing:
        """`:predict`, or `:embedContent` and its batch."""
        return Outgoing(
            path=self._path(request.model, embeddings.method(request)),
            body=embeddings.body(request),
            dropped=request.unused("user"),
        )

    def embedded(self, body: bytes) -> Embedded:
        """The vectors of each."""
        return embeddings.embedded(body)

    async def count_tokens(self, request: ChatRequest, credential: Credential) -> int | None:
        """By Google's `countTokens`, or by Anthropic's, which is a model of its own here."""
        claude = is_claude(request.model)
        outgoing = self.encode(replace(request, stream=False))
        members = {name: value for name, value in _decode_members(outgoing.body).items() if name in _COUNTED}
        if claude:
            members["model"] = Raw(_encode(request.model))
            outgoing.path = self._path(_COUNTER, "rawPredict")
        else:
            outgoing.path = self._path(request.model, "countTokens")
        outgoing.body = _encode(members)
        try:
            counted = _decode_count(await self.exchange(outgoing, credential))
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the count of tokens cannot be read") from error
        return counted.input_tokens if claude else counted.total_tokens

    def reads(self, url: str) -> bool:
        """Cloud Storage and YouTube."""
        return not url.startswith(("http://", "https://")) or bool(_YOUTUBE.match(url))

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin. Some that give vectors, which its source does not have, are listed by hand."""
        return [*load_catalogue("router_vertex"), *load_catalogue("router_vertex", "embeddings.json")]

    def unknown(self, id: str) -> Model:
        """A new model, or a tuned one: its name may say that it gives vectors."""
        return Model(id=id, name=id, output_modalities=["embeddings"]) if "embedding" in id else super().unknown(id)

    # --- one maker each ---

    def _encode_claude(self, request: ChatRequest) -> Outgoing:
        out = claude_encode.outgoing(request, max_output=self._max_output.get(request.model, 0), betas=self._betas)
        members: dict[str, Any] = {
            name: value for name, value in _decode_members(out.body).items() if name not in _NOT_HERE
        }
        if request.service_tier not in (None, "auto", "default"):
            out.dropped.append("service_tier")
        out.body = _encode({"anthropic_version": ANTHROPIC_VERSION, **members})
        out.path = self._path(request.model, _method(request.model, stream=request.stream))
        return out

    def _encode_gemini(self, request: ChatRequest) -> Outgoing:
        # Vertex has a word for who asks, but none in the body for how urgent it is.
        user, tier = request.user, request.service_tier if request.service_tier in _TIERS else None
        request = replace(request, user=None, service_tier=None if tier else request.service_tier)
        encoded = gemini_encode.generate_body(request, _file_uri)
        body = encoded.body
        if user:
            labels = Raw(_encode({"user": _label(user)}))
            body = _encode({"labels": labels, **_decode_members(body)})
        return Outgoing(
            path=self._path(request.model, _method(request.model, stream=request.stream)),
            body=body,
            headers={_TIER: tier} if tier else {},
            dropped=encoded.dropped,
            warnings=encoded.warnings,
        )

    def _path(self, model: str, method: str) -> str:
        """`model` is a name, `publisher/name`, or `endpoints/number` for a tuned one of the project's own."""
        claude = is_claude(model) or model == _COUNTER
        version = _ANTHROPIC_API if claude else self.settings.version
        place = f"/projects/{quote(self._project, safe=':.')}/locations/{self.settings.location}"
        if self._with_key and not self._project:
            place = ""
        owner, _, name = model.rpartition("/")
        if owner == "endpoints":
            return f"/{version}{place}/endpoints/{quote(name, safe='')}:{method}"
        publisher = owner or ("anthropic" if claude else "google")
        return f"/{version}{place}/publishers/{quote(publisher, safe='')}/models/{quote(name, safe='@')}:{method}"


def is_claude(model: str) -> bool:
    """True for Anthropic's models."""
    return "claude" in model


def _method(model: str, *, stream: bool) -> str:
    if is_claude(model):
        return "streamRawPredict" if stream else "rawPredict"
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def _is_anthropic(data: bytes) -> bool:
    try:
        return _peek(data).type is not None
    except (msgspec.DecodeError, RecursionError):
        return False


async def _from(first: MessageEvent | None, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[MessageEvent]:
    """The stream again, with the event that was taken off it."""
    if first is not None:
        yield first
        async for each in stream:
            yield each


def _base_url(location: str) -> str:
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _file_uri(id: str) -> str:
    if "://" not in id:
        raise BadRequest("Vertex keeps no files: an id of one says nothing there", param="messages")
    return id


def _label(user: str) -> str:
    return user if _LABEL.fullmatch(user) else hashlib.sha256(user.encode()).hexdigest()[:32]


@hookimpl
def router_providers() -> list[type[Provider]]:
    """The one that this plugin brings."""
    return [Vertex]
