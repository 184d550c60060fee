"""A conversation in Google's contents as the hub's messages.

Google's calls need no id: an answer without one belongs to the first call of its name that has none yet. Thought signatures become
pieces of reasoning behind their part, or, of calls, pieces with the call's id. What has no place in the hub stays with its part, for
Google.
"""

from __future__ import annotations

import mimetypes

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...model import AnyPart, Audio, File, Image, Message, Opaque, Reasoning, Text, ToolCall, ToolResult, Video
from ...wire import gemini as wire
from ..openai_chat.fields import convert
from .common import decode_members, encode_json, given
from .marks import FORMAT, Packed, standard, unpack
from .peek import plain_name

_SERVER_TOOLS = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_COMMON = ("thought", "thoughtSignature")
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
#: where Google keeps files: their URIs are ids
_GOOGLE_FILES = "https://generativelanguage.googleapis.com/"


class _Content(wire.Wire):
    role: str | None = None
    parts: Raw = wire.NOTHING


class _Named(wire.Wire):
    """The scalars of a call or of an answer to one."""

    id: str | None = None
    name: str = ""
    args: Raw = wire.NOTHING
    response: Raw = wire.NOTHING
    parts: Raw = wire.NOTHING


class _Blob(wire.Wire):
    mime_type: str | None = None
    data: str = ""
    file_uri: str = ""
    display_name: str | None = None


_decode_content = msgspec.json.Decoder(_Content).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_blob = msgspec.json.Decoder(_Blob).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_any = msgspec.json.Decoder().decode


def listed(raw: Raw) -> list[Raw]:
    """The elements of a list, or the single thing that stands in its place."""
    if not given(raw):
        return []
    return _decode_list(raw) if bytes(memoryview(raw)[:1]) == b"[" else [raw]


class Conversation:
    """Takes contents in; `messages` holds what they make."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._calls = 0
        #: calls without an answer: id, name, and whether the client gave the id
        self._open: list[tuple[str, str, bool]] = []

    def system(self, raw: Raw) -> None:
        """The instruction."""
        content: _Content = convert(_decode_content, "systemInstruction", raw, "a content with parts")
        parts: list[AnyPart] = []
        for number, each in enumerate(listed(content.parts)):
            parts += self._part(each, f"systemInstruction.parts[{number}]")
        self.messages.append(Message(role="system", content=parts))

    def contents(self, raw: Raw) -> None:
        """The turns."""
        for index, each in enumerate(listed(raw)):
            place = f"contents[{index}]"
            content: _Content = convert(_decode_content, place, each, "a content with parts")
            parts = list(enumerate(listed(content.parts)))
            if content.role == "model":
                self._model_turn([(part, f"{place}.parts[{number}]") for number, part in parts])
            else:
                found = [made for number, part in parts for made in self._part(part, f"{place}.parts[{number}]")]
                self._user_turn(found)

    def _user_turn(self, parts: list[AnyPart]) -> None:
        """Answers of functions are messages of their own, and come first."""
        rest: list[AnyPart] = [part for part in parts if not isinstance(part, ToolResult)]
        self.messages += [Message(role="tool", content=[part]) for part in parts if isinstance(part, ToolResult)]
        if rest:
            self.messages.append(Message(role="user", content=rest))

    # --- the model's side ---

    def _model_turn(self, parts: list[tuple[Raw, str]]) -> None:
        """Calls of earlier turns are answered or never will be, unless they are named by their id."""
        if self.messages and self.messages[-1].role != "assistant":
            self._open = [each for each in self._open if each[2]]
        content: list[AnyPart] = []
        packed = False
        for raw, place in parts:
            members = self._members(raw, place)
            ours = unpack(_signature(members, place) or "")
            if ours is None:
                content += self._signed(members, raw, place)
                continue
            made = [] if _is_empty(members) else self._part(_without_signature(members), place)
            content = _with_thoughts(content, made, ours, first=not packed)
            packed = True
        if packed:  # thoughts in the open are the same ones once more
            content = [part for part in content if not _shown(part)]
        self.messages.append(Message(role="assistant", content=content))

    def _signed(self, members: dict[str, Raw], raw: Raw, place: str) -> list[AnyPart]:
        """A part, and its signature as a piece behind it."""
        signature = _signature(members, place)
        if signature is None or "thought" in members:
            return self._part(raw, place)
        if _is_empty(members):
            return [Opaque(family="gemini", raw=raw)]  # Google sends it behind a text; it says nothing to others
        made = self._part(raw, place)
        part = made[0]
        if isinstance(part, Reasoning | Opaque):
            return made  # the whole part is kept, signature and all
        id = part.id if isinstance(part, ToolCall) else None
        return [part, Reasoning(kind="encrypted", data=signature, format=FORMAT, id=id)]

    # --- parts ---

    @staticmethod
    def _members(raw: Raw, place: str) -> dict[str, Raw]:
        members: dict[str, Raw] = convert(decode_members, place, raw, "an object")
        return {name: each for name, each in members.items() if given(each)}

    def _part(self, raw: Raw, place: str) -> list[AnyPart]:
        """One part, without its signature."""
        members = self._members(raw, place)
        if "thought" in members and convert(_decode_flag, f"{place}.thought", members["thought"]):
            return [_thought(members, raw, place)]
        kind = next((name for name in _KINDS if name in members), None)
        if kind is None:
            if any(name in members for name in _SERVER_TOOLS):
                return [Reasoning(kind="server_tool_call", data=bytes(raw).decode(), format=FORMAT)]
            return [Opaque(family="gemini", raw=raw)] if members else []
        part = _KINDS[kind](self, members[kind], f"{place}.{kind}")
        part.extra |= {name: each for name, each in members.items() if name != kind and name not in _COMMON}
        return [part]

    def _text(self, raw: Raw, place: str) -> AnyPart:
        return Text(text=convert(_decode_text, place, raw, "a string") or "")

    def _inline(self, raw: Raw, place: str) -> AnyPart:
        blob: _Blob = convert(_decode_blob, place, raw, "an object with mimeType and data")
        if not blob.mime_type or not blob.data:
            raise BadRequest(f"{place} needs mimeType and data", param=place)
        data, mime = standard(blob.data), blob.mime_type
        match mime.partition("/")[0].lower():
            case "image":
                return _named(Image(data=data, media_type=mime), "inlineData", blob)
            case "video":
                return _named(Video(data=data, media_type=mime), "inlineData", blob)
            case "audio":
                return _named(Audio(data=data, format=_AUDIO_FORMATS.get(mime.lower(), mime)), "inlineData", blob)
        return _named(File(data=data, media_type=mime, filename=blob.display_name), "inlineData", blob)

    def _file(self, raw: Raw, place: str) -> AnyPart:
        blob: _Blob = convert(_decode_blob, place, raw, "an object with fileUri")
        if not blob.file_uri:
            raise BadRequest(f"{place} needs fileUri", param=place)
        return _named(_by_uri(blob.file_uri, blob.mime_type or ""), "fileData", blob)

    def _call(self, raw: Raw, place: str) -> AnyPart:
        call: _Named = convert(_decode_named, place, raw, "an object with name and args")
        self._calls += 1
        id, name = call.id or f"call_{self._calls:06}", plain_name(call.name) if call.name else ""
        self._open.append((id, name, call.id is not None))
        arguments = bytes(call.args).decode() if given(call.args) else ""
        return ToolCall(
            id=id, name=name, arguments=arguments, extra=_inner(raw, "functionCall", ("id", "name", "args"))
        )

    def _answer(self, raw: Raw, place: str) -> AnyPart:
        answer: _Named = convert(_decode_named, place, raw, "an object with name and response")
        name = plain_name(answer.name) if answer.name else ""
        text, is_error = _said(answer.response, f"{place}.response")
        content: list[AnyPart] = [Text(text=text)]
        for number, each in enumerate(listed(answer.parts)):
            content += self._part(each, f"{place}.parts[{number}]")
        return ToolResult(
            tool_call_id=self._id_for(answer.id, name),
            name=name,
            content=content,
            is_error=is_error,
            extra=_inner(raw, "functionResponse", ("id", "name", "response", "parts")),
        )

    def _id_for(self, id: str | None, name: str) -> str:
        """The id of the call that an answer belongs to: its own, that of the first open call of the name, or of the first one."""
        found = next((each for each in self._open if id is not None and each[0] == id), None)
        if found is None and not (id is not None and all(own for _, _, own in self._open)):
            named = [each for each in self._open if each[1] == name]
            found = next(iter(named or ([] if name else self._open)), None)
        if found is None:
            self._calls += 1
            return id or f"call_{self._calls:06}"
        self._open.remove(found)
        return found[0]


_KINDS = {
    "text": Conversation._text,
    "inlineData": Conversation._inline,
    "fileData": Conversation._file,
    "functionCall": Conversation._call,
    "functionResponse": Conversation._answer,
}


# --- pieces of parts -------------------------------------------------------------------------------------------------


def _signature(members: dict[str, Raw], place: str) -> str | None:
    raw = members.get("thoughtSignature")
    return None if raw is None else convert(_decode_text, f"{place}.thoughtSignature", raw, "a string")


def _is_empty(members: dict[str, Raw]) -> bool:
    """True for a text without a character, which only carries a signature."""
    return members.keys() <= {"text", "thoughtSignature"} and bytes(members.get("text", b'""')) == b'""'


def _without_signature(members: dict[str, Raw]) -> Raw:
    return Raw(encode_json({name: each for name, each in members.items() if name != "thoughtSignature"}))


def _thought(members: dict[str, Raw], raw: Raw, place: str) -> AnyPart:
    if members.keys() - {"text", *_COMMON}:
        return Opaque(family="gemini", raw=raw)  # a draft of a picture
    text = convert(_decode_text, f"{place}.text", members.get("text", Raw(b'""'))) or ""
    return Reasoning(text=text, signature=_signature(members, place), format=FORMAT)


def _shown(part: AnyPart) -> bool:
    return isinstance(part, Reasoning) and part.kind == "text" and part.signature is None and part.format == FORMAT


def _with_thoughts(content: list[AnyPart], made: list[AnyPart], packed: Packed, *, first: bool) -> list[AnyPart]:
    """A turn's content with the next part and the thoughts that it carries; those of the turn's beginning go there."""
    before, after = packed
    return [*before, *content, *after, *made] if first else [*content, *before, *after, *made]


def _inner(raw: Raw, kind: str, known: tuple[str, ...]) -> dict[str, Raw]:
    """Members of a call or answer that the hub has no place for, as they are laid over what is made of the rest."""
    rest = {name: each for name, each in decode_members(raw).items() if name not in known and given(each)}
    return {kind: Raw(encode_json(rest))} if rest else {}


def _named(part: Image | Video | Audio | File, kind: str, blob: _Blob) -> AnyPart:
    if blob.display_name is not None:
        part.extra[kind] = Raw(encode_json({"displayName": blob.display_name}))
    return part


def _by_uri(uri: str, mime: str) -> Image | Video | File:
    """A file that somebody else keeps: on the web, or in Google's stores, whose URIs are ids."""
    if not uri.startswith(("http://", "https://")) or uri.startswith(_GOOGLE_FILES):
        return File(file_id=uri, media_type=mime)
    mime = mime or mimetypes.guess_type(uri.partition("?")[0])[0] or ""
    match mime.partition("/")[0].lower():
        case "image":
            return Image(url=uri, media_type=mime)
        case "video":
            return Video(url=uri, media_type=mime)
    return File(url=uri, media_type=mime) if mime else File(file_id=uri)


def _said(raw: Raw, place: str) -> tuple[str, bool]:
    """What a function answered as text, and whether it failed. An answer that is more than one text stays the object that it is."""
    if not given(raw):
        return "", False
    answer = _decode_any(raw)
    if not isinstance(answer, dict):
        raise BadRequest(f"{place} must be an object", param=place)
    only = next(iter(answer.values())) if len(answer) == 1 else None
    failed = bool(answer.get("error"))
    if isinstance(only, str) and answer.keys() <= {"output", "error"} and not only.lstrip().startswith("{"):
        return only, failed
    return bytes(raw).decode(), failed
