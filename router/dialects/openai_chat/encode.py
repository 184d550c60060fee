"""The hub lane's way back: events as chunks, a reply as a plain answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import StreamTruncated, UpstreamUnavailable
from ...events import (
    Choice,
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
from ...model import Audio, Citation, Image, Note, Opaque, Reasoning, Refusal, Text, ToolCall
from ...wire import openai as wire
from .common import DONE, debug_object, error_object, provider_of, usage_apart, usage_object

if TYPE_CHECKING:
    from ...call import Call

_encode = wire.encode


class Encoder:
    """`Flow` of the hub lane: events in, chunks out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._opened: set[int] = set()
        self._stop: Stop | None = None
        self._called: set[int] = set()
        self._duplicate = bool(call.compat.get("reasoning_content", True))
        self._hide = call.head.exclude_reasoning
        self._legacy = legacy(call)
        self._extra: dict[str, Any] = {}
        head = {
            "id": call.id,
            "object": "chat.completion.chunk",
            "created": int(call.created_unix),
            "model": call.model_id,
            "provider": provider_of(call),
        }
        self._head = b"data: " + _encode(head)[:-1]

    # --- what the relay calls ---

    def feed(self, item: bytes | Event) -> bytes:
        """Take one event in, give its chunk."""
        outcome = self._call.outcome
        match item:
            case TextDelta(text=text, choice=choice):
                outcome.output_chars += len(text)
                return self._delta(choice, {"content": text}, bool(text), item.logprobs)
            case ReasoningDelta(choice=choice):
                outcome.output_chars += len(item.text)
                delta = {} if self._hide else self._thought(item)
                return self._delta(choice, delta, bool(delta)) if delta else b""
            case ToolDelta(choice=choice):
                outcome.output_chars += len(item.name) + len(item.arguments)
                self._called.add(choice)
                return self._delta(choice, self._tool(item), True)
            case RefusalDelta(text=text, choice=choice):
                outcome.output_chars += len(text)
                return self._delta(choice, {"refusal": text}, True)
            case PartDone(part=part, choice=choice):
                delta = part_delta(part)
                return self._delta(choice, delta, True) if delta else b""
            case Start():
                self._start(item)
            case Stop():
                self._stop = item
                self.done = True
        return b""

    def end(self) -> None:
        """The events are over."""
        stop = self._stop
        if stop is None:
            raise (StreamTruncated if self._opened else UpstreamUnavailable)("the upstream's stream has no end")
        outcome = self._call.outcome
        outcome.usage = stop.usage
        first = min(stop.finishes, key=lambda finish: finish.choice, default=Finish())
        outcome.finish_reason, outcome.native_finish_reason = self._reason(first), first.native

    def final(self) -> bytes:
        """The finish chunks with usage, and the end mark."""
        call = self._call
        assert self._stop is not None
        last: dict[str, Any] = {**self._extra, "usage": usage_object(call, {})}
        if call.metadata is not None:
            last["openrouter_metadata"] = call.metadata
        finishes = sorted(self._stop.finishes, key=lambda finish: finish.choice) or [Finish()]
        opening = b"".join(self._open(finish.choice) for finish in finishes)
        closing = [self._closing(finish) for finish in finishes]
        apart = usage_apart(call)
        out = [self._write([choice], {}) for choice in (closing if apart else closing[:-1])]
        out.append(self._write([] if apart else closing[-1:], last))
        return b"".join((opening, *out, DONE))

    # --- chunks ---

    def _start(self, start: Start) -> None:
        outcome = self._call.outcome
        outcome.upstream_id = start.id or outcome.upstream_id
        outcome.service_tier = start.service_tier or outcome.service_tier
        if start.system_fingerprint:
            self._extra["system_fingerprint"] = start.system_fingerprint
        if start.service_tier:
            self._extra["service_tier"] = start.service_tier

    def _delta(self, index: int, delta: dict[str, Any], content: bool, logprobs: Any = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        chunk = self._write([choice], self._extra)
        if index in self._opened:
            self.content = self.content or content
            return chunk
        opening = self._open(index)
        self.content = self.content or content
        return opening + chunk

    def _open(self, index: int) -> bytes:
        """The first chunk of a choice, which only says whose turn it is."""
        if index in self._opened:
            return b""
        first = dict(self._extra)
        if not self._opened and self._call.head.echo_upstream_body:
            first["debug"] = debug_object(self._call)
        self._opened.add(index)
        return self._write(
            [{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}], first
        )

    def _thought(self, event: ReasoningDelta) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if event.text:
            told["reasoning"] = event.text
            if self._duplicate:
                told["reasoning_content"] = event.text
        told["reasoning_details"] = [
            detail(event.kind, event.text, event.data, event.signature, event.id, event.format, event.index)
        ]
        return told

    def _tool(self, event: ToolDelta) -> dict[str, Any]:
        function = {"arguments": event.arguments}
        told: dict[str, Any] = {"index": event.index}
        if event.name:
            function = {"name": self._call.head.renamed.get(event.name, event.name), **function}
            told |= {"id": event.id, "type": "function"}
        return {"function_call": function} if self._legacy else {"tool_calls": [told | {"function": function}]}

    def _reason(self, finish: Finish) -> str:
        return "tool_calls" if finish.choice in self._called else finish.reason

    def _closing(self, finish: Finish) -> dict[str, Any]:
        reason = self._reason(finish)
        return {
            "index": finish.choice,
            "delta": {},
            "finish_reason": reason,
            "native_finish_reason": finish.native,
        }

    def _write(self, choices: list[dict[str, Any]], members: dict[str, Any]) -> bytes:
        rest = b"," + _encode(members)[1:] if members else b"}"
        return b'%b,"choices":%b%b\n\n' % (self._head, _encode(choices), rest)


def detail(
    kind: str, text: str, data: str, signature: str | None, id: str | None, format: str, index: int
) -> dict[str, Any]:
    """A piece of thinking as an entry of `reasoning_details`."""
    told: dict[str, Any] = {"type": f"reasoning.{kind}"}
    if kind == "summary":
        told["summary"] = text
    elif kind == "text":
        told["text"] = text
    else:
        told["data"] = data
    if signature is not None:
        told["signature"] = signature
    return told | {"id": id, "format": format, "index": index}


def part_delta(part: Image | Audio | Citation | Note | Opaque) -> dict[str, Any]:
    """A part that came whole, as a delta; nothing where this API has no form for it."""
    match part:
        case Citation():
            return {"annotations": [annotation(part)]}
        case Note(raw=raw):
            return {"annotations": [raw]}
        case Image():
            return {"images": [image(part)]}
        case Audio():
            return {"audio": audio(part)}
    return {}


def annotation(citation: Citation) -> dict[str, Any]:
    """A citation as an entry of `annotations`."""
    told: dict[str, Any] = {
        "url": citation.url,
        "title": citation.title,
        "start_index": citation.start_index,
        "end_index": citation.end_index,
    }
    if citation.content:
        told["content"] = citation.content
    return {"type": "url_citation", "url_citation": told}


def image(part: Image) -> dict[str, Any]:
    """An image that a model made."""
    return {"type": "image_url", "image_url": {"url": part.url or f"data:{part.media_type};base64,{part.data}"}}


def audio(part: Audio) -> dict[str, Any]:
    """Audio that a model made."""
    return {"id": part.id, "data": part.data, "transcript": part.transcript, "expires_at": part.expires_at}


# --- plain answers ---------------------------------------------------------------------------------------------------


def reply(call: Call, given: Reply) -> bytes:
    """The client's body."""
    told: dict[str, Any] = {
        "id": call.id,
        "object": "chat.completion",
        "created": int(call.created_unix),
        "model": call.model_id,
        "provider": provider_of(call),
        "system_fingerprint": given.system_fingerprint,
        "service_tier": given.service_tier,
        "choices": [_choice(call, choice) for choice in given.choices],
        "usage": usage_object(call, {}),
    }
    if call.metadata is not None:
        told["openrouter_metadata"] = call.metadata
    if call.head.echo_upstream_body:
        told["debug"] = debug_object(call)
    return _encode(told)


def _choice(call: Call, choice: Choice) -> dict[str, Any]:
    message = _message(call, choice)
    reason: str = choice.finish.reason
    if reason != "error" and any(isinstance(part, ToolCall) for part in choice.content):
        reason = "tool_calls"
    told: dict[str, Any] = {
        "index": choice.index,
        "finish_reason": reason,
        "native_finish_reason": choice.finish.native,
        "logprobs": choice.logprobs,
        "message": message,
    }
    if reason == "error" and call.error is not None:
        told["error"] = error_object(call, call.error)
    return told


def _message(call: Call, choice: Choice) -> dict[str, Any]:
    parts = choice.content
    text = "".join(part.text for part in parts if isinstance(part, Text))
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    calls = [_called(call, part) for part in parts if isinstance(part, ToolCall)]
    citations = choice.citations + [each for part in parts if isinstance(part, Text) for each in part.citations]
    silent = calls or refusals or any(isinstance(part, Image | Audio) for part in parts)
    told: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not silent else None,
        "refusal": "".join(refusals) if refusals else None,
        "reasoning": None,
    }
    if not call.head.exclude_reasoning:
        told |= _thoughts(call, [part for part in parts if isinstance(part, Reasoning)])
    if calls and legacy(call):
        told["function_call"] = calls[0]["function"]
    elif calls:
        told["tool_calls"] = calls
    if images := [image(part) for part in parts if isinstance(part, Image)]:
        told["images"] = images
    if heard := [audio(part) for part in parts if isinstance(part, Audio)]:
        told["audio"] = heard[0]
    told["annotations"] = [*(annotation(each) for each in citations), *(note.raw for note in choice.notes)]
    return told


def legacy(call: Call) -> bool:
    """True for clients that offered tools in the form of 2023: they look for the call in `function_call`."""
    return "functions" in call.head.members


def _called(call: Call, part: ToolCall) -> dict[str, Any]:
    name = call.head.renamed.get(part.name, part.name)
    # a call without arguments still has to be JSON for the client
    return {"id": part.id, "type": "function", "function": {"name": name, "arguments": part.arguments or "{}"}}


def _thoughts(call: Call, thoughts: list[Reasoning]) -> dict[str, Any]:
    if not thoughts:
        return {}
    text = "".join(each.text for each in thoughts if each.kind in ("text", "summary"))
    told: dict[str, Any] = {"reasoning": text or None}
    if text and call.compat.get("reasoning_content", True):
        told["reasoning_content"] = text
    told["reasoning_details"] = [
        detail(each.kind, each.text, each.data, each.signature, each.id, each.format, index)
        for index, each in enumerate(thoughts)
    ]
    return told
