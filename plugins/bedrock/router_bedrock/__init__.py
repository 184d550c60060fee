"""Amazon Bedrock as a provider: Converse for every model, or InvokeModel for Claude."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Raw, field
from router_anthropic import decode as anthropic

from router import (
    Automatic,
    Call,
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
    Upstream,
    UpstreamError,
    UpstreamUnauthorized,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)

from . import decode, embeddings, encode, identity, invoke, wire
from .eventstream import Frame, frames
from .failures import failure, inside, named
from .signature import signed
from .traits import is_claude

_SERVICE = "bedrock"
#: members that change how long a prompt is
_COUNTED = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})
#: in front of ids that several regions serve
_REGION = re.compile(r"^(?:us|us-gov|eu|apac|jp|au|ca|global)\.")
_HEADERS = ("x-amz-", "x-amzn-")
#: requests under way at once where a model takes one input each
_AT_ONCE = 8


class BedrockSettings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]` with `plugin = "bedrock"`.

    `api_key` is a key of Bedrock's own; else requests are signed, with `access_key_id`, `secret_access_key` and `session_token`, or
    with what AWS's usual variables or its `profile` say. `api = "invoke"` sends Claude Anthropic's own bodies. `guardrail` holds
    `guardrailIdentifier`, `guardrailVersion` and `trace`, for every request that brings none of its own.
    """

    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    profile: str = ""
    api: Literal["converse", "invoke"] = "converse"
    guardrail: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id: it needs secret_access_key beside it, and the other way round")


class Bedrock(Provider):
    """The models that Amazon hosts."""

    name = "bedrock"
    Settings = BedrockSettings
    automatic = (Automatic(slug="bedrock", environment="AWS_BEARER_TOKEN_BEDROCK"),)
    fetches: ClassVar[frozenset[str]] = frozenset({"image", "file", "video"})
    many_choices = False
    translates = frozenset({"embeddings"})

    def __init__(self, slug: str, settings: Any, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        environ = os.environ
        self.region = identity.region_of(settings, environ) or "us-east-1"
        if not settings.base_url:
            settings.base_url = f"https://bedrock-runtime.{self.region}.amazonaws.com" + _ending(self.region)
        self._identity: identity.Identity | None = None
        if not self.credentials and (key := _bearer(settings, environ)):
            self.credentials = [Credential(secret=key, label="1")]
        if not self.credentials:
            self._identity = identity.find(settings, environ)
            if self._identity is not None:
                # Nobody reads it: it is there to be masked.
                self.credentials = [Credential(secret=self._identity.secret, label="aws")]
        self._max_output = {id: model.max_output for model in self.catalogue() for id in (model.id, *model.aliases)}
        self._betas = next((text for name, text in settings.headers.items() if name.lower() == "anthropic-beta"), "")

    async def sign(self, outgoing: Outgoing, key: str) -> Outgoing:
        """A key of Bedrock's own goes along; else the whole request is signed."""
        if self._identity is None:
            if not key:
                raise UpstreamUnauthorized("no credentials for AWS are configured")
            outgoing.headers["Authorization"] = f"Bearer {key}"
            return outgoing
        url = self.url(outgoing.path)
        # AWS wants its own headers signed, ours from the configuration too; others may change on their way.
        own = {
            name: value
            for name, value in {**self.settings.headers, **outgoing.headers}.items()
            if name.lower().startswith(_HEADERS)
        }
        outgoing.headers.update(
            signed(
                await self._identity.keys(),
                outgoing.method,
                url,
                own,
                outgoing.body,
                region=self.region,
                service=_SERVICE,
                now=datetime.now(UTC),
            )
        )
        return outgoing

    def encode(self, request: ChatRequest) -> Outgoing:
        """Converse, or Anthropic's own body for Claude where it is configured."""
        max_output = self._max_output.get(request.model, 0)
        if self.settings.api == "invoke" and is_claude(request.model):
            return invoke.outgoing(request, max_output=max_output, betas=self._betas)
        return encode.outgoing(request, max_output=max_output, guardrail=self.settings.guardrail)

    async def count_tokens(self, request: ChatRequest, credential: Credential) -> int | None:
        """By the model itself, which is known there without the region in front of its id."""
        outgoing = encode.outgoing(request)
        members = {name: value for name, value in wire.decode_members(outgoing.body).items() if name in _COUNTED}
        outgoing.path = f"/model/{quote(_REGION.sub('', request.model), safe='')}/count-tokens"
        outgoing.body = msgspec.json.encode({"input": {"converse": members}})
        try:
            return wire.decode_count(await self.exchange(outgoing, credential)).input_tokens
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("bedrock's count of tokens cannot be read") from error

    def decode(self, body: bytes) -> Reply:
        """A whole answer of either kind."""
        try:
            answer = wire.decode_answer(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamUnavailable("bedrock's answer is not JSON") from error
        if answer.output is None and answer.type is not None:
            return anthropic.reply(body)
        return decode.reply(answer)

    async def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream of either kind: the first event of the upstream's own tells which."""
        head = _Head(stream)
        reader = anthropic.events if await head.kind() == "chunk" else decode.events
        async for event in reader(head.rest()):
            yield event

    def embed(self, request: EmbedRequest) -> Outgoing:
        """A list of requests of InvokeModel: Titan takes one input each."""
        return embeddings.outgoing(request)

    def embedded(self, body: bytes) -> Embedded:
        """The vectors of all of their answers."""
        return embeddings.embedded(body)

    def send(self, call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream]:
        """One exchange, but for vectors, which may take several."""
        if call.dialect.through_hub:
            return super().send(call, candidate)
        assert call.outgoing is not None
        return self._invoking(call.outgoing, candidate.credential)

    @asynccontextmanager
    async def _invoking(self, outgoing: Outgoing, credential: Credential) -> AsyncIterator[Upstream]:
        bodies = embeddings.bodies(outgoing.body)
        answers: list[embeddings.Answered] = []
        for start in range(0, len(bodies), _AT_ONCE):
            some = bodies[start : start + _AT_ONCE]
            answers += await asyncio.gather(*(self._invoke(outgoing.path, body, credential) for body in some))
        yield Upstream(body=embeddings.joined(answers))

    async def _invoke(self, path: str, body: bytes, credential: Credential) -> embeddings.Answered:
        async with await self.request(Outgoing(path=path, body=body), credential) as response:
            told = await Upstream(response=response).read()
            if not 200 <= response.status < 300:
                raise self.cleaned(self.error(response.status, response.headers, told))
            counted = response.headers.get(embeddings.COUNT, "")
        try:
            msgspec.json.decode(told, type=Raw)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("bedrock's answer is not JSON") from error
        return embeddings.Answered(body=Raw(told), tokens=int(counted[:9]) if counted.isdecimal() else 0)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong, by the name of AWS's exception."""
        return failure(status, headers, body)

    async def messages(self, upstream: Upstream) -> AsyncIterator[MessageEvent]:
        """The events of the binary stream, behind one that says who answers."""
        yield _event(decode.OPENED, msgspec.json.encode(_opened(upstream)))
        async for frame in frames(upstream.pieces()):
            yield message(frame)

    def reads(self, url: str) -> bool:
        """Objects of S3."""
        return not url.startswith(("http://", "https://"))

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin. Those that give vectors, which its source does not have, are listed by hand."""
        return [*load_catalogue("router_bedrock"), *load_catalogue("router_bedrock", "embeddings.json")]

    def unknown(self, id: str) -> Model:
        """A new model, or one of one's own: its name may say that it gives vectors."""
        return Model(id=id, name=id, output_modalities=["embeddings"]) if "embed" in id else super().unknown(id)


def message(frame: Frame) -> MessageEvent:
    """A message of the stream as an event. Raises what an exception says."""
    headers = frame.headers
    match headers.get(":message-type"):
        case "exception":
            raise inside(headers.get(":exception-type", ""), frame.payload)
        case "error":
            raise named(headers.get(":error-code", ""), headers.get(":error-message", ""), 500, {})
    kind = headers.get(":event-type", "")
    return invoke.unwrapped(frame.payload) if kind == "chunk" else _event(kind, frame.payload)


def _event(kind: str, data: bytes) -> MessageEvent:
    try:
        return MessageEvent(type=kind, message="", data=data.decode(), origin="", last_event_id="")
    except UnicodeDecodeError:
        raise UpstreamUnavailable("bedrock's stream is not UTF-8") from None


def _opened(upstream: Upstream) -> wire.Opened:
    """The model stands in the path that was asked, and in no event."""
    response = upstream.response
    parts = response.url.parts if response is not None else ()
    model = parts[parts.index("model") + 1] if "model" in parts[:-1] else ""
    return wire.Opened(model=model, id=upstream.headers.get("x-amzn-requestid", ""))


class _Head:
    """A stream whose first events are looked at before they are read."""

    def __init__(self, stream: AsyncIterator[MessageEvent]) -> None:
        self._stream = stream
        self._seen: list[MessageEvent] = []

    async def kind(self) -> str:
        """The kind of the upstream's first event, "" where there is none."""
        async for each in self._stream:
            if each.type != decode.OPENED:
                self._seen.append(each)
                return str(each.type)
            self._seen.append(each)
        return ""

    async def rest(self) -> AsyncIterator[MessageEvent]:
        """All of it. Anthropic's events say themselves who answers."""
        invoked = bool(self._seen) and self._seen[-1].type == "chunk"
        for each in self._seen:
            if not (invoked and each.type == decode.OPENED):
                yield each
        async for each in self._stream:
            yield each


def _bearer(settings: BedrockSettings, environ: Mapping[str, str]) -> str:
    """AWS's variable for a key of Bedrock's own, which goes before other identities, but not before configured ones."""
    return "" if settings.access_key_id or settings.profile else environ.get("AWS_BEARER_TOKEN_BEDROCK", "")


def _ending(region: str) -> str:
    return ".cn" if region.startswith("cn-") else ""


@hookimpl
def router_providers() -> list[type[Provider]]:
    """The one that this plugin brings."""
    return [Bedrock]
