"""Anthropic's Messages API, as clients speak it (api.md 7 and 19).

fields    the members of a request and their ranges
peek      reading a request as far as routing needs it
patch     raw lane: the request on its way to an upstream that speaks the same
tap       raw lane: the stream on its way back
answer    raw lane: the plain answer on its way back
decode    hub lane: the request in the hub's form
encode    hub lane: events and replies as Anthropic's events and messages
marks     how thinking of other families travels through Anthropic clients and back
common    what all answers carry: usage in Anthropic's arithmetic, stop reasons, errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...events import Reply
from ...model import ChatRequest
from .. import envelopes
from ..again import Again
from ..base import Dialect, Flow, Path
from . import answer, common, encode, peek
from .decode import decode
from .patch import patch, raw_headers
from .tap import Tap

if TYPE_CHECKING:
    from ...call import Call, Candidate
    from ...errors import RouterError
    from ...head import Head


class AnthropicMessages(Dialect):
    """`POST /messages` and `POST /messages/count_tokens`."""

    name = "anthropic.messages"
    surface = "anthropic"
    api_type = "messages"
    prefixes = ("/v1", "/api/v1", "/anthropic/v1")
    paths = (Path("/messages"), Path("/messages/count_tokens", "count_tokens"))
    #: a comment before message_start, since a ping has to come behind it
    keepalive = b'event: ping\ndata: {"type": "ping"}\n\n'

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        return peek.peek(body, counting=operation == "count_tokens")

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """Raw lane: the body for this candidate."""
        return patch(call, candidate)

    def raw_headers(self, call: Call) -> dict[str, str]:
        """Version and betas, which belong to the body."""
        return raw_headers(call)

    def decode(self, head: Head) -> ChatRequest:
        """Hub lane: the whole request."""
        return decode(head)

    def tap(self, call: Call) -> Flow:
        """Raw lane, stream."""
        return Tap(call)

    def answer(self, call: Call, body: bytes) -> None:
        """Raw lane, plain: read the answer."""
        answer.read(call, body)

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """Raw lane, plain: the answer as it came, unless the client asked for metadata."""
        return answer.write(call, body)

    def encoder(self, call: Call) -> Flow:
        """Hub lane, stream."""
        return encode.Encoder(call)

    def reply(self, call: Call, reply: Reply) -> bytes:
        """Hub lane, plain."""
        return encode.reply(call, reply)

    def again(self, call: Call) -> Again:
        """Its own id, in the message."""
        return Again({"id": call.id}, inside="message")

    def counted(self, tokens: int) -> bytes:
        """The answer of count_tokens."""
        return common.encode_json({"input_tokens": tokens})

    def answer_headers(self, request_id: str, limit: tuple[int, int, int]) -> dict[str, str]:
        """What Anthropic's SDKs look for."""
        return common.answer_headers(request_id, limit)

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope."""
        return envelopes.anthropic(error, request_id)

    def stream_error(self, call: Call, error: RouterError) -> bytes:
        """The event that ends a stream which has begun."""
        return common.error_event(error, call.request_id)
