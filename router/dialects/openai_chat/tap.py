"""The patched raw lane of a stream: an upstream's own chunks, made to say what the contract wants of every chat answer.

Almost all chunks of a stream differ in one string only. The first of a kind is taken apart and written anew; from that a `Rule`
is learned, by which the next ones are patched without being decoded. A rule says the same as taking a chunk apart would: it is
made from one that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from ...errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from ...model import Event
from ...openai_words import Fragment, ToolCalls, failure, legacy_call, merge_usage, reason_of, text_of, usage_of
from ...sse import Frames, data_of
from ...wire import openai as wire
from .common import DONE, debug_object, provider_of, usage_apart, usage_object

if TYPE_CHECKING:
    from ...call import Call

_encode = wire.encode
_NULL = Raw(b"null")
_NO_DELTA = Raw(b"{}")
_OPENING = Raw(b'{"role":"assistant","content":""}')
#: top-level members that we write ourselves
_OURS = ("id", "object", "created", "model", "provider", "usage", "choices", "error")
_CONTENT = ("content", "refusal", "tool_calls", "function_call", "images", "audio", "annotations")
_THOUGHT = ("reasoning", "reasoning_content", "reasoning_details")
_STRAY_BYTES = 64 * 1024


class _Unreadable(UpstreamUnavailable):
    """A chunk that is no JSON, or not of the form of a chunk."""


class Tap:
    """`Flow` of the raw lane: bytes in, bytes out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._frames = Frames()
        self._rule: Rule | None = None
        self._choices: dict[int, _Choice] = {}
        self._counted: dict[str, Any] = {}
        #: members of chunks that were not sent on, for the next one that is
        self._carried: dict[str, Raw] = {}
        self._stray = b""
        self._error: UpstreamError | None = None
        #: a chunk behind the last blank line, for `final`
        self._late = b""
        self._duplicate = bool(call.compat.get("reasoning_content", True))
        self._hide = call.head.exclude_reasoning
        head = {
            "id": call.id,
            "object": "chat.completion.chunk",
            "created": int(call.created_unix),
            "model": call.model_id,
            "provider": provider_of(call),
        }
        self._head = b"data: " + _encode(head)[:-1]

    # --- what the relay calls ---

    def feed(self, item: bytes | Event) -> bytes:
        """Take a piece of the upstream's stream in, give whole frames."""
        assert isinstance(item, bytes)
        rule = self._rule
        if rule is not None and self._frames.empty and (patched := rule.burst(item)) is not None:
            self._call.outcome.output_chars += rule.chars
            return patched
        out: list[bytes] = []
        try:
            for frame in self._frames.feed(item):
                out.append(self._one(frame))
                if self.done:
                    break
        except UpstreamError as error:
            # what came in front of an error is the client's
            if not self.content:
                raise
            self._error, self.done = error, True
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close()):
            try:
                self._late = self._frame(rest)
            except _Unreadable as error:
                raise StreamTruncated("the upstream's stream ended in the middle of a chunk") from error
        if not self._choices:
            raise self._nothing()
        for choice in self._choices.values():
            if not choice.finished and not self.done:
                raise StreamTruncated("the upstream's stream ended without a finish reason")
        first = self._choices[min(self._choices)]
        outcome = self._call.outcome
        outcome.usage = usage_of(self._counted)
        outcome.finish_reason, outcome.native_finish_reason = first.reason, first.native

    def final(self) -> bytes:
        """The finish chunks with usage, and the end mark."""
        call = self._call
        last = {**self._carried, "usage": Raw(_encode(usage_object(call, self._counted)))}
        if call.metadata is not None:
            last["openrouter_metadata"] = Raw(_encode(call.metadata))
        closing = [self._choices[index].closing() for index in sorted(self._choices)]
        apart = usage_apart(call)
        early = closing if apart else closing[:-1]
        out = [self._write([choice], {}) for choice in early]
        out.append(self._write([] if apart else closing[-1:], last))
        return b"".join((self._late, *out, DONE))

    # --- one frame ---

    def _one(self, frame: bytes) -> bytes:
        """A frame as the client gets it, the fast way where there is one."""
        rule = self._rule
        if rule is not None and (patched := rule.one(frame)) is not None:
            self._call.outcome.output_chars += rule.chars
            return patched
        return self._frame(frame)

    def _frame(self, frame: bytes) -> bytes:
        """Take a frame apart: the slow way, which is right for all of them."""
        data = data_of(frame)
        if not data:
            self._no_event(frame)
            return b""
        if data[:6] == b"[DONE]":
            self.done = True
            return b""
        try:
            members = wire.decode_members(data)
            choices = wire.decode_choices(members["choices"]) if "choices" in members else None
            raws = wire.decode_list(members["choices"]) if choices else []
            self._look(members, choices, data)
            for name in _OURS:
                members.pop(name, None)
            if not wire.given(members.get("system_fingerprint", _NULL)):
                members.pop("system_fingerprint", None)
            if choices:
                return self._chunk(frame, members, choices, raws)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Unreadable("the upstream's stream holds a chunk that cannot be read") from error
        self._carry(members)
        return b""

    def _carry(self, members: dict[str, Raw]) -> None:
        members.pop("obfuscation", None)
        self._carried.update(members)
        self._rule = None

    def _no_event(self, frame: bytes) -> None:
        """A comment, or a body that is no event stream at all: kept to be read at the end."""
        if not self._choices and len(self._stray) < _STRAY_BYTES and frame.lstrip()[:1] in (b"{", b"["):
            self._stray += frame

    def _look(self, members: dict[str, Raw], choices: list[wire.Choice] | None, data: bytes) -> None:
        """Read what is not content: an error, usage, facts."""
        if (usage := members.get("usage")) is not None:
            merge_usage(self._counted, usage)
        if (groq := members.get("x_groq")) is not None and (found := wire.decode_groq(groq)) is not None:
            merge_usage(self._counted, found.usage)
        error = members.get("error", _NULL)
        if "choices" not in members and members.get("object") == Raw(b'"error"'):
            error = Raw(data)  # vLLM's form
        for each in choices or ():
            error = each.error if wire.given(each.error) else error
        if wire.given(error):
            raise self._failure(error)
        outcome = self._call.outcome
        if not outcome.upstream_id and (id := members.get("id")) is not None:
            outcome.upstream_id = _text(id)
        if (tier := members.get("service_tier")) is not None:
            outcome.service_tier = _text(tier) or outcome.service_tier

    def _failure(self, error: Raw) -> UpstreamError:
        candidate = self._call.candidate
        assert candidate is not None
        self._call.outcome.usage = usage_of(self._counted)
        return failure(error, candidate.provider.error)

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without a single chunk."""
        try:
            error = wire.decode_members(self._stray).get("error", _NULL)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = _NULL
        return self._failure(error) if wire.given(error) else UpstreamUnavailable("the upstream's stream is empty")

    # --- one chunk ---

    def _chunk(
        self, frame: bytes, members: dict[str, Raw], choices: list[wire.Choice], raws: list[dict[str, Raw]]
    ) -> bytes:
        learn = len(choices) == 1 and not self._carried
        opening: list[bytes] = []
        out: list[dict[str, Raw]] = []
        said = ""
        for parsed, raw in zip(choices, raws, strict=True):
            delta = parsed.delta or parsed.message or wire.Delta()
            index = parsed.index if isinstance(parsed.index, int) else 0
            choice = self._choices.get(index)
            if choice is None:
                learn = False
                choice = self._choices[index] = _Choice(index)
                opening.append(self._open(choice, parsed, delta))
            patched, said, plain = self._patched(choice, parsed, delta, raw)
            learn = learn and plain and not choice.finished
            if patched is not None:
                out.append(patched)
        if not out:
            self._carry(members)
            return b"".join(opening)
        chunk = self._write(out, {**self._carried, **members} if self._carried else members)
        self._carried = {}
        self._rule = Rule.learn(frame, chunk, said) if learn else None
        return b"".join((*opening, chunk)) if opening else chunk

    def _open(self, choice: _Choice, parsed: wire.Choice, delta: wire.Delta) -> bytes:
        """The first chunk of a choice, which only says whose turn it is; nothing where the upstream's own does."""
        first: dict[str, Raw] = {}
        if len(self._choices) == 1 and self._call.head.echo_upstream_body:
            first["debug"] = Raw(_encode(debug_object(self._call)))
        silent = delta.role == "assistant" and delta.content == "" and not _any(delta, (*_CONTENT, *_THOUGHT))
        if silent and not first and not parsed.finish_reason:
            return b""
        return self._write([{"index": choice.number, "delta": _OPENING, "finish_reason": _NULL}], first)

    def _patched(
        self, choice: _Choice, parsed: wire.Choice, delta: wire.Delta, raw: dict[str, Raw]
    ) -> tuple[dict[str, Raw] | None, str, bool]:
        """The choice as the client gets it, None where nothing is left to send now; what it says; and whether the next one like
        it would be patched alike."""
        message, inner = raw.pop("message", _NULL), raw.pop("delta", _NULL)
        inner = inner if wire.given(inner) else message
        members = wire.decode_members(inner) if wire.given(inner) else {}
        before = len(members)
        thought = self._reasoning(delta, members)
        called, plain = self._tools(choice, delta, members)
        if not legacy_call(delta):
            members.pop("function_call", None)
        if "role" in members and not delta.role:
            del members["role"]
        said = called + "".join(text_of(each) for each in (delta.content, delta.refusal) if each)
        self._call.outcome.output_chars += len(said) + len(thought)
        if _any(delta, _CONTENT) or (thought and not self._hide):
            self.content = True
        if parsed.finish_reason:
            return self._finish(choice, parsed, members, raw), said, False
        if before and not members:
            return None, said, False
        patched = {"index": choice.number, "delta": Raw(_encode(members)), **_rest(raw), "finish_reason": _NULL}
        return patched, said + thought, plain

    def _reasoning(self, delta: wire.Delta, members: dict[str, Raw]) -> str:
        """Both names for reasoning, or none where the client does not want to see it. Gives what was thought."""
        plain, content = delta.reasoning or "", delta.reasoning_content or ""
        if self._hide:
            for name in _THOUGHT:
                members.pop(name, None)
        elif content and not plain:
            members["reasoning"] = members["reasoning_content"]
        elif plain and not content and self._duplicate:
            members["reasoning_content"] = members["reasoning"]
        if not self._duplicate:
            members.pop("reasoning_content", None)
        return text_of(plain or content)

    def _tools(self, choice: _Choice, delta: wire.Delta, members: dict[str, Raw]) -> tuple[str, bool]:
        """Tool calls with their index; id and name in the first fragment only. Gives their arguments, and whether only
        arguments came."""
        if not delta.tool_calls:
            members.pop("tool_calls", None)
            choice.tools = choice.tools or legacy_call(delta)
            return "", True
        choice.tools = True
        given = wire.decode_list(members["tool_calls"])
        fragments = choice.calls.add(delta.tool_calls)
        if fragments:
            members["tool_calls"] = Raw(_encode([tool_call(given[each.position], each) for each in fragments]))
        else:
            del members["tool_calls"]
        return "".join(each.arguments for each in fragments), not any(each.name for each in fragments)

    def _finish(
        self, choice: _Choice, parsed: wire.Choice, members: dict[str, Raw], raw: dict[str, Raw]
    ) -> dict[str, Raw] | None:
        """Keep the end of a choice back until usage is known. What else the chunk says is sent now."""
        choice.finished = True
        choice.word = text_of(parsed.finish_reason)
        choice.native = text_of(parsed.native_finish_reason) or choice.word
        if choice.word == "error":
            raise UpstreamUnavailable("the upstream ended the answer with an error")
        if any(_worth(name, each) for name, each in members.items()):
            return {"index": choice.number, "delta": Raw(_encode(members)), **_rest(raw), "finish_reason": _NULL}
        choice.rest.update(_rest(raw))
        return None

    def _write(self, choices: list[dict[str, Raw]], members: dict[str, Raw]) -> bytes:
        rest = b"," + _encode(members)[1:] if members else b"}"
        return b'%b,"choices":%b%b\n\n' % (self._head, _encode(choices), rest)


class _Choice:
    """What is known of one choice while its stream runs."""

    __slots__ = ("calls", "finished", "native", "number", "rest", "tools", "word")

    def __init__(self, index: int) -> None:
        self.number = Raw(b"%d" % index)
        self.calls = ToolCalls()
        self.tools = False
        self.finished = False
        #: how it ended, in OpenAI's words and in the upstream's own
        self.word: str | None = None
        self.native: str | None = None
        #: other members of its last chunk
        self.rest: dict[str, Raw] = {}

    @property
    def reason(self) -> str:
        """The contract's finish reason."""
        return reason_of(self.word, self.tools)

    def closing(self) -> dict[str, Raw]:
        """The choice of the finish chunk."""
        reasons = {"finish_reason": Raw(_encode(self.reason)), "native_finish_reason": Raw(_encode(self.native))}
        return {"index": self.number, "delta": _NO_DELTA, **self.rest, **reasons}


def tool_call(given: dict[str, Raw], fragment: Fragment, *, whole: bool = False) -> dict[str, Any]:
    """A fragment, or a `whole` call, as the client gets it; members that we do not know stay."""
    kind, text = ("custom", "input") if fragment.custom else ("function", "arguments")
    told: dict[str, Any] = {} if whole else {"index": fragment.index}
    function = {text: fragment.arguments}
    if fragment.name:
        told |= {"id": fragment.id, "type": kind}
        function = {"name": fragment.name, **function}
    told[kind] = function
    return {name: raw for name, raw in given.items() if name not in _FRAGMENT} | told


_FRAGMENT = ("index", "id", "type", "function", "custom")


def _any(delta: wire.Delta, names: tuple[str, ...]) -> bool:
    return any(getattr(delta, name) for name in names)


def _worth(name: str, raw: Raw) -> bool:
    """True where a member of a last delta says something."""
    return name != "role" and bytes(raw) not in (b"null", b'""', b"[]", b"{}")


def _rest(raw: dict[str, Raw]) -> dict[str, Raw]:
    """The members of a choice that are not written anew."""
    return {name: each for name, each in raw.items() if name not in _WRITTEN}


_WRITTEN = ("index", "delta", "message", "finish_reason", "native_finish_reason", "error")


def _text(raw: Raw) -> str:
    value = wire.decode_any(raw)
    return value if isinstance(value, str) else ""


# --- the fast way ----------------------------------------------------------------------------------------------------

_OBFUSCATION = b'"obfuscation":"'


class Rule:
    """How chunks are patched that differ from a known one in one string only (and in OpenAI's `obfuscation` at their end).

    Theirs is head, string, tail; ours is `pieces` with the string in between. Obfuscated, a varying value and `closing` follow
    in both.
    """

    __slots__ = ("_between", "_closing", "_head", "_newlines", "_ours", "_pieces", "_quotes", "_tail", "chars")

    def __init__(self, head: bytes, tail: bytes, pieces: list[bytes], closing: bytes = b"") -> None:
        self._head = head
        self._tail = tail
        self._pieces = pieces
        self._closing = closing
        #: what stands between the strings of two frames in one piece, theirs and ours
        self._between = tail + head
        self._ours = pieces[-1] + pieces[0]
        self._quotes = self._between.count(b'"')
        self._newlines = self._between.count(b"\n")
        #: how many characters the strings of the last match have together
        self.chars = 0

    @classmethod
    def learn(cls, frame: bytes, patched: bytes, said: str) -> Rule | None:
        """The rule behind a frame and what was made of it; `said` is the string in it. None where there is none."""
        quoted = _encode(said)
        theirs, ours = frame.split(quoted), patched.split(quoted)
        if not said or len(theirs) != 2 or len(ours) < 2 or not _plain(theirs[0], theirs[1]):
            return None
        head, tail = theirs[0] + b'"', b'"' + theirs[1]
        pieces = [b'"' + each + b'"' for each in ours]
        pieces[0], pieces[-1] = pieces[0][1:], pieces[-1][:-1]
        if _OBFUSCATION not in tail:
            return cls(head, tail, pieces)
        tail, _, noise = tail.partition(_OBFUSCATION)
        last, _, same = pieces[-1].partition(_OBFUSCATION)
        # it has to be the last member: an opening quote behind it would be that of another one
        if noise != same or noise.count(b'"') != 1:
            return None
        pieces[-1] = last + _OBFUSCATION
        return cls(head, tail + _OBFUSCATION, pieces, noise[noise.index(b'"') :])

    def burst(self, piece: bytes) -> bytes | None:
        """Patch a piece that is nothing but such frames; None where it is not."""
        pieces = self._pieces
        if self._closing or len(pieces) != 2 or not (piece.startswith(self._head) and piece.endswith(self._tail)):
            return None
        inner = piece[len(self._head) : -len(self._tail)]
        count = inner.count(self._between)
        chars = _characters(inner, count * self._quotes, count * self._newlines)
        if chars < 0:
            return None
        self.chars = chars - count * len(self._between)
        return b"".join((pieces[0], inner.replace(self._between, self._ours) if count else inner, pieces[1]))

    def one(self, frame: bytes) -> bytes | None:
        """Patch one frame; None where it is not such a one."""
        if not frame.startswith(self._head):
            return None
        if self._closing:
            return self._obfuscated(frame)
        if not frame.endswith(self._tail):
            return None
        inner = frame[len(self._head) : -len(self._tail)]
        self.chars = _characters(inner)
        return None if self.chars < 0 else inner.join(self._pieces)

    def _obfuscated(self, frame: bytes) -> bytes | None:
        start = frame.find(self._tail, len(self._head))
        if start < 0 or not frame.endswith(self._closing):
            return None
        inner = frame[len(self._head) : start]
        noise = frame[start + len(self._tail) : -len(self._closing)]
        self.chars = _characters(inner)
        if self.chars < 0 or not noise.isalnum():
            return None
        return b"".join((inner.join(self._pieces), noise, self._closing))


def _plain(*parts: bytes) -> bool:
    """True where these parts of a frame are what the rules can be sure of."""
    return all(part.isascii() and b"\\" not in part and b"\r" not in part for part in parts)


def _characters(inner: bytes, quotes: int = 0, newlines: int = 0) -> int:
    """How many characters the inside of a JSON string holds, bare quotes and newlines included, of which there must be as many as
    said; -1 where that is not easy to tell."""
    escapes = 0
    if b"\\" in inner:
        doubled, quoted = inner.count(b"\\\\"), inner.count(b'\\"')
        if b"\\u" in inner or (doubled and quoted) or inner.endswith(b"\\"):
            return -1
        quotes += quoted
        escapes = inner.count(b"\\") - doubled
    if inner.count(b'"') != quotes or inner.count(b"\n") != newlines:
        return -1
    if inner.isascii():
        return len(inner) - escapes
    try:
        return len(inner.decode()) - escapes
    except UnicodeDecodeError:
        return -1
