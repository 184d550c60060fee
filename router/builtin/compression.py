"""Context compression (`context-compression`, `transforms: ["middle-out"]`): a prompt that is too long for its model loses its middle.

System messages, the beginning and the end of a conversation say most of what it is about. Tool calls go together with their results, or
upstreams would refuse what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..call import Call
from ..hookspecs import Transform, hookimpl
from ..model import AnyPart, ChatRequest, Message, Reasoning, Refusal, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from ..server import Server

ID = "context-compression"
CHARS_PER_TOKEN = 4
#: what a part that is no text counts as, in tokens, and what a message does besides its parts: as in the estimate of a prompt
PART_TOKENS, MESSAGE_TOKENS = 800, 4
#: tokens left free for an answer whose length the request does not bound
ANSWER_TOKENS = 4096
#: the estimate may be off by so much
MARGIN = 0.9
GAP = "\n[…]\n"


class Compression:
    """Shortens requests that ask for it and do not fit the model that would serve them."""

    def __init__(self, server: Server) -> None:
        """Nothing is kept."""

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        """It needs no setting."""
        return (ID,)

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        """Let routing choose models for which the prompt is too long."""
        call.head.compress = any(each["id"] == ID for each in call.head.plugins)

    @hookimpl(trylast=True)
    def router_transform(self, call: Call) -> Transform | None:
        """Nothing where the prompt fits the model that is asked first."""
        if not call.head.compress:
            return None
        model = call.plan.candidates[0].endpoint.model
        answer = call.head.max_tokens or min(model.max_output or ANSWER_TOKENS, ANSWER_TOKENS)
        room = int(max(model.context_length - answer, model.context_length // 2) * MARGIN)
        # How long a prompt is whose files become text is known only then.
        if not model.context_length or (call.head.prompt_tokens <= room and not call.head.converts):
            return None

        async def shorten(request: ChatRequest) -> ChatRequest:
            if call.head.prompt_tokens <= room:
                return request
            overhead = sum(len(tool.parameters or b"") + len(tool.description or "") for tool in request.tools)
            messages = middle_out(request.messages, room - overhead // CHARS_PER_TOKEN)
            left_out = len(request.messages) - len(messages)
            call.pipeline.append(
                {
                    "type": "plugin",
                    "name": ID,
                    "summary": f"{left_out} of {len(request.messages)} messages left out, to fit {room} tokens",
                    "data": {"engine": "middle-out", "messages_left_out": left_out, "tokens": room},
                }
            )
            return replace(request, messages=messages)

        return shorten


def middle_out(messages: Sequence[Message], room: int) -> list[Message]:
    """The messages without as many from the middle as it takes to fit into `room` tokens; what still does not fit is cut in itself."""
    kept = [message for message in messages if message.role in ("system", "developer")]
    rounds = _rounds([message for message in messages if message.role not in ("system", "developer")])
    room -= sum(map(_size, kept))
    sizes = [sum(map(_size, each)) for each in rounds]
    first, last = 0, len(rounds)
    # From both ends at once, the end first: the latest message is the one to answer.
    while first < last:
        for from_end in (True, False):
            place = last - 1 if from_end else first
            if first >= last or (sizes[place] > room and last < len(rounds)):
                return [*kept, *_flat(rounds[:first]), *_flat(rounds[last:])]
            room -= sizes[place]
            if room < 0:
                return [*kept, *_cut(rounds[place], sizes[place] + room)]
            first, last = (first, last - 1) if from_end else (first + 1, last)
    return [*kept, *_flat(rounds)]


def _rounds(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages that belong together: tool calls and their results."""
    rounds: list[list[Message]] = []
    for message in messages:
        if rounds and any(isinstance(part, ToolResult) for part in message.content):
            rounds[-1].append(message)
        else:
            rounds.append([message])
    return rounds


def _flat(rounds: Sequence[list[Message]]) -> list[Message]:
    return [message for each in rounds for message in each]


def _cut(messages: Sequence[Message], room: int) -> list[Message]:
    """Messages whose texts lose their middles, so that together they have about `room` tokens."""
    size = sum(map(_size, messages))
    share = max(0.0, min(1.0, room / size)) if size else 1.0
    return [replace(message, content=[_cut_part(part, share) for part in message.content]) for message in messages]


def _cut_part(part: AnyPart, share: float) -> AnyPart:
    if isinstance(part, Text):
        half = int(len(part.text) * share / 2)
        return replace(part, text=part.text[:half] + GAP + part.text[len(part.text) - half :])
    if isinstance(part, ToolResult):
        return replace(part, content=[_cut_part(inner, share) for inner in part.content])
    return part


def _size(message: Message) -> int:
    return MESSAGE_TOKENS + sum(map(_part_size, message.content))


def _part_size(part: AnyPart) -> int:
    if isinstance(part, ToolResult):
        return sum(map(_part_size, part.content))
    if isinstance(part, Text | Refusal | Reasoning):
        return -(-len(part.text) // CHARS_PER_TOKEN)
    if isinstance(part, ToolCall):
        return -(-(len(part.name) + len(part.arguments)) // CHARS_PER_TOKEN)
    return PART_TOKENS
