"""The files of one request: found, fetched, read, and put back as text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router import AnyPart, BadRequest, Call, ChatRequest, Confined, File, Message, OutOfBounds, Text, ToolResult

from .settings import ID, Wish

MEGABYTES = 1024
#: what an estimate of a prompt counts for a file, in tokens, and the characters of one
FILE_TOKENS, CHARS_PER_TOKEN = 800, 4
TEXT_TYPES = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)
TEXT_NAMES = (
    ".txt",
    ".md",
    ".markdown",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".xml",
    ".yaml",
    ".yml",
    ".toml",
    ".log",
    ".rst",
)
IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*")
LONGEST_NAME = 100
#: where the files of a surface stand
MEMBERS = {"openai.responses": "input", "gemini.generate": "contents"}

_confined = Confined(Path(__file__).with_name("extract.py"), megabytes=MEGABYTES)


class Parsed(Struct, kw_only=True):
    """A file that was read. `hash` is the SHA-256 of its bytes, as hex."""

    hash: str
    name: str
    text: str


class Reader:
    """Reads the files of one call. `read` are those that took work."""

    def __init__(self, call: Call, wish: Wish) -> None:
        self._call = call
        self._wish = wish
        self._param = MEMBERS.get(call.dialect.name, "messages")
        self._known: dict[str, str] = {}
        self._left = wish.settings.max_text_kb * 1024
        self.read: list[Parsed] = []

    async def transform(self, request: ChatRequest) -> ChatRequest:
        """The request with texts for files. Raises BadRequest, saying which file and what to do."""
        files = [part for message in request.messages for part in _files(message.content)]
        if len(files) > self._wish.files:
            raise self._refusal(f"{len(files)} files are more than the {self._wish.files} that one request may have")
        for message in request.messages:
            self._known |= _annotated(message)
        texts = {id(file): await self._text(file) for file in files}
        tokens = sum(len(text) for text in texts.values()) // CHARS_PER_TOKEN
        self._call.head.prompt_tokens += tokens - FILE_TOKENS * len(files)
        self._call.pipeline.append(
            {
                "type": "plugin",
                "name": ID,
                "summary": f"{len(files)} files as text, about {tokens} tokens; {len(self.read)} of them PDF that had to be read",
                "data": {"engine": "pdf-text", "files": len(files), "parsed": len(self.read), "tokens": tokens},
            }
        )
        return replace(request, messages=[_without_files(message, texts) for message in request.messages])

    async def _text(self, file: File) -> str:
        name = file.filename or file.url.partition("?")[0].rpartition("/")[2] or "file"
        name = name[:LONGEST_NAME].replace('"', "'")
        media_type, content = await self._content(file, name)
        text = await self._of(name, media_type.lower(), content)
        self._left -= len(text)
        if self._left < 0:
            raise self._refusal(
                f"the text of the files is longer than {self._wish.settings.max_text_kb} kB; send fewer"
            )
        return f'<file name="{name}">\n{text}\n</file>'

    async def _content(self, file: File, name: str) -> tuple[str, bytes]:
        if file.file_id:
            raise self._refusal(
                f"{name}: the id of a file means something to its own provider only; send its content or URL"
            )
        most = self._wish.settings.max_mb * 1024 * 1024
        if file.url and self._call.dry:
            return "text/plain", b"(a dry run fetches nothing)"
        if file.url:
            media_type, content = await self._call.server.fetcher.fetch(file.url, max_bytes=most)
            return file.media_type or media_type, content
        try:
            content = base64.b64decode(file.data, validate=True)
        except (binascii.Error, ValueError):
            raise self._refusal(f"{name}: the content is not valid base64") from None
        if len(content) > most:
            raise self._refusal(f"{name} is larger than {self._wish.settings.max_mb} MB")
        return file.media_type, content

    async def _of(self, name: str, media_type: str, content: bytes) -> str:
        """The text of a file, by what it is rather than by what it is called."""
        if b"%PDF-" in content[:1024]:
            return await self._pdf(name, content)
        if content.startswith(IMAGES) or media_type.startswith("image/"):
            raise self._refusal(f"{name} is an image; send it as an image, to a model that takes images")
        text = _decoded(content)
        if text is not None and (media_type == "text/html" or name.lower().endswith((".html", ".htm"))):
            return str((await self._extracted(name, {"kind": "html"}, text.encode()))["text"])
        named = name.lower().endswith(TEXT_NAMES)
        if text is not None and (named or media_type.startswith("text/") or media_type in TEXT_TYPES):
            return text
        if media_type == "application/pdf":
            raise self._refusal(f"{name} is no PDF, or a broken one")
        raise self._refusal(
            f"{name}: files of the type {media_type[:80] or 'unknown'} cannot be read here; PDF, HTML and text can"
        )

    async def _pdf(self, name: str, content: bytes) -> str:
        hash = hashlib.sha256(content).hexdigest()
        if (known := self._known.get(hash)) is not None:
            return known
        found = await self._extracted(name, {"kind": "pdf", "max_pages": self._wish.settings.max_pages}, content)
        text = str(found["text"])
        self._known[hash] = text
        self.read.append(Parsed(hash=hash, name=name, text=text))
        return text

    async def _extracted(self, name: str, asked: dict[str, Any], content: bytes) -> dict[str, Any]:
        asked["max_chars"] = max(self._left, 0)
        try:
            answer = await _confined.run(
                json.dumps(asked).encode() + b"\n" + content, seconds=self._wish.settings.seconds
            )
        except OutOfBounds as error:
            raise self._refusal(f"{name} could not be read: {error}; send a smaller part of it, or its text") from error
        found: dict[str, Any] = json.loads(answer)
        if problem := found.get("problem"):
            raise self._refusal(f"{name}: {problem}")
        return found

    def _refusal(self, message: str) -> BadRequest:
        return BadRequest(message, param=self._param, code="invalid_file")


def _files(content: list[AnyPart]) -> list[File]:
    found: list[File] = []
    for part in content:
        if isinstance(part, File):
            found.append(part)
        elif isinstance(part, ToolResult):
            found += _files(part.content)
    return found


def _without_files(message: Message, texts: dict[int, str]) -> Message:
    extra = {name: raw for name, raw in message.extra.items() if name != "annotations"}
    return replace(message, content=[_as_text(part, texts) for part in message.content], extra=extra)


def _as_text(part: AnyPart, texts: dict[int, str]) -> AnyPart:
    if isinstance(part, File):
        return Text(text=texts[id(part)], cache_control=part.cache_control)
    if isinstance(part, ToolResult):
        return replace(part, content=[_as_text(inner, texts) for inner in part.content])
    return part


def _annotated(message: Message) -> dict[str, str]:
    """What a client sends back of earlier answers: text by hash. Whatever else stands there is none of ours."""
    if "annotations" not in message.extra:
        return {}
    try:
        notes = msgspec.json.decode(message.extra["annotations"], type=list[_Annotation] | None)
    except msgspec.ValidationError:
        return {}
    return {
        note.file.hash: "\n".join(part.text for part in note.file.content if part.type == "text")
        for note in notes or ()
        if note.type == "file" and note.file is not None and note.file.content
    }


class _Part(Struct):
    type: str
    text: str = ""


class _Read(Struct):
    hash: str
    content: list[_Part] = []


class _Annotation(Struct):
    type: str
    file: _Read | None = None


def _decoded(content: bytes) -> str | None:
    """Text in UTF-8 or, with a mark, UTF-16; None for what is no text."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
