"""Parts of the hub as Converse's content blocks."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from router import AnyPart, Audio, BadImage, BadRequest, File, Image, Reasoning, Refusal, Text, Video

Block = dict[str, Any]

#: the format of thinking that only Claude can read: the same on Bedrock as at Anthropic
CLAUDE = "anthropic-claude-v1"
CACHE_POINT: Block = {"cachePoint": {"type": "default"}}

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_VIDEOS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/markdown": "md",
}
#: other types that are text
_TEXTS = ("application/json", "application/xml", "application/yaml", "application/x-yaml")
#: what the name of a document may hold; several blanks in a row may not stand there either
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9\-()\[\]]+")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def block(part: AnyPart) -> Block | None:
    """The block of a part of a user's or a tool's message, None for a part without content. Raises BadRequest."""
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"text": text} if text.strip() else None
        case Image():
            return {"image": {"format": _image_format(part.media_type), "source": _source(part)}}
        case Video():
            return {
                "video": {
                    "format": _VIDEOS.get(part.media_type) or _by_ending(part.url, "mp4"),
                    "source": _source(part),
                }
            }
        case File():
            return _file(part)
        case Audio():
            raise BadRequest("Bedrock's Converse takes no audio", param="messages")
    return None


def thought(part: Reasoning, *, claude: bool, server_tools: bool) -> Block | None:
    """The block that a piece of thinking came from, None where this model did not write it or could not verify it."""
    if part.kind == "server_tool_call":
        return _ran(part.data) if server_tools else None
    if part.format != CLAUDE or not claude:
        return None
    if part.kind == "text" and part.signature:
        return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}
    if part.kind == "encrypted" and part.data:
        # Anthropic's own text of base64 is bytes for AWS, which encodes them once more.
        return {"reasoningContent": {"redactedContent": base64.b64encode(part.data.encode()).decode()}}
    return None


def _ran(data: str) -> Block | None:
    """A tool that the upstream ran, or its result, as `decode` wrote it; another upstream's is of another form."""
    try:
        made = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    return made if made.keys() in ({"toolUse"}, {"toolResult"}) else None


def _image_format(media_type: str) -> str:
    try:
        return _IMAGES[media_type]
    except KeyError:
        raise BadImage(
            f"Bedrock's models take png, jpeg, gif and webp images, not {media_type or 'an unknown type'}",
            kind="unsupported_image_format",
            param="messages",
        ) from None


def _source(part: Image | Video | File) -> Block:
    """Bytes, or an object of S3, which Bedrock reads itself."""
    return {"s3Location": {"uri": part.url}} if part.url else {"bytes": part.data}


def _file(part: File) -> Block:
    if part.file_id:
        raise BadRequest("Bedrock keeps no files: an id of one says nothing there", param="messages")
    if part.media_type.startswith("image/"):
        return {"image": {"format": _image_format(part.media_type), "source": _source(part)}}
    if part.media_type.startswith("video/"):
        return {"video": {"format": _VIDEOS.get(part.media_type, "mp4"), "source": _source(part)}}
    name = part.filename or "document"
    kind = _DOCUMENTS.get(part.media_type)
    if kind is None and (part.media_type.startswith("text/") or part.media_type in _TEXTS):
        kind = "txt"
    if kind is None and part.media_type in ("", "application/octet-stream"):
        kind = _by_ending(part.filename or part.url, "pdf")
    if kind is None:
        raise BadRequest(f"Bedrock's models take no files of type {part.media_type}", param="messages")
    return {"document": {"name": _name(name), "format": kind, "source": _document_source(part, kind)}}


def _document_source(part: File, kind: str) -> Block:
    if kind == "txt" and not part.url:
        try:
            return {"text": base64.b64decode(part.data, validate=True).decode()}
        except (binascii.Error, UnicodeDecodeError):
            raise BadRequest(
                f"the file {part.filename or ''} is not text in UTF-8, in base64", param="messages"
            ) from None
    return _source(part)


def _name(filename: str) -> str:
    stem, dot, ending = filename.rpartition(".")
    return _NOT_IN_NAMES.sub(" ", stem if dot and len(ending) <= 5 else filename).strip()[:200] or "document"


def _by_ending(name: str, default: str) -> str:
    """The format that the end of a file's name tells."""
    ending = name.rpartition(".")[2].lower()
    known = {
        "3gp": "three_gp",
        "htm": "html",
        **{each: each for each in (*_DOCUMENTS.values(), *_VIDEOS.values(), "txt")},
    }
    return known.get(ending, default)
