"""The base class of providers whose upstream speaks OpenAI's chat completions.

A plugin needs a name, a base URL and the deviations of its upstream, each one a class attribute below (or one of the instance, where
a preset decides). They hold on both lanes: `raw_patch` edits the client's own body, `encode` writes one from the hub's form.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Raw, Struct

from ..call import Candidate
from ..errors import UpstreamError, UpstreamUnavailable
from ..events import Event, Reply
from ..modalities import Embedded, EmbedRequest
from ..model import ChatRequest, Model, ReasoningConfig
from ..openai_words import REASONING_MEMBERS, effort_of, plain_messages, reasoning_config
from ..provider import Outgoing, Provider, ProviderSettings, read_body
from ..sse import MessageEvent
from ..upstream_errors import error_of
from ..wire import openai as wire
from . import decode, encode, vectors

ReasoningForm = Literal["effort", "object", "thinking", "enable_thinking", "template", "none"]

#: what messages may carry besides what is in OpenAI's own API
EVERYTHING = frozenset(
    {"reasoning", "reasoning_content", "reasoning_details", "cache_control", "is_error", "prefix", "images"}
)
#: the same without details: the signatures in them are for whoever gave them, and only a gateway stands for all families
EXTRAS = EVERYTHING - {"reasoning_details"}
#: both names of the limit of output tokens
MAX_TOKENS = frozenset({"max_tokens", "max_completion_tokens"})
MAX_LIST_BYTES = 32 * 1024 * 1024


class OpenAICompatibleSettings(ProviderSettings):
    """`think_tags`: thinking comes as `<think>…</think>` at the start of the text (then answers are not relayed as they come)."""

    think_tags: bool = False


class OpenAICompatible(Provider):
    """An upstream with OpenAI's chat API at `base_url` + `/chat/completions`."""

    speaks: Mapping[str, str] = {"openai.chat": "/chat/completions"}  # type: ignore[misc]  # instances may differ
    passes: Mapping[str, str] = {  # type: ignore[misc]
        "openai.embeddings": "/embeddings",
        "openai.moderations": "/moderations",
        "openai.speech": "/audio/speech",
        "openai.transcriptions": "/audio/transcriptions",
        "openai.translations": "/audio/translations",
        "openai.images": "/images/generations",
        "openai.image_edits": "/images/edits",
    }
    takes = frozenset({"reasoning", "messages"})
    fetches = frozenset({"audio", "file"})

    #: members that are never sent
    drops: frozenset[str] = frozenset()
    #: extras of messages that may be sent back; the others are taken out
    keeps: frozenset[str] = EXTRAS
    #: what `keeps` may name at most; for an upstream that is a gateway itself
    everything: ClassVar[frozenset[str]] = EVERYTHING
    #: formats of thinking whose signatures may be sent back, whatever API the client speaks, and no others; None: those that a client
    #: of OpenAI's API sends back
    signed: ClassVar[frozenset[str] | None] = None
    #: how thinking is asked for: `reasoning_effort`, OpenRouter's `reasoning`, `thinking` {type}, `enable_thinking`,
    #: `chat_template_kwargs`, or not at all
    reasoning_form: ReasoningForm = "effort"
    #: the efforts that the upstream knows, None for all
    efforts: frozenset[str] | None = None
    #: usage in streams has to be asked for by `stream_options`
    stream_usage: bool = True
    #: vectors may be asked for in base64; else they are asked for as numbers, and encoded here
    base64_vectors: bool = False
    #: how many stop sequences are taken
    stop_limit: int | None = None

    Settings: ClassVar[type[ProviderSettings]] = OpenAICompatibleSettings

    def __init__(self, slug: str, settings: Any, timeouts: Any) -> None:
        super().__init__(slug, settings, timeouts)
        if self.think_tags:
            self.speaks = {}

    # --- deviations that depend on the model ---

    @property
    def think_tags(self) -> bool:
        """Thinking comes inside of the text."""
        return bool(getattr(self.settings, "think_tags", False))

    def max_tokens_member(self, model: str) -> str | None:
        """What the limit of output tokens is called for this model: `max_tokens` or `max_completion_tokens`; None where both are
        known."""
        return None

    def developer_role(self, model: str) -> bool:
        """True where the role `developer` is known; else it becomes `system`."""
        return False

    def reasoning(self, config: ReasoningConfig, model: str) -> dict[str, Any]:
        """The members that ask this model for this much thinking; none where it cannot be asked."""
        return encode.reasoning(self.reasoning_form, config, self.efforts)

    @staticmethod
    def effort(config: ReasoningConfig, known: frozenset[str] | None = None) -> str | None:
        """The word for `reasoning_effort`: of those that are known (None: all) the nearest; None where nothing is asked or known."""
        return effort_of(config, known)

    # --- raw lane ---

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """The deviations of this upstream, on the client's own body."""
        if dialect == "openai.embeddings":
            self.adapt_embedding(members)
        if dialect in self.passes:
            return
        model = candidate.endpoint.model.id
        if not members.keys().isdisjoint(REASONING_MEMBERS):
            self._patch_reasoning(members, model)
        self.adapt(members, model)
        if (stop := members.get("stop")) is not None and self.stop_limit is not None and bytes(stop)[:1] == b"[":
            stops = wire.decode_any(stop)
            members["stop"] = Raw(wire.encode(stops[: self.stop_limit]))
        if "messages" in members:
            members["messages"] = self._messages(members["messages"], model)

    def adapt(self, members: dict[str, Any], model: str) -> None:
        """What both lanes do to the top level of a body, when the members that ask for thinking are the upstream's already. The values
        are Raw where they are the client's own."""
        for name in self.drops & members.keys():
            del members[name]
        for name in MAX_TOKENS & members.keys():
            if (limit := self.max_tokens_member(model)) is not None and name != limit:
                members[limit] = members.pop(name)
        if not self.stream_usage:
            members.pop("stream_options", None)

    def adapt_embedding(self, members: dict[str, Raw]) -> None:
        """The deviations of this upstream, on a request for vectors."""
        if not self.base64_vectors:
            members.pop("encoding_format", None)

    def _patch_reasoning(self, members: dict[str, Raw], model: str) -> None:
        """All forms of asking for thought as the upstream's own; `thinking` stays as it is where that is the form."""
        if self.reasoning_form == "object" and "thinking" not in members:
            return  # a gateway knows all the other forms
        config = reasoning_config(members)
        own = members.get("thinking") if self.reasoning_form == "thinking" and "reasoning" not in members else None
        for name in REASONING_MEMBERS:
            members.pop(name, None)
        if config is None:
            return
        for name, value in self.reasoning(config, model).items():
            members[name] = Raw(wire.encode(value))
        if own is not None and "thinking" in members:
            members["thinking"] = own

    def _messages(self, raw: Raw, model: str) -> Raw:
        if self.keeps != EVERYTHING:
            raw = plain_messages(raw, self.keeps)
        if not self.developer_role(model) and b'"developer"' in bytes(raw):
            messages = wire.decode_list(raw)
            for message in messages:
                if message.get("role") == Raw(b'"developer"'):
                    message["role"] = Raw(b'"system"')
            raw = Raw(wire.encode(messages))
        return raw

    # --- hub lane ---

    @property
    def translates(self) -> frozenset[str]:  # type: ignore[override]  # instances may differ
        """Vectors, for clients of other APIs than OpenAI's."""
        return frozenset({"embeddings"} if "openai.embeddings" in self.passes else ())

    def embed(self, request: EmbedRequest) -> Outgoing:
        """The request as OpenAI's own clients would send it here."""
        members = vectors.members(request)
        before = set(members)
        self.adapt_embedding(members)
        lost = before - members.keys() - {"encoding_format", "dimensions"}
        return Outgoing(
            path=self.passes["openai.embeddings"],
            body=wire.encode(members),
            dropped=[*request.unused("titles"), *sorted(lost)],
        )

    def embedded(self, body: bytes) -> Embedded:
        """The vectors of a whole answer."""
        return vectors.embedded(body, self.error)

    def encode(self, request: ChatRequest) -> Outgoing:
        """The request as a body of this upstream."""
        body, dropped, warnings = self.body(request)
        return Outgoing(path="/chat/completions", body=wire.encode(body), dropped=dropped, warnings=warnings)

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[str], list[str]]:
        """The body before it is written, the members that could not be expressed, and warnings. For deviations that need all of it."""
        return encode.body(request, self)

    def decode(self, body: bytes) -> Reply:
        """A whole answer."""
        return decode.reply(body, self.error, think_tags=self.think_tags)

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """A stream."""
        return decode.events(stream, self.error, think_tags=self.think_tags)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong, in the words that OpenAI and its likenesses use."""
        error = error_of(status, headers, body)
        if error.kind == "invalid_request" and (kind := _kind(body)):
            return type(error)(
                error.message,
                kind=kind,
                param=error.param,
                upstream_status=error.upstream_status,
                provider_code=error.provider_code,
            )
        return error

    async def models(self) -> list[Model]:
        """What the upstream lists at `/models`. Raises UpstreamError."""
        if not self.credentials:
            return []
        response = await self.request(Outgoing(path="/models", method="GET"), self.credentials[0])
        try:
            body = await read_body(response, MAX_LIST_BYTES)
            if response.status != 200:
                raise self.cleaned(self.error(response.status, response.headers, body))
        finally:
            response.close()
        try:
            return listed(body)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's list of models cannot be read") from error


_KINDS = (
    ("context_length_exceeded", re.compile(r"context_length|too_many_prompt_tokens|total length of all messages")),
    ("unsupported_image_format", re.compile(r"invalid_image_format|unsupported image")),
    ("image_too_large", re.compile(r"image_too_large|image (?:is )?too large")),
    (
        "image_download_failed",
        re.compile(r"(?:downloading|download|fetch(?:ing)?) (?:the )?(?:file|image)|invalid_image_url"),
    ),
    ("invalid_image", re.compile(r"invalid_image|invalid_base64|image_parse_error")),
    ("content_policy_violation", re.compile(r"content_filter|content_policy|responsibleaipolicy")),
    ("string_too_long", re.compile(r"string_above_max_length|string_too_long")),
)


def _kind(body: bytes) -> str | None:
    """The kind of a 400, by what its body says."""
    said = body[:4000].decode(errors="replace").lower()
    return next((kind for kind, pattern in _KINDS if pattern.search(said)), None)


class _Listed(Struct):
    """An entry of `/models`. The context's length goes by many names."""

    id: str
    name: Any = None
    created: Any = None
    context_length: Any = None
    context_window: Any = None
    max_model_len: Any = None
    max_context_length: Any = None


class _List(Struct):
    data: list[_Listed] = []


_decode_list = msgspec.json.Decoder(_List | list[_Listed]).decode


def listed(body: bytes) -> list[Model]:
    """The models of a `/models` answer. Raises msgspec.DecodeError. Together answers a bare list (2026-08)."""
    found = _decode_list(body)
    entries = found if isinstance(found, list) else found.data
    return [
        Model(
            id=each.id,
            name=each.name if isinstance(each.name, str) else "",
            created=each.created if isinstance(each.created, int) else 0,
            context_length=next(
                (
                    length
                    for length in (
                        each.context_length,
                        each.context_window,
                        each.max_model_len,
                        each.max_context_length,
                    )
                    if isinstance(length, int) and length > 0
                ),
                0,
            ),
        )
        for each in entries
    ]
