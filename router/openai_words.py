"""OpenAI chat's words, as both ends need them: the dialect that clients speak and the providers that speak it upstream.

Usage, finish reasons, errors inside of a success, tool-call fragments and the ways to ask for reasoning, with the
deviations of the many upstreams that call themselves compatible.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from .errors import BadRequest, UpstreamError
from .model import FinishReason, ReasoningConfig
from .prices import PICODOLLARS, Usage
from .wire import openai as wire

#: the members of a `usage` object that state a cost
CHARGES = ("cost", "is_byok", "cost_details", "cost_in_usd_ticks")
PICODOLLARS_PER_TICK = 100

# --- usage -----------------------------------------------------------------------------------------------------------


def merge_usage(counted: dict[str, Any], raw: Raw) -> None:
    """Take a `usage` object into `counted`, member by member; a later null or zero erases nothing."""
    if wire.given(raw):
        more = wire.decode_any(raw)
        if isinstance(more, dict):
            _merge(counted, more)


def _merge(counted: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(counted.get(name), dict):
            _merge(counted[name], value)
        elif value or name not in counted:
            counted[name] = value


def usage_of(counted: dict[str, Any]) -> Usage | None:
    """The merged `usage` object in the hub's arithmetic, None where it counts nothing."""
    said = _counts(counted)
    if not (said.prompt_tokens or said.completion_tokens or said.total_tokens):
        return None
    ins, outs = said.prompt_tokens_details or _NO_DETAILS, said.completion_tokens_details or _NO_DETAILS
    prompt, completion = said.prompt_tokens or 0, said.completion_tokens or 0
    reasoning = outs.reasoning_tokens or said.reasoning_tokens or 0
    # xAI leaves reasoning out of the completion, and its total says so; Vercel's gateway does too, and it does not (2026-08)
    if reasoning > completion or said.total_tokens == prompt + completion + reasoning:
        completion += reasoning
    # Mistral leaves audio out of the prompt, and its total says so (2026-08)
    if ins.audio_tokens and said.total_tokens == prompt + ins.audio_tokens + completion:
        prompt += ins.audio_tokens
    return Usage(
        input=prompt,
        output=completion,
        reasoning=reasoning,
        cache_read=ins.cached_tokens
        or said.prompt_cache_hit_tokens
        or said.cached_tokens
        or said.num_cached_tokens
        or said.cache_read_input_tokens
        or 0,
        cache_write=ins.cache_write_tokens or said.cache_creation_input_tokens or 0,
        audio_input=ins.audio_tokens or 0,
        audio_output=outs.audio_tokens or 0,
        image_output=outs.image_tokens or 0,
        searches=_searches(said.server_tool_use_details)
        or _searches(said.server_tool_use)
        or said.num_search_queries
        or 0,
        cost=_ticks(said) if said.cost is None else charged(said),
    ).clamped()


def _searches(tools: wire.ServerTools | None) -> int | None:
    return None if tools is None else tools.web_search_requests


_NO_DETAILS = wire.TokenDetails()


def _counts(counted: dict[str, Any]) -> wire.Usage:
    try:
        return msgspec.convert(counted, wire.Usage)
    except msgspec.ValidationError:
        told = {name: counted.get(name) for name in CHARGES}
        return msgspec.convert(_numbers(counted) | told, wire.Usage)


def _numbers(counted: dict[str, Any]) -> dict[str, Any]:
    """What can be counted of a `usage` object that holds other things too."""
    return {
        name: _numbers(value) if isinstance(value, dict) else int(value)
        for name, value in counted.items()
        if type(value) in (int, float, dict) and isinstance(value, dict) == (name in _OBJECTS)
    }


_OBJECTS = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "server_tool_use_details",
    "server_tool_use",
)


def _ticks(said: wire.Usage) -> int | None:
    """xAI's way of stating a cost (2026-08)."""
    ticks = said.cost_in_usd_ticks
    return ticks * PICODOLLARS_PER_TICK if type(ticks) is int and ticks >= 0 else None


class Charging(Protocol):
    """A `usage` object of any API, as far as it states a cost."""

    cost: Any
    is_byok: Any
    cost_details: Any


def charged(said: Charging) -> int | None:
    """Picodollars. Perplexity states an object of several costs. OpenRouter's is its own charge: where its customer brought a
    key, what the maker of the model charges on it comes on top (2026-11)."""
    value = said.cost
    if isinstance(value, dict):
        value = value.get("total_cost")
    cost = _usd(value)
    if cost is not None and said.is_byok is True and isinstance(said.cost_details, dict):
        cost += _usd(said.cost_details.get("upstream_inference_cost")) or 0
    return cost


def _usd(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10_000:
        return None
    return round(value * PICODOLLARS)


# --- finish reasons --------------------------------------------------------------------------------------------------

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    # gateways that pass on the words of others
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
}


def reason_of(native: str | None, tools: bool) -> FinishReason:
    """The contract's finish reason for the upstream's own; any tool call in the answer forces `tool_calls`."""
    return "tool_calls" if tools else _REASONS.get((native or "").lower(), "stop")


# --- errors inside of a success --------------------------------------------------------------------------------------

_STATUS = {
    "rate_limit": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "service_unavailable": 503,
    "timeout": 504,
    "timeout_error": 504,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "invalid_request_error": 400,
    "badrequesterror": 400,
}

ErrorReader = Callable[[int, Mapping[str, str], bytes], UpstreamError]


def failure(error: Raw, read: ErrorReader) -> UpstreamError:
    """The error that an upstream wrote into an answer with status 200. `read` is the provider's `error`."""
    value = wire.decode_any(error)
    return read(_status_of(value), {}, b'{"error":%b}' % bytes(error))


def _status_of(value: Any) -> int:
    if not isinstance(value, dict):
        return 500
    for name in ("status_code", "raw_status_code", "status", "http_code", "code"):
        number = value.get(name)
        if isinstance(number, str) and number.isdigit():
            number = int(number)
        if isinstance(number, int) and 400 <= number < 600:
            return number
    words = [str(value.get(name)).lower() for name in ("code", "type")]
    return next((_STATUS[word] for word in words if word in _STATUS), 500)


# --- tool calls in a stream ------------------------------------------------------------------------------------------


class Fragment(Struct):
    """A fragment made regular: `index` counts from 0 without gaps, `id` and `name` are there in the first one only.

    `position` is where in the chunk it came from.
    """

    index: int
    arguments: str
    id: str = ""
    name: str = ""
    custom: bool = False
    position: int = 0


class _Call:
    __slots__ = ("custom", "held", "id", "index", "named")

    def __init__(self, index: int, id: str, custom: bool) -> None:
        self.index = index
        self.id = id
        self.custom = custom
        self.named = False
        self.held = ""


class ToolCalls:
    """Makes the tool-call fragments of one choice regular.

    Upstreams leave out the index, give all calls index 0, repeat id and name, send arguments as an object or a call whole.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragments: list[wire.ToolFragment]) -> list[Fragment]:
        """Take the fragments of one chunk in, give what they come to. Arguments wait for their name."""
        found = (self._add(position, each) for position, each in enumerate(fragments))
        return [each for each in found if each is not None]

    def _add(self, position: int, given: wire.ToolFragment) -> Fragment | None:
        name, arguments, custom = _function(given)
        call = self._find(given, name)
        if call is None:
            call = _Call(len(self._calls), given.id if isinstance(given.id, str) else "", custom)
            call.id = call.id or f"call_{secrets.token_hex(12)}"
            self._calls.append(call)
        if isinstance(given.index, int):
            self._by_index[given.index] = call
        if call.named:
            return Fragment(call.index, arguments, custom=call.custom, position=position)
        if not name:
            call.held += arguments
            return None
        call.named = True
        return Fragment(call.index, call.held + arguments, call.id, name, call.custom, position)

    def _find(self, given: wire.ToolFragment, name: str) -> _Call | None:
        if isinstance(given.index, int):
            call = self._by_index.get(given.index)
            # a new id with a name at a known index is another call: some upstreams give every call index 0 (2026-08)
            other = bool(call and given.id and name and given.id != call.id and call.named)
            return None if other else call
        if given.id:
            return next((call for call in self._calls if call.id == given.id), None)
        return None if name or not self._calls else self._calls[-1]


def _function(given: wire.ToolFragment) -> tuple[str, str, bool]:
    """Name, arguments as text, and whether it is a custom tool's call. Snowflake sends an empty one along (2026-08)."""
    function, custom = given.function, given.custom
    if custom is not None and (custom.name or function is None):
        return text_of(custom.name), text_of(custom.input), True
    if function is None:
        return "", "", False
    return text_of(function.name), text_of(function.arguments), False


def legacy_call(delta: wire.Delta) -> bool:
    """True where a tool is called in the form of 2023. Snowflake sends an empty one along (2026-08)."""
    function = delta.function_call
    return isinstance(function, wire.Function) and bool(function.name or function.arguments)


def details_text(details: Any) -> str:
    """What `reasoning_details` say that can be read."""
    pieces = details if isinstance(details, list) else ()
    return "".join(text_of(each.get("text") or each.get("summary")) for each in pieces if isinstance(each, dict))


def text_of(value: Any) -> str:
    """Text as it is, nothing as "", anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None or value is msgspec.UNSET else wire.encode(value).decode()


# --- asking for reasoning --------------------------------------------------------------------------------------------

_decode_reasoning = msgspec.json.Decoder(wire.Reasoning | None).decode
_decode_thinking = msgspec.json.Decoder(wire.Thinking | None).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_bool = msgspec.json.Decoder(bool | None).decode

#: the members of a request that ask for reasoning
REASONING_MEMBERS = ("reasoning", "reasoning_effort", "include_reasoning", "thinking")


def reasoning_config(members: Mapping[str, Raw]) -> ReasoningConfig | None:
    """What a request asks for, in whichever of its forms. Raises BadRequest where two of them disagree."""
    if not any(name in members for name in REASONING_MEMBERS):
        return None
    given = _decode_reasoning(members.get("reasoning", b"null"))
    effort = _decode_text(members.get("reasoning_effort", b"null"))
    thinking = _decode_thinking(members.get("thinking", b"null"))
    include = _decode_bool(members.get("include_reasoning", b"null"))
    if given is None and effort is None and thinking is None and include is None:
        return None
    config = ReasoningConfig()
    if given is not None:
        _check(given, effort)
        config = ReasoningConfig(
            effort=given.effort,
            max_tokens=given.max_tokens,
            exclude=bool(given.exclude),
            enabled=given.enabled,
            summary=given.summary,
        )
    if effort is not None:
        config.effort = effort
    if thinking is not None and not (config.effort or config.max_tokens or config.enabled is not None):
        config.enabled = thinking.type != "disabled"
        config.max_tokens = thinking.budget_tokens if config.enabled else None
    if include is False:
        config.exclude = True
    return config


def _check(given: wire.Reasoning, effort: str | None) -> None:
    if given.effort is not None and given.max_tokens is not None:
        raise BadRequest("reasoning takes either effort or max_tokens, not both", param="reasoning")
    if effort is None:
        return
    if given.effort is not None and given.effort != effort:
        raise BadRequest(
            f"reasoning_effort is {effort!r} but reasoning.effort is {given.effort!r}; send one of them",
            param="reasoning_effort",
        )
    if given.max_tokens is not None:
        raise BadRequest("reasoning_effort and reasoning.max_tokens exclude each other", param="reasoning_effort")


def effort_of(config: ReasoningConfig, known: frozenset[str] | None = None) -> str | None:
    """The word for `reasoning_effort`, None where nothing was asked for. `known`: words that the upstream takes."""
    if config.off:
        effort = "none"
    elif config.effort:
        effort = config.effort
    elif config.max_tokens:
        effort = "low" if config.max_tokens <= 4096 else "medium" if config.max_tokens <= 16384 else "high"
    elif config.enabled:
        effort = "medium"
    else:
        return None
    if known is None:
        return effort
    return nearest_effort(effort, known if effort == "none" else known - {"none"})


_LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def nearest_effort(effort: str, known: Collection[str]) -> str | None:
    """The effort that is known and nearest to the wanted one, of two the weaker; None where none is known at all."""
    if effort in known:
        return effort
    if effort not in _LADDER:
        return None
    wanted = _LADDER.index(effort)
    steps = [(abs(wanted - step), step) for step, name in enumerate(_LADDER) if name in known]
    return _LADDER[min(steps)[1]] if steps else None


# --- messages on their way back ---------------------------------------------------------------------------------------

_THOUGHT = ("reasoning", "reasoning_content", "reasoning_details")
#: what a message may carry that is no part of OpenAI's own API
_FOREIGN = (b'"reasoning', b'"cache_control"', b'"is_error"', b'"prefix"', b'"images"')


def plain_messages(raw: Raw, keeps: frozenset[str] = frozenset()) -> Raw:
    """The `messages` of a request with nothing in them that OpenAI's own API refuses, but what is in `keeps`: thinking, cache
    marks, `is_error`, `prefix`, `images`. The same bytes where there is nothing of the kind."""
    data = bytes(raw)
    if not any(mark in data for mark in _FOREIGN):
        return raw
    messages = wire.decode_list(raw)
    for message in messages:
        _clean(message, keeps)
    return Raw(wire.encode(messages))


def _clean(message: dict[str, Raw], keeps: frozenset[str]) -> None:
    if "reasoning" in message and "reasoning_content" in keeps and "reasoning_content" not in message:
        message["reasoning_content"] = message["reasoning"]
    for name in (*_THOUGHT, "cache_control", "is_error", "prefix", "images"):
        if name not in keeps:
            message.pop(name, None)
    content = message.get("content")
    if content is not None and "cache_control" not in keeps and bytes(content)[:1] == b"[":
        parts = wire.decode_list(content)
        if any(part.pop("cache_control", None) is not None for part in parts):
            message["content"] = Raw(wire.encode(parts))
