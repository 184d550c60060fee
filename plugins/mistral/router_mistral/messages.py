"""Messages of OpenAI's form made to fit Mistral's rules: ids of nine characters, content in chunks, the order of turns."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from router import BadRequest

Message = dict[str, Any]

#: the members that a message of each role may have; any other is answered with 422
_KNOWN = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "prefix"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
_ID = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: documents that are plain text, by their media type; text/* is text already
_PLAIN = re.compile(r"application/(?:json|xml|x-yaml|yaml|javascript)")


def fit(messages: list[Message], *, thinks: bool) -> tuple[list[Message], set[str]]:
    """The messages as Mistral takes them, and the names of what was left out. `thinks`: the model wants its thoughts back."""
    fitted: list[Message] = []
    lost: set[str] = set()
    for message in messages:
        role = message["role"]
        if role == "user" and fitted and fitted[-1]["role"] == "tool":
            # "Unexpected role 'user' after role 'tool'": an answer has to stand between them (seen 2026-11)
            fitted.append({"role": "assistant", "content": "OK"})
        if role == "assistant":
            _fit_assistant(message, thinks=thinks, lost=lost)
        elif role == "tool":
            message["tool_call_id"] = short_id(message["tool_call_id"])
        if isinstance(message.get("content"), list):
            message["content"] = [_chunk(part) for part in message["content"]]
        unknown = message.keys() - _KNOWN[role]
        lost |= {f"messages.{name}" for name in unknown}
        fitted.append({name: value for name, value in message.items() if name not in unknown})
    if fitted and fitted[-1]["role"] == "assistant":
        fitted[-1]["prefix"] = True  # else refused: the answer is to go on from there
    return fitted, lost


def short_id(id: str) -> str:
    """An id of a tool call: nine letters and digits. Another provider's becomes one, always the same."""
    if _ID.fullmatch(id):
        return id
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")
    letters = []
    for _ in range(9):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


def _fit_assistant(message: Message, *, thinks: bool, lost: set[str]) -> None:
    for call in message.get("tool_calls") or ():
        call["id"] = short_id(call["id"])
    if (refusal := message.pop("refusal", None)) and isinstance(refusal, str):
        message["content"] = message.get("content") or refusal
    thought = message.pop("reasoning_content", None)
    if not isinstance(thought, str):
        return
    if not thinks:
        lost.add("reasoning_details")
        return
    said = message.get("content") or []
    texts = [{"type": "text", "text": said}] if isinstance(said, str) else said
    message["content"] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, *texts]


def _chunk(part: Any) -> Any:
    """A part of a message as a chunk."""
    match part:
        case {"type": "input_audio", "input_audio": {"data": data}}:
            return {"type": "input_audio", "input_audio": data}
        case {"type": "file", "file": {"file_id": id}}:
            return {"type": "file", "file_id": id}
        case {"type": "file", "file": {"file_data": str(url), "filename": str(name)}}:
            return _document(url, name)
        case {"type": "file", "file": {"file_url": url}}:
            return {"type": "document_url", "document_url": url}
        case {"type": "video_url"}:
            raise BadRequest("Mistral's models take no video", param="messages")
    return part


def _document(url: str, name: str) -> dict[str, Any]:
    """A document that came as data. Plain text is no document to Mistral, so it goes into the message."""
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    if not _PLAIN.match(kind):
        return {"type": "document_url", "document_url": url, "document_name": name}
    try:
        text = base64.b64decode(data, validate=True).decode()
    except ValueError:
        raise BadRequest(f"{name} says that it is {kind}, but is no text in UTF-8", param="messages") from None
    return {"type": "text", "text": f"{name}:\n{text}"}
