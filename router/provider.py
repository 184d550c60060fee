"""Providers: the base class of every plugin that speaks to an upstream, and the HTTP sending that they share.

A plugin subclasses `Provider` (or `OpenAICompatible`) and returns the class from the hook `router_providers`.
`encode`, `decode`, `events` and `error` are pure: no sockets, no clock, no configuration besides `self.settings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
from msgspec import Raw, Struct, field
from yarl import URL

from .call import Credential
from .errors import (
    StreamTruncated,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from .events import Event, Reply
from .modalities import Embedded, EmbedRequest, Reranked, RerankRequest
from .model import ChatRequest, Model
from .settings import ProviderSettings, Timeouts
from .sse import MessageEvent, open_events
from .tasks import spawn
from .upstream_errors import Headers, error_of, exhausted_of

if TYPE_CHECKING:
    from .call import Call, Candidate

__all__ = [
    "Automatic",
    "Outgoing",
    "Provider",
    "ProviderSettings",
    "Timeouts",
    "Upstream",
]

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
#: how long the body of an answer may take to end when all has been said
END_S = 0.5


class Automatic(Struct, kw_only=True):
    """An instance that exists without any configuration: where the variable `environment` is set, or where `probe` (a URL on
    loopback) answers within 300 ms. `settings` is its table as it would stand in the file; `slug` its name. `variables` are further
    keys of that table and the variables that hold them, all of which must be set."""

    slug: str
    environment: str = ""
    probe: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


class Outgoing(Struct, kw_only=True):
    """A request to an upstream. `path` is appended to the configured base URL and may carry a query.

    `dropped` names members that could not be expressed, `warnings` says what was changed in the client's request.
    """

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Upstream:
    """An answer that an upstream has opened with success. Either bytes (HTTP) or, for providers without HTTP, `events`,
    or a `body` that is there already."""

    def __init__(
        self,
        *,
        response: aiohttp.ClientResponse | None = None,
        events: AsyncIterator[Event] | None = None,
        body: bytes = b"",
        stream: bool = False,
    ) -> None:
        self.response = response
        self.events = events
        self.body = body
        #: an event stream, or a whole body
        self.stream = stream
        #: called with every piece that comes, where somebody waits for signs of life
        self.touch: Callable[[], None] = _nobody

    @property
    def headers(self) -> Headers:
        """The headers of the answer."""
        return self.response.headers if self.response is not None else {}

    async def read(self) -> bytes:
        """The whole body, at most 32 MiB. Raises UpstreamUnavailable where it is longer or cut."""
        if self.response is None:
            return self.body
        return await read_body(self.response, MAX_BODY_BYTES, self.touch)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises StreamTruncated where the connection breaks."""
        assert self.response is not None
        read, touch = self.response.content.readany, self.touch
        try:
            while piece := await read():
                touch()
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise StreamTruncated(f"the upstream's connection broke ({type(error).__name__})") from error


def _nobody() -> None:
    """Nobody waits."""


async def read_body(response: aiohttp.ClientResponse, limit: int, touch: Callable[[], None] = _nobody) -> bytes:
    """A body of at most `limit` bytes, after decompression; `touch` is called with every piece. Raises UpstreamUnavailable."""
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := await response.content.readany():
            touch()
            size += len(piece)
            if size > limit:
                raise UpstreamUnavailable(f"the upstream's answer is longer than {limit} bytes")
            pieces.append(piece)
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamUnavailable(f"the upstream's answer broke off ({type(error).__name__})") from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Provider:
    """One configured upstream. Subclasses say how to translate; instances hold settings, a session and its limits.

    `slug` is the instance's name in the configuration and the prefix of its model ids.
    """

    #: what `plugin = "…"` in the configuration names
    name: ClassVar[str]
    #: dialects that are relayed without translation: dialect name -> path below the base URL
    speaks: ClassVar[Mapping[str, str]] = {}
    #: members of ours that a raw request keeps, for `raw_patch` to see to: `reasoning` (all its forms), `messages` (thinking, cache
    #: marks and the like inside of them), or the name of any other router extension that the upstream knows itself
    takes: ClassVar[frozenset[str]] = frozenset()
    #: operations other than chat that are relayed as OpenAI's clients send them: dialect name -> path below the base URL
    passes: ClassVar[Mapping[str, str]] = {}
    #: operations that this provider translates, by what a model gives: `embeddings` (`embed`), `rerank` (`rerank`)
    translates: ClassVar[frozenset[str]] = frozenset()
    #: the schema of `[providers.<slug>]`
    Settings: ClassVar[type[ProviderSettings]] = ProviderSettings
    #: instances that exist without configuration
    automatic: ClassVar[Sequence[Automatic]] = ()
    #: kinds of parts whose http URLs are fetched by the router before `encode` (image, file, audio, video)
    fetches: ClassVar[frozenset[str]] = frozenset()
    #: the upstream gives n choices in one call; else the router makes n calls
    many_choices: ClassVar[bool] = True
    #: `Usage.cost` is what the upstream really charges: it wins over the price list
    reports_cost: ClassVar[bool] = False
    #: a key is needed: without one the provider's status is `no_credentials`
    needs_key: ClassVar[bool] = True

    def __init__(self, slug: str, settings: Any, timeouts: Timeouts) -> None:
        self.slug = slug
        self.settings = settings
        self.timeouts = timeouts
        secrets = [settings.api_key, *settings.api_keys] if settings.api_key else list(settings.api_keys)
        self.credentials = [
            Credential(secret=secret, label=str(number)) for number, secret in enumerate(secrets, 1) if secret
        ]
        if not self.credentials and not self.needs_key:
            self.credentials = [Credential(secret="", label="none")]
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    # --- what a plugin writes ---

    def headers(self, key: str) -> dict[str, str]:
        """The headers that carry the credential."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def sign(self, outgoing: Outgoing, key: str) -> Outgoing:
        """Add the credential. Signatures over the whole request and fetched tokens override this."""
        outgoing.headers.update(self.headers(key))
        return outgoing

    def encode(self, request: ChatRequest) -> Outgoing:
        """The upstream's request for this one. Pure. Raises BadRequest where it cannot be expressed at all."""
        raise TypeError(f"{type(self).__name__} has no encode")

    def decode(self, body: bytes) -> Reply:
        """A whole answer (status 2xx). Pure. Raises an UpstreamError where the body is an error or nonsense."""
        raise TypeError(f"{type(self).__name__} has no decode")

    def events(self, stream: AsyncIterator[MessageEvent]) -> AsyncIterator[Event]:
        """The upstream's stream as ours. Pure. Raises StreamTruncated where the terminal event is missing."""
        raise TypeError(f"{type(self).__name__} has no events")

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """What went wrong, of an answer that is not 2xx. Pure. The default reads the forms that most upstreams use."""
        return error_of(status, headers, body)

    def exhausted(self, headers: Headers) -> float | None:
        """For how many seconds the upstream takes nothing more of this credential, by the headers of an answer; None where something is
        left. Pure but for the wall clock. The default reads the forms of OpenAI and Anthropic."""
        return exhausted_of(headers)

    def embed(self, request: EmbedRequest) -> Outgoing:
        """The upstream's request for these vectors. Pure. Raises BadRequest where it cannot be expressed."""
        raise TypeError(f"{type(self).__name__} has no embed")

    def embedded(self, body: bytes) -> Embedded:
        """The vectors of a whole answer. Pure. Raises an UpstreamError where the body is an error or nonsense."""
        raise TypeError(f"{type(self).__name__} has no embedded")

    def rerank(self, request: RerankRequest) -> Outgoing:
        """The upstream's request for this order. Pure. Raises BadRequest where it cannot be expressed."""
        raise TypeError(f"{type(self).__name__} has no rerank")

    def reranked(self, body: bytes) -> Reranked:
        """The order that a whole answer gives. Pure. Raises an UpstreamError where the body is an error or nonsense."""
        raise TypeError(f"{type(self).__name__} has no reranked")

    def messages(self, upstream: Upstream) -> AsyncIterator[MessageEvent]:
        """The events of the wire. The default reads server-sent events; other framings override it."""
        return open_events(upstream.pieces(), self._session)

    def relays(self, dialect: str, candidate: Candidate) -> bool:
        """True where this dialect is relayed to the candidate's model without translation. The default is what `speaks` says."""
        return dialect in self.speaks

    def raw_path(self, dialect: str, candidate: Candidate, stream: bool) -> str:
        """Where the raw lane goes for this dialect. The default is what `speaks` says."""
        return self.speaks[dialect]

    def pass_path(self, dialect: str, candidate: Candidate, operation: str) -> str | None:
        """Where an operation other than chat is relayed to, None where it is translated. The default is what `passes` says."""
        return self.passes.get(dialect)

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """Edit the members of a raw request in place: deviations of this upstream. Our own extensions are already gone and
        `model` is already the upstream's; of a form (`multipart/form-data`) there is nothing else. The default changes nothing."""

    def reads(self, url: str) -> bool:
        """True for URLs that the upstream reads itself, though `fetches` names the kind of their part. Pure."""
        return False

    def searches(self, model: str) -> bool:
        """True where the upstream searches the web itself for this model, if `ChatRequest.web_search` asks for it. Pure."""
        return False

    async def count_tokens(self, request: ChatRequest, credential: Credential) -> int | None:
        """How many tokens the prompt of this request has, by the upstream's own count (`exchange` asks it). Raises UpstreamError.

        The default is None: the upstream cannot tell, and the router estimates.
        """
        return None

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin, with their prices. Read once at start."""
        return []

    def unknown(self, id: str) -> Model:
        """What is known of a model that no catalogue has, but that this upstream may be asked for."""
        return Model(id=id, name=id)

    async def models(self) -> list[Model]:
        """The models that the upstream lists now (`discover = true`). Raises UpstreamError."""
        return []

    # --- sending, shared by all ---

    async def open(self) -> None:
        """Make the session. Called in the server's loop before the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.settings.max_connections, limit_per_host=0, ttl_dns_cache=60, keepalive_timeout=30
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "onebox-router"},
            max_line_size=16384,
            max_field_size=16384,
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def send(self, call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream]:
        """Send `call.outgoing`. The answer is open inside the block and closed behind it.

        Raises an UpstreamError leaf for everything that goes wrong, with the message cleaned of the credential.
        """
        assert call.outgoing is not None
        return _Sending(self, call.outgoing, candidate.credential, call.head.stream)

    async def request(self, outgoing: Outgoing, credential: Credential) -> aiohttp.ClientResponse:
        """Send and wait for the head of the answer. The caller closes it. Raises UpstreamError."""
        if self._session is None:
            await self.open()
            assert self._session is not None
        outgoing = await self.sign(outgoing, credential.secret)
        try:
            return await self._session.request(
                outgoing.method,
                self.url(outgoing.path),
                data=outgoing.body or None,
                headers={**self.settings.headers, **outgoing.headers},
                allow_redirects=False,
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeout(f"no connection within {self.timeouts.connect_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable(f"cannot reach the upstream ({type(error).__name__})") from error

    async def exchange(self, outgoing: Outgoing, credential: Credential) -> bytes:
        """Send something beside all calls and give the whole body of the answer. Raises UpstreamError where it is no success."""
        async with await self.request(outgoing, credential) as response:
            if not 200 <= response.status < 300:
                body = await _read_error(response)
                raise self.cleaned(self.error(response.status, response.headers, body))
            return await read_body(response, MAX_BODY_BYTES)

    def url(self, path: str) -> URL:
        """`path` below the configured base URL."""
        url = self._urls.get(path)
        if url is None:
            url = URL(self.settings.base_url.rstrip("/") + path, encoded=True)
            if len(self._urls) < 1000:
                self._urls[path] = url
        return url

    def cleaned(self, error: UpstreamError) -> UpstreamError:
        """The error with every credential of this provider masked in what the upstream said, and that cut to 500 characters."""
        error.message = self.masked(error.message)[:500]
        error.args = (error.message,)
        if error.provider_code:
            error.provider_code = self.masked(error.provider_code)[:100]
        if error.param:
            error.param = self.masked(error.param)[:100]
        return error

    def masked(self, text: str) -> str:
        """The text without the credentials of this provider, and without whatever looks like one."""
        for credential in self.credentials:
            if credential.secret:
                text = text.replace(credential.secret, "***")
        return KEY_SHAPED.sub("***", text)


#: text shaped like a key of any provider: it may be another one's, echoed by the upstream
KEY_SHAPED = re.compile(r"\b(?:sk|pk|rk|gsk|xai|AIza|hf|nvapi)[-_A-Za-z0-9*.]{12,}")


class _Sending:
    """One HTTP exchange as a context manager (a class, since `asynccontextmanager` costs more)."""

    __slots__ = ("_credential", "_outgoing", "_provider", "_response", "_stream")

    def __init__(self, provider: Provider, outgoing: Outgoing, credential: Credential, stream: bool) -> None:
        self._provider = provider
        self._outgoing = outgoing
        self._credential = credential
        self._stream = stream
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Upstream:
        provider = self._provider
        try:
            response = self._response = await provider.request(self._outgoing, self._credential)
            if not 200 <= response.status < 300:
                body = await _read_error(response)
                raise provider.error(response.status, response.headers, body)
        except UpstreamError as error:
            self._close()
            raise self._cleaned(error) from error.__cause__
        except BaseException:
            self._close()
            raise
        return Upstream(response=response, stream=is_stream(response))

    def _cleaned(self, error: UpstreamError) -> UpstreamError:
        """Without our keys, and without a client's own one, which the provider itself does not know."""
        secret = self._credential.secret
        if self._credential.byok and secret:
            error.message = error.message.replace(secret, "***")
            error.provider_code = error.provider_code and error.provider_code.replace(secret, "***")
            error.param = error.param and error.param.replace(secret, "***")
        return self._provider.cleaned(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        response = self._response
        if error is not None or response is None:
            self._close()
        elif response.content.is_eof():
            response.release()
        else:
            spawn("end of an upstream's answer", _to_the_end(response))
        if isinstance(error, UpstreamError):
            self._cleaned(error)

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()


async def _to_the_end(response: aiohttp.ClientResponse) -> None:
    """Behind its terminal event an answer's body may take a moment to end: then the connection can be used again."""
    try:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(END_S):
                while await response.content.readany():
                    pass
    finally:
        if response.content.is_eof():
            response.release()
        else:
            response.close()


async def _read_error(response: aiohttp.ClientResponse) -> bytes:
    """What there is of an error's body: at most 64 kB, within five seconds."""
    try:
        async with asyncio.timeout(5):
            return await response.content.read(MAX_ERROR_BYTES)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return b""


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """True where the body is no whole document: some upstreams name odd types for streams, none names these."""
    return response.content_type not in ("application/json", "text/html", "text/plain", "application/problem+json")
