"""What a dialect is: a client API, its paths, and pure functions between its bytes and the hub.

A dialect never knows providers; it meets them in `model`. Third parties return their own from `router_dialects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from ..events import Event, Reply
from ..model import ChatRequest

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..errors import RouterError
    from ..head import Head
    from ..provider import Outgoing
    from .again import Again


class Path(NamedTuple):
    """A path below each of the dialect's prefixes. `operation` is chat, embeddings, …, for `peek` to read; `count_tokens` is never run,
    only counted (`Dialect.counted`). `form`: the body is a form of several parts, not JSON."""

    path: str
    operation: str = "chat"
    method: str = "POST"
    form: bool = False


class Flow(Protocol):
    """A stream on its way to the client: bytes of the same dialect (`Dialect.tap`) or hub events (`Dialect.encoder`) go in, whole
    frames come out. It fills `call.outcome` as it goes.

    After the upstream's end: `end()`, then the call's usage and cost are set, then `final()`.
    """

    #: the first content (text, reasoning, tool call, image) has been fed
    content: bool
    #: the upstream's terminal event has been fed: nothing behind it matters
    done: bool

    def feed(self, item: bytes | Event) -> bytes:
        """Take one piece in, give what may go to the client now (perhaps b""). The terminal frames are kept back.

        Raises an UpstreamError where the stream says that it failed.
        """
        ...

    def end(self) -> None:
        """The upstream's stream is over. Raises StreamTruncated where it was cut, UpstreamUnavailable where it was empty."""
        ...

    def final(self) -> bytes:
        """The frames kept back: finish, usage with `call.usage` and `call.cost`, the end mark."""
        ...


class Dialect:
    """One client API. Instances are stateless; everything about a call is in its `Call`."""

    #: `openai.chat`, `anthropic.messages`, …: what `Provider.speaks` names
    name: ClassVar[str]
    #: openai, anthropic, gemini: whose error envelope and extras this is
    surface: ClassVar[str] = "openai"
    #: what a model must give to serve (`Model.output_modalities`)
    produces: ClassVar[str] = "text"
    #: False for operations other than chat: their answers come whole, or as the upstream sends them (`flows`), transforms and filters
    #: do not see them, and a provider relays them (`Provider.passes`) or translates them (`translate`)
    through_hub: ClassVar[bool] = True
    #: the `api_type` of the ledger
    api_type: ClassVar[str] = "chat"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1", "/api/v1")
    paths: ClassVar[tuple[Path, ...]] = ()
    #: sent after `stream.keepalive_seconds` of silence, None for nothing
    keepalive: ClassVar[bytes | None] = b": ROUTER PROCESSING\n\n"
    #: the same before the first frame
    keepalive_before_start: ClassVar[bytes | None] = b": ROUTER PROCESSING\n\n"
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def content_type(self, call: Call) -> str:
        """The media type of this call's stream."""
        return self.stream_type

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar against the contract. Raises BadRequest with `param`."""
        raise TypeError(f"{type(self).__name__} has no peek")

    def decode(self, head: Head) -> ChatRequest:
        """The request in the hub's form. Raises BadRequest with `param`."""
        raise TypeError(f"{type(self).__name__} has no decode")

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """Raw lane: the client's body with the upstream's model and without our own members; all other members byte for byte."""
        raise TypeError(f"{type(self).__name__} has no patch")

    def translate(self, call: Call, candidate: Candidate) -> Outgoing:
        """Operations other than chat: the request of a provider that has an API of its own for them (`Provider.translates`)."""
        raise TypeError(f"{type(self).__name__} has no translate")

    def raw_headers(self, call: Call) -> dict[str, str]:
        """Headers of the client's that belong to its body: they go with it to upstreams of this dialect, on both lanes."""
        return {}

    def answer_headers(self, request_id: str, limit: tuple[int, int, int]) -> dict[str, str]:
        """What this surface's clients look for in every answer, besides the headers that all get. `limit` is limit, remaining and
        reset (unix seconds) of the tightest request window."""
        return {}

    def answer(self, call: Call, body: bytes) -> None:
        """Raw lane, plain: read an upstream's whole answer into `call.outcome`. Raises an UpstreamError where the body is an error
        or nonsense. `final_answer` prints it, once cost is known."""
        raise TypeError(f"{type(self).__name__} has no answer")

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """Raw lane, plain: the client's body, with `call.usage` and `call.cost`."""
        return body

    def reply(self, call: Call, reply: Reply) -> bytes:
        """Hub lane, plain: the client's body, with `call.usage` and `call.cost`."""
        raise TypeError(f"{type(self).__name__} has no reply")

    def flows(self, call: Call) -> bool:
        """Operations other than chat: is the answer that has been opened relayed as it comes, by `tap`? `call.outcome.media_type` is
        the upstream's. Unlike a chat's its head is sent with its first content, so that what fails before has a status."""
        return False

    def tap(self, call: Call) -> Flow:
        """Raw lane, stream: reads along and patches what the contract wants patched."""
        raise TypeError(f"{type(self).__name__} has no tap")

    def encoder(self, call: Call) -> Flow:
        """Hub lane, stream."""
        raise TypeError(f"{type(self).__name__} has no encoder")

    def again(self, call: Call) -> Again | None:
        """How an answer that a client of this dialect was given before is told once more, as that of this call. None, the default,
        where it cannot be."""
        return None

    def counted(self, tokens: int) -> bytes:
        """The answer of a `count_tokens` operation."""
        raise TypeError(f"{type(self).__name__} counts no tokens")

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and body of an error on this surface."""
        raise TypeError(f"{type(self).__name__} has no error")

    def stream_error(self, call: Call, error: RouterError) -> bytes | None:
        """The frames that end a stream which has begun. None where it has no words for it: the connection is cut then, so that nobody
        takes it for whole."""
        raise TypeError(f"{type(self).__name__} has no stream_error")
