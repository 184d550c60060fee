"""The scalar members of a chat request with their ranges (api.md 5): name -> function from JSON to the checked value.

Each raises BadRequest that names the member and says what is allowed. A null is an absent member.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...head import Preferences
from ...wire import openai as wire
from .preferences import checked as checked_preferences
from .preferences import decode as decode_preferences

Check = Callable[[Raw], Any]

MAX_COUNT = 2**31 - 1
MAX_SEED = 2**63
MAX_STOPS = 16
MAX_MODELS = 10
MAX_TOOLS = 512
MAX_NAME_CHARS = 256
EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")
SERVICE_TIERS = (
    *("auto", "default", "flex", "priority", "fast", "scale"),
    *("on_demand", "performance", "standard", "standard_only"),  # the words of Groq and Anthropic
)

_path = re.compile(r" - at `\$(.*)`$")


def convert(decode: Callable[[Raw], Any], name: str, raw: Raw, wanted: str = "") -> Any:
    """Decode a member. A failure becomes a BadRequest that names the place inside of it."""
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise _bad(name, str(error), wanted) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest(f"{name} holds text that is not valid Unicode", param=name) from None
    except RecursionError:
        raise BadRequest(f"{name} is nested too deeply", param=name) from None


def _bad(name: str, message: str, wanted: str) -> BadRequest:
    found = _path.search(message)
    # paths of mappings are written as [...], which says nothing
    place = name + (found[1].replace("[...]", "") if found else "")
    words = message[: found.start()] if found else message
    if unknown := re.search(r"unknown field `(.*)`", words):
        place = f"{place}.{unknown[1][:80]}"
        return BadRequest(f"{place}: unknown key", param=place)
    if missing := re.search(r"missing required field `(.*)`", words):
        place = f"{place}.{missing[1]}"
        return BadRequest(f"{place} is required", param=place)
    if wrong := re.search(r"Invalid enum value (.*)", words):
        allowed = next((each for suffix, each in _WORDS if place.endswith(suffix)), None)
        return BadRequest(f"{place} must be {allowed or 'another word'}; got {wrong[1][:80]}", param=place)
    if wanted and place == name:
        return BadRequest(f"{place} must be {wanted}", param=place)
    if mistyped := re.search(r"Expected `(.*)`, got `(.*)`", words):
        kinds = [_KINDS.get(kind, kind) for kind in mistyped[1].split(" | ") if kind != "null"]
        return BadRequest(
            f"{place} must be {' or '.join(kinds)}; got {_KINDS.get(mistyped[2], mistyped[2])}", param=place
        )
    return BadRequest(f"{place}: {words}", param=place)


def _any_of(*words: str) -> str:
    return f"one of {', '.join(words)}"


#: what msgspec calls the kinds of JSON
_KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


#: what members may say that msgspec checks by their type
_WORDS = (
    (".role", _any_of(*get_args(wire.Role))),
    ("thinking.type", _any_of("enabled", "disabled", "adaptive", "auto")),
    ("response_format.type", _any_of("text", "json_object", "json_schema", "grammar", "python")),
    ("].type", _any_of(*get_args(wire.PartType))),
    (".effort", _any_of(*EFFORTS)),
)


def number(name: str, low: float, high: float, *, above: bool = False) -> Check:
    """A number from `low` to `high`; `above`: `low` itself is too low."""
    decode = msgspec.json.Decoder(float | None).decode
    wanted = f"a number {'above' if above else 'from'} {low:g} {'and up' if above else ''} to {high:g}".replace(
        "  ", " "
    )

    def check(raw: Raw) -> float | None:
        value: float | None = convert(decode, name, raw, wanted)
        if value is not None and (not low <= value <= high or (above and value == low)):
            raise BadRequest(f"{name} must be {wanted}; got {value:g}", param=name)
        return value

    return check


def integer(name: str, low: int, high: int) -> Check:
    """An integer from `low` to `high`."""
    decode = msgspec.json.Decoder(int | None).decode
    wanted = f"an integer from {low} " + ("up" if high >= MAX_COUNT else f"to {high}")

    def check(raw: Raw) -> int | None:
        value: int | None = convert(decode, name, raw, wanted)
        if value is not None and not low <= value <= high:
            raise BadRequest(f"{name} must be {wanted}; got {_short(value)}", param=name)
        return value

    return check


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**20 else "a number of more than 20 digits"


def boolean(name: str) -> Check:
    """True or false."""
    decode = msgspec.json.Decoder(bool | None).decode
    return lambda raw: convert(decode, name, raw, "true or false")


def text(name: str, longest: int = MAX_COUNT) -> Check:
    """A string of at most `longest` characters."""
    decode = msgspec.json.Decoder(str | None).decode
    wanted = "a string" if longest == MAX_COUNT else f"a string of at most {longest} characters"

    def check(raw: Raw) -> str | None:
        value: str | None = convert(decode, name, raw, wanted)
        if value is not None and len(value) > longest:
            raise BadRequest(f"{name} must be {wanted}; got {len(value)}", param=name)
        return value

    return check


def one_of(name: str, *words: str) -> Check:
    """One of a few words."""
    decode = msgspec.json.Decoder(str | None).decode
    wanted = f"one of {', '.join(words)}"

    def check(raw: Raw) -> str | None:
        value: str | None = convert(decode, name, raw, wanted)
        if value is not None and value not in words:
            raise BadRequest(f"{name} must be {wanted}; got {value[:80]!r}", param=name)
        return value

    return check


def of_type(name: str, kind: Any, wanted: str) -> Check:
    """Anything that msgspec can check by its type alone."""
    decode = msgspec.json.Decoder(kind).decode
    return lambda raw: convert(decode, name, raw, wanted)


_decode_strings = msgspec.json.Decoder(list[str] | None).decode
_decode_stop = msgspec.json.Decoder(str | list[str] | None).decode
_decode_bias = msgspec.json.Decoder(dict[str, float] | None).decode
_decode_metadata = msgspec.json.Decoder(dict[str, str | list[str] | None] | None).decode
_decode_tools = msgspec.json.Decoder(list[wire.PeekedTool] | None).decode
_decode_functions = msgspec.json.Decoder(list[wire.Named] | None).decode
_decode_choice = msgspec.json.Decoder(str | wire.ChosenTool | None).decode
_decode_reasoning = msgspec.json.Decoder(wire.Reasoning | None).decode
_decode_plugins = msgspec.json.Decoder(list[dict[str, Any]] | None).decode
_decode_trace = msgspec.json.Decoder(dict[str, Any] | None).decode
_model_text = text("model", MAX_NAME_CHARS)


def model(raw: Raw) -> str | None:
    """A model's id. An empty one is an absent one."""
    value: str | None = _model_text(raw)
    if value and not value.isprintable():
        raise BadRequest("model holds characters that cannot be printed", param="model")
    return value


def models(raw: Raw) -> list[str] | None:
    """Further models, in order."""
    value: list[str] | None = convert(_decode_strings, "models", raw, "a list of strings")
    if value is None:
        return None
    if len(value) > MAX_MODELS:
        raise BadRequest(f"models must name at most {MAX_MODELS} models; got {len(value)}", param="models")
    for index, each in enumerate(value):
        if not each or len(each) > MAX_NAME_CHARS or not each.isprintable():
            raise BadRequest(
                f"models[{index}] must be a printable string of 1 to {MAX_NAME_CHARS} characters",
                param=f"models[{index}]",
            )
    return value


def stop(raw: Raw) -> list[str] | None:
    """Where to stop: one string or several."""
    value = convert(_decode_stop, "stop", raw, f"a string or a list of at most {MAX_STOPS} strings")
    if value is None:
        return None
    stops: list[str] = [value] if isinstance(value, str) else value
    if len(stops) > MAX_STOPS:
        raise BadRequest(f"stop must hold at most {MAX_STOPS} strings; got {len(stops)}", param="stop")
    return stops


def logit_bias(raw: Raw) -> dict[str, float] | None:
    """Token ids and what to add to their logits."""
    value: dict[str, float] | None = convert(_decode_bias, "logit_bias", raw, "a map of token ids to numbers")
    for token, bias in (value or {}).items():
        if not -100 <= bias <= 100:
            raise BadRequest(
                f"logit_bias.{token[:20]} must be a number from -100 to 100; got {bias:g}", param="logit_bias"
            )
    return value


def metadata(raw: Raw) -> dict[str, Any] | None:
    """The client's own pairs. `tags` may be a list."""
    value: dict[str, Any] | None = convert(_decode_metadata, "metadata", raw, "a map of strings to strings")
    if value is None:
        return None
    if len(value) > 16:
        raise BadRequest(f"metadata must hold at most 16 pairs; got {len(value)}", param="metadata")
    for name, each in value.items():
        if len(name) > 64:
            raise BadRequest(f"metadata: the key {name[:20]!r}… is longer than 64 characters", param="metadata")
        if isinstance(each, list) and name != "tags":
            raise BadRequest(f"metadata.{name} must be a string", param=f"metadata.{name}")
        if isinstance(each, str) and len(each) > 512:
            raise BadRequest(f"metadata.{name} is longer than 512 characters", param=f"metadata.{name}")
    return value


def tools(raw: Raw) -> list[wire.PeekedTool] | None:
    """The tools on offer. Names are checked by `tool_name`."""
    value: list[wire.PeekedTool] | None = convert(_decode_tools, "tools", raw, "a list of tools")
    if value is None:
        return None
    _count_tools("tools", len(value))
    for index, tool in enumerate(value):
        if tool.type != "function":
            continue
        if tool.function is None:
            raise BadRequest(f"tools[{index}].function is required", param=f"tools[{index}].function")
        tool_name(tool.function.name, f"tools[{index}].function.name")
    return value


def functions(raw: Raw) -> list[wire.Named] | None:
    """The tools on offer, in the form of 2023."""
    value: list[wire.Named] | None = convert(_decode_functions, "functions", raw, "a list of functions")
    if value is None:
        return None
    _count_tools("functions", len(value))
    for index, function in enumerate(value):
        tool_name(function.name, f"functions[{index}].name")
    return value


def _count_tools(name: str, count: int) -> None:
    if count > MAX_TOOLS:
        raise BadRequest(f"{name} must hold at most {MAX_TOOLS}; got {count}", param=name)


_tool_name = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def tool_name(name: str, param: str) -> None:
    """The characters of a tool's name. Long names are shortened later."""
    if not _tool_name(name):
        raise BadRequest(f"{param} must consist of letters, digits, '_' and '-'; got {name[:80]!r}", param=param)


def tool_choice(raw: Raw) -> str | wire.ChosenTool | None:
    """A word, or the tool that must be called."""
    wanted = "none, auto, required or {type: function, function: {name}}"
    value: str | wire.ChosenTool | None = convert(_decode_choice, "tool_choice", raw, wanted)
    if isinstance(value, str) and value not in ("none", "auto", "required"):
        raise BadRequest(f"tool_choice must be {wanted}; got {value[:80]!r}", param="tool_choice")
    if isinstance(value, wire.ChosenTool) and value.type == "function" and value.function is None:
        raise BadRequest("tool_choice.function is required", param="tool_choice.function")
    return value


def function_call(raw: Raw) -> str | wire.Named | None:
    """`tool_choice` in the form of 2023."""
    value: str | wire.Named | None = convert(_decode_function_call, "function_call", raw, "none, auto or {name}")
    if isinstance(value, str) and value not in ("none", "auto"):
        raise BadRequest(f"function_call must be none, auto or {{name}}; got {value[:80]!r}", param="function_call")
    return value


_decode_function_call = msgspec.json.Decoder(str | wire.Named | None).decode


def response_format(raw: Raw) -> wire.Format | None:
    """The form that the answer must have."""
    wanted = "an object with type text, json_object, json_schema, grammar or python"
    value: wire.Format | None = convert(wire.decode_format, "response_format", raw, wanted)
    if value is None:
        return None
    if value.type == "json_schema" and value.json_schema is None:
        raise BadRequest("response_format.json_schema is required", param="response_format.json_schema")
    if value.type == "grammar" and not value.grammar:
        raise BadRequest("response_format.grammar is required", param="response_format.grammar")
    return value


def reasoning(raw: Raw) -> wire.Reasoning | None:
    """How much to think. That it agrees with the other forms is checked by `reasoning_config`."""
    value: wire.Reasoning | None = convert(_decode_reasoning, "reasoning", raw, "an object")
    if value is not None and value.max_tokens is not None and not 0 <= value.max_tokens <= MAX_COUNT:
        raise BadRequest("reasoning.max_tokens must be an integer from 0 up", param="reasoning.max_tokens")
    return value


_decode_thinking = msgspec.json.Decoder(wire.Thinking | None).decode


def thinking(raw: Raw) -> wire.Thinking | None:
    """How much to think, in Anthropic's form."""
    value: wire.Thinking | None = convert(_decode_thinking, "thinking", raw, "an object with type")
    if value is not None and value.budget_tokens is not None and not 1 <= value.budget_tokens <= MAX_COUNT:
        raise BadRequest("thinking.budget_tokens must be an integer from 1 up", param="thinking.budget_tokens")
    return value


def preferences(raw: Raw) -> Preferences | None:
    """The `provider` object (api.md 18)."""
    value: Preferences | None = convert(decode_preferences, "provider", raw, "an object")
    return None if value is None else checked_preferences(value)


def plugins(raw: Raw) -> list[dict[str, Any]] | None:
    """Plugins to run. That they exist is checked by `peek`, which knows them."""
    value: list[dict[str, Any]] | None = convert(_decode_plugins, "plugins", raw, "a list of objects with an id")
    for index, each in enumerate(value or ()):
        if not isinstance(each.get("id"), str):
            raise BadRequest(f"plugins[{index}].id is required and a string", param=f"plugins[{index}].id")
    return value


def strings(name: str) -> Check:
    """A list of strings."""
    return lambda raw: convert(_decode_strings, name, raw, "a list of strings")


def trace(raw: Raw) -> dict[str, Any] | None:
    """What the client's own tracing calls this call."""
    value: dict[str, Any] | None = convert(_decode_trace, "trace", raw, "an object")
    for name in ("trace_id", "trace_name", "span_name", "parent_span_id", "generation_name"):
        if value and not isinstance(value.get(name, ""), str | None):
            raise BadRequest(f"trace.{name} must be a string", param=f"trace.{name}")
    return value


def json_object(name: str) -> Check:
    """An object that is passed on as it is."""
    return of_type(name, dict[str, Raw] | None, "an object")


FIELDS: dict[str, Check] = {
    "model": model,
    "models": models,
    "route": one_of("route", "fallback", "sort"),
    "provider": preferences,
    "preset": text("preset", MAX_NAME_CHARS),
    "plugins": plugins,
    "transforms": strings("transforms"),
    "prompt": text("prompt"),
    "stream": boolean("stream"),
    "stream_options": of_type("stream_options", wire.StreamOptions | None, "an object"),
    "max_tokens": integer("max_tokens", 1, MAX_COUNT),
    "max_completion_tokens": integer("max_completion_tokens", 1, MAX_COUNT),
    "temperature": number("temperature", 0, 2),
    "top_p": number("top_p", 0, 1, above=True),
    "top_k": integer("top_k", 0, MAX_COUNT),
    "min_p": number("min_p", 0, 1),
    "top_a": number("top_a", 0, 1),
    "frequency_penalty": number("frequency_penalty", -2, 2),
    "presence_penalty": number("presence_penalty", -2, 2),
    "repetition_penalty": number("repetition_penalty", 0, 2, above=True),
    "seed": integer("seed", -MAX_SEED, MAX_SEED - 1),
    "stop": stop,
    "logit_bias": logit_bias,
    "logprobs": boolean("logprobs"),
    "top_logprobs": integer("top_logprobs", 0, 20),
    "n": integer("n", 1, 8),
    "user": text("user"),
    "tools": tools,
    "tool_choice": tool_choice,
    "parallel_tool_calls": boolean("parallel_tool_calls"),
    "functions": functions,
    "function_call": function_call,
    "response_format": response_format,
    "structured_outputs": boolean("structured_outputs"),
    "reasoning": reasoning,
    "reasoning_effort": one_of("reasoning_effort", *EFFORTS),
    "include_reasoning": boolean("include_reasoning"),
    "thinking": thinking,
    "verbosity": one_of("verbosity", "low", "medium", "high", "xhigh", "max"),
    "modalities": strings("modalities"),
    "audio": json_object("audio"),
    "image_config": json_object("image_config"),
    "prediction": json_object("prediction"),
    "web_search_options": json_object("web_search_options"),
    "service_tier": one_of("service_tier", *SERVICE_TIERS),
    "metadata": metadata,
    "store": boolean("store"),
    "safety_identifier": text("safety_identifier"),
    "prompt_cache_key": text("prompt_cache_key"),
    "prompt_cache_options": json_object("prompt_cache_options"),
    "cache_control": json_object("cache_control"),
    "session_id": text("session_id", 256),
    "trace": trace,
    "user_id": text("user_id"),
    "debug": of_type("debug", wire.Debug | None, "an object"),
    "usage": json_object("usage"),
}
