"""OpenAI's Responses, as clients speak them (api.md 6 and 19).

fields    the members of a request and their ranges
peek      reading a request as far as routing needs it
patch     raw lane: the request on its way to an upstream that speaks the same
tap       raw lane: the stream on its way back
answer    raw lane: the plain answer on its way back
decode    hub lane: the request in the hub's form
items     hub lane: events as the items of an answer
encode    hub lane: streams and plain answers
response  the response object, which all answers are
envelope  thinking of other families, kept in `encrypted_content`
history   items of earlier exchanges, as they are kept and as they are sent again
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...events import Reply
from ...model import ChatRequest
from ..again import Again
from ..base import Dialect, Flow, Path
from ..openai_chat import common
from . import answer, encode, peek
from .decode import decode
from .patch import patch
from .response import response_id
from .tap import Tap

if TYPE_CHECKING:
    from ...call import Call, Candidate
    from ...errors import RouterError
    from ...head import Head


class OpenAIResponses(Dialect):
    """`POST /responses`."""

    name = "openai.responses"
    api_type = "responses"
    paths = (Path("/responses"),)

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

    def again(self, call: Call) -> Again | None:
        """Its own id and time. What is kept for going on from it is an answer of its own."""
        if call.head.decoded.kept is not None:
            return None
        return Again({"id": response_id(call), "created_at": int(call.created_unix)}, inside="response")

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope, in the shape of chat."""
        return common.error_body(error, request_id, number_codes=number_codes)

    def stream_error(self, call: Call, error: RouterError) -> bytes:
        """The frames that end a stream which has begun."""
        flow = call.state.get(encode.STATE) or encode.Encoder(call)
        frames: bytes = flow.failed(error)
        return frames
