"""Reading a chat request as far as routing needs it, with every check of the contract (api.md 5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw, Struct

from ...errors import BadRequest
from ...head import Head
from ...model import ReasoningConfig
from ...openai_words import reasoning_config
from ...wire import openai as wire
from .fields import FIELDS, convert

Object = TypeVar("Object")
#: names of plugins in `transforms` that are not their ids
TRANSFORMS = {"middle-out": "context-compression"}
MAX_TOOL_NAME = 64

#: request members that a model may or may not support, as `Model.parameters` names them
PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty"),
        *("repetition_penalty", "seed", "stop", "logit_bias", "logprobs", "top_logprobs", "tools", "tool_choice"),
        *("parallel_tool_calls", "response_format", "structured_outputs", "verbosity", "web_search_options"),
    }
)
_MODALITY = {"image_url": "image", "input_audio": "audio", "video_url": "video", "file": "file"}
#: what a part that is not text counts as, in tokens: an estimate
PART_TOKENS = {"image": 800, "audio": 400, "video": 2000, "file": 1500}
MESSAGE_TOKENS = 4


class Peeked(Struct, kw_only=True):
    """What `peek` has decoded, kept for `decode` and `patch`. `values` are the checked members that are not null."""

    values: dict[str, Any]
    reasoning: ReasoningConfig | None = None
    replays_reasoning: bool = False


def peek(body: bytes) -> Head:
    """The head of a request. Raises BadRequest."""
    members = read_members(body)
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name, raw in members.items():
        if name == "messages":
            continue
        check = FIELDS.get(name)
        if check is None:
            unknown.append(name)
        elif (value := check(raw)) is not None:
            values[name] = value
    head = Head(members=members, unknown=unknown)
    peeked = head.decoded = Peeked(values=values, reasoning=reasoning_config(members))
    routing(head, values)
    wanted_plugins(head, values)
    _lengths(head, values)
    _features(head, peeked)
    _messages(head, peeked)
    _tool_names(head, values)
    return head


def read_members(body: bytes) -> dict[str, Raw]:
    """The members of a body. Raises BadRequest where it is no JSON object."""
    return read_object(body, wire.decode_members)


def read_object(body: bytes, decode: Callable[[bytes], Object]) -> Object:
    """What `decode` makes of a body that is a JSON object. Raises BadRequest where it is none."""
    try:
        if not body.isascii():
            str(body, "utf-8")
        return decode(body)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except msgspec.ValidationError:
        raise BadRequest("the body must be a JSON object") from None
    except msgspec.DecodeError as error:
        if _SURROGATE.search(body):
            raise BadRequest("the body is not valid: an escape in it is half of a surrogate pair") from None
        raise BadRequest(f"the body is not JSON: {error}" if body else "the body is empty") from None


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def routing(head: Head, values: dict[str, Any]) -> None:
    """Take what routing and the ledger look at, which all surfaces of this family call the same."""
    get = values.get
    head.model = get("model", "")
    head.models = get("models", [])
    head.route = get("route", "fallback")
    head.preferences = get("provider")
    head.stream = get("stream", False)
    head.n = get("n", 1)
    if (options := get("stream_options")) is not None:
        head.include_usage = bool(options.include_usage)
    head.session_id = get("session_id")
    head.cache_key = get("prompt_cache_key")
    head.user = get("user") or get("user_id")
    head.trace = get("trace", {})
    if (metadata := get("metadata")) is not None and (tags := metadata.get("tags")):
        listed = tags if isinstance(tags, list) else tags.split(",")
        head.tags = [tag for each in listed if (tag := each.strip()[:64])][:16]
    if (debug := get("debug")) is not None:
        head.echo_upstream_body = bool(debug.echo_upstream_body)
    if preset := get("preset"):
        refuse_preset(preset)


def refuse_preset(name: str, *, param: str = "preset") -> NoReturn:
    """A preset that nobody has laid under the request by now never will be. Raises BadRequest."""
    raise BadRequest(
        f"the preset {name[:80]!r} cannot be used here: name it in `preset` or `model` of a JSON body; the plugin presets must not be "
        "disabled",
        param=param,
    )


def wanted_plugins(head: Head, values: dict[str, Any]) -> None:
    """Take the plugins that the request names, in `plugins` or `transforms`. Whether there are such is not for a dialect to say."""
    wanted = [each for each in values.get("plugins", ()) if each.get("enabled") is not False]
    head.plugins = wanted + [
        {"id": TRANSFORMS.get(name, name), "member": "transforms"} for name in values.get("transforms", ())
    ]


def _lengths(head: Head, values: dict[str, Any]) -> None:
    old, new = values.get("max_tokens"), values.get("max_completion_tokens")
    head.max_tokens = max(old or 0, new or 0) or None
    if old and new and old != new:
        head.warnings.append(f"max_tokens ({old}) and max_completion_tokens ({new}) differ: the larger one was taken")


def _features(head: Head, peeked: Peeked) -> None:
    values = peeked.values
    needs = PARAMETERS & values.keys()
    if "functions" in values:
        needs |= {"tools"}
    if peeked.reasoning is not None:
        head.exclude_reasoning = peeked.reasoning.exclude
        if peeked.reasoning.on:
            needs |= {"reasoning"}
    if head.max_tokens:
        needs |= {"max_tokens"}
    head.needs = frozenset(needs)


# --- messages --------------------------------------------------------------------------------------------------------

_decode_messages = msgspec.json.Decoder(list[wire.PeekedMessage] | None).decode


def _messages(head: Head, peeked: Peeked) -> None:
    """Check roles and parts, and estimate the prompt: four characters a token, rounded up."""
    raw = head.members.get("messages")
    messages = convert(_decode_messages, "messages", raw, "a list of messages") if raw is not None else None
    prompt = peeked.values.get("prompt")
    if not messages:
        if not prompt or messages is not None:
            raise BadRequest("messages must be a list of at least one message", param="messages")
        # a chat endpoint asked in the old form: nothing upstream takes that as it is
        head.hub_only = True
        head.prompt_tokens = -(-len(prompt) // 4)
        return
    chars = tokens = 0
    for index, message in enumerate(messages):
        content = message.content
        if type(content) is str:
            chars += len(content)
        elif content:
            for part in content:
                if part.text is not None:
                    chars += len(part.text)
                elif modality := _MODALITY.get(part.type):
                    head.modalities |= {modality}
                    tokens += PART_TOKENS[modality]
        if message.role == "assistant":
            _assistant(peeked, message)
            chars += size_of(message.tool_calls)
        else:
            _check_content(message, index)
    for name in ("tools", "functions", "response_format"):
        if name in peeked.values:
            chars += size_of(head.members[name])
    head.prompt_tokens = -(-chars // 4) + tokens + MESSAGE_TOKENS * len(messages)


def size_of(raw: Raw) -> int:
    """The length of a member in bytes."""
    return memoryview(raw).nbytes


def _assistant(peeked: Peeked, message: wire.PeekedMessage) -> None:
    if message.reasoning or message.reasoning_content or message.reasoning_details:
        peeked.replays_reasoning = True


def _check_content(message: wire.PeekedMessage, index: int) -> None:
    if message.content is None and message.role != "function":
        place = f"messages[{index}].content"
        raise BadRequest(f"{place} must be a string or a list of parts", param=place)
    if message.role == "tool" and not message.tool_call_id:
        place = f"messages[{index}].tool_call_id"
        raise BadRequest(f"{place} is required: the id of the tool call that this answers", param=place)


# --- tool names ------------------------------------------------------------------------------------------------------


def _tool_names(head: Head, values: Mapping[str, Any]) -> None:
    """Long names are shortened for upstreams and mapped back: then the body cannot be relayed as it is."""
    named = [tool.function.name for tool in values.get("tools", ()) if tool.function is not None]
    named += [function.name for function in values.get("functions", ())]
    for name in named:
        if len(name) > MAX_TOOL_NAME:
            head.renamed[shortened(name)] = name
            head.hub_only = True


def shortened(name: str) -> str:
    """A tool's name with at most 64 characters; long ones end in a digest, so that two of them stay two."""
    if len(name) <= MAX_TOOL_NAME:
        return name
    digest = hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
    return f"{name[: MAX_TOOL_NAME - 9]}_{digest}"
