"""Items of earlier exchanges: as they are kept, and as they go in front of the input that follows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from ...sse import Frames, data_of
from ...wire import openai

Item = dict[str, Any]

#: what the ids of items begin with
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
#: items whose ids mean something to the upstream that has kept them, and nothing to any other
_NAMELESS = _PREFIXES.keys() - {"reasoning"}
_decode_input = msgspec.json.Decoder(str | list[Item] | None).decode
_decode_any = msgspec.json.Decoder().decode


def given(raw: Raw) -> list[Item]:
    """An `input`, which `peek` has checked, as a list of items. There is none where a stored prompt stands in for it."""
    value = _decode_input(raw)
    return [{"role": "user", "content": value}] if isinstance(value, str) else value or []


def listed(raw: Raw, token: str) -> list[Item]:
    """The same with whole items that all have an id. `token` makes the ids of one call its own."""
    return [_whole(item, f"{token}{index:03d}") for index, item in enumerate(given(raw))]


def _whole(item: Item, token: str) -> Item:
    kind = item.get("type") or "message"
    if kind == "item_reference":
        return item
    told: Item = {"id": f"{_PREFIXES.get(kind, 'item')}_{token}", "type": kind}
    if kind == "message":
        told["status"] = "completed"
    told |= {name: value for name, value in item.items() if value is not None}
    if kind == "message" and isinstance(text := told.get("content"), str):
        told["content"] = [_text(text, said=told.get("role") == "assistant")]
    return told


def _text(text: str, *, said: bool) -> Item:
    return {"type": "output_text", "text": text, "annotations": []} if said else {"type": "input_text", "text": text}


def again(items: Iterable[Item]) -> list[Item]:
    """Kept items as an input: without the ids that only their upstream could look up, and without what cannot be sent back."""
    return [_sent(item) for item in items if not _is_shown_only(item)]


def _is_shown_only(item: Item) -> bool:
    """Thinking that an upstream would look up among the responses that it keeps; it keeps none."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def _sent(item: Item) -> Item:
    if item.get("type") not in _NAMELESS:
        return item
    told = {name: value for name, value in item.items() if name not in ("id", "status")}
    if item["type"] == "message" and isinstance(parts := item.get("content"), list):
        told["content"] = [_spoken(part) for part in parts]
    return told


def _spoken(part: Item) -> Item:
    """A part of a message; of speech, the words."""
    if part.get("type") != "output_audio":
        return part
    return _text(part.get("transcript") or "", said=True)


def response_of(data: bytes) -> Item | None:
    """The response object in the end of an answer: a plain body, or the terminal frames of a stream."""
    if data[:1] == b"{":
        return _object(_decode_any(data))
    found = None
    frames = Frames()
    for frame in [*frames.feed(data), frames.close()]:
        if (event := data_of(frame))[:1] == b"{" and b'"response"' in event:
            found = _object(_decode_any(openai.decode_members(event).get("response", Raw(b"null")))) or found
    return found


def _object(value: Any) -> Item | None:
    return value if isinstance(value, dict) and isinstance(value.get("output"), list) else None
