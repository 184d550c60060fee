"""OpenAI's completions of text, the API before chat (end of api.md 5).

Upstreams that have it are relayed: their answers pass as they came, but for the usage, which gets its cost, and the end of a stream,
which waits for the ledger. All others get the prompt as one message of a user, and what they answer is the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from ..errors import BadRequest, StreamTruncated, UpstreamError, UpstreamUnavailable
from ..events import Event, Finish, Reply, Start, Stop, TextDelta
from ..head import Head
from ..model import ChatRequest, Message, Text
from ..openai_words import failure, merge_usage, reason_of, text_of, usage_of
from ..sse import Frames, data_of, frame, stray
from ..wire import openai as wire
from .again import Again
from .base import Dialect, Flow, Path
from .openai_chat import common
from .openai_chat.common import DONE, usage_object
from .openai_chat.fields import FIELDS as CHAT
from .openai_chat.fields import MAX_COUNT, Check, boolean, convert, integer, text
from .openai_chat.patch import EXTENSIONS
from .openai_chat.peek import PARAMETERS, read_members, routing, wanted_plugins

if TYPE_CHECKING:
    from ..call import Call, Candidate
    from ..errors import RouterError


class OpenAICompletions(Dialect):
    """`POST /completions`."""

    name = "openai.completions"
    api_type = "completions"
    paths = (Path("/completions"),)

    def peek(self, body: bytes, path: Mapping[str, str], operation: str) -> Head:
        """Read what routing needs and check every scalar. Raises BadRequest with `param`."""
        return peek(body)

    def patch(self, call: Call, candidate: Candidate) -> bytes:
        """Raw lane: the body for this candidate."""
        return patch(call, candidate)

    def decode(self, head: Head) -> ChatRequest:
        """Hub lane: the prompt as one message."""
        return decode(head)

    def tap(self, call: Call) -> Flow:
        """Raw lane, stream."""
        return Tap(call)

    def answer(self, call: Call, body: bytes) -> None:
        """Raw lane, plain: read the answer."""
        read(call, body)

    def final_answer(self, call: Call, body: bytes) -> bytes:
        """Raw lane, plain: print the answer."""
        return write(call, body)

    def encoder(self, call: Call) -> Flow:
        """Hub lane, stream."""
        return Encoder(call)

    def reply(self, call: Call, reply: Reply) -> bytes:
        """Hub lane, plain."""
        return whole(call, reply)

    def again(self, call: Call) -> Again:
        """Its own id and time."""
        return Again({"id": call.id, "created": int(call.created_unix)})

    def error(self, error: RouterError, request_id: str, *, number_codes: bool = False) -> tuple[int, bytes]:
        """HTTP status and envelope, in the shape of chat."""
        return common.error_body(error, request_id, number_codes=number_codes)

    def stream_error(self, call: Call, error: RouterError) -> bytes:
        """The frames that end a stream which has begun."""
        told = _head(call) | {"choices": [], "error": common.error_object(call, error)}
        return frame(wire.encode(told)) + DONE


# --- requests --------------------------------------------------------------------------------------------------------

Prompt = str | list[str] | list[int] | list[list[int]]
#: members that mean the same here as in chat
_SHARED = (
    *("model", "models", "route", "provider", "preset", "plugins", "transforms", "stream", "stream_options"),
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *(
        "repetition_penalty",
        "seed",
        "stop",
        "logit_bias",
        "n",
        "user",
        "service_tier",
        "metadata",
        "session_id",
        "trace",
    ),
    *("user_id", "debug", "usage", "reasoning", "reasoning_effort", "include_reasoning", "response_format"),
)
FIELDS: dict[str, Check] = {
    **{name: CHAT[name] for name in _SHARED},
    "suffix": text("suffix"),
    "echo": boolean("echo"),
    "best_of": integer("best_of", 1, 20),
    "logprobs": integer("logprobs", 0, 20),
    "max_completion_tokens": integer("max_completion_tokens", 1, MAX_COUNT),
}
#: members that only an upstream with this API can follow
_ONLY_HERE = ("suffix", "best_of", "logprobs")
_PROMPT_WORDS = "a string, a list of strings, or tokens as a list of integers or of such lists"
_decode_prompt = msgspec.json.Decoder(str | list[str | int | list[int]] | None).decode


class Peeked(Struct, kw_only=True):
    """What `peek` has decoded. `values` are the checked members that are not null."""

    values: dict[str, Any]
    prompt: Prompt


def peek(body: bytes) -> Head:
    """The head of a request. Raises BadRequest."""
    members = read_members(body)
    values: dict[str, Any] = {}
    unknown = [name for name in members if name not in FIELDS and name != "prompt"]
    for name, check in FIELDS.items():
        if name in members and (value := check(members[name])) is not None:
            values[name] = value
    prompt = _prompt(members.get("prompt", Raw(b"null")))
    head = Head(members=members, unknown=unknown, decoded=Peeked(values=values, prompt=prompt))
    routing(head, values)
    wanted_plugins(head, values)
    if values.get("best_of", head.n) < head.n:
        raise BadRequest("best_of must be at least n", param="best_of")
    head.max_tokens = values.get("max_tokens")
    head.needs = frozenset(PARAMETERS & values.keys()) | ({"max_tokens"} if head.max_tokens else frozenset())
    head.prompt_tokens = _tokens(prompt)
    return head


def _prompt(raw: Raw) -> Prompt:
    value = convert(_decode_prompt, "prompt", raw, _PROMPT_WORDS)
    if value is None or value == []:
        raise BadRequest(f"prompt is required: {_PROMPT_WORDS}", param="prompt")
    if isinstance(value, list) and len({type(each) for each in value}) > 1:
        raise BadRequest(f"prompt must be {_PROMPT_WORDS}", param="prompt")
    return value  # type: ignore[no-any-return]


def _tokens(prompt: Prompt) -> int:
    """An estimate: four characters a token, rounded up; tokens as many as there are."""
    if isinstance(prompt, str):
        return -(-len(prompt) // 4)
    return sum(
        1 if isinstance(each, int) else len(each) if isinstance(each, list) else _tokens(each) for each in prompt
    )


def patch(call: Call, candidate: Candidate) -> bytes:
    """Raw lane: the client's own bytes, without what is ours; usage is always asked for."""
    head = call.head
    members = {name: raw for name, raw in head.members.items() if name not in EXTENSIONS}
    members["model"] = Raw(wire.encode(candidate.endpoint.model.id))
    members.pop("stream_options", None)
    if head.stream:
        members |= {"stream": Raw(b"true"), "stream_options": Raw(b'{"include_usage":true}')}
    before = members.keys() - {"stream_options", "max_tokens", "max_completion_tokens"}
    candidate.provider.raw_patch("openai.completions", members, candidate)
    call.dropped = sorted(before - members.keys())
    call.warnings = list(head.warnings)
    return wire.encode(members)


class Untranslatable(UpstreamError):
    """400: only an endpoint with this very API can take the request; another one may be it."""

    default_kind = "invalid_request"
    counts = False


def decode(head: Head) -> ChatRequest:
    """The prompt as one message of a user. Raises Untranslatable where it is none."""
    peeked: Peeked = head.decoded
    prompt, get = peeked.prompt, peeked.values.get
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        said = "several prompts" if isinstance(prompt[0], str) else "tokens"
        raise Untranslatable(
            f"prompt: {said} are only for models with an API of text completions; send one string", param="prompt"
        )
    head.warnings += [
        f"{name}: only for models with an API of text completions; it was left out"
        for name in _ONLY_HERE
        if name in peeked.values
    ]
    request = ChatRequest(
        messages=[Message(role="user", content=[Text(text=prompt)])],
        model=head.model,
        stream=head.stream,
        max_tokens=head.max_tokens,
        stop=get("stop", []),
        n=head.n,
        user=head.user,
    )
    for name in _SAME:
        setattr(request, name, get(name))
    return request


_SAME = (
    *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logit_bias", "service_tier"),
)


# --- raw lane --------------------------------------------------------------------------------------------------------


class _Choice(Struct):
    """A choice of an answer or of a chunk."""

    index: Any = 0
    text: Any = ""
    finish_reason: Any = None


class _Chunk(Struct):
    """An answer or a chunk."""

    id: Any = None
    object: Any = None
    choices: list[_Choice] | None = None
    usage: Raw = wire.NOTHING
    error: Raw = wire.NOTHING


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def read(call: Call, body: bytes) -> None:
    """Fill `call.outcome`. Raises an UpstreamError where the body is an error, empty or no answer at all."""
    try:
        told = _decode_chunk(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "is empty" if not body.strip() else "is not JSON of a completion"
        raise UpstreamUnavailable(f"the upstream's answer {said}") from error
    if wire.given(told.error) or told.object == "error":
        raise _failure(call, told.error if wire.given(told.error) else Raw(body))
    if not told.choices:
        raise UpstreamUnavailable("the answer has no choices")
    counted: dict[str, Any] = {}
    merge_usage(counted, told.usage)
    outcome = call.outcome
    outcome.usage = usage_of(counted)
    outcome.upstream_id = told.id if isinstance(told.id, str) else ""
    outcome.output_chars += sum(len(text_of(choice.text)) for choice in told.choices)
    _ended(call, told.choices[0])


def _ended(call: Call, choice: _Choice) -> None:
    native = text_of(choice.finish_reason) or None
    call.outcome.native_finish_reason, call.outcome.finish_reason = native, reason_of(native, tools=False)


def _failure(call: Call, error: Raw) -> UpstreamError:
    assert call.candidate is not None
    return failure(error, call.candidate.provider.error)


def write(call: Call, body: bytes) -> bytes:
    """The client's body: the upstream's with the cost in its usage."""
    members: dict[str, Any] = dict(wire.decode_members(body))
    members["usage"] = _usage(call, members.get("usage", wire.NOTHING))
    if call.metadata is not None:
        members["openrouter_metadata"] = call.metadata
    return wire.encode(members)


def _usage(call: Call, told: Raw) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    merge_usage(counted, told)
    return usage_object(call, counted)


class Tap:
    """`Flow` of the raw lane: bytes in, the same bytes out. The frames from the last choice's end on are kept back."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._frames = Frames()
        self._choices: dict[int, bool] = {}
        self._held: list[bytes] = []
        self._usage = wire.NOTHING
        self._members: dict[str, Raw] = {}
        self._error: UpstreamError | None = None
        self._stray = b""

    def feed(self, item: bytes | Event) -> bytes:
        """Take a piece of the upstream's stream in, give whole frames."""
        assert isinstance(item, bytes)
        out: list[bytes] = []
        for each in self._frames.feed(item):
            if self.done:
                break
            try:
                if self._look(each):
                    out.append(each)
            except UpstreamError as error:
                # what came in front of an error is the client's
                if not (self.content and out):
                    raise
                self._error, self.done = error, True
        return b"".join(out)

    def end(self) -> None:
        """The upstream's stream is over. Raises where it is no whole answer."""
        if self._error is not None:
            raise self._error
        if not self.done and (rest := self._frames.close().strip()):
            try:
                self._look(rest + b"\n\n")
            except _Unreadable as error:
                raise StreamTruncated("the upstream's stream ended in the middle of a chunk") from error
        if not self._choices:
            raise self._nothing()
        if not self.done and not all(self._choices.values()):
            raise StreamTruncated("the upstream's stream ended without a finish reason")

    def final(self) -> bytes:
        """The ends of the choices, usage with its cost, and the end mark."""
        call = self._call
        told: dict[str, Any] = {**self._members, "choices": [], "usage": _usage(call, self._usage)}
        if call.metadata is not None:
            told["openrouter_metadata"] = call.metadata
        return b"".join((*self._held, frame(wire.encode(told)), DONE))

    def _look(self, whole: bytes) -> bool:
        """Read one frame. True where it is to be sent on now."""
        data = data_of(whole)
        if data[:6] == b"[DONE]":
            self.done = True
            return False
        if not data:
            if not self._choices:
                self._stray = stray(self._stray, whole)
            return False
        try:
            chunk = _decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Unreadable("the upstream's stream holds a chunk that cannot be read") from error
        if wire.given(chunk.error) or chunk.object == "error":
            raise _failure(self._call, chunk.error if wire.given(chunk.error) else Raw(data))
        outcome = self._call.outcome
        outcome.upstream_id = outcome.upstream_id or (chunk.id if isinstance(chunk.id, str) else "")
        if wire.given(chunk.usage):
            self._usage = chunk.usage
            counted: dict[str, Any] = {}
            merge_usage(counted, chunk.usage)
            outcome.usage = usage_of(counted)
        if not chunk.choices:
            return False
        return self._choose(whole, data, chunk.choices)

    def _choose(self, whole: bytes, data: bytes, choices: list[_Choice]) -> bool:
        ended = False
        for choice in choices:
            index = choice.index if isinstance(choice.index, int) else 0
            if index not in self._choices and not self._choices:
                self._members = {
                    name: raw for name, raw in wire.decode_members(data).items() if name not in ("choices", "usage")
                }
            self._choices[index] = self._choices.get(index, False) or bool(choice.finish_reason)
            ended = ended or bool(choice.finish_reason)
            said = text_of(choice.text)
            self.content = self.content or bool(said)
            self._call.outcome.output_chars += len(said)
            if choice.finish_reason and index == min(self._choices):
                _ended(self._call, choice)
        if ended:
            self._held.append(whole)
        return not ended

    def _nothing(self) -> UpstreamError:
        """What to say of a stream without a single chunk."""
        try:
            found = wire.decode_members(self._stray).get("error", wire.NOTHING)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = wire.NOTHING
        return (
            _failure(self._call, found) if wire.given(found) else UpstreamUnavailable("the upstream's stream is empty")
        )


class _Unreadable(UpstreamUnavailable):
    """A chunk that is no JSON, or not of the form of a chunk."""


# --- hub lane --------------------------------------------------------------------------------------------------------


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": "text_completion",
        "created": int(call.created_unix),
        "model": call.model_id,
        "provider": common.provider_of(call),
    }


def _echo(call: Call) -> str:
    """The prompt, for clients that want it in front of the answer."""
    peeked: Peeked = call.head.decoded
    if not peeked.values.get("echo"):
        return ""
    prompt = peeked.prompt[0] if isinstance(peeked.prompt, list) else peeked.prompt
    return prompt if isinstance(prompt, str) else ""


def whole(call: Call, reply: Reply) -> bytes:
    """The client's body."""
    told = _head(call) | {
        "system_fingerprint": reply.system_fingerprint,
        "choices": [_choice(_echo(call) + choice.text, choice.index, choice.finish) for choice in reply.choices],
        "usage": usage_object(call, {}),
    }
    for choice, each in zip(reply.choices, told["choices"], strict=True):
        if choice.finish.reason == "error" and call.error is not None:
            each["error"] = common.error_object(call, call.error)
    if call.metadata is not None:
        told["openrouter_metadata"] = call.metadata
    return wire.encode(told)


def _choice(said: str, index: int, finish: Finish | None) -> dict[str, Any]:
    return {
        "text": said,
        "index": index,
        "logprobs": None,
        "finish_reason": finish.reason if finish is not None else None,
        "native_finish_reason": finish.native if finish is not None else None,
    }


class Encoder:
    """`Flow` of the hub lane: events in, chunks out, `call.outcome` filled. Only text is told: this API knows nothing else."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._stop: Stop | None = None
        self._echo = _echo(call)
        self._begun: set[int] = set()

    def feed(self, item: bytes | Event) -> bytes:
        """Take one event in, give its chunk."""
        outcome = self._call.outcome
        match item:
            case TextDelta(text=said, choice=index):
                outcome.output_chars += len(said)
                if not said:
                    return b""
                self.content = True
                if index not in self._begun:
                    self._begun.add(index)
                    said = self._echo + said
                return self._write([_choice(said, index, None)], {})
            case Start():
                outcome.upstream_id = item.id or outcome.upstream_id
                outcome.service_tier = item.service_tier or outcome.service_tier
            case Stop():
                self._stop = item
                self.done = True
        return b""

    def end(self) -> None:
        """The events are over."""
        if self._stop is None:
            raise (StreamTruncated if self.content else UpstreamUnavailable)("the upstream's stream has no end")
        outcome = self._call.outcome
        outcome.usage = self._stop.usage
        first = min(self._stop.finishes, key=lambda finish: finish.choice, default=Finish())
        outcome.finish_reason, outcome.native_finish_reason = first.reason, first.native

    def final(self) -> bytes:
        """The ends of the choices, usage with its cost, and the end mark."""
        assert self._stop is not None
        call = self._call
        finishes = sorted(self._stop.finishes, key=lambda finish: finish.choice) or [Finish()]
        out = [self._write([_choice("", each.choice, each)], {}) for each in finishes]
        last: dict[str, Any] = {"usage": usage_object(call, {})}
        if call.metadata is not None:
            last["openrouter_metadata"] = call.metadata
        return b"".join((*out, self._write([], last), DONE))

    def _write(self, choices: list[dict[str, Any]], members: dict[str, Any]) -> bytes:
        return frame(wire.encode(_head(self._call) | {"choices": choices} | members))
