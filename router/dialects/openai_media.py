"""OpenAI's other operations (api.md 9): moderations, speech, transcriptions, translations, images.

They are passed on to an upstream with the same API, and the answer comes back as it was: JSON, sound, or an event stream where the
request asks for one. Sound and events are relayed as they come (`passing`). Usage is recorded where the upstream says it; where it
does not, a call has no cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec import Raw

from ..errors import BadRequest, UpstreamUnavailable
from ..head import Head
from ..prices import Usage
from ..wire import openai as wire
from .base import Flow, Path
from .openai_chat import common
from .openai_chat.fields import Check, text
from .passing import Bytes, Events
from .whole import OURS, Whole, members_of

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..errors import RouterError

EVENTS = "text/event-stream"
#: what has no events in it and may be long
LONG = ("audio/", "video/", "application/octet-stream")

_decode_counts = msgspec.json.Decoder(dict[str, Any]).decode


class Passed(Whole):
    """An operation whose answer is the upstream's own."""

    #: members that a request must have
    required: ClassVar[tuple[str, ...]] = ()
    #: the answer is JSON, and nothing else
    json: ClassVar[bool] = True

    def head(self, members: dict[str, Raw]) -> Head:
        """The head of a request. Raises BadRequest where a member is missing."""
        for name in self.required:
            if not wire.given(members.get(name, wire.NOTHING)):
                raise BadRequest(f"{name} is required", param=name)
        return super().head(members)

    def answer(self, call: Call, body: bytes) -> None:
        """Read what the upstream counted. Raises an UpstreamError where the body is an error or empty."""
        outcome = call.outcome
        outcome.finish_reason = "stop"
        if not body:
            raise UpstreamUnavailable("the upstream's answer is empty")
        if self.json or _kind(outcome.media_type) == "application/json":
            members = members_of(call, body)
            outcome.usage = _usage(members.get("usage", wire.NOTHING))
            id = members.get("id", wire.NOTHING)
            outcome.upstream_id = str(wire.decode_any(id)) if wire.given(id) else ""
        outcome.uncounted = outcome.usage is None

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """As it came; an object of JSON gets what the client asked to know."""
        if call.metadata is None or not (self.json or _kind(call.outcome.media_type) == "application/json"):
            return body
        return wire.encode({**wire.decode_members(body), "openrouter_metadata": call.metadata})

    def flows(self, call: Call) -> bool:
        """Events, and sound."""
        kind = _kind(call.outcome.media_type)
        return kind == EVENTS or (not self.json and kind.startswith(LONG))

    def tap(self, call: Call) -> Flow:
        """The answer as it comes."""
        return Events(call, _usage) if _kind(call.outcome.media_type) == EVENTS else Bytes(call)

    def content_type(self, call: Call) -> str:
        """The upstream's."""
        return call.outcome.media_type

    def stream_error(self, call: Call, error: RouterError) -> bytes | None:
        """An event that OpenAI's SDKs raise; sound has no word for it."""
        if _kind(call.outcome.media_type) != EVENTS:
            return None
        _, body = common.error_body(error, call.request_id, number_codes=False)
        return b"event: error\ndata: %b\n\n" % body


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _usage(raw: Raw) -> Usage | None:
    """Tokens of images and of transcriptions; what is counted in seconds has no price here."""
    if not wire.given(raw):
        return None
    try:
        said = _decode_counts(raw)
    except msgspec.DecodeError:
        return None
    ins = said.get("input_tokens_details") or said.get("input_token_details")
    ins = ins if isinstance(ins, dict) else {}
    outs = said.get("output_tokens_details")
    outs = outs if isinstance(outs, dict) else {}
    usage = Usage(
        input=_count(said, "input_tokens"),
        output=_count(said, "output_tokens"),
        image_input=_count(ins, "image_tokens"),
        audio_input=_count(ins, "audio_tokens"),
        image_output=_count(outs, "image_tokens"),
    )
    return usage.clamped() if usage.input or usage.output else None


def _count(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    return value if isinstance(value, int) and value > 0 else 0


class Moderations(Passed):
    """`POST /moderations`. OpenAI's clients may leave the model out: then it is OpenAI's own default."""

    name = "openai.moderations"
    api_type = "moderations"
    produces = "moderation"
    paths = (Path("/moderations", "moderations"),)
    required = ("input",)

    def head(self, members: dict[str, Raw]) -> Head:
        """The head of a request."""
        head = super().head(members)
        head.model = head.model or ("" if head.models else "omni-moderation-latest")
        return head


class Speech(Passed):
    """`POST /audio/speech`: sound comes back."""

    name = "openai.speech"
    api_type = "speech"
    produces = "speech"
    paths = (Path("/audio/speech", "speech"),)
    required = ("model", "input")
    json = False
    fields: ClassVar[Mapping[str, Check]] = {"input": text("input", 100_000)}


class Images(Passed):
    """`POST /images/generations`, or `/images`."""

    name = "openai.images"
    api_type = "images"
    produces = "image"
    paths = (Path("/images/generations", "images"), Path("/images", "images"))
    required = ("prompt",)


# --- forms of several parts ------------------------------------------------------------------------------------------

_NAME = re.compile(rb'content-disposition:[^\r\n]*?;\s*name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb"content-disposition:[^\r\n]*?;\s*filename\*?=", re.IGNORECASE)
#: members of a form that the router reads are no longer than this, in bytes; but for the prompt, which plugins look at
LONGEST_FIELD = 65536


class Form(Passed):
    """An operation with a file in its request: `multipart/form-data` (RFC 7578), whose parts are passed on as they came."""

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs. Raises BadRequest with `param`."""
        boundary, parts = split(body)
        members: dict[str, Raw] = {}
        for part in parts:
            if part.name in _READ and (part.file or part.name in members):
                raise BadRequest(
                    f"{part.name} is a field of the form that may stand there once, as text", param=part.name
                )
            if part.file:
                members[part.name] = Raw(b'""')
            elif part.name == "prompt" or (part.name in _READ and len(part.content) <= LONGEST_FIELD):
                members[part.name] = _raw(part)
            else:
                members.setdefault(part.name, Raw(b'""'))
        head = self.head(members)
        head.decoded = _Form(boundary=boundary, parts=parts)
        return head

    def raw_headers(self, call: Call) -> dict[str, str]:
        """The media type names the boundary of the parts, which is kept."""
        form: _Form = call.head.decoded
        return {"Content-Type": f'multipart/form-data; boundary="{form.boundary.decode()}"'}

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """The client's own parts with the upstream's model, without what is ours."""
        form: _Form = call.head.decoded
        boundary = form.boundary
        call.dropped, call.warnings = [], list(call.head.warnings)
        members = {"model": Raw(wire.encode(candidate.endpoint.model.id))}
        candidate.provider.raw_patch(self.name, members, candidate)
        model = str(wire.decode_any(members["model"])).encode()
        out = [b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % (boundary, model)]
        out += (
            b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, part.header, part.content)
            for part in form.parts
            if part.name != "model" and part.name not in OURS
        )
        return b"".join((*out, b"--%b--\r\n" % boundary))


class Part(msgspec.Struct):
    """A part of a form. `header` is its head as it came."""

    name: str
    header: bytes
    content: bytes
    file: bool = False


class _Form(msgspec.Struct):
    """What `peek` has read."""

    boundary: bytes
    parts: list[Part]


#: fields of a form that the router itself reads, or plugins that look at what was written
_READ = ("model", "user", "models", "provider", "route", "session_id", "trace", "metadata", "preset", "prompt")
#: those of them that are not JSON
_TEXTS = ("model", "user", "route", "session_id", "preset", "prompt")


def split(body: bytes) -> tuple[bytes, list[Part]]:
    """The boundary and the parts of a form. Raises BadRequest where it is none."""
    first, found, _ = body.partition(b"\r\n")
    boundary = first[2:].rstrip(b" \t")
    if not found or not first.startswith(b"--") or not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("the body must be multipart/form-data, and begin with its boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise BadRequest("the form is cut off: its last boundary is missing")
    parts: list[Part] = []
    for piece in pieces[1:-1]:
        header, found, content = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _NAME.search(header)
        if not found or name is None:
            raise BadRequest("a part of the form has no name")
        file = _FILE.search(header) is not None
        parts.append(Part(name=name[1].decode(errors="replace"), header=header, content=content, file=file))
    return boundary, parts


#: RFC 2046 5.1.1
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")


def _raw(part: Part) -> Raw:
    """The value of a field as JSON."""
    try:
        value = part.content.decode()
        if part.name not in _TEXTS:
            wire.decode_any(part.content)
            return Raw(part.content)
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise BadRequest(f"{part.name} cannot be read", param=part.name) from None
    return Raw(wire.encode(value))


class Transcriptions(Form):
    """`POST /audio/transcriptions`. What comes back may be JSON, text or subtitles."""

    name = "openai.transcriptions"
    api_type = "transcriptions"
    produces = "transcription"
    paths = (Path("/audio/transcriptions", "transcriptions", form=True),)
    required = ("model", "file")
    json = False


class Translations(Form):
    """`POST /audio/translations`, into English."""

    name = "openai.translations"
    api_type = "translations"
    produces = "transcription"
    paths = (Path("/audio/translations", "translations", form=True),)
    required = ("model", "file")
    json = False


class ImageEdits(Form):
    """`POST /images/edits`."""

    name = "openai.image_edits"
    api_type = "images"
    produces = "image"
    paths = (Path("/images/edits", "images", form=True),)
    required = ("prompt",)


#: all of them
MEDIA: tuple[type[Passed], ...] = (Moderations, Speech, Images, Transcriptions, Translations, ImageEdits)
