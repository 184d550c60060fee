"""The hub lane's way back: hub events as this API's events, a reply as a response object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import RouterError, StreamTruncated, UpstreamUnavailable
from ...events import (
    CONTENT_EVENTS,
    Event,
    Finish,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
)
from ...sse import frame
from ...wire import openai as wire
from .items import Items, Told
from .response import failed, response_object

if TYPE_CHECKING:
    from ...call import Call

DONE = b"data: [DONE]\n\n"
#: under this name in `call.state` the flow waits, for the error that may have to end it
STATE = "openai.responses"


def reply(call: Call, given: Reply) -> bytes:
    """The client's body."""
    items = Items(call)
    for event in given.events():
        if getattr(event, "choice", 0) == 0:
            items.add(event)
    finish = given.choices[0].finish if given.choices else Finish()
    status, details = ending(finish.reason)
    items.close("completed" if status == "completed" else "incomplete")
    return wire.encode(ended(call, items, status, details, call.error))


def ending(reason: str) -> tuple[str, dict[str, str] | None]:
    """Status and `incomplete_details` for a finish reason."""
    match reason:
        case "length":
            return "incomplete", {"reason": "max_output_tokens"}
        case "content_filter":
            return "incomplete", {"reason": "content_filter"}
        case "error":
            return "failed", None
    return "completed", None


def ended(
    call: Call, items: Items, status: str, details: dict[str, str] | None, error: RouterError | None = None
) -> dict[str, Any]:
    """The response object at its end."""
    told = response_object(call, status, items.output)
    told["incomplete_details"] = details
    if status == "failed":
        told |= failed(error or UpstreamUnavailable("the upstream ended the answer with an error"))
    return told


class Encoder:
    """`Flow` of the hub lane: hub events in, the API's events out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._items = Items(call)
        self._number = 0
        self._stop: Stop | None = None
        call.state[STATE] = self

    # --- what the relay calls ---

    def feed(self, item: bytes | Event) -> bytes:
        """Take one event in, give the events that it makes."""
        match item:
            case Start():
                outcome = self._call.outcome
                outcome.upstream_id = item.id or outcome.upstream_id
                outcome.service_tier = item.service_tier or outcome.service_tier
                return self._opening()
            case Stop():
                self._stop = item
                self.done = True
                return b""
        if not isinstance(item, CONTENT_EVENTS) or item.choice != 0:
            return b""
        opening = self._opening()
        told = self._items.add(item)
        self._count(item)
        if told:
            self.content = True
        return opening + self._frames(told)

    def end(self) -> None:
        """The events are over."""
        stop = self._stop
        if stop is None:
            raise (StreamTruncated if self.content else UpstreamUnavailable)("the upstream's stream has no end")
        outcome = self._call.outcome
        outcome.usage = stop.usage
        first = self._finish()
        calls = any(item["type"] in ("function_call", "custom_tool_call") for item in self._items.output)
        outcome.finish_reason = "tool_calls" if calls else first.reason
        outcome.native_finish_reason = first.native

    def final(self) -> bytes:
        """What closes the last item, the terminal event and, where it is wanted, the end mark."""
        status, details = ending(self._finish().reason)
        opening = self._opening()
        closing = self._frames(self._items.close("completed" if status == "completed" else "incomplete"))
        told = {"type": f"response.{status}", "response": ended(self._call, self._items, status, details)}
        return opening + closing + self._frames([told]) + end_mark(self._call)

    def failed(self, error: RouterError) -> bytes:
        """The frames that end a stream that went wrong."""
        opening = self._opening()
        closing = self._frames(self._items.close("incomplete"))
        told = {"type": "response.failed", "response": ended(self._call, self._items, "failed", None, error)}
        return opening + closing + self._frames([told]) + end_mark(self._call)

    # --- frames ---

    def _finish(self) -> Finish:
        finishes = self._stop.finishes if self._stop is not None else []
        return min(finishes, key=lambda finish: finish.choice, default=Finish())

    def _opening(self) -> bytes:
        """The two events with which every stream begins."""
        if self._number:
            return b""
        told = response_object(self._call, "in_progress", [], ended=False)
        return self._frames(
            [{"type": "response.created", "response": told}, {"type": "response.in_progress", "response": told}]
        )

    def _frames(self, told: list[Told]) -> bytes:
        out = []
        for each in told:
            each["sequence_number"] = self._number
            self._number += 1
            out.append(frame(wire.encode(each), each["type"]))
        return out[0] if len(out) == 1 else b"".join(out)

    def _count(self, event: Event) -> None:
        outcome = self._call.outcome
        match event:
            case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
                outcome.output_chars += len(text)
            case ToolDelta():
                outcome.output_chars += len(event.name) + len(event.arguments)
            case PartDone():
                pass


def end_mark(call: Call) -> bytes:
    """`[DONE]`, for clients that wait for it."""
    return DONE if call.compat.get("responses_done") else b""
