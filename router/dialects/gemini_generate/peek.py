"""Reading a request as far as routing needs it, with every check of the contract (api.md 8)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from ...errors import BadRequest
from ...head import Head
from ...model import ReasoningConfig
from ...wire import gemini as wire
from ..openai_chat.fields import MAX_NAME_CHARS, MAX_TOOLS, convert
from ..openai_chat.peek import MESSAGE_TOKENS, read_object, routing, size_of, wanted_plugins
from . import fields
from .common import given
from .marks import MARK

MAX_TOOL_NAME = 64
ROLES = ("user", "model", "function", "tool")
#: generationConfig's members as `Model.parameters` names them
_NEEDS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "seed": "seed",
    "stopSequences": "stop",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
    "maxOutputTokens": "max_tokens",
}
#: what a part that is not text counts as, in tokens: an estimate
_PART_TOKENS = {"image": 800, "audio": 400, "video": 2000, "file": 1500}


class Peeked(Struct, kw_only=True):
    """What `peek` has decoded, kept for `decode`: all members in camel case, of generationConfig the checked values and the members as
    they came, and how functions may be called."""

    members: dict[str, Raw]
    config: dict[str, Any] = {}
    config_members: dict[str, Raw] = {}
    calling: wire.GivenCallingConfig = field(default_factory=wire.GivenCallingConfig)
    reasoning: ReasoningConfig | None = None


def peek(body: bytes, model: str, operation: str) -> Head:
    """The head of a request. Raises BadRequest."""
    raw, members = read_members(body)
    if operation == "count_tokens" and "generateContentRequest" in members:
        members = _inner(members["generateContentRequest"])
    head = Head(members=raw, unknown=[name for name in members if name not in fields.REQUEST.names])
    peeked = head.decoded = Peeked(members=members)
    values = fields.router_config(members["routerConfig"]) if "routerConfig" in members else {}
    routing(head, values | {"model": model_of(model)})
    wanted_plugins(head, values)
    head.stream = operation == "stream"
    _config(head, peeked)
    _tools(head, peeked)
    _contents(head, members)
    return head


def model_of(path: str) -> str:
    """The model that a path names. Raises BadRequest."""
    model = path
    while model.startswith("models/"):
        model = model.removeprefix("models/")
    if not model or len(model) > MAX_NAME_CHARS or not model.isprintable():
        raise BadRequest(f"the path must name a model of 1 to {MAX_NAME_CHARS} printable characters", param="model")
    return model


def read_members(body: bytes, spelling: fields.Spelling = fields.REQUEST) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The members of a body as they came and in camel case. Raises BadRequest where it is no JSON object."""
    return read_object(body, spelling.members_of)


_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def _inner(raw: Raw) -> dict[str, Raw]:
    found: dict[str, Raw] = convert(_decode_object, "generateContentRequest", raw, "an object")
    return found


# --- generationConfig ------------------------------------------------------------------------------------------------


def _config(head: Head, peeked: Peeked) -> None:
    if "generationConfig" in peeked.members:
        peeked.config_members, peeked.config = fields.config(peeked.members["generationConfig"])
    values = peeked.config
    head.max_tokens = values.get("maxOutputTokens")
    head.n = values.get("candidateCount", 1)
    needs = {ours for theirs, ours in _NEEDS.items() if theirs in values}
    if values.get("responseMimeType") == "application/json":
        needs.add("response_format")
        if "responseSchema" in values or "responseJsonSchema" in peeked.config_members:
            needs.add("structured_outputs")
    thinking = values.get("thinkingConfig", {})
    # thoughts are shown to who asks for them only
    head.exclude_reasoning = not thinking.get("includeThoughts", False)
    peeked.reasoning = _reasoning(thinking)
    if peeked.reasoning is not None and peeked.reasoning.on:
        needs.add("reasoning")
    head.needs = frozenset(needs)


def _reasoning(thinking: dict[str, Any]) -> ReasoningConfig | None:
    """How much to think: a budget of tokens (-1: as much as the model likes) or a level."""
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    exclude = not thinking.get("includeThoughts", False)
    if budget is not None and level is not None:
        place = "generationConfig.thinkingConfig"
        raise BadRequest(f"{place} takes thinkingBudget or thinkingLevel, not both", param=place)
    if budget is not None and budget >= 0:
        return ReasoningConfig(max_tokens=budget, exclude=exclude)
    if level is not None:
        return ReasoningConfig(effort=level.lower(), exclude=exclude)
    return ReasoningConfig(enabled=True, exclude=exclude) if budget == -1 or not exclude else None


# --- tools -----------------------------------------------------------------------------------------------------------

_decode_tools = msgspec.json.Decoder(list[wire.PeekedTool] | wire.PeekedTool | None).decode
_plain_name = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


def _tools(head: Head, peeked: Peeked) -> None:
    members = peeked.members
    if "toolConfig" in members:
        peeked.calling = fields.calling(members["toolConfig"])
        if peeked.calling.mode is not None:
            head.needs |= {"tool_choice"}
    if "tools" not in members:
        return
    tools = convert(_decode_tools, "tools", members["tools"], "a list of tools")
    names = [each.name for tool in as_list(tools) for each in as_list(tool.function_declarations)]
    if len(names) > MAX_TOOLS:
        raise BadRequest(f"tools must hold at most {MAX_TOOLS} functions; got {len(names)}", param="tools")
    if not all(names):
        raise BadRequest("tools: a function needs a name", param="tools.functionDeclarations.name")
    if names:
        head.needs |= {"tools"}
    head.renamed = {plain: name for name in names if (plain := plain_name(name)) != name}


def as_list(value: Any) -> list[Any]:
    """A list; Google takes a single thing where a list belongs."""
    return value if isinstance(value, list) else [] if value is None else [value]


def plain_name(name: str) -> str:
    """A function's name as all families take it: Google allows dots, colons and more characters."""
    if _plain_name(name):
        return name
    digest = hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[: MAX_TOOL_NAME - 9]}_{digest}"


# --- contents --------------------------------------------------------------------------------------------------------

_decode_contents = msgspec.json.Decoder(list[wire.PeekedContent] | wire.PeekedContent | None).decode
_decode_content = msgspec.json.Decoder(wire.PeekedContent | None).decode


def _contents(head: Head, members: dict[str, Raw]) -> None:
    """Check roles and parts, and estimate the prompt: four characters a token, rounded up."""
    raw = members.get("contents", wire.NOTHING)
    contents = as_list(convert(_decode_contents, "contents", raw, "a list of contents")) if size_of(raw) else []
    if not contents:
        raise BadRequest("contents must be a list of at least one content", param="contents")
    chars = tokens = 0
    for index, content in enumerate(contents):
        if content.role and content.role not in ROLES:
            raise BadRequest(
                f"contents[{index}].role must be user or model; got {content.role[:80]!r}",
                param=f"contents[{index}].role",
            )
        for part in as_list(content.parts):
            if part.thought_signature is not None and part.thought_signature.startswith(MARK):
                head.hub_only = True  # a signature of ours is of no use to Google
            size, modality = weigh(part)
            chars += size
            if modality:
                head.modalities |= {modality}
                tokens += _PART_TOKENS[modality]
    chars += sum(_system(members)) + sum(size_of(members[name]) for name in ("tools",) if name in members)
    head.prompt_tokens = -(-chars // 4) + tokens + MESSAGE_TOKENS * len(contents)


def _system(members: dict[str, Raw]) -> Iterator[int]:
    raw = members.get("systemInstruction", wire.NOTHING)
    if size_of(raw) and given(raw):
        system = convert(_decode_content, "systemInstruction", raw, "a content with parts")
        yield from (len(part.text or "") for part in as_list(system.parts))


def weigh(part: wire.PeekedPart) -> tuple[int, str]:
    """How many characters a part has, and what else it is than text."""
    if part.text is not None:
        return len(part.text), ""
    if (blob := part.inline_data or part.file_data) is not None:
        kind = (blob.mime_type or "").partition("/")[0]
        return 0, kind if kind in ("image", "audio", "video") else "file"
    if (call := part.function_call or part.function_response) is not None:
        return len(call.name or "") + size_of(call.args) + size_of(call.response), ""
    return 0, ""
