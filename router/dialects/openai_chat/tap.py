"""The patched raw lane of a stream: an upstream's own chunks, made to say what the contract wants of every chat answer.

Almost all chunks of a stream differ in one string only. The first of a kind is taken apart and written anew; from that a `Rule`
is learned, by which the next ones are patched without being decoded. A rule says the same as taking a chunk apart would: it is
made from one that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from ...errors import StreamTruncated, UpstreamError, UpstreamUnavailable
from ...events import Event
from ...openai_words import (
    Fragment,
    ToolCalls,
    details_text,
    failure,
    legacy_call,
    merge_usage,
    reason_of,
    text_of,
    usage_of,
)
from ...sse import data_of, stray
from ...wire import openai as wire
from .common import DONE, debug_object, provider_of, usage_apart, usage_object
from .frames import Stretches
from .rule import Rule

if TYPE_CHECKING:
    from ...call import Call

_encode = wire.encode
_NULL = Raw(b"null")
_NO_DELTA = Raw(b"{}")
_OPENING = Raw(b'{"role":"assistant","content":""}')
#: top-level members that we write ourselves
_OURS = ("object", "created", "model", "provider")
_THOUGHT = ("reasoning", "reasoning_content", "reasoning_details")
#: rules in a row that may be learned in vain
_PATIENCE = 16


class _Unreadable(UpstreamUnavailable):
    """A chunk that is no JSON, or not of the form of a chunk."""


class Tap:
    """`Flow` of the raw lane: bytes in, bytes out, `call.outcome` filled."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._frames = Stretches()
        self._rule: Rule | None = None
        self._vain = 0
        self._choices: dict[int, _Choice] = {}
        self._counted: dict[str, Any] = {}
        #: members of chunks that were not sent on, for the next one that is
        self._carried: dict[str, Raw] = {}
        self._stray = b""
        self._error: UpstreamError | None = None
        #: what had been made of a piece when an error was met in it
        self._salvaged = b""
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
        if rule is not None and len(item) < rule.longest and not self._frames.waiting and rule.one(item):
            self._call.outcome.output_chars += rule.chars
            return rule.patched
        try:
            return self._all(self._frames.feed(item))
        except UpstreamError as error:
            # what came in front of an error is the client's
            if not self._salvaged:
                raise
            self._error, self.done = error, True
            return self._salvaged

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close().strip()):
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

    # --- frames ---

    def _all(self, data: bytes) -> bytes:
        """Whole frames as the client gets them, many at once where a rule is known for them."""
        out: list[bytes] = []
        start, size = 0, len(data)
        runs = True
        try:
            while start < size and not self.done:
                rule = self._rule
                if rule is not None and runs and (end := rule.run(data, start)):
                    self._call.outcome.output_chars += rule.chars
                    out.append(rule.patched)
                    start = end
                    continue
                # a run that failed was looked for in all that is left: once is enough
                runs = rule is None or not rule.tried
                end = data.index(b"\n\n", start) + 2
                out.append(self._one(data[start:end]))
                start = end
        finally:
            whole = out[0] if len(out) == 1 else b"".join(out)
            self._salvaged = whole if self.content else b""
        return whole

    def _one(self, frame: bytes) -> bytes:
        """A frame as the client gets it, the fast way where there is one."""
        rule = self._rule
        if rule is not None and rule.one(frame):
            self._call.outcome.output_chars += rule.chars
            return rule.patched
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
            raw = members.pop("choices", wire.NOTHING)
            choices = wire.decode_choices(raw) if raw else None
            self._look(members, choices, data)
            if choices:
                if len(choices) == 1 and (said := self._ordinary(choices[0])) is not None:
                    return self._as_it_is(frame, members, raw, said)
                return self._chunk(frame, members, choices, wire.decode_list(raw))
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
        if not self._choices:
            self._stray = stray(self._stray, frame)

    def _look(self, members: dict[str, Raw], choices: list[wire.Choice] | None, data: bytes) -> None:
        """Read what is not content, and leave in `members` what is not ours to write."""
        outcome = self._call.outcome
        usage = members.pop("usage", wire.NOTHING)
        if (groq := members.get("x_groq")) is not None and (found := wire.decode_groq(groq)) is not None:
            usage = usage or found.usage
        if wire.given(usage):
            merge_usage(self._counted, usage)
            outcome.usage = usage_of(self._counted)  # some say it with every chunk: what a client that leaves has used
        self._look_for_error(members, choices, data)
        if (id := members.pop("id", None)) is not None and not outcome.upstream_id:
            outcome.upstream_id = _text(id)
        if not outcome.service_tier and (tier := members.get("service_tier")) is not None:
            outcome.service_tier = _text(tier) or None
        for name in _OURS:
            members.pop(name, None)
        if (fingerprint := members.get("system_fingerprint")) is not None and not wire.given(fingerprint):
            del members["system_fingerprint"]

    def _look_for_error(self, members: dict[str, Raw], choices: list[wire.Choice] | None, data: bytes) -> None:
        error = members.pop("error", wire.NOTHING)
        if choices is None and members.get("object") == Raw(b'"error"'):
            error = Raw(data)  # vLLM's form
        for each in choices or ():
            error = each.error or error
        if wire.given(error):
            raise self._failure(error)

    def _failure(self, error: Raw) -> UpstreamError:
        candidate = self._call.candidate
        assert candidate is not None
        return failure(error, candidate.provider.error)

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without a single chunk."""
        try:
            error = wire.decode_members(self._stray).get("error", _NULL)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = _NULL
        return self._failure(error) if wire.given(error) else UpstreamUnavailable("the upstream's stream is empty")

    # --- one chunk ---

    def _ordinary(self, given: wire.Choice) -> str | None:
        """The text of a choice that can stay as it is, as nearly all of them can; None for the others."""
        delta, index = given.delta, given.index
        if delta is None or given.message is not None or given.finish_reason is not None or not isinstance(index, int):
            return None
        if not isinstance(delta.content, str) or delta.refusal or not _only_text(delta):
            return None
        choice = self._choices.get(index)
        if choice is None:
            if delta.role != "assistant" or delta.content or self._call.head.echo_upstream_body:
                return None
            self._choices[index] = _Choice(index)
        elif choice.finished or delta.role is None:
            return None
        return delta.content

    def _as_it_is(self, frame: bytes, members: dict[str, Raw], choices: Raw, said: str) -> bytes:
        """A chunk whose choices need no change."""
        if said:
            self.content = True
            self._call.outcome.output_chars += len(said)
        learn = not self._carried
        chunk = self._written(choices, {**self._carried, **members} if self._carried else members)
        self._carried = {}
        self._learn(frame, chunk, said if learn else "")
        return chunk

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
                opening.append(self._open(choice))
            patched, said, plain = self._patched(choice, parsed, delta, raw)
            learn = learn and plain and not choice.finished
            if patched is not None:
                out.append(patched)
        if not out:
            self._carry(members)
            return b"".join(opening)
        chunk = self._write(out, {**self._carried, **members} if self._carried else members)
        self._carried = {}
        self._learn(frame, chunk, said if learn else "")
        return b"".join((*opening, chunk)) if opening else chunk

    def _learn(self, frame: bytes, chunk: bytes, said: str) -> None:
        """Learn a rule, less and less often where none of them is ever used."""
        if self._rule is not None:
            self._vain = 0 if self._rule.used else self._vain + 1
        self._rule = None
        if said and (self._vain < _PATIENCE or self._vain % _PATIENCE == 0):
            self._rule = Rule.learn(frame, chunk, said)
        elif said:
            self._vain += 1

    def _open(self, choice: _Choice) -> bytes:
        """The first chunk of a choice, which only says whose turn it is."""
        first: dict[str, Raw] = {}
        if len(self._choices) == 1 and self._call.head.echo_upstream_body:
            first["debug"] = Raw(_encode(debug_object(self._call)))
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
        thought, called, names = "", "", 0
        if not _only_text(delta):
            thought = self._reasoning(delta, members)
            called, names = self._tools(choice, delta, members)
            self.content = self.content or bool(delta.images or delta.audio or delta.annotations)
        if not delta.role:
            members.pop("role", None)
        said = called + text_of(delta.content or None) + text_of(delta.refusal or None)
        self._call.outcome.output_chars += len(said) + len(thought) + names
        if said or names or (thought and not self._hide):
            self.content = True
        if parsed.finish_reason:
            return self._finish(choice, parsed, members, raw), said, False
        if before and not members:
            return None, said, False
        patched = {"index": choice.number, "delta": Raw(_encode(members)), **_rest(raw), "finish_reason": _NULL}
        return patched, said + thought, not names

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
        return text_of(plain or content) or details_text(delta.reasoning_details)

    def _tools(self, choice: _Choice, delta: wire.Delta, members: dict[str, Raw]) -> tuple[str, int]:
        """Tool calls with their index; id and name in the first fragment only. Gives their arguments, and how many characters
        of names came."""
        called, names = "", 0
        if legacy_call(delta):
            choice.tools = True
            function = delta.function_call
            assert isinstance(function, wire.Function)
            called, names = text_of(function.arguments), len(text_of(function.name))
        else:
            members.pop("function_call", None)
        if not delta.tool_calls:
            members.pop("tool_calls", None)
            return called, names
        choice.tools = True
        given = wire.decode_list(members["tool_calls"])
        fragments = choice.calls.add(delta.tool_calls)
        if fragments:
            members["tool_calls"] = Raw(_encode([tool_call(given[each.position], each) for each in fragments]))
        else:
            del members["tool_calls"]
        return called + "".join(each.arguments for each in fragments), names + sum(len(each.name) for each in fragments)

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
        return self._written(_encode(choices), members)

    def _written(self, choices: bytes | Raw, members: dict[str, Raw]) -> bytes:
        rest = b"," + _encode(members)[1:] if members else b"}"
        return b'%b,"choices":%b%b\n\n' % (self._head, choices, rest)


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


def _only_text(delta: wire.Delta) -> bool:
    """True where a delta holds text or a refusal at most."""
    silent = delta.tool_calls is delta.function_call is delta.reasoning is delta.reasoning_content is UNSET
    return silent and delta.reasoning_details is UNSET and not (delta.images or delta.audio or delta.annotations)


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
