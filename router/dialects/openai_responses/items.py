"""Hub events as the items of a response, and as the events that tell how they come to be.

An answer of this API is a list of items: reasoning, messages, calls. One message or reasoning item is open at a time; each is
announced, filled and closed by events of its own, which `Items` gives as objects without their sequence number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...events import Event, PartDone, ReasoningDelta, RefusalDelta, TextDelta, ToolDelta
from ...model import Audio, Citation, Image, Reasoning
from .envelope import FORMAT, sealed

if TYPE_CHECKING:
    from ...call import Call
    from .peek import Peeked

Told = dict[str, Any]

_decode_any = msgspec.json.Decoder().decode


class Items:
    """Takes events in, gives the API's events; `output` is the list of items so far, valid at any moment."""

    def __init__(self, call: Call) -> None:
        peeked: Peeked = call.head.decoded
        self.output: list[Told] = []
        self._token = call.request_id.removeprefix("req_")
        self._spellings = peeked.tools
        self._hide = call.head.exclude_reasoning
        self._kind = "summary" if peeked.reasoning is not None and peeked.reasoning.summary else "text"
        self._open: _Message | _Thinking | None = None
        self._calls: dict[int, _Call] = {}
        self._held: list[ReasoningDelta] = []
        self._message: _Message | None = None
        #: citations that came before any text
        self._early: list[Citation] = []

    def add(self, event: Event) -> list[Told]:
        """Take one event in."""
        match event:
            case TextDelta():
                return self._in_message("output_text", event.text, event.logprobs) if event.text else []
            case ReasoningDelta():
                return [] if self._hide else self._thought(event)
            case ToolDelta():
                return self._call(event)
            case RefusalDelta(text=text):
                return self._in_message("refusal", text, None)
            case PartDone(part=Citation() as citation):
                return self._cite(citation)
            case PartDone(part=Image() as image):
                return self._whole(_image(image))
            case PartDone(part=Audio() as audio):
                return self._whole(_audio(audio))
        return []

    def close(self, status: str = "completed") -> list[Told]:
        """The end: close what is open. `status` is that of the last item."""
        return self._close(status) + self._close_calls(status) + self._release()

    # --- items ---

    def _new(self, item: Told, prefix: str) -> tuple[int, Told]:
        index = len(self.output)
        # the id comes first, as OpenAI writes it
        item = {"id": f"{prefix}_{self._token}{index:02d}", **item}
        self.output.append(item)
        return index, item

    def _close(self, status: str = "completed") -> list[Told]:
        if self._open is None:
            return []
        told = self._open.close(status)
        self._open = None
        return told

    def _close_calls(self, status: str = "completed") -> list[Told]:
        return [each for call in self._calls.values() if not call.closed for each in call.close(status)]

    def _close_whole_calls(self) -> list[Told]:
        """Fragments of calls may come in turns, with each other and with thinking: only what is whole is closed."""
        told = [each for call in self._calls.values() if call.whole for each in call.close("completed")]
        return told + self._release()

    def _release(self) -> list[Told]:
        """What was held back for a call, once none is being told any more."""
        if not self._held or any(not call.closed for call in self._calls.values()):
            return []
        held, self._held = self._held, []
        return [each for event in held for each in self._thought(event)] + self._close()

    def _in_message(self, kind: str, text: str, logprobs: Raw | None) -> list[Told]:
        told: list[Told] = []
        message = self._open
        if not isinstance(message, _Message):
            told = self._close() + self._close_whole_calls()
            index, item = self._new(
                {"type": "message", "status": "in_progress", "role": "assistant", "content": []}, "msg"
            )
            message = self._open = self._message = _Message(index, item)
            told.append(_added(index, item))
        told += message.add(kind, text, logprobs)
        if self._early and kind == "output_text":
            early, self._early = self._early, []
            told += [each for citation in early for each in message.cite(citation)]
        return told

    def _cite(self, citation: Citation) -> list[Told]:
        if self._message is None or not self._message.says:
            self._early.append(citation)
            return []
        return self._message.cite(citation)

    def _thought(self, event: ReasoningDelta) -> list[Told]:
        told: list[Told] = []
        thinking = self._open
        if not isinstance(thinking, _Thinking) or not thinking.takes(event):
            told = self._close() + self._close_whole_calls()
            if not event.text and any(not call.closed for call in self._calls.values()):
                # The secret of a call comes before its arguments; LangChain loses an item that another one interrupts (2026-11).
                self._held.append(event)
                return told
            index, item = self._new({"type": "reasoning", "summary": []}, "rs")
            if event.format == FORMAT and event.id:
                item["id"] = event.id
            thinking = self._open = _Thinking(index, item, self._kind)
            told.append(_added(index, item))
        return told + thinking.add(event)

    def _call(self, event: ToolDelta) -> list[Told]:
        told: list[Told] = []
        call = self._calls.get(event.index)
        if call is None:
            told = self._close()
            told += self._close_whole_calls()
            call = self._calls[event.index] = self._new_call(event)
            told.append(_added(call.index, call.item))
        return told + call.add(event.arguments)

    def _new_call(self, event: ToolDelta) -> _Call:
        spelling = self._spellings.get(event.name)
        custom = spelling is not None and spelling.custom
        item: Told = {
            "type": "custom_tool_call" if custom else "function_call",
            "status": "in_progress",
            "call_id": event.id,
            "name": spelling.name if spelling is not None else event.name,
            "input" if custom else "arguments": "",
        }
        if spelling is not None and spelling.namespace is not None:
            item["namespace"] = spelling.namespace
        index, item = self._new(item, "ctc" if custom else "fc")
        return _CustomCall(index, item) if custom else _Call(index, item)

    def _whole(self, item: Told) -> list[Told]:
        """An item that comes at once."""
        told = self._close() + self._close_whole_calls()
        index, item = self._new(item, "ig" if item["type"] == "image_generation_call" else "msg")
        return [*told, _added(index, item), _done(index, item)]


class _Message:
    """A message of the assistant: parts of text and refusal, one after the other."""

    def __init__(self, index: int, item: Told) -> None:
        self._index = index
        self._item = item
        self._place: Told = {}
        self._part: Told = {}
        self._kind = ""
        self._pieces: list[str] = []

    def add(self, kind: str, text: str, logprobs: Raw | None) -> list[Told]:
        told: list[Told] = []
        if kind != self._kind:
            told = self._close_part()
            told.append(self._open_part(kind))
        self._pieces.append(text)
        event = {"type": f"response.{kind}.delta", **self._place, "delta": text}
        if kind == "output_text":
            entries = _logprobs(logprobs)
            self._part["logprobs"] += entries
            event["logprobs"] = entries
        told.append(event)
        return told

    @property
    def says(self) -> bool:
        """True where there is text, not only a refusal."""
        return any(part["type"] == "output_text" for part in self._item["content"])

    def cite(self, citation: Citation) -> list[Told]:
        """A citation belongs to the last text."""
        texts = [part for part in self._item["content"] if part["type"] == "output_text"]
        notes = texts[-1]["annotations"]
        note = {
            "type": "url_citation",
            "start_index": citation.start_index,
            "end_index": citation.end_index,
            "url": citation.url,
            "title": citation.title,
        }
        notes.append(note)
        if texts[-1] is not self._part:
            return []  # its part is closed: the response has it, no event does
        event = {"type": "response.output_text.annotation.added", **self._place}
        return [event | {"annotation_index": len(notes) - 1, "annotation": note}]

    def close(self, status: str) -> list[Told]:
        told = self._close_part()
        self._item["status"] = status
        told.append(_done(self._index, self._item))
        return told

    def _open_part(self, kind: str) -> Told:
        content = self._item["content"]
        self._kind = kind
        if kind == "refusal":
            self._part = {"type": kind, "refusal": ""}
        else:
            self._part = {"type": kind, "annotations": [], "logprobs": [], "text": ""}
        self._place = {"item_id": self._item["id"], "output_index": self._index, "content_index": len(content)}
        content.append(self._part)
        return {"type": "response.content_part.added", **self._place, "part": _copy(self._part)}

    def _close_part(self) -> list[Told]:
        if not self._kind:
            return []
        kind, part, text = self._kind, self._part, "".join(self._pieces)
        self._pieces.clear()
        self._kind, self._part = "", {}
        event = {"type": f"response.{kind}.done", **self._place}
        if kind == "refusal":
            part["refusal"] = event["refusal"] = text
        else:
            part["text"] = event["text"] = text
            event["logprobs"] = list(part["logprobs"])
        return [event, {"type": "response.content_part.done", **self._place, "part": _copy(part)}]


class _Thinking:
    """A reasoning item. Its pieces are shown as summary where the client asked for one, else as text; `kind` says which."""

    def __init__(self, index: int, item: Told, kind: str) -> None:
        self._index = index
        self._item = item
        self._kind = kind
        self._pieces: dict[int, Reasoning] = {}
        self._shown: int | None = None
        self._texts: list[str] = []

    def takes(self, event: ReasoningDelta) -> bool:
        """OpenAI's own pieces stay in the items in which they came; others go on in one item."""
        last = next(reversed(self._pieces.values()), None)
        if last is None or event.index in self._pieces:
            return True
        return event.format == last.format and (event.format != FORMAT or event.id == last.id)

    def add(self, event: ReasoningDelta) -> list[Told]:
        told: list[Told] = []
        piece = self._pieces.get(event.index)
        if piece is None:
            told = self._close_part()
            piece = self._pieces[event.index] = Reasoning(kind=event.kind, format=event.format)
        piece.data += event.data
        piece.signature = event.signature or piece.signature
        piece.id = event.id or piece.id
        if not event.text:
            return told
        if self._shown != event.index:
            told += self._close_part()
            told += self._open_part(event.index, event.kind)
        piece.text = "…"  # that there is text is all that matters here; the text itself is in the part
        self._texts.append(event.text)
        told.append({"type": f"{self._events}.delta", **self._place, "delta": event.text})
        return told

    def close(self, status: str) -> list[Told]:
        told = self._close_part()
        if (secret := sealed(self._pieces.values())) is not None:
            self._item["encrypted_content"] = secret
        told.append(_done(self._index, self._item))
        return told

    def _open_part(self, index: int, kind: str) -> list[Told]:
        self._shown = index
        self._list = "summary" if kind == "summary" else {"summary": "summary", "text": "content"}[self._kind]
        parts = self._item.setdefault(self._list, [])
        place = {"item_id": self._item["id"], "output_index": self._index}
        if self._list == "summary":
            self._events = "response.reasoning_summary_text"
            self._place = place | {"summary_index": len(parts)}
            parts.append({"type": "summary_text", "text": ""})
            return [{"type": "response.reasoning_summary_part.added", **self._place, "part": _copy(parts[-1])}]
        self._events = "response.reasoning_text"
        self._place = place | {"content_index": len(parts)}
        parts.append({"type": "reasoning_text", "text": ""})
        return [{"type": "response.content_part.added", **self._place, "part": _copy(parts[-1])}]

    def _close_part(self) -> list[Told]:
        if self._shown is None:
            return []
        self._shown = None
        part = self._item[self._list][-1]
        text = part["text"] = "".join(self._texts)
        self._texts.clear()
        ended = "reasoning_summary_part" if self._list == "summary" else "content_part"
        return [
            {"type": f"{self._events}.done", **self._place, "text": text},
            {"type": f"response.{ended}.done", **self._place, "part": _copy(part)},
        ]


class _Call:
    """A call of a function."""

    def __init__(self, index: int, item: Told) -> None:
        self.index = index
        self.item = item
        self.closed = False
        self._arguments = ""
        self._place = {"item_id": item["id"], "output_index": index}

    @property
    def whole(self) -> bool:
        """True where its arguments are a JSON object already, so that none can follow."""
        return not self.closed and self._arguments[-1:] == "}" and _is_json(self._arguments)

    def add(self, arguments: str) -> list[Told]:
        if not arguments or self.closed:
            return []
        self._arguments += arguments
        return self._delta(arguments)

    def _delta(self, arguments: str) -> list[Told]:
        return [{"type": "response.function_call_arguments.delta", **self._place, "delta": arguments}]

    def close(self, status: str) -> list[Told]:
        self.closed = True
        self.item["status"] = status
        return [*self._end(), _done(self.index, self.item)]

    def _end(self) -> list[Told]:
        # a call without arguments still has to be JSON for the client
        arguments = self.item["arguments"] = self._arguments or "{}"
        told = {"type": "response.function_call_arguments.done", **self._place, "name": self.item["name"]}
        return [told | {"arguments": arguments}]


class _CustomCall(_Call):
    """A call of a custom tool. Upstreams wrap its free text into JSON, so it can be told only when it is whole."""

    def _delta(self, arguments: str) -> list[Told]:
        return []

    def _end(self) -> list[Told]:
        text = self.item["input"] = _free_text(self._arguments)
        return [
            {"type": "response.custom_tool_call_input.delta", **self._place, "delta": text},
            {"type": "response.custom_tool_call_input.done", **self._place, "input": text},
        ]


def _free_text(arguments: str) -> str:
    try:
        value = _decode_any(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _is_json(text: str) -> bool:
    try:
        return isinstance(_decode_any(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _added(index: int, item: Told) -> Told:
    return {"type": "response.output_item.added", "output_index": index, "item": _copy(item)}


def _done(index: int, item: Told) -> Told:
    return {"type": "response.output_item.done", "output_index": index, "item": _copy(item)}


def _copy(value: Any) -> Any:
    """As it stands now: what goes into an event is not changed by what comes later."""
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


def _image(part: Image) -> Told:
    return {"type": "image_generation_call", "status": "completed", "result": part.data or part.url}


def _audio(part: Audio) -> Told:
    sound = {"type": "output_audio", "data": part.data, "transcript": part.transcript or ""}
    return {"type": "message", "status": "completed", "role": "assistant", "content": [sound]}


def _logprobs(raw: Raw | None) -> list[Any]:
    """OpenAI's `logprobs` of a chunk as the list that this API has."""
    if raw is None:
        return []
    value = _decode_any(raw)
    found = value.get("content") if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
