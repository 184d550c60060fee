"""ChatRequest -> the body of `POST /v1/messages`.

What a model does not take any more is left out and named in `Outgoing.dropped`; what is sent in another form is told in `warnings`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from router import ChatRequest, File, Outgoing, ResponseFormat, Tool, ToolResult, WebSearch

from .blocks import FAMILY, Block
from .names import JSON_OUTPUT, upstream_name
from .schema import as_object, structured
from .thinking import Thinking, effort_of, thinking
from .traits import Traits, traits
from .turns import Conversation

MAX_BREAKPOINTS = 4
#: members of the hub that have no counterpart
_UNKNOWN = (
    "min_p",
    "top_a",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)
#: in beta, and wanted by what a request uses
_FILES_BETA = "files-api-2025-04-14"
_BINDING_BETA = "thinking-binding-controls-2026-08-01"
_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only", "standard_only": "standard_only"}
#: tools that Anthropic runs or defines carry the date of their version
_SERVER_TOOL = re.compile(rb'"type"\s*:\s*"[a-z_]+_\d{8}"')
_ONLY_JSON = (
    "Answer with one JSON value (an object, unless asked for another) and nothing else: no other text, no code fence."
)
_encode = msgspec.json.Encoder().encode


def outgoing(request: ChatRequest, *, max_output: int = 0, betas: str = "") -> Outgoing:
    """The request to send. `max_output` is the model's limit in tokens, 0 where not known; `betas` those that are configured.

    Raises BadRequest where a part of it cannot be expressed at all.
    """
    out = Outgoing(path="/v1/messages")
    can = traits(request.model)
    talk = Conversation(request, out, thinks=can.thinking != "none")
    think = _thinking(request, can, talk, max_output, out)
    tools = _tools(request, can, talk, out)
    choice = _choice(request, can, think, tools, out)
    config, choice = _format(request, can, think, talk, tools, choice, out)
    body: dict[str, Any] = {"model": request.model, "max_tokens": think.max_tokens}
    if talk.system:
        body["system"] = talk.system
    body["messages"] = [turn.wire() for turn in talk.turns]
    if tools:
        body["tools"] = tools
        if choice:
            body["tool_choice"] = choice
    if _forced(choice) and not think.on and can.thinks_unasked and can.off == "disabled":
        body["thinking"] = {"type": "disabled"}  # unasked thinking is refused beside a forced call
    elif think.config:
        body["thinking"] = think.config
    config |= _effort(request, can, think, out)
    if config:
        body["output_config"] = config
    body.update(_sampling(request, can, think, out))
    _rest(request, body, out)
    _limit_breakpoints(body, out)
    if request.family == FAMILY:
        out.headers.update(request.headers)
    if needed := _betas(request, think):
        out.headers["anthropic-beta"] = joined(betas, out.headers.get("anthropic-beta", ""), *needed)
    out.body = _encode(body)
    return out


def joined(*betas: str) -> str:
    """Lists of betas as one, each of them once."""
    return ",".join(dict.fromkeys(name for each in betas for part in each.split(",") if (name := part.strip())))


def _thinking(request: ChatRequest, can: Traits, talk: Conversation, max_output: int, out: Outgoing) -> Thinking:
    """How to think, as far as the conversation allows it."""
    think = thinking(request, can, max_output or can.max_output, out)
    if think.budget and talk.in_a_tool_loop_without_thinking():
        out.warnings.append("thinking is off for this turn: the tool calls before it came without their thinking")
        think = Thinking(max_tokens=think.max_tokens, config={"type": "disabled"})
    if talk.ends_with_assistant and (think.budget or not can.prefill):
        out.warnings.append("this model continues no assistant message: it is asked to, in a message behind it")
        talk.ask_to_continue()
    if can.binds and talk.replays_thinking and (think.config is None or think.config["type"] == "adaptive"):
        # A chat cannot keep everything as it was: then rather no thinking of earlier turns than no answer.
        drop = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
        think.config = (think.config or {"type": "adaptive"}) | drop
    return think


def _effort(request: ChatRequest, can: Traits, think: Thinking, out: Outgoing) -> dict[str, Any]:
    """`output_config.effort`: how much to think, else how much to say, which Anthropic does not tell apart."""
    effort = think.effort or effort_of(request.verbosity, can)
    if effort is None and request.verbosity is not None:
        out.dropped.append("verbosity")
    if think.config == {"type": "disabled"} and effort in ("xhigh", "max"):
        effort = "high"  # no more is taken without thinking
    return {} if effort is None else {"effort": effort}


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, can: Traits, talk: Conversation, out: Outgoing) -> list[Any]:
    tools: list[Any] = []
    for tool in request.tools:
        if tool.server is None:
            tools.append(_tool(tool, can) | (tool.extra if request.family == FAMILY else {}))
        elif request.family == FAMILY or _SERVER_TOOL.search(tool.server):
            tools.append(tool.server)
        else:
            out.warnings.append(f"the tool {tool.name!r} is not one that Anthropic runs: left out")
    if request.web_search is not None and all(tool.name != "web_search" for tool in request.tools):
        tools.append(_search(request.web_search, out))
    if not tools:
        # A conversation with calls in it is refused without any tool.
        tools = [{"name": name, "input_schema": as_object(None)} for name in talk.called]
    return tools


def _search(wanted: WebSearch, out: Outgoing) -> Block:
    """Anthropic's own search; it takes one list of domains or the other."""
    made: Block = {"type": "web_search_20250305", "name": "web_search"}
    if wanted.max_uses:
        made["max_uses"] = wanted.max_uses
    if wanted.include_domains:
        made["allowed_domains"] = wanted.include_domains
        if wanted.exclude_domains:
            out.dropped.append("exclude_domains")
    elif wanted.exclude_domains:
        made["blocked_domains"] = wanted.exclude_domains
    if wanted.user_location:
        made["user_location"] = {"type": "approximate", **wanted.user_location}
    return made


def _tool(tool: Tool, can: Traits) -> Block:
    made: Block = {"name": upstream_name(tool.name)}
    if tool.description:
        made["description"] = tool.description
    made["input_schema"] = as_object(tool.parameters)
    if tool.strict and tool.parameters is not None and can.structured:
        # Strictness wants the narrower form of schemas; a schema that is not in it stays as it is, and is no more than a wish.
        narrow = structured(tool.parameters)
        if narrow is not None and narrow == msgspec.json.decode(tool.parameters):
            made["strict"] = True
    if tool.cache_control is not None:
        made["cache_control"] = tool.cache_control
    return made


def _choice(request: ChatRequest, can: Traits, think: Thinking, tools: list[Any], out: Outgoing) -> Block | None:
    choice: Block | None = None
    if not request.tools and tools:
        return {"type": "none"}
    if request.tool_choice is not None:
        match request.tool_choice.mode:
            case "auto" | "none" as mode:
                choice = {"type": mode}
            case "required":
                choice = {"type": "any"}
            case "named":
                choice = {"type": "tool", "name": upstream_name(request.tool_choice.name)}
    if _forced(choice) and (think.on or not can.forced):
        why = "thinking excludes a forced tool call" if can.forced else f"{request.model} takes no forced tool call"
        out.warnings.append(f"tool_choice is auto: {why}")
        choice = {"type": "auto"}
    if request.parallel_tool_calls is False and tools:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return choice


def _forced(choice: Block | None) -> bool:
    return choice is not None and choice["type"] in ("any", "tool")


# --- the form of the answer ------------------------------------------------------------------------------------------


def _format(
    request: ChatRequest,
    can: Traits,
    think: Thinking,
    talk: Conversation,
    tools: list[Any],
    choice: Block | None,
    out: Outgoing,
) -> tuple[dict[str, Any], Block | None]:
    """`output_config` and the choice of tools for `response_format`; what is asked for in words goes into the system prompt.

    The best of three: the model's own structured outputs, a forced call whose input is the answer, a request in words.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return {}, choice
    if wanted.type not in ("json_object", "json_schema"):
        out.dropped.append("response_format")
        return {}, choice
    if wanted.schema is None:
        talk.system.append({"type": "text", "text": _ONLY_JSON})
        return {}, choice
    schema = structured(wanted.schema) if can.structured else None
    if schema is not None:
        return {"format": {"type": "json_schema", "schema": schema}}, choice
    out.warnings.append(f"{request.model} has no structured outputs for this schema: it is asked for in another way")
    if can.forced and not think.on and _is_object(wanted):
        return {}, _json_output(wanted, tools, choice)
    schema_text = bytes(wanted.schema).decode()
    talk.system.append({"type": "text", "text": f"{_ONLY_JSON} It must fit this JSON schema: {schema_text}"})
    return {}, choice


def _is_object(wanted: ResponseFormat) -> bool:
    assert wanted.schema is not None
    root = msgspec.json.decode(wanted.schema)
    return isinstance(root, dict) and root.get("type") == "object"


def _json_output(wanted: ResponseFormat, tools: list[Any], choice: Block | None) -> Block:
    """Add the tool whose input is the answer. Beside the client's own tools, some call is forced: one of theirs or this."""
    own = bool(tools) and (choice is None or choice["type"] != "none")
    description = wanted.description or "Gives the final answer. Its input is the whole answer."
    tools.append({"name": JSON_OUTPUT, "description": description, "input_schema": as_object(wanted.schema)})
    if choice is not None and choice["type"] == "tool":
        return choice
    forced: Block = {"type": "any"} if own else {"type": "tool", "name": JSON_OUTPUT}
    if not own or (choice is not None and choice.get("disable_parallel_tool_use")):
        forced["disable_parallel_tool_use"] = True
    return forced


# --- the small members -----------------------------------------------------------------------------------------------


def _sampling(request: ChatRequest, can: Traits, think: Thinking, out: Outgoing) -> dict[str, Any]:
    asked = {name: value for name in ("temperature", "top_p", "top_k") if (value := getattr(request, name)) is not None}
    if can.sampling == "none":
        out.dropped += asked
        return {}
    temperature = asked.get("temperature")
    if temperature is not None and temperature > 1:
        out.warnings.append(f"temperature {temperature:g} is lowered to 1, the most that Anthropic takes")
        asked["temperature"] = temperature = 1.0
    if think.on:
        if temperature not in (None, 1):
            out.warnings.append("temperature is 1: thinking takes no other")
            asked["temperature"] = 1.0
        _drop(asked, "top_k", out)
        if asked.get("top_p", 1) < 0.95:
            _drop(asked, "top_p", out)
    if can.sampling == "one" and "temperature" in asked and "top_p" in asked:
        out.warnings.append(f"top_p is left out: {request.model} takes temperature or top_p, not both")
        _drop(asked, "top_p", out)
    return asked


def _drop(asked: dict[str, Any], name: str, out: Outgoing) -> None:
    if asked.pop(name, None) is not None:
        out.dropped.append(name)


def _rest(request: ChatRequest, body: dict[str, Any], out: Outgoing) -> None:
    stops = [each for each in request.stop if each.strip()]
    if stops:
        body["stop_sequences"] = stops
    if len(stops) < len(request.stop):
        out.warnings.append("stop sequences of white space only are left out: Anthropic refuses them")
    if request.user:
        # Anthropic asks for an identifier that says nothing about the person. Its own clients have seen to that.
        own = request.family == FAMILY
        body["metadata"] = {"user_id": request.user if own else hashlib.sha256(request.user.encode()).hexdigest()}
    if request.service_tier is not None:
        if (tier := _TIERS.get(request.service_tier)) is not None:
            body["service_tier"] = tier
        else:
            out.dropped.append("service_tier")
    if request.cache_control is not None:
        body["cache_control"] = request.cache_control
    if request.stream:
        body["stream"] = True
    out.dropped += [name for name in _UNKNOWN if getattr(request, name) is not None]
    if request.family == FAMILY:
        for name, value in request.extra.items():
            body.setdefault(name, value)
    else:
        out.dropped += request.extra


def _limit_breakpoints(body: dict[str, Any], out: Outgoing) -> None:
    """Anthropic takes four cache marks: the last ones cover the most. One for the whole request is one of the four."""
    marked = [each for each in _cacheable(body) if "cache_control" in each]
    room = MAX_BREAKPOINTS - ("cache_control" in body)
    if len(marked) > room:
        out.warnings.append(f"of {len(marked)} cache marks the last {room} are kept")
        for each in marked[:-room]:
            del each["cache_control"]


def _cacheable(body: dict[str, Any]) -> list[Block]:
    """Everything that may carry a mark, in the order in which Anthropic reads it."""
    found: list[Block] = [each for each in body.get("tools", []) if isinstance(each, dict)]
    found += body.get("system", [])
    for turn in body["messages"]:
        for each in turn["content"]:
            content = each.get("content")
            found += content if each["type"] == "tool_result" and isinstance(content, list) else []
            found.append(each)
    return found


def _betas(request: ChatRequest, think: Thinking) -> list[str]:
    """What the request uses that is still in beta."""
    parts = [part for message in request.messages for part in message.content]
    parts += [inner for part in parts if isinstance(part, ToolResult) for inner in part.content]
    betas = [_FILES_BETA] if any(isinstance(part, File) and part.file_id for part in parts) else []
    if think.config is not None and "block_binding" in think.config:
        betas.append(_BINDING_BETA)
    return betas
