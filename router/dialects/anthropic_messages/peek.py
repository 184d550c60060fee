"""Reading a Messages request as far as routing needs it, with every check of the contract (api.md 7)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from ...errors import BadRequest
from ...head import Head
from ...wire import anthropic as wire
from ..openai_chat.fields import convert
from ..openai_chat.peek import MAX_TOOL_NAME, read_members, refuse_preset, shortened, wanted_plugins
from .fields import FIELDS, own_tool

#: what a part that is not text counts as, in tokens: an image of the largest size that is not made smaller, some pages of a document
_PART_TOKENS = {"image": 1600, "document": 3000}
_MODALITY = {"image": "image", "document": "file"}
#: what Anthropic's own words around messages and tools come to, in tokens
MESSAGE_TOKENS = 4
TOOL_TOKENS = 12
TOOLS_TOKENS = 350
#: request members in the words of `Model.parameters`
_NEEDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "output_format": "response_format",
    "max_tokens": "max_tokens",
}


class Peeked(Struct, kw_only=True):
    """What `peek` has decoded, kept for `decode`: the checked members that are not null."""

    values: dict[str, Any]


def peek(body: bytes, *, counting: bool = False) -> Head:
    """The head of a request. `counting`: tokens are to be counted, nothing is to be written. Raises BadRequest."""
    members = read_members(body)
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name, raw in members.items():
        check = FIELDS.get(name)
        if check is None:
            unknown.append(name)
        elif (value := check(raw)) is not None:
            values[name] = value
    head = Head(members=members, unknown=unknown, decoded=Peeked(values=values), capped=True)
    _routing(head, values)
    head.stream = head.stream and not counting
    _lengths(head, values)
    _features(head, values)
    _messages(head, values)
    _tools(head, values)
    return head


def _routing(head: Head, values: dict[str, Any]) -> None:
    get = values.get
    if "models" in values and "fallbacks" in values:
        raise BadRequest("models and fallbacks mean the same: send one of them", param="fallbacks")
    if preset := get("preset"):
        refuse_preset(preset)
    head.model = get("model", "")
    head.models = get("models") or get("fallbacks") or []
    if not head.model and not head.models:
        raise BadRequest("model is required", param="model")
    head.route = get("route", "fallback")
    head.preferences = get("provider")
    head.stream = get("stream", False)
    head.session_id = get("session_id")
    head.trace = get("trace", {})
    if (metadata := get("metadata")) is not None:
        head.user = metadata.user_id
    wanted_plugins(head, values)


def _lengths(head: Head, values: dict[str, Any]) -> None:
    """`max_tokens`, which Anthropic's models insist on (patch), and the budget for thinking below it."""
    head.max_tokens = values.get("max_tokens")
    thinking: wire.GivenThinking | None = values.get("thinking")
    if thinking is None or thinking.type != "enabled" or head.max_tokens is None:
        return
    if thinking.budget_tokens is not None and thinking.budget_tokens >= head.max_tokens:
        raise BadRequest(
            f"thinking.budget_tokens ({thinking.budget_tokens}) must be less than max_tokens ({head.max_tokens})",
            param="thinking.budget_tokens",
        )


def _features(head: Head, values: dict[str, Any]) -> None:
    needs = {word for name, word in _NEEDS.items() if name in values}
    thinking: wire.GivenThinking | None = values.get("thinking")
    output: wire.GivenOutputConfig | None = values.get("output_config")
    if thinking is not None and thinking.type != "disabled":
        needs.add("reasoning")
        head.exclude_reasoning = thinking.display == "omitted"
    if output is not None and output.format is not None:
        needs.add("response_format")
    if (choice := values.get("tool_choice")) is not None and choice.disable_parallel_tool_use:
        needs.add("parallel_tool_calls")
    head.needs = frozenset(needs)


# --- messages --------------------------------------------------------------------------------------------------------


def _messages(head: Head, values: dict[str, Any]) -> None:
    """Check roles and blocks, and estimate the prompt: four bytes a token, rounded up."""
    messages: list[wire.GivenMessage] | None = values.get("messages")
    if not messages:
        raise BadRequest("messages must be a list of at least one message", param="messages")
    size = _Size(head)
    for index, message in enumerate(messages):
        if message.role not in ("user", "assistant", "system"):
            place = f"messages[{index}].role"
            raise BadRequest(f"{place} must be one of user, assistant, system; got {message.role[:80]!r}", param=place)
        if isinstance(message.content, str):
            size.text(message.content)
        else:
            for number, block in enumerate(message.content):
                size.block(block, f"messages[{index}].content[{number}]")
    for name in ("system", "tools", "output_config", "output_format"):
        if name in values:
            size.bytes += _nbytes(head.members[name])
    tools = len(values.get("tools", ()))
    head.prompt_tokens = (
        -(-size.bytes // 4)
        + size.tokens
        + MESSAGE_TOKENS * len(messages)
        + (TOOLS_TOKENS + TOOL_TOKENS * tools if tools else 0)
    )


class _Size:
    """How much a prompt holds: text in bytes (a character that is not ASCII is about a token), the rest in tokens."""

    def __init__(self, head: Head) -> None:
        self.bytes = self.tokens = 0
        self._head = head

    def text(self, text: str) -> None:
        self.bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def block(self, block: wire.GivenBlock, place: str) -> None:
        """Take one block in. Raises BadRequest where one that we know lacks what it needs."""
        match block.type:
            case "text":
                self.text(_str(block.text, f"{place}.text"))
            case "image" | "document":
                self._medium(block, place)
            case "tool_use":
                _str(block.id, f"{place}.id")
                _str(block.name, f"{place}.name")
                if bytes(block.input)[:1] != b"{":
                    raise BadRequest(f"{place}.input must be an object", param=f"{place}.input")
                self.bytes += _nbytes(block.input)
            case "tool_result":
                _str(block.tool_use_id, f"{place}.tool_use_id")
                self._result(block.content, f"{place}.content")
            case "thinking":
                self.text(_str(block.thinking, f"{place}.thinking"))
            case "redacted_thinking":
                _str(block.data, f"{place}.data")
            case _:
                self.bytes += _nbytes(block.content) + _nbytes(block.input) + _nbytes(block.source)

    def _result(self, raw: Raw, place: str) -> None:
        if bytes(memoryview(raw)[:1]) != b"[":
            self.bytes += _nbytes(raw)
            return
        for number, each in enumerate(wire.decode_raws(raw)):
            self.block(convert(wire.decode_given_block, f"{place}[{number}]", each, "a block"), f"{place}[{number}]")

    def _medium(self, block: wire.GivenBlock, place: str) -> None:
        source: wire.GivenSource = convert(
            wire.decode_source, f"{place}.source", block.source or Raw(b"null"), "an object with type"
        )
        self._head.modalities |= {_MODALITY[block.type]} if source.type not in ("text", "content") else set()
        if source.type == "text":
            self.text(_str(source.data, f"{place}.source.data"))
        elif source.type == "content":
            self.bytes += _nbytes(source.content)
        else:
            self.tokens += _PART_TOKENS[block.type]


def _str(value: Any, place: str) -> str:
    if not isinstance(value, str):
        said = "is required" if value is None else "must be a string"
        raise BadRequest(f"{place} {said}", param=place)
    return value


def _nbytes(raw: Raw) -> int:
    """The length of a member in bytes."""
    return memoryview(raw).nbytes


def _tools(head: Head, values: dict[str, Any]) -> None:
    """Long names are shortened for upstreams of other families, which take 64 characters, and mapped back."""
    for tool in values.get("tools", ()):
        if own_tool(tool) and len(tool.name) > MAX_TOOL_NAME:
            head.renamed[shortened(tool.name)] = tool.name
