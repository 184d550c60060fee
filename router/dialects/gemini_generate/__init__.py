"""Gemini's generateContent, as clients speak it (api.md 8 and 19).

fields    the members of a request, in camel or snake case, and their ranges
peek      reading a request as far as routing needs it
patch     raw lane: the request on its way to an upstream that speaks the same
tap       raw lane: the stream on its way back
answer    raw lane: reading answers, whole or one event at a time
decode    hub lane: the request in the hub's form
schema    hub lane: Google's own kind of schema as JSON Schema
encode    hub lane: events and replies as Google's
marks     hub lane: thinking of other families inside of Google's thought signatures
common    what all answers carry: frames of both kinds of stream, usage, errors
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
from .patch import patch
from .tap import Tap

if TYPE_CHECKING:
    from ...call import Call, Candidate
    from ...errors import RouterError
    from ...head import Head

#: the methods below a model and the operations that they are
METHODS = {"generateContent": "chat", "streamGenerateContent": "stream", "countTokens": "count_tokens"}


class GeminiGenerate(Dialect):
    """`POST /models/{model}:generateContent`, `:streamGenerateContent` and `:countTokens`; some clients leave `/models` out."""

    name = "gemini.generate"
    surface = "gemini"
    api_type = "generate_content"
    prefixes = ("/v1beta", "/v1", "/api/v1beta", "/api/v1")
    paths = tuple(Path(f"/{{model:.+}}:{method}", operation) for method, operation in METHODS.items())
    keepalive = None
    keepalive_before_start = None

    def content_type(self, call: Call) -> str:
        """An event stream, or a JSON array that grows."""
        return self.stream_type if common.wants_events(call) else "application/json; charset=utf-8"

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        return peek.peek(body, path["model"], operation)

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """Raw lane: the body for this candidate."""
        return patch(call, candidate)

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
        return common.with_metadata(call, body) if call.metadata is not None else body

    def encoder(self, call: Call) -> Flow:
        """Hub lane, stream."""
        return encode.Encoder(call)

    def reply(self, call: Call, reply: Reply) -> bytes:
        """Hub lane, plain."""
        return encode.reply(call, reply)

    def again(self, call: Call) -> Again:
        """Its own id; streams are of two kinds."""
        kind = Again if common.wants_events(call) else common.ArrayAgain
        return kind({"responseId": call.id}, usage="usageMetadata")

    def counted(self, tokens: int) -> bytes:
        """The answer of countTokens."""
        return common.encode_json({"totalTokens": tokens})

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope; the code is a number for everybody."""
        return envelopes.gemini(error)

    def stream_error(self, call: Call, error: RouterError) -> bytes:
        """The event that ends a stream which has begun."""
        return common.error_event(call, error)
