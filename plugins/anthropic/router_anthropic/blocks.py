"""Parts of the hub as Anthropic's content blocks."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from msgspec import Raw

from router import AnyPart, Audio, BadImage, BadRequest, File, Image, Opaque, Reasoning, Refusal, Text, Video
from router.wire.anthropic import decode_block, decode_members

Block = dict[str, Any]

FAMILY = "anthropic"
#: the format of thinking that only Claude can read
FORMAT = "anthropic-claude-v1"
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
#: documents of other types than PDF that are text
_TEXTS = ("application/json", "application/xml", "application/x-yaml", "application/yaml", "application/csv")


def block(part: AnyPart, *, own: bool = False) -> Block | None:
    """The block of a part of a user's or a tool's message, None for a part without content. Raises BadRequest.

    `own`: the client speaks this API, and what the hub has no place for was said in its words.
    """
    made = _block(part)
    if made is None:
        return None
    if own and part.extra:
        _lay_over(made, part.extra)
    if part.cache_control is not None:
        made["cache_control"] = part.cache_control
    return made


def _lay_over(made: Block, extra: dict[str, Raw]) -> None:
    """Add what the hub has no place for. The text of a search result is its content."""
    made |= extra
    if "type" in extra:
        made["type"] = msgspec.json.decode(extra["type"])
    if made["type"] == "search_result":
        made["content"] = [{"type": "text", "text": made.pop("text")}]


def _block(part: AnyPart) -> Block | None:
    made: Block | None
    match part:
        case Text(text=text) | Refusal(text=text):
            made = {"type": "text", "text": text} if text.strip() else None
        case Image():
            made = {"type": "image", "source": _image(part)}
        case File():
            made = _file(part)
        case Opaque(family=family, raw=raw):
            made = members(raw) if family == FAMILY else None
        case Audio():
            raise BadRequest("Anthropic's models take no audio", param="messages")
        case Video():
            raise BadRequest("Anthropic's models take no video", param="messages")
        case _:
            made = None
    return made


def thought(part: Reasoning) -> Block | None:
    """The block that a piece of thinking came from, None where Claude did not write it or could not verify it."""
    if part.format != FORMAT:
        return None
    match part.kind:
        case "text" if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case "encrypted" if part.data:
            return {"type": "redacted_thinking", "data": part.data}
        case "server_tool_call":
            return members(Raw(part.data.encode()))
    return None


def members(raw: Raw) -> Block | None:
    """A block as it came, its members byte for byte (but those that say what it is); None where it is none."""
    try:
        head = decode_block(raw)
        made: Block = dict(decode_members(raw))
    except (msgspec.DecodeError, RecursionError):
        return None
    made["type"] = head.type
    for name in ("id", "tool_use_id", "text"):
        if (value := getattr(head, name)) is not None:
            made[name] = value
    return made


def _image(part: Image) -> Block:
    if part.url:
        return {"type": "url", "url": part.url}
    media_type = "image/jpeg" if part.media_type == "image/jpg" else part.media_type
    if media_type not in IMAGES:
        raise BadImage(
            f"Anthropic's models take png, jpeg, gif and webp images, not {part.media_type or 'an unknown type'}",
            kind="unsupported_image_format",
            param="messages",
        )
    return {"type": "base64", "media_type": media_type, "data": part.data}


def _file(part: File) -> Block:
    if part.media_type.startswith("image/"):
        return {"type": "image", "source": _image(Image(url=part.url, data=part.data, media_type=part.media_type))}
    source: Block
    if part.file_id:
        source = {"type": "file", "file_id": part.file_id}
    elif part.url:
        source = {"type": "url", "url": part.url}
    elif part.media_type in ("application/pdf", ""):
        source = {"type": "base64", "media_type": "application/pdf", "data": part.data}
    elif part.media_type.startswith("text/") or part.media_type in _TEXTS:
        source = {"type": "text", "media_type": "text/plain", "data": _text(part)}
    else:
        raise BadRequest(f"Anthropic's models take PDF and text files, not {part.media_type}", param="messages")
    document: Block = {"type": "document", "source": source}
    if part.filename:
        document["title"] = part.filename
    return document


def _text(part: File) -> str:
    try:
        return base64.b64decode(part.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequest(f"the file {part.filename or ''} is not text in UTF-8, in base64", param="messages") from None
