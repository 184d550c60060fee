"""One call and everything that belongs to it, from the client's bytes to what came of it.

Times: `*_s` are seconds of the event loop's clock (monotonic), `*_unix` are seconds of the wall clock. Money: picodollars.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from .errors import ClientGone, RouterError, UpstreamError
from .head import Head
from .identity import Identity, Restriction
from .model import ChatRequest, Model
from .prices import Cost, Price, Usage

if TYPE_CHECKING:
    import asyncio

    from .dialects.base import Dialect
    from .provider import Outgoing, Provider
    from .server import Server

#: ids must be unique, not secret: a generator that is seeded once saves a system call per request
_random_bits = random.Random(random.SystemRandom().getrandbits(256)).getrandbits

#: the client's own id of the call, echoed in the answer under the same name
TRACE_HEADERS = ("X-AnyRouter-Trace-Id", "X-Request-Id", "traceparent")


class Credential(Struct, kw_only=True):
    """One key at a provider: ours, or (`byok`) a client's own. `label` is what may be shown, and tells it from the provider's others;
    the secret is never printed. Credentials that plugins bring (`router_credentials`) are asked before the configured ones, or
    (`last`) behind them; `serves` says whether one may be used for a call, None for every call."""

    secret: str
    label: str = "1"
    byok: bool = False
    last: bool = False
    serves: Callable[[Call], bool] | None = None

    def __repr__(self) -> str:
        return f"Credential({self.label})"


class Endpoint(Struct, kw_only=True):
    """One way to get a model: (provider, upstream model, credentials), with its price and the facts that preferences look at.

    `model_id` is the public id, as clients name it; `model` holds the upstream's id and facts.
    """

    provider: Provider
    model_id: str
    model: Model
    price: Price | None = None
    priority: int = 0
    variant: str = ""
    zdr: bool = False
    training: bool = False
    quantization: str = "unknown"
    local: bool = False

    @property
    def tag(self) -> str:
        """How preferences name it: `provider` or `provider/variant`."""
        return f"{self.provider.slug}/{self.variant}" if self.variant else self.provider.slug


class Candidate(Struct, kw_only=True):
    """An endpoint with the credential that would be used: what one attempt goes to. `group` counts the models of the request:
    a refusal for content or length leads to the next group."""

    endpoint: Endpoint
    credential: Credential
    group: int = 0

    @property
    def provider(self) -> Provider:
        """The configured provider."""
        return self.endpoint.provider

    @property
    def price(self) -> Price | None:
        """What the endpoint costs, None where nobody knows."""
        return self.endpoint.price


class Plan(Struct, kw_only=True):
    """Where a call may go, in order, and why not elsewhere.

    `filtered` names what was excluded and `moved` what changed its place, both with the reason (api.md 18.9); `strategy` says what
    decided the order. `refusal` is what the client is told where there are no candidates at all. `nearest` finds the ids of models that
    are called like one of the request's, for clients that choose another one themselves.
    """

    candidates: Sequence[Candidate] = ()
    strategy: str = "direct"
    filtered: list[dict[str, str]] = field(default_factory=list)
    moved: list[dict[str, str]] = field(default_factory=list)
    total: int = 0
    refusal: RouterError | None = None
    nearest: Callable[[str], list[str]] | None = None


class Attempt(Struct, kw_only=True):
    """One try at one candidate. `latency_s` to the first content or the end; `error` None for success; `opened`: the upstream has
    answered with success, whatever came then; `called_tool`: the answer ended in a tool call, None where no tools were offered;
    `exhausted_s`: the upstream said that it takes nothing more for so many seconds."""

    candidate: Candidate
    started_s: float
    opened: bool = False
    status: int = 0
    latency_s: float = 0.0
    duration_s: float = 0.0
    error: UpstreamError | None = None
    output_tokens: int = 0
    called_tool: bool | None = None
    exhausted_s: float | None = None


class Recalled(Struct, kw_only=True):
    """An answer that is there already, in the client's own form: nobody is asked for it, and it costs nothing.

    `tail` is the whole plain body, or the terminal frames of a stream, whose other frames are `head`. `candidate` is whose answer it
    was, and `source_id` the id of the call that it answered first.
    """

    candidate: Candidate
    tail: bytes
    head: bytes = b""
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    source_id: str = ""


class Outcome(Struct, kw_only=True):
    """What an answer turned out to be: filled while it is relayed, valid at any moment.

    `output_chars` counts relayed text, reasoning and tool arguments, for the estimate where the upstream said nothing.
    `decoded` is where the dialect keeps what `answer` has decoded, for its own `final_answer`. `media_type` is set for answers that are
    no JSON. `uncounted`: nobody said what was used, and it cannot be estimated either: the call has no cost. `streamed`: an answer that
    is no chat is relayed as it comes.
    """

    usage: Usage | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    upstream_id: str = ""
    output_chars: int = 0
    service_tier: str | None = None
    decoded: Any = None
    media_type: str = "application/json"
    uncounted: bool = False
    streamed: bool = False


class Call:
    """One request on its way. Handlers and the batch runner make one and give it to `Lifecycle.execute`."""

    __slots__ = (
        "_metadata",
        "account",
        "answer_headers",
        "asked_path",
        "attempts",
        "body",
        "cancelled",
        "candidate",
        "charge",
        "compat",
        "cost",
        "created_unix",
        "deadline_s",
        "dialect",
        "dropped",
        "dry",
        "error",
        "filters",
        "first_content_s",
        "head",
        "headers",
        "id",
        "identity",
        "moderation_s",
        "operation",
        "outcome",
        "outgoing",
        "path",
        "pipeline",
        "plan",
        "presented",
        "preset",
        "query",
        "rate_limit",
        "recalled",
        "releases",
        "request",
        "request_id",
        "reserved",
        "reserved_byok",
        "restrictions",
        "server",
        "settled",
        "started_s",
        "state",
        "transforms",
        "usage",
        "warnings",
        "within",
    )

    def __init__(
        self,
        *,
        dialect: Dialect,
        body: bytes,
        headers: Mapping[str, str],
        path: Mapping[str, str],
        presented: str | None,
        started_s: float,
        operation: str = "chat",
        query: str = "",
        asked_path: str = "",
    ) -> None:
        self.created_unix = time.time()
        # In order of time down to the microsecond: rows are then appended to the indexes of the ledger (10 microseconds less a row).
        token = f"{int(self.created_unix % 1 * 1_000_000):05x}{_random_bits(60):015x}"
        self.id = f"gen-{int(self.created_unix)}-{token}"
        self.request_id = f"req_{token}"
        self.dialect = dialect
        self.operation = operation
        self.body = body
        self.headers = headers
        #: what the pattern of the route found in the path
        self.path = path
        self.asked_path = asked_path
        #: the query of the client's request, as it was sent; it may hold the credential
        self.query = query
        #: the credential as the client presented it, for `router_authenticate`; wiped right after
        self.presented = presented
        self.started_s = started_s
        #: whose call it is: settings of plugins, the fetcher, the clock. Set by `Server.call`
        self.server: Server
        self.deadline_s: float = 0.0
        #: the effective compat switches: configuration, then the key's own
        self.compat: dict[str, Any] = {}
        self.identity: Identity | None = None
        #: the id of the preset that was laid under the request, for the ledger
        self.preset: str | None = None
        self.head: Head = Head()
        #: the request in the hub's form; decoded on first need, changed by transforms
        self.request: ChatRequest | None = None
        self.transforms: list[Any] = []
        #: of a chat: `router_filter`; of another operation: `router_rewrite`
        self.filters: list[Any] = []
        #: what plugins say about the endpoints that its key may use; set when the plan is made
        self.restrictions: tuple[Restriction, ...] = ()
        self.plan: Plan = Plan()
        #: an answer that is there already; None where somebody has to be asked
        self.recalled: Recalled | None = None
        #: what is sent in the attempt under way; wrappers of `router_attempt` may look at it or change it
        self.outgoing: Outgoing | None = None
        self.candidate: Candidate | None = None
        self.attempts: list[Attempt] = []
        self.first_content_s: float = 0.0
        self.outcome: Outcome = Outcome()
        self.usage: Usage | None = None
        #: what the price list says, None where the model has no price
        self.cost: Cost | None = None
        #: what the client is charged, in picodollars; None where nobody knows a price
        self.charge: int | None = None
        self._metadata: dict[str, Any] | Callable[[], dict[str, Any]] | None = None
        #: nobody is asked: the client wants to know what would happen. Plugins leave out what would go over the network
        self.dry = False
        #: what plugins did to the call, for explanations (api.md 18.9): objects with type, name, summary and data
        self.pipeline: list[dict[str, Any]] = []
        #: how long the content was looked at before an upstream was asked; None where nobody did
        self.moderation_s: float | None = None
        #: the call in whose service the router makes this one (`Server.ask`); None for those of clients
        self.within: Call | None = None
        self.dropped: list[str] = []
        self.warnings: list[str] = []
        #: headers that plugins add to the answer, whatever it will be
        self.answer_headers: dict[str, str] = {}
        self.rate_limit: tuple[int, int, int] | None = None
        self.error: RouterError | None = None
        self.cancelled = False
        #: what the ledger holds back for this call, in picodollars, and whose counters it is held in; the second only for limits that
        #: include what goes by a client's own keys of the provider
        self.reserved = 0
        self.reserved_byok = 0
        self.account: Any = None
        #: done when the row is committed; None before the end, and for calls that never came to a reservation
        self.settled: asyncio.Future[None] | None = None
        #: called once, synchronously and with the call, when it ends in any way: whoever took something gives it back here
        self.releases: list[Callable[[Call], None]] = []
        #: what plugins keep for themselves, by plugin name
        self.state: dict[str, Any] = {}

    @property
    def model_id(self) -> str:
        """The public id of the model that serves, or the one asked for while none does."""
        return self.candidate.endpoint.model_id if self.candidate else self.head.model

    @property
    def is_byok(self) -> bool:
        """Whether it is the client's own key at the provider that is used."""
        return self.candidate is not None and self.candidate.credential.byok

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What `X-OpenRouter-Metadata` asks for (api.md 18.9), as it is now, printed into the answer; None where nobody asked.

        Set to a function, it is made anew whenever it is printed.
        """
        return self._metadata() if callable(self._metadata) else self._metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any] | Callable[[], dict[str, Any]] | None) -> None:
        self._metadata = value

    @property
    def content_wanted(self) -> bool:
        """True where a plugin asked to see or change the content of this call, or the body has to be translated: no raw lane."""
        return bool(self.transforms or self.filters or self.head.hub_only)

    def cancel(self) -> None:
        """The client left."""
        self.cancelled = True
        self.error = ClientGone("the client closed the connection")

    def fail(self, error: RouterError) -> RouterError:
        """Record why the call failed and give the error back for the sink."""
        self.error = error
        if self.first_content_s:
            self.outcome.finish_reason = "error"
        error.report = self.metadata
        return error


class Sink:
    """Where an answer goes: a socket (`sink.HttpSink`), a batch's memory.

    The order is any number of `write`, then one `finish` or one `error`.
    """

    #: something has reached the client: from now on errors are printed inside the stream
    started = False

    async def write(self, data: bytes) -> None:
        """Hand on a part of a stream: whole frames. Waits while the client is slow."""
        raise TypeError(f"{type(self).__name__} takes no streams")

    async def finish(self, data: bytes) -> None:
        """The end: the terminal frame of a stream, or the whole body of a plain answer."""
        raise TypeError(f"{type(self).__name__} has no end")

    async def error(self, error: RouterError) -> None:
        """The end, otherwise: status and envelope, or an error inside a stream that has begun."""
        raise TypeError(f"{type(self).__name__} takes no errors")


def wants_number_codes(headers: Mapping[str, str], setting: str) -> bool:
    """Does this client need `error.code` as a number (api.md 4)? `setting` is `compat.error_code`."""
    asked = headers.get("X-Router-Error-Code") or headers.get("X-OpenRouter-Error-Code")
    if asked is not None:
        return asked == "number"
    agent = headers.get("User-Agent", "")
    return setting == "number" or "speakeasy-sdk" in agent or "@openrouter/sdk" in agent


def switched_on(value: str | None) -> bool:
    """Does a header that is a switch say yes? `value` is None where it is not there."""
    return value is not None and value.strip().lower() not in ("", "0", "false")


encode_json = msgspec.json.Encoder().encode
