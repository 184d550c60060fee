"""The messages of a conversation as Gemini's contents: roles user and model in turn, the system's words apart."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from router import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from router.wire.gemini import Blob, FileData, FunctionCall, FunctionResponse, Part, Turn

from .traits import Traits

#: how reasoning of this family is marked; nothing else is ever sent back
FORMAT = "google-gemini-v1"
#: Google's word for function calls that no Gemini made, or whose signature the client lost
UNSIGNED = "skip_thought_signature_validator"

_AUDIO_TYPES = {"mp3": "audio/mp3", "m4a": "audio/mp4", "opus": "audio/ogg", "pcm16": "audio/L16"}
#: how the base64 of a file begins, for parts that do not say what they are
_BEGINNINGS = {
    "iVBOR": "image/png",
    "/9j/": "image/jpeg",
    "UklGR": "image/webp",
    "R0lGOD": "image/gif",
    "JVBERi": "application/pdf",
}
#: media that the answer of a function may hold
_IN_RESULTS = ("image/", "application/pdf", "text/plain")

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Contents:
    """Takes messages in and holds what they make. `file_uri` makes a URI of an id of Google's file store; `own`: the request is in
    Google's words.

    `turns` and `system` are the request's; `dropped` names what could not be said.
    """

    def __init__(self, traits: Traits, file_uri: Callable[[str], str], *, own: bool = False) -> None:
        self.turns: list[Turn] = []
        self.system: list[Part | Raw] = []
        self.dropped: set[str] = set()
        self._traits = traits
        self._file_uri = file_uri
        self._own = own
        self._names: dict[str, str] = {}
        #: members of the client's own by the id of the part that they are laid over in the end
        self._extras: dict[int, dict[str, Raw]] = {}

    def add(self, message: Message) -> None:
        """Take one message in."""
        if any(part.cache_control is not None for part in message.content):
            self.dropped.add("cache_control")
        if message.role in ("system", "developer"):
            self.system += [Part(text=part.text) for part in message.content if isinstance(part, Text)]
        elif message.role == "assistant":
            self._append("model", self._model_parts(message))
        else:
            self._add_user(message)

    def finish(self) -> None:
        """The end of the messages. Google wants at least one turn."""
        if not self.turns:
            self._append("user", [Part(text="")])
        if self._extras:
            for turn in self.turns:
                turn.parts = [self._with_extra(part) for part in turn.parts]

    def _with_extra(self, part: Part | Raw) -> Part | Raw:
        extra = self._extras.get(id(part))
        return part if extra is None else Raw(_encode(laid_over(part, extra)))

    def _keep(self, part: Part, given: AnyPart) -> Part:
        """The part, with what else the client said about it kept for the end."""
        if given.extra and self._own:
            self._extras[id(part)] = given.extra
        return part

    def _append(self, role: str, parts: list[Part | Raw]) -> None:
        if not parts:
            return
        if self.turns and self.turns[-1].role == role:
            self.turns[-1].parts += parts
        else:
            self.turns.append(Turn(role=role, parts=parts))

    # --- the user's side ---

    def _add_user(self, message: Message) -> None:
        """Answers of functions come first in a turn, as Google wants them; media that they may not hold come behind them."""
        media: list[Part | Raw] = []
        answers: list[Part | Raw] = [
            self._function_response(part, media) for part in message.content if isinstance(part, ToolResult)
        ]
        rest = self._parts(part for part in message.content if not isinstance(part, ToolResult))
        if answers and self.turns and self.turns[-1].role == "user":
            parts = self.turns[-1].parts
            first = next((n for n, part in enumerate(parts) if not _is_answer(part)), len(parts))
            parts[first:first] = answers
            answers = []
        self._append("user", [*answers, *media, *rest])

    def _function_response(self, result: ToolResult, media: list[Part | Raw]) -> Part:
        name = result.name or self._names.get(result.tool_call_id) or result.tool_call_id
        said = "".join(part.text for part in result.content if isinstance(part, Text))
        inside: list[Part] = []
        outside: list[Part | Raw] = []
        for part in self._parts(part for part in result.content if not isinstance(part, Text)):
            kind = part.inline_data.mime_type if isinstance(part, Part) and part.inline_data else None
            if self._own and isinstance(part, Part) and (part.inline_data or part.file_data):
                inside.append(part)
            elif self._traits.media_results and isinstance(part, Part) and kind and kind.startswith(_IN_RESULTS):
                inside.append(Part(inline_data=part.inline_data))
            else:
                outside.append(part)
        if outside:
            media += [Part(text=f"What {name} returned:"), *outside]
        response: dict[str, Any] = {"error" if result.is_error else "output": said}
        if self._own and _object(said) is not None:
            response = _decode_members(said)
        answer = FunctionResponse(id=result.tool_call_id, name=name, response=response, parts=inside or None)
        return self._keep(Part(function_response=answer), result)

    def _parts(self, content: Iterable[AnyPart]) -> list[Part | Raw]:
        parts: list[Part | Raw] = []
        for part in content:
            match part:
                case Text(text=text) | Refusal(text=text):
                    parts.append(self._keep(Part(text=text), part))
                case Image() | Video() | Audio() | File():
                    parts.append(self._keep(self._media(part), part))
                case Opaque(family="gemini", raw=raw):
                    parts.append(raw)
                case _:
                    self.dropped.add(f"messages.content.{part.__struct_config__.tag}")
        return parts

    def _media(self, part: Image | Video | Audio | File) -> Part:
        if part.data:
            return Part(inline_data=Blob(mime_type=_media_type(part), data=part.data))
        if isinstance(part, File) and part.file_id:
            return Part(file_data=FileData(file_uri=self._file_uri(part.file_id), mime_type=part.media_type or None))
        url = getattr(part, "url", "")
        return Part(file_data=FileData(file_uri=url, mime_type=_media_type(part)))

    # --- the model's side ---

    def _model_parts(self, message: Message) -> list[Part | Raw]:
        calls = {part.id for part in message.content if isinstance(part, ToolCall)}
        signatures = {
            part.id: part.data
            for part in message.content
            if isinstance(part, Reasoning) and _signature(part) and part.id in calls
        }
        turn = _ModelTurn()
        for part in message.content:
            match part:
                case ToolCall():
                    self._names[part.id] = part.name
                    self._keep(turn.call(part, signatures.get(part.id)), part)
                case Reasoning(format="google-gemini-v1"):
                    turn.reasoning(part)
                case Reasoning():
                    self.dropped.add("reasoning_details")
                case Text(text="") | Refusal(text=""):
                    pass
                case _:
                    turn.content(self._parts([part]))
        return turn.end(signed_calls=self._traits.signed_calls)


class _ModelTurn:
    """The parts of one answer of the model, with the signatures on the parts that they came with.

    In a history that kept its order a signature stands behind its part. Chat clients keep signatures apart from the text: there they
    come before all content and go to the first parts that can carry them. What is left over goes on an empty text, as Google sends it.
    """

    def __init__(self) -> None:
        self._parts: list[Part | Raw] = []
        self._waiting: list[str] = []
        self._last: Part | None = None
        self._calls: list[Part] = []

    def content(self, parts: list[Part | Raw]) -> None:
        for part in parts:
            if isinstance(part, Part):
                if self._waiting:
                    part.thought_signature = self._waiting.pop(0)
                self._last = part
            self._parts.append(part)

    def call(self, call: ToolCall, signature: str | None) -> Part:
        part = Part(
            function_call=FunctionCall(id=call.id, name=call.name, args=call.input),
            thought_signature=signature,
        )
        self._parts.append(part)
        self._calls.append(part)
        self._last = None
        return part

    def reasoning(self, piece: Reasoning) -> None:
        if piece.kind == "server_tool_call":
            if raw := _object(piece.data):
                self._parts.append(raw)
            self._last = None
        elif piece.kind == "encrypted":
            if piece.id is None:
                self._sign(piece.data)
        elif piece.text or piece.signature:
            self._parts.append(Part(text=piece.text, thought=True, thought_signature=piece.signature))
            self._last = None

    def _sign(self, signature: str) -> None:
        if self._last is not None and self._last.thought_signature is None:
            self._last.thought_signature = signature
        else:
            self._waiting.append(signature)

    def end(self, *, signed_calls: bool) -> list[Part | Raw]:
        first = self._calls[0] if self._calls else None
        at = next((n for n, part in enumerate(self._parts) if part is first), len(self._parts))
        self._parts[at:at] = [Part(text="", thought_signature=each) for each in self._waiting]
        if signed_calls and first is not None and not any(call.thought_signature for call in self._calls):
            first.thought_signature = UNSIGNED  # of parallel calls only the first carries one
        return self._parts


def laid_over(made: Any, extra: dict[str, Raw]) -> dict[str, Any]:
    """What we have made of a thing with the client's own members over it, object by object."""
    members: dict[str, Any] = msgspec.to_builtins(made, builtin_types=(Raw,))
    for name, raw in extra.items():
        below = members.get(name)
        if isinstance(below, dict) and bytes(memoryview(raw)[:1]) == b"{":
            members[name] = laid_over(below, _decode_members(raw))
        else:
            members[name] = raw
    return members


def _is_answer(part: Part | Raw) -> bool:
    return isinstance(part, Part) and part.function_response is not None


def _signature(part: Reasoning) -> bool:
    return part.kind == "encrypted" and part.format == FORMAT


def _object(text: str) -> Raw | None:
    """The text as it is, where it is a JSON object."""
    try:
        _decode_object(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Raw(text)


def _media_type(part: Image | Video | Audio | File) -> str:
    if isinstance(part, Audio):
        return part.format if "/" in part.format else _AUDIO_TYPES.get(part.format, f"audio/{part.format or 'wav'}")
    declared = part.media_type.partition(";")[0].strip().lower()
    if declared and declared != "application/octet-stream":
        return "image/jpeg" if declared == "image/jpg" else declared
    if found := next((kind for begin, kind in _BEGINNINGS.items() if part.data.startswith(begin)), ""):
        return found
    name = (part.filename if isinstance(part, File) else None) or part.url.partition("?")[0]
    if guessed := mimetypes.guess_type(name)[0]:
        return guessed
    return {Image: "image/png", Video: "video/mp4"}.get(type(part), "application/pdf")
