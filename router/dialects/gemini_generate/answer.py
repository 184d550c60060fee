"""The raw lane of answers: what they say of the call, read from the upstream's own bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import UpstreamError, UpstreamUnavailable
from ...model import FinishReason
from ...prices import Usage
from ...wire import gemini as wire
from .common import given

if TYPE_CHECKING:
    from ...call import Call

_decode = msgspec.json.Decoder(wire.SeenAnswer).decode
_decode_any = msgspec.json.Decoder().decode
_decode_failure = msgspec.json.Decoder(wire.Failure).decode
_COUNTS = wire.UsageMetadata.__struct_fields__
_VERSION = re.compile(r"gemini-(\d+)")
#: HTTP statuses of errors that came with status 200 and name no number
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def read(call: Call, body: bytes) -> None:
    """Fill `call.outcome` from a whole answer. Raises an UpstreamError where the body is an error, empty or no answer."""
    reading = Reading(call)
    try:
        reading.take(body)
    except Unreadable as error:
        raise UpstreamUnavailable(
            "the upstream's answer " + ("cannot be read" if body.strip() else "is empty")
        ) from error
    if not reading.begun:
        raise UpstreamUnavailable("the upstream's answer is empty")
    reading.end()


class Unreadable(UpstreamUnavailable):
    """An answer that is no JSON object."""


class Reading:
    """Reads answers, one after the other, into `call.outcome`."""

    def __init__(self, call: Call) -> None:
        #: something to show has come
        self.content = False
        #: an answer has come, or a refusal of the prompt
        self.begun = False
        self._call = call
        self._counted: wire.UsageMetadata | None = None
        self._queries = 0
        self._model = ""
        self._blocked: str | None = None
        self._reasons: dict[int, str | None] = {}
        self._called: set[int] = set()

    @property
    def complete(self) -> bool:
        """True once all candidates have told why they ended: what comes now may be the end."""
        return self._blocked is not None or (bool(self._reasons) and None not in self._reasons.values())

    def take(self, data: bytes) -> None:
        """Take one answer in. Raises Unreadable, or the UpstreamError that it holds."""
        try:
            answer = _decode(data)
        except msgspec.ValidationError as error:
            self._odd(data, error)
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable("the upstream's stream holds an event that cannot be read") from error
        if given(answer.error):
            raise failure(self._call, data)
        outcome = self._call.outcome
        outcome.upstream_id = answer.response_id or outcome.upstream_id
        self._model = answer.model_version or self._model
        if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
            self._blocked, self.begun = answer.prompt_feedback.block_reason, True
        for candidate in answer.candidates or ():
            self._candidate(candidate)
        if answer.usage_metadata is not None:
            self._count(answer.usage_metadata)

    def end(self) -> None:
        """Nothing more will come: say how it ended."""
        outcome = self._call.outcome
        index = min(self._reasons, default=0)
        native = self._reasons.get(index) or self._blocked
        outcome.native_finish_reason = native
        reason: FinishReason = wire.FINISH.get(native or "", "stop")
        if self._reasons.get(index) is None and self._blocked is not None:
            reason = "content_filter"
        outcome.finish_reason = "tool_calls" if index in self._called else reason

    def _odd(self, data: bytes, error: msgspec.ValidationError) -> None:
        """Members of other types than we know, perhaps of a time to come: they are the client's business."""
        if not isinstance(_decode_any(data), dict):
            raise Unreadable("the upstream's stream holds an event that is no object") from error
        self.begun = self.content = True

    def _candidate(self, candidate: wire.SeenCandidate) -> None:
        self.begun = True
        index = candidate.index or 0
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            self._part(index, part)
        if candidate.grounding_metadata is not None:
            self._queries = len(candidate.grounding_metadata.web_search_queries or ()) or self._queries
        reason = candidate.finish_reason
        if isinstance(reason, int):
            reason = wire.FINISH_NUMBERS.get(reason, str(reason))
        self._reasons[index] = reason or self._reasons.get(index)

    def _part(self, index: int, part: wire.SeenPart) -> None:
        outcome = self._call.outcome
        if part.text is not None:
            outcome.output_chars += len(part.text)
            self.content = self.content or bool(part.text)
            return
        self.content = True
        if (call := part.function_call) is not None:
            self._called.add(index)
            outcome.output_chars += (
                len(call.name or "") + memoryview(call.args).nbytes + memoryview(call.partial_args).nbytes
            )

    def _count(self, more: wire.UsageMetadata) -> None:
        """Field by field: a later answer that leaves a count out, or has 0, erases nothing."""
        if (before := self._counted) is not None:
            for name in _COUNTS:
                if not getattr(more, name):
                    setattr(more, name, getattr(before, name))
        counted = self._counted = more
        outcome = self._call.outcome
        outcome.service_tier = counted.service_tier
        if counted.prompt_token_count or counted.candidates_token_count or counted.thoughts_token_count:
            outcome.usage = usage_of(counted, self._searches())

    def _searches(self) -> int:
        """Before Gemini 3 Google charges a search per answer, since then per query."""
        version = _VERSION.search(self._model)
        return self._queries if version is None or int(version[1]) >= 3 else min(self._queries, 1)


def usage_of(counted: wire.UsageMetadata, searches: int = 0) -> Usage:
    """The hub's count: what Google's tools put into the prompt is input, thoughts are output."""
    thoughts = counted.thoughts_token_count or 0
    ins, outs = counted.prompt_tokens_details, counted.candidates_tokens_details
    return Usage(
        input=(counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0),
        output=(counted.candidates_token_count or 0) + thoughts,
        reasoning=thoughts,
        cache_read=counted.cached_content_token_count or 0,
        audio_input=_of(ins, "AUDIO"),
        image_input=_of(ins, "IMAGE"),
        audio_output=_of(outs, "AUDIO"),
        image_output=_of(outs, "IMAGE"),
        searches=searches,
    )


def _of(details: list[wire.ModalityTokens] | None, modality: str) -> int:
    return sum(each.token_count or 0 for each in details if each.modality == modality) if details else 0


def failure(call: Call, body: bytes) -> UpstreamError:
    """What an error that came with status 200 stands for."""
    assert call.candidate is not None
    try:
        said: Any = _decode_failure(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    status = (said.code or _STATUSES.get(said.status or "", 0)) if said is not None else 0
    return call.candidate.provider.error(status if 400 <= status < 600 else 500, {}, body)
