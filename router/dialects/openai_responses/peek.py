"""Reading a Responses request as far as routing needs it, with every check of the contract (api.md 6)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field

from ...errors import BadRequest
from ...head import Head
from ...model import ReasoningConfig
from ...wire import openai
from ...wire import responses as wire
from ..openai_chat.fields import convert
from ..openai_chat.peek import (
    MAX_TOOL_NAME,
    MESSAGE_TOKENS,
    PARAMETERS,
    PART_TOKENS,
    TRANSFORMS,
    read_members,
    routing,
    shortened,
    size_of,
    wanted_plugins,
)
from .fields import checked

ROLES = ("user", "assistant", "system", "developer")
_MODALITY = {"input_image": "image", "input_audio": "audio", "input_file": "file"}
#: item -> the members without which it says nothing
_REQUIRED = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id", "output"),
    "item_reference": ("id",),
}


class Spelling(Struct, kw_only=True, frozen=True):
    """How the client calls a tool that upstreams know by another name: in a `namespace`, or as a `custom` tool, which takes free
    text where all others take JSON."""

    name: str
    namespace: str | None = None
    custom: bool = False


class Kept(Struct, kw_only=True, frozen=True):
    """What the router itself knows of earlier and later requests, where it keeps responses: the answer says this, whatever an
    upstream says. `previous` is the response that the client goes on from; the request holds all its items by now."""

    id: str
    store: bool = True
    previous: str | None = None
    background: bool = False


class Peeked(Struct, kw_only=True):
    """What `peek` has decoded, kept for `decode`, `patch` and the answers. `values` are the checked members that are not null;
    `tools` are those whose name or form upstreams do not see as the client wrote it, by the name that upstreams see. `refers`: where
    in the input an `item_reference` stands, `misses`: where one to anything but thinking does. `kept` is set by whoever keeps
    responses."""

    values: dict[str, Any]
    reasoning: ReasoningConfig | None = None
    tools: dict[str, Spelling] = field(default_factory=dict)
    refers: str | None = None
    misses: str | None = None
    kept: Kept | None = None


def peek(body: bytes) -> Head:
    """The head of a request. Raises BadRequest."""
    members = read_members(body)
    values, unknown = checked(members)
    head = Head(members=members, unknown=unknown)
    peeked = head.decoded = Peeked(values=values, reasoning=_reasoning(values))
    routing(head, values)
    wanted_plugins(head, values)
    head.max_tokens = values.get("max_output_tokens")
    _features(head, peeked)
    _input(head, peeked)
    _tools(head, peeked)
    return head


def _reasoning(values: dict[str, Any]) -> ReasoningConfig | None:
    given: wire.Reasoning | None = values.get("reasoning")
    hidden = values.get("include_reasoning") is False
    if given is None:
        return ReasoningConfig(exclude=True) if hidden else None
    return ReasoningConfig(
        effort=given.effort,
        max_tokens=given.max_tokens,
        exclude=bool(given.exclude) or hidden,
        enabled=given.enabled,
        summary=given.summary or given.generate_summary,
    )


_OFF = "responses are not kept here (the setting responses.store is off)"


def stateless(peeked: Peeked) -> None:
    """Nothing is kept between requests: refuse what would need it, unless somebody has taken care of it. Raises BadRequest.

    A reference to thinking is not missed: OpenAI, which keeps responses unless told otherwise, knows its own, and other families
    get their signatures back (signatures.py). Vercel's `ai` makes such references unless told `store: false` (2026-11).
    """
    values = peeked.values
    if peeked.kept is not None:
        return
    if values.get("store"):
        raise BadRequest(f"store: {_OFF}; send store false and the whole input", param="store")
    if "previous_response_id" in values:
        raise BadRequest(f"previous_response_id: {_OFF}; send the whole input instead", param="previous_response_id")
    if values.get("background"):
        raise BadRequest(f"background: {_OFF}, so they cannot be fetched later", param="background")
    if peeked.misses is not None:
        raise BadRequest(
            f"{peeked.misses}: {_OFF}, so items cannot be referred to; send the item itself", param=peeked.misses
        )


def _features(head: Head, peeked: Peeked) -> None:
    values = peeked.values
    if values.get("truncation") == "auto":
        head.plugins = [*head.plugins, {"id": TRANSFORMS["middle-out"], "member": "truncation"}]
    needs = PARAMETERS & values.keys()
    form: wire.Text | None = values.get("text")
    if form is not None and form.format is not None and form.format.type != "text":
        needs |= {"response_format"}
    if form is not None and form.verbosity is not None:
        needs |= {"verbosity"}
    if peeked.reasoning is not None:
        head.exclude_reasoning = peeked.reasoning.exclude
        if peeked.reasoning.on:
            needs |= {"reasoning"}
    if head.max_tokens:
        needs |= {"max_tokens"}
    head.needs = frozenset(needs)


# --- input -----------------------------------------------------------------------------------------------------------


def _input(head: Head, peeked: Peeked) -> None:
    """Check the items, and estimate the prompt: four characters a token, rounded up."""
    values = peeked.values
    raw = head.members.get("input", Raw(b"null"))
    given: str | list[wire.PeekedItem] | None = convert(wire.decode_input, "input", raw, "a string or a list of items")
    if not given and "prompt" not in values:
        raise BadRequest("input must be a string or a list of at least one item", param="input")
    instructions = values.get("instructions", "")
    chars = len(instructions) if isinstance(instructions, str) else size_of(head.members["instructions"])
    tokens = 0
    if isinstance(given, str):
        chars += len(given)
        tokens += MESSAGE_TOKENS
    else:
        for index, item in enumerate(given or ()):
            _check(item, f"input[{index}]")
            if item.type == "item_reference":
                peeked.refers = peeked.refers or f"input[{index}]"
                if not (item.id or "").startswith(_THINKING):
                    peeked.misses = peeked.misses or f"input[{index}]"
            chars += _characters(item)
            tokens += MESSAGE_TOKENS + _others(head, item)
    for name in ("tools", "text"):
        if name in values:
            chars += size_of(head.members[name])
    head.prompt_tokens = -(-chars // 4) + tokens


#: what the ids of reasoning items begin with, OpenAI's and ours
_THINKING = "rs_"


def _check(item: wire.PeekedItem, place: str) -> None:
    match item.type:
        case "message":
            if item.role not in ROLES:
                said = f"; got {item.role[:80]!r}" if item.role else ""
                raise BadRequest(f"{place}.role must be one of {', '.join(ROLES)}{said}", param=f"{place}.role")
            if item.content is None:
                raise BadRequest(f"{place}.content must be a string or a list of parts", param=f"{place}.content")
            _check_parts(item.content, f"{place}.content")
    for name in _REQUIRED.get(item.type, ()):
        value = getattr(item, name)
        if value is None or (isinstance(value, Raw) and not openai.given(value)):
            raise BadRequest(f"{place}.{name} is required", param=f"{place}.{name}")
        if name in ("arguments", "input") and bytes(value)[:1] != b'"':
            raise BadRequest(f"{place}.{name} must be a string", param=f"{place}.{name}")


def _check_parts(content: str | list[wire.PeekedPart], place: str) -> None:
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not part.type:
            raise BadRequest(f"{place}[{index}].type is required", param=f"{place}[{index}].type")
        if part.type in ("input_text", "output_text") and part.text is None:
            raise BadRequest(f"{place}[{index}].text is required", param=f"{place}[{index}].text")


def _characters(item: wire.PeekedItem) -> int:
    content = item.content
    said = len(content) if isinstance(content, str) else sum(len(part.text or "") for part in content or ())
    called = len(item.name or "") + size_of(item.arguments) + len(item.encrypted_content or "")
    return said + called + size_of(item.input) + size_of(item.output) + size_of(item.summary)


def _others(head: Head, item: wire.PeekedItem) -> int:
    """The tokens of parts that are not text."""
    tokens = 0
    for part in item.content if isinstance(item.content, list) else ():
        if modality := _MODALITY.get(part.type):
            head.modalities |= {modality}
            tokens += PART_TOKENS[modality]
    return tokens


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(head: Head, peeked: Peeked) -> None:
    """Note how the client calls its tools, where upstreams see another name or form."""
    _spell(head, peeked, peeked.values.get("tools", []), None)


def _spell(head: Head, peeked: Peeked, tools: list[wire.PeekedTool], namespace: str | None) -> None:
    for tool in tools:
        name = tool.name or ""
        if tool.type == "namespace":
            _spell(head, peeked, tool.tools or [], name)
        elif tool.type in ("function", "custom"):
            sent = sent_name(name, namespace)
            if len(name) > MAX_TOOL_NAME:
                head.hub_only = True
            if sent != name or tool.type == "custom":
                peeked.tools[sent] = Spelling(name=name, namespace=namespace, custom=tool.type == "custom")


def sent_name(name: str, namespace: str | None) -> str:
    """The name by which upstreams of other families know a tool."""
    return shortened(f"{namespace}__{name}" if namespace else name)
