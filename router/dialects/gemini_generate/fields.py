"""The members of a request, their names in both spellings, and their ranges (api.md 8).

Google takes every name in camel and in snake case. All that reads a request here reads camel case: a body that holds another name is
spelt anew first, member by member, and what belongs to the client (arguments, answers, schemas) stays as its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ...wire import gemini as wire
from ..openai_chat.fields import FIELDS as CHAT_FIELDS
from ..openai_chat.fields import MAX_COUNT, MAX_SEED, Check, boolean, convert, number, of_type, strings, text
from .common import decode_members, encode_json

_decode_list = msgspec.json.Decoder(list[Raw]).decode

# --- names -----------------------------------------------------------------------------------------------------------

#: the names below a member; None where everything below is the client's own
Names = Mapping[str, "Names | None"]

_BLOB: Names = {"mimeType": None, "data": None, "displayName": None}
_FILE: Names = {"mimeType": None, "fileUri": None, "displayName": None}
_PART: Names = {
    "text": None,
    "thought": None,
    "thoughtSignature": None,
    "inlineData": _BLOB,
    "fileData": _FILE,
    "functionCall": {"id": None, "name": None, "args": None, "partialArgs": None, "willContinue": None},
    "functionResponse": {
        **dict.fromkeys(("id", "name", "response", "willContinue", "scheduling")),
        "parts": {"inlineData": _BLOB, "fileData": _FILE},
    },
    "executableCode": None,
    "codeExecutionResult": None,
    "toolCall": None,
    "toolResponse": None,
    "videoMetadata": {"startOffset": None, "endOffset": None, "fps": None},
    "mediaResolution": None,
    "partMetadata": None,
}
_CONTENT: Names = {"role": None, "parts": _PART}
_SERVER_TOOLS = (
    *("googleSearch", "googleSearchRetrieval", "googleMaps", "codeExecution", "urlContext", "fileSearch"),
    *("computerUse", "retrieval", "enterpriseWebSearch", "mcpServers"),
)
_DECLARATION = (
    "name",
    "description",
    "behavior",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseJsonSchema",
)
_TOOL: Names = {"functionDeclarations": dict.fromkeys(_DECLARATION), **dict.fromkeys(_SERVER_TOOLS)}
_TOOL_CONFIG: Names = {
    "functionCallingConfig": {"mode": None, "allowedFunctionNames": None},
    "retrievalConfig": None,
    "includeServerSideToolInvocations": None,
}
_THINKING: Names = dict.fromkeys(("includeThoughts", "thinkingBudget", "thinkingLevel"))
_CONFIG_NAMES = (
    *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "responseMimeType"),
    *("responseSchema", "responseJsonSchema", "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs"),
    *("logprobs", "responseModalities", "speechConfig", "imageConfig", "mediaResolution", "audioTimestamp"),
    *("enableEnhancedCivicAnswers", "routingConfig", "modelSelectionConfig", "responseFormat"),
)
_CONFIG: Names = {**dict.fromkeys(_CONFIG_NAMES), "thinkingConfig": _THINKING}
_COUNTED: Names = {
    "contents": _CONTENT,
    "systemInstruction": _CONTENT,
    "tools": _TOOL,
    "toolConfig": _TOOL_CONFIG,
    "generationConfig": _CONFIG,
    "safetySettings": None,
    "cachedContent": None,
    "routerConfig": None,
    "model": None,
    "labels": None,
    "serviceTier": None,
    "store": None,
}
_EMBED_CONFIG: Names = dict.fromkeys(
    ("taskType", "title", "outputDimensionality", "autoTruncate", "mimeType", "documentOcr", "audioTrackExtraction")
)
_EMBEDDED: Names = {**_EMBED_CONFIG, "model": None, "content": _CONTENT, "embedContentConfig": _EMBED_CONFIG}


def snake(name: str) -> str:
    """A name in snake case."""
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _all(names: Names) -> set[str]:
    found = set(names)
    for below in names.values():
        found |= _all(below) if below else set()
    return found


class Spelling:
    """The names of one kind of request."""

    def __init__(self, names: Names) -> None:
        self.names = names
        known = _all(names)
        snakes = sorted({snake(name) for name in known} - known)
        self._holds_snake = re.compile(f'"(?:{"|".join(snakes)})"'.encode()).search

    def members_of(self, body: bytes) -> tuple[dict[str, Raw], dict[str, Raw]]:
        """The members of a body as they came, and with all names that we know in camel case. Raises msgspec's errors."""
        members = decode_members(body)
        return members, _spelt(members, self.names) if self._holds_snake(body) else members


def _spelt(members: dict[str, Raw], names: Names) -> dict[str, Raw]:
    known = {snake(name): name for name in names}
    found: dict[str, Raw] = {}
    for name, raw in members.items():
        camel = known.get(name, name)
        if camel in found:
            raise BadRequest(f"{camel} is there twice, in camel and in snake case", param=camel)
        below = names.get(camel)
        found[camel] = _below(raw, below) if below else raw
    return found


def _below(raw: Raw, names: Names) -> Raw:
    """A member, or a list of them, with its names spelt anew. What is neither is for the checks to refuse."""
    first = bytes(memoryview(raw)[:1])
    if first == b"{":
        return Raw(encode_json(_spelt(decode_members(raw), names)))
    if first == b"[":
        return Raw(encode_json([_below(each, names) for each in _decode_list(raw)]))
    return raw


REQUEST = Spelling({**_COUNTED, "generateContentRequest": _COUNTED})
EMBED = Spelling({**_EMBEDDED, "requests": _EMBEDDED, "routerConfig": None})

# --- checks ----------------------------------------------------------------------------------------------------------

_decode_number = msgspec.json.Decoder(int | float | str | None).decode


def integer(name: str, low: int, high: int) -> Check:
    """An integer, also as 40.0 or "40": Google's JSON takes both, and its SDKs send the former."""
    wanted = f"an integer from {low} " + ("up" if high >= MAX_COUNT else f"to {high}")

    def check(raw: Raw) -> int | None:
        value = convert(_decode_number, name, raw, wanted)
        if value is None:
            return None
        try:
            whole = int(value)
        except (ValueError, OverflowError):
            whole = low - 1
        if (not isinstance(value, str) and whole != value) or not low <= whole <= high:
            raise BadRequest(f"{name} must be {wanted}; got {str(value)[:20]}", param=name)
        return whole

    return check


def word(name: str, *words: str) -> Check:
    """One of a few words, in capitals or not; an unspecified one is an absent one."""
    decode = msgspec.json.Decoder(str | None).decode
    wanted = f"one of {', '.join(words)}"

    def check(raw: Raw) -> str | None:
        value: str | None = convert(decode, name, raw, wanted)
        said = (value or "UNSPECIFIED").upper()
        if said.endswith("UNSPECIFIED"):
            return None
        if said not in words:
            raise BadRequest(f"{name} must be {wanted}; got {str(value)[:80]!r}", param=name)
        return said

    return check


def stops(raw: Raw) -> list[str] | None:
    """Where to stop."""
    name = "generationConfig.stopSequences"
    value: list[str] | None = convert(_decode_strings, name, raw, "a list of strings")
    if value is not None and len(value) > 16:
        raise BadRequest(f"{name} must hold at most 16 strings; got {len(value)}", param=name)
    return value


_decode_strings = msgspec.json.Decoder(list[str] | None).decode


def _config_checks() -> dict[str, Check]:
    makers: dict[str, Callable[[str], Check]] = {
        "temperature": lambda name: number(name, 0, 2),
        "topP": lambda name: number(name, 0, 1),
        "topK": lambda name: integer(name, 0, MAX_COUNT),
        "candidateCount": lambda name: integer(name, 1, 8),
        "maxOutputTokens": lambda name: integer(name, 1, MAX_COUNT),
        "stopSequences": lambda name: stops,
        "responseMimeType": text,
        "responseSchema": lambda name: of_type(name, dict[str, Raw] | None, "an object"),
        "seed": lambda name: integer(name, -MAX_SEED, MAX_SEED - 1),
        "presencePenalty": lambda name: number(name, -2, 2),
        "frequencyPenalty": lambda name: number(name, -2, 2),
        "responseLogprobs": boolean,
        "logprobs": lambda name: integer(name, 0, 20),
        "responseModalities": strings,
        "thinkingConfig": lambda name: of_type(name, dict[str, Raw] | None, "an object"),
    }
    return {name: make(f"generationConfig.{name}") for name, make in makers.items()}


#: members of generationConfig; others are Google's business
CONFIG = _config_checks()
THINKING: dict[str, Check] = {
    "includeThoughts": boolean("generationConfig.thinkingConfig.includeThoughts"),
    "thinkingBudget": integer("generationConfig.thinkingConfig.thinkingBudget", -1, MAX_COUNT),
    "thinkingLevel": word("generationConfig.thinkingConfig.thinkingLevel", "MINIMAL", "LOW", "MEDIUM", "HIGH"),
}
MODE = word("toolConfig.functionCallingConfig.mode", "AUTO", "ANY", "NONE", "VALIDATED")
_decode_object = msgspec.json.Decoder(dict[str, Raw] | None).decode
_decode_tool_config = msgspec.json.Decoder(wire.GivenToolConfig | None).decode


def config(raw: Raw) -> tuple[dict[str, Raw], dict[str, Any]]:
    """The members of generationConfig as they came, and the values of those that we know and that are not null."""
    members = convert(_decode_object, "generationConfig", raw, "an object") or {}
    values = {
        name: value for name, each in members.items() if name in CONFIG and (value := CONFIG[name](each)) is not None
    }
    if (thinking := values.get("thinkingConfig")) is not None:
        values["thinkingConfig"] = {
            name: value
            for name, each in thinking.items()
            if name in THINKING and (value := THINKING[name](each)) is not None
        }
    return members, values


def calling(raw: Raw) -> wire.GivenCallingConfig:
    """How functions may be called, with the mode in capitals or None."""
    found: wire.GivenToolConfig | None = convert(_decode_tool_config, "toolConfig", raw, "an object")
    given = (found.function_calling_config if found else None) or wire.GivenCallingConfig()
    return wire.GivenCallingConfig(
        mode=MODE(Raw(encode_json(given.mode))), allowed_function_names=given.allowed_function_names
    )


# --- the router's own members ----------------------------------------------------------------------------------------

#: router extensions, each as in a chat request
EXTENSIONS = (
    *("models", "route", "provider", "preset", "plugins", "transforms", "session_id", "trace", "user", "user_id"),
    *("metadata", "prompt_cache_key"),
)


def router_config(raw: Raw) -> dict[str, Any]:
    """The values of routerConfig by their names in a chat request; what is not there is null."""
    members = convert(_decode_object, "routerConfig", raw, "an object") or {}
    values: dict[str, Any] = {}
    for name, each in members.items():
        ours = snake(name)
        if ours not in EXTENSIONS:
            raise BadRequest(f"routerConfig.{name}: unknown key", param=f"routerConfig.{name}")
        try:
            value = CHAT_FIELDS[ours](each)
        except BadRequest as error:
            raise BadRequest(f"routerConfig.{error.message}", param=f"routerConfig.{error.param}") from None
        if value is not None:
            values[ours] = value
    return values
