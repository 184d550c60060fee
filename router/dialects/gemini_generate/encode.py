"""The hub lane's way back: events as answers of a stream, a reply as a plain answer.

Calls come whole, in the last answer, as Google sends them. Thoughts are shown to clients that asked for them; what another family needs
to see again goes with the first call behind it (see `marks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import StreamTruncated, UpstreamUnavailable
from ...events import (
    Choice,
    Event,
    Finish,
    Fold,
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
from ...wire import gemini as wire
from . import common
from .common import encode_json
from .marks import FORMAT, pack

if TYPE_CHECKING:
    from ...call import Call

_FINISH = {"length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "OTHER"}
_AUDIO_TYPES = {"pcm16": "audio/L16", "opus": "audio/ogg"}
_SILENT: dict[str, Any] = {"text": ""}

_decode_any = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode

Part = dict[str, Any] | Raw


class Encoder:
    """`Flow` of the hub lane: events in, answers out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._events = common.wants_events(call)
        self._hide = call.head.exclude_reasoning
        self._first = True
        self._stop: Stop | None = None
        #: what waits for the end: calls, signatures, citations
        self._fold = Fold()
        self._tail = b"".join(
            (b',"modelVersion":', encode_json(call.model_id), b',"responseId":', encode_json(call.id))
        )

    def feed(self, item: bytes | Event) -> bytes:
        """Take one event in, give its answer."""
        outcome = self._call.outcome
        match item:
            case TextDelta(text=text, choice=choice):
                outcome.output_chars += len(text)
                self._fold.add(item)
                return self._shown(choice, {"text": text}) if text else b""
            case ReasoningDelta(choice=choice):
                outcome.output_chars += len(item.text)
                self._fold.add(item)
                thought = item.text if item.kind in ("text", "summary") and not self._hide else ""
                return self._shown(choice, {"text": thought, "thought": True}) if thought else b""
            case ToolDelta():
                outcome.output_chars += len(item.name) + len(item.arguments)
                self._fold.add(item)
            case RefusalDelta(text=text, choice=choice):
                outcome.output_chars += len(text)
                self._fold.add(item)
                return self._shown(choice, {"text": text}) if text else b""
            case PartDone(part=part, choice=choice):
                return self._part(part, choice, item)
            case Start():
                outcome.upstream_id = item.id or outcome.upstream_id
                outcome.service_tier = item.service_tier or outcome.service_tier
            case Stop():
                self._fold.add(item)
                self._stop = item
                self.done = True
        return b""

    def end(self) -> None:
        """The events are over."""
        stop = self._stop
        if stop is None:
            raise (StreamTruncated if self.content else UpstreamUnavailable)("the upstream's stream has no end")
        outcome = self._call.outcome
        outcome.usage = stop.usage
        choices = self._fold.reply.choices
        first = choices[0].finish if choices else Finish()
        called = bool(choices) and _calls(choices[0])
        outcome.finish_reason = "tool_calls" if called else first.reason
        outcome.native_finish_reason = first.native

    def final(self) -> bytes:
        """The last answer: calls, signatures, how each choice ended, and usage."""
        choices = self._fold.reply.choices or [Choice()]
        candidates = [_candidate(choice, _last_parts(self._call, choice) or [_SILENT]) for choice in choices]
        out = self._framed(encode_json(_answer(self._call, candidates)))
        return out if self._events else out + common.ARRAY_END

    def _part(self, part: Image | Audio | Citation | Note | Opaque, choice: int, item: PartDone) -> bytes:
        if isinstance(part, Citation):
            self._fold.add(item)
            return b""
        told = _whole(part)
        return b"" if told is None else self._shown(choice, told)

    def _shown(self, choice: int, part: Part) -> bytes:
        """One part as an answer of its own."""
        self.content = True
        return self._framed(
            b'{"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d}]%b}'
            % (encode_json(part), choice, self._tail)
        )

    def _framed(self, answer: bytes) -> bytes:
        if self._events:
            return common.event(answer)
        first, self._first = self._first, False
        return common.element(answer, first=first)


def reply(call: Call, given: Reply) -> bytes:
    """The client's body."""
    candidates = [_candidate(choice, _parts(call, choice) or [_SILENT]) for choice in given.choices]
    if call.error is not None:
        for candidate in candidates:
            candidate["finishMessage"] = call.error.message[:500]
    return encode_json(_answer(call, candidates))


def _answer(call: Call, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "candidates": candidates,
        "usageMetadata": common.usage_object(call),
        "modelVersion": call.model_id,
        "responseId": call.id,
    }
    if call.metadata is not None:
        common.add_metadata(call, told, told["usageMetadata"])
    return told


def _candidate(choice: Choice, parts: list[Part]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": _reason(choice),
        "index": choice.index,
    }
    if grounding := _grounding(choice):
        told["groundingMetadata"] = grounding
    if choice.logprobs is not None and (logprobs := _logprobs(choice.logprobs)):
        told["logprobsResult"] = logprobs
    return told


def _calls(choice: Choice) -> bool:
    return any(isinstance(part, ToolCall) for part in choice.content)


def _reason(choice: Choice) -> str:
    """Google's own word where the upstream was Google, else the nearest one. A call is a good end."""
    finish = choice.finish
    if finish.reason != "error" and _calls(choice):
        return "STOP"
    if finish.native in wire.FINISH and wire.FINISH[finish.native] == finish.reason:
        return finish.native
    return _FINISH.get(finish.reason, "STOP")


# --- parts -----------------------------------------------------------------------------------------------------------


def _parts(call: Call, choice: Choice) -> list[Part]:
    """All parts of a plain answer. Google's signatures go back onto the parts that they came with."""
    parts: list[Part] = []
    for part in choice.content:
        match part:
            case Text(text=text) | Refusal(text=text):
                parts.append({"text": text})
            case Reasoning(kind="text" | "summary", text=text) if text and not call.head.exclude_reasoning:
                parts.append({"text": text, "thought": True} | _own_signature(part))
            case Reasoning(kind="server_tool_call", format=format) if format == FORMAT:
                parts.append(_object(part.data) or _SILENT)
            case Reasoning(kind="encrypted", id=None, format=format) if format == FORMAT:
                _sign(parts, part.data)
            case ToolCall():
                parts.append(_call(call, part))
            case Image() | Audio() | Opaque():
                if (told := _whole(part)) is not None:
                    parts.append(told)
    return _with_signatures(choice, parts)


def _last_parts(call: Call, choice: Choice) -> list[Part]:
    """What of a stream is still to be said: calls and signatures."""
    parts: list[Part] = []
    for part in choice.content:
        match part:
            case ToolCall():
                parts.append(_call(call, part))
            case Reasoning(kind="server_tool_call", format=format) if format == FORMAT:
                parts.append(_object(part.data) or _SILENT)
            case Reasoning(kind="encrypted", id=None, format=format) if format == FORMAT:
                parts.append({"text": "", "thoughtSignature": part.data})
    return _with_signatures(choice, parts)


def _with_signatures(choice: Choice, parts: list[Part]) -> list[Part]:
    """The parts with the signatures of calls: Google's own, or ours with what another family has thought."""
    own = {part.id: part.data for part in choice.content if isinstance(part, Reasoning) and _is_call_signature(part)}
    calls = iter([part for part in parts if isinstance(part, dict) and "functionCall" in part])
    before: list[Reasoning] = []
    after: list[Reasoning] = []
    thoughts, spoken = before, False
    for part in choice.content:
        match part:
            case Reasoning() if part.format != FORMAT:
                thoughts.append(part)
            case Text():
                thoughts = after
            case ToolCall(id=id):
                told = next(calls)
                if id in own:
                    told["thoughtSignature"] = own[id]
                elif before or after:
                    told["thoughtSignature"] = pack(before, after)
                    before, after = [], []
                    thoughts = after
                spoken = True
    if (before or after) and not spoken:
        parts.append({"text": "", "thoughtSignature": pack(before, after)})
    return parts


def _is_call_signature(part: Reasoning) -> bool:
    return part.kind == "encrypted" and part.format == FORMAT and part.id is not None


def _own_signature(part: Reasoning) -> dict[str, Any]:
    return {"thoughtSignature": part.signature} if part.signature and part.format == FORMAT else {}


def _sign(parts: list[Part], signature: str) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, dict) and "thought" not in last and "functionCall" not in last:
        last.setdefault("thoughtSignature", signature)
    else:
        parts.append({"text": "", "thoughtSignature": signature})


def _call(call: Call, part: ToolCall) -> dict[str, Any]:
    name = call.head.renamed.get(part.name, part.name)
    return {"functionCall": {"id": part.id, "name": name, "args": _arguments(part.arguments)}}


def _arguments(text: str) -> Raw:
    """The arguments of a call as an object, whatever the model had written."""
    return (_object(text) if text.strip() else Raw(b"{}")) or Raw(encode_json({"_raw": text}))


def _object(text: str) -> Raw | None:
    try:
        _decode_object(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _line(text.encode())


def _line(value: bytes | Raw) -> Raw:
    """A value on one line: a line end would end the event that it stands in."""
    data = bytes(value)
    return Raw(msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data)


def _whole(part: Image | Audio | Note | Opaque) -> Part | None:
    """A part that came whole; nothing where this API has no form for it."""
    match part:
        case Image(url="", data=data, media_type=mime):
            return {"inlineData": {"mimeType": mime or "image/png", "data": data}}
        case Image(url=url):
            return {"fileData": {"fileUri": url} | ({"mimeType": part.media_type} if part.media_type else {})}
        case Audio(data=data, format=format) if data:
            mime = _AUDIO_TYPES.get(format, format if "/" in format else f"audio/{format or 'wav'}")
            return {"inlineData": {"mimeType": mime, "data": data}}
        case Opaque(family="gemini", raw=raw):
            return _line(raw)
    return None


# --- sources and probabilities ---------------------------------------------------------------------------------------


def _grounding(choice: Choice) -> dict[str, Any] | None:
    """Citations as grounding, with offsets in bytes as Google counts them."""
    texts = [part for part in choice.content if isinstance(part, Text)]
    citations = choice.citations + [each for part in texts for each in part.citations]
    if not citations:
        return None
    text = "".join(part.text for part in texts)
    sources = list(dict.fromkeys((each.url, each.title) for each in citations))
    supports = [
        {"segment": _segment(each, text), "groundingChunkIndices": [sources.index((each.url, each.title))]}
        for each in citations
        if each.end_index
    ]
    told: dict[str, Any] = {"groundingChunks": [{"web": {"uri": url, "title": title}} for url, title in sources]}
    return told | ({"groundingSupports": supports} if supports else {})


def _segment(citation: Citation, text: str) -> dict[str, Any]:
    start, end = citation.start_index, citation.end_index
    return {
        "startIndex": len(text[:start].encode()),
        "endIndex": len(text[:end].encode()),
        "text": text[start:end],
    }


def _logprobs(raw: Raw) -> dict[str, Any] | None:
    """OpenAI's `logprobs` object as Google's."""
    content = _decode_any(raw).get("content")
    if not content:
        return None
    return {
        "chosenCandidates": [_token(each) for each in content],
        "topCandidates": [{"candidates": [_token(top) for top in each.get("top_logprobs") or ()]} for each in content],
    }


def _token(given: dict[str, Any]) -> dict[str, Any]:
    return {"token": given.get("token", ""), "logProbability": given.get("logprob", 0.0)}
