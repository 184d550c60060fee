"""OpenAI's chat completions, as clients speak them (api.md 5 and 19).

fields    the members of a request and their ranges
peek      reading a request as far as routing needs it
patch     raw lane: the request on its way to an upstream that speaks the same
tap       raw lane: the stream on its way back
rule      raw lane: how most chunks of a stream are patched without taking them apart
frames    raw lane: cutting the stream
answer    raw lane: the plain answer on its way back
decode    hub lane: the request in the hub's form
encode    hub lane: events and replies as chunks and answers
common    what all answers carry: usage with cost, errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...events import Reply
from ...model import ChatRequest
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


class OpenAIChat(Dialect):
    """`POST /chat/completions`. `plugins` are the ids that requests may name; the server adds those of router plugins."""

    name = "openai.chat"
    paths = (Path("/chat/completions"),)

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        return peek.peek(body)

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
        """Raw lane, plain: print the answer."""
        return answer.write(call, body)

    def encoder(self, call: Call) -> Flow:
        """Hub lane, stream."""
        return encode.Encoder(call)

    def reply(self, call: Call, reply: Reply) -> bytes:
        """Hub lane, plain."""
        return encode.reply(call, reply)

    def again(self, call: Call) -> Again:
        """Its own id and time."""
        return Again({"id": call.id, "created": int(call.created_unix)})

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope."""
        return common.error_body(error, request_id, number_codes=number_codes)

    def stream_error(self, call: Call, error: RouterError) -> bytes:
        """The frames that end a stream which has begun."""
        return common.error_chunk(call, error)
