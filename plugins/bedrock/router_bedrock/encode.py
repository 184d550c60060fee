"""ChatRequest -> the body of Converse.

What a model does not take is left out and named in `Outgoing.dropped`; what is sent in another form is told in `warnings`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw
from router_anthropic.schema import as_object, structured
from router_anthropic.thinking import thinking
from router_anthropic.traits import Traits as ClaudeTraits
from router_anthropic.traits import traits as claude_traits

from router import ChatRequest, Outgoing, ResponseFormat, Tool

from .blocks import Block
from .names import JSON_OUTPUT, tool_name
from .traits import traits
from .turns import Conversation, cache_point, limit_cache_points

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
    "verbosity",
)
#: members of Converse that a client may send as they are, whatever its dialect
_OWN = ("guardrailConfig", "performanceConfig", "promptVariables", "additionalModelResponseFieldPaths")
_TIERS = ("flex", "priority", "reserved")
#: what a value of `requestMetadata` may hold
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_NOVA_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium"}
_ONLY_JSON = (
    "Answer with one JSON value (an object, unless asked for another) and nothing else: no other text, no code fence."
)
_NO_TOOLS = "Do not call any tool now."
#: tokens, of a model of which nothing is known, that an effort is a part of
_ROOM = 64_000
_NO_CLAUDE = ClaudeTraits(thinking="none", off="silent")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def outgoing(request: ChatRequest, *, max_output: int = 0, guardrail: dict[str, str] | None = None) -> Outgoing:
    """The request to send. `max_output` is the model's limit in tokens, 0 where not known; `guardrail` the one that is configured.

    Raises BadRequest where a part of it cannot be expressed at all.
    """
    method = "converse-stream" if request.stream else "converse"
    out = Outgoing(path=f"/model/{quote(request.model, safe='')}/{method}")
    body = _Body(request, max_output, out).whole()
    if guardrail:
        body.setdefault("guardrailConfig", guardrail)
    out.body = _encode(body)
    return out


class _Body:
    """A body as it grows. The steps depend on each other: thinking excludes forced calls, and those stand for forms of answers."""

    def __init__(self, request: ChatRequest, max_output: int, out: Outgoing) -> None:
        self._request = request
        self._max_output = max_output
        self._out = out
        self._can = traits(request.model)
        self._claude = claude_traits(request.model) if self._can.thinking == "claude" else _NO_CLAUDE
        self._talk = Conversation(request, self._can, out)
        #: what the model itself is told, past Converse
        self._fields: dict[str, Any] = {}
        self._inference: dict[str, Any] = {}
        self._thinks = False

    def whole(self) -> dict[str, Any]:
        """All of it."""
        request, talk = self._request, self._talk
        self._reasoning()
        tools = self._tools()
        choice = self._choice(tools)
        form, choice = self._form(tools, choice)
        self._sampling()
        limit_cache_points(tools, talk, self._out)
        body: dict[str, Any] = {"messages": [turn.wire() for turn in talk.turns]}
        if talk.system:
            body["system"] = talk.system
        if self._inference:
            body["inferenceConfig"] = self._inference
        if tools:
            body["toolConfig"] = {"tools": tools, "toolChoice": choice} if choice else {"tools": tools}
        if form:
            body["outputConfig"] = form
        self._rest(body)
        if self._fields:
            body["additionalModelRequestFields"] = self._fields
        self._out.dropped += [name for name in _UNKNOWN if getattr(request, name) is not None]
        return body

    # --- thinking ---

    def _reasoning(self) -> None:
        request, wanted, out = self._request, self._request.reasoning, self._out
        if request.max_tokens is not None:
            self._inference["maxTokens"] = request.max_tokens
        match self._can.thinking:
            case "claude":
                self._claude_thinking()
            case _ if wanted is None or not (wanted.on or wanted.off):
                pass
            case "nova":
                self._fields["reasoningConfig"] = {"type": "disabled"}
                if wanted.on:
                    effort = _NOVA_EFFORTS.get(wanted.effort or "medium", "high")
                    self._fields["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
                    self._thinks = True
                    if effort == "high" and self._inference.pop("maxTokens", None) is not None:
                        out.warnings.append("max_tokens is left out: Nova takes none while it thinks hard")
            case "effort":
                effort = wanted.effort or "medium"
                if wanted.off:
                    out.warnings.append("this model always thinks: reasoning cannot be switched off")
                self._fields["reasoning_effort"] = effort if effort in ("low", "medium", "high") else _nearest(effort)
            case _ if wanted.on:
                out.dropped.append("reasoning")

    def _claude_thinking(self) -> None:
        """Anthropic's own rules, in the words of its own API."""
        request, talk, out = self._request, self._talk, self._out
        known = self._max_output or self._claude.max_output
        # Without a limit Bedrock takes the model's own, and none needs to be sent.
        think = thinking(request, self._claude, known or (_ROOM if request.max_tokens is None else 0), out)
        if think.budget and talk.in_a_tool_loop_without_thinking():
            out.warnings.append("thinking is off for this turn: the tool calls before it came without their thinking")
            self._fields["thinking"] = {"type": "disabled"}
            return
        if talk.ends_with_assistant and (think.budget or not self._claude.prefill):
            out.warnings.append("this model continues no assistant message: it is asked to, in a message behind it")
            talk.ask_to_continue()
        if think.config:
            self._fields["thinking"] = think.config
        if think.effort is not None:
            self._fields["output_config"] = {"effort": think.effort}
        if think.budget and request.max_tokens is not None:
            self._inference["maxTokens"] = think.max_tokens
        self._thinks = think.on

    # --- tools ---

    def _tools(self) -> list[Any]:
        request, tools = self._request, list[Any]()
        if request.tool_choice is not None and request.tool_choice.mode == "none" and not self._talk.called:
            return tools
        for tool in request.tools:
            if tool.server is None:
                tools.append({"toolSpec": self._tool(tool)})
                if tool.cache_control is not None and self._can.caches:
                    tools.append(cache_point(tool.cache_control))
            elif (system := _system_tool(tool.server)) is not None:
                tools.append(system)
            else:
                self._out.warnings.append(f"the tool {tool.name!r} is not one that Bedrock runs: left out")
        if not tools:
            # A conversation with calls in it is refused without any tool.
            tools = [
                {"toolSpec": {"name": name, "inputSchema": {"json": as_object(None)}}} for name in self._talk.called
            ]
        return tools

    def _tool(self, tool: Tool) -> Block:
        made: Block = {"name": tool_name(tool.name)}
        if tool.description:
            made["description"] = tool.description
        made["inputSchema"] = {"json": as_object(tool.parameters)}
        if tool.strict and tool.parameters is not None and self._claude.structured:
            narrow = structured(tool.parameters)
            if narrow is not None and narrow == _decode(tool.parameters):
                made["strict"] = True
        return made

    def _choice(self, tools: list[Any]) -> Block | None:
        request, out = self._request, self._out
        if request.parallel_tool_calls is False and tools:
            out.dropped.append("parallel_tool_calls")
        wanted = request.tool_choice
        if not tools or wanted is None or wanted.mode == "auto":
            return {"auto": {}} if tools and wanted is not None else None
        if wanted.mode == "none" or not request.tools:
            self._talk.system.append({"text": _NO_TOOLS})
            out.warnings.append("tool_choice none is said in words: the calls of this conversation need their tools")
            return None
        if (why := self._not_forced()) is not None:
            out.warnings.append(f"tool_choice is auto: {why}")
            return {"auto": {}}
        if wanted.mode == "required":
            return {"any": {}}
        name = tool_name(wanted.name)
        if self._can.forced == "named":
            return {"tool": {"name": name}}
        # Some call can be forced, but no certain one: then there is no other.
        tools[:] = [each for each in tools if each.get("toolSpec", {}).get("name") == name]
        return {"any": {}} if tools else None

    def _not_forced(self) -> str | None:
        """Why no call can be forced, None where one can."""
        if self._can.forced == "none" or not (self._can.thinking != "claude" or self._claude.forced):
            return f"{self._request.model} takes no forced tool call"
        return "thinking excludes a forced tool call" if self._thinks else None

    # --- the form of the answer ---

    def _form(self, tools: list[Any], choice: Block | None) -> tuple[Block | None, Block | None]:
        """`outputConfig` and the choice of tools for `response_format`: a forced call whose input is the answer, the model's own
        structured outputs, or a request in words."""
        wanted = self._request.response_format
        if wanted is None or wanted.type == "text":
            return None, choice
        if wanted.type not in ("json_object", "json_schema"):
            self._out.dropped.append("response_format")
            return None, choice
        if wanted.schema is None:
            self._talk.system.append({"text": _ONLY_JSON})
            return None, choice
        if self._not_forced() is None and _is_object(wanted.schema):
            return None, self._json_output(wanted, tools, choice)
        if self._claude.structured and (schema := structured(wanted.schema)) is not None:
            named = {"name": tool_name(wanted.name), "schema": _encode(schema).decode()}
            return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": named}}}, choice
        self._out.warnings.append(f"{self._request.model} cannot be held to this schema: it is asked for in words")
        schema_text = bytes(wanted.schema).decode()
        self._talk.system.append({"text": f"{_ONLY_JSON} It must fit this JSON schema: {schema_text}"})
        return None, choice

    def _json_output(self, wanted: ResponseFormat, tools: list[Any], choice: Block | None) -> Block:
        """Add the tool whose input is the answer. Beside the client's own tools, some call is forced: one of theirs or this."""
        wishes = self._request.tool_choice
        own = bool(self._request.tools) and bool(tools) and not (wishes is not None and wishes.mode == "none")
        description = wanted.description or "Gives the final answer. Its input is the whole answer."
        spec = {"name": JSON_OUTPUT, "description": description, "inputSchema": {"json": as_object(wanted.schema)}}
        tools.append({"toolSpec": spec})
        if choice is not None and "tool" in choice:
            return choice
        return {"any": {}} if own or self._can.forced == "any" else {"tool": {"name": JSON_OUTPUT}}

    # --- the small members ---

    def _sampling(self) -> None:
        request, out, inference = self._request, self._out, self._inference
        asked = {
            name: value for name in ("temperature", "top_p", "top_k") if (value := getattr(request, name)) is not None
        }
        takes = self._claude.sampling if self._can.thinking == "claude" else "both"
        if takes == "none":
            out.dropped += asked
            asked = {}
        if asked.get("temperature", 0) > 1:
            out.warnings.append(f"temperature {asked['temperature']:g} is lowered to 1, the most that Bedrock takes")
            asked["temperature"] = 1.0
        if self._thinks:
            self._while_thinking(asked)
        if takes == "one" and "temperature" in asked and "top_p" in asked:
            out.warnings.append(f"top_p is left out: {request.model} takes temperature or top_p, not both")
            self._drop(asked, "top_p")
        if (top_k := asked.get("top_k")) is not None:
            self._top_k(top_k)
        for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
            if name in asked:
                inference[theirs] = asked[name]
        stops = [each for each in request.stop if each.strip()]
        if stops:
            inference["stopSequences"] = stops
        if len(stops) < len(request.stop):
            out.warnings.append("stop sequences of white space only are left out: Bedrock refuses them")

    def _while_thinking(self, asked: dict[str, Any]) -> None:
        if self._can.thinking == "nova":
            if self._fields["reasoningConfig"]["maxReasoningEffort"] == "high":
                self._drop(asked, "temperature")
                self._drop(asked, "top_p")
            return
        if asked.get("temperature", 1) != 1:
            self._out.warnings.append("temperature is 1: thinking takes no other")
            asked["temperature"] = 1.0
        self._drop(asked, "top_k")
        if asked.get("top_p", 1) < 0.95:
            self._drop(asked, "top_p")

    def _drop(self, asked: dict[str, Any], name: str) -> None:
        if asked.pop(name, None) is not None:
            self._out.dropped.append(name)

    def _top_k(self, top_k: int) -> None:
        """A field of the model's own, by a name of its own."""
        if not self._can.top_k:
            self._out.dropped.append("top_k")
            return
        outer, _, inner = self._can.top_k.rpartition(".")
        self._fields.update({outer: {inner: top_k}} if outer else {inner: top_k})

    def _rest(self, body: dict[str, Any]) -> None:
        request, out = self._request, self._out
        if request.user:
            user = request.user
            if not _METADATA.fullmatch(user):
                user = hashlib.sha256(user.encode()).hexdigest()
            body["requestMetadata"] = {"user_id": user}
        if request.service_tier in _TIERS:
            body["serviceTier"] = {"type": request.service_tier}
        elif request.service_tier not in (None, "auto", "default"):
            out.dropped.append("service_tier")
        if request.cache_control is not None:
            self._cache_all(body, request.cache_control)
        for name, value in request.extra.items():
            if name in _OWN:
                body[name] = value
            elif name == "requestMetadata":
                body[name] = body.get(name, {}) | _object(value)
            elif name == "additionalModelRequestFields":
                self._fields |= _object(value)
            else:
                out.dropped.append(name)

    def _cache_all(self, body: dict[str, Any], mark: Raw) -> None:
        """A mark for the whole request is one at its end."""
        if self._can.caches:
            body["messages"][-1]["content"].append(cache_point(mark))
        else:
            self._out.dropped.append("cache_control")


def _nearest(effort: str) -> str:
    return "low" if effort in ("none", "minimal") else "high"


def _is_object(schema: Raw) -> bool:
    root = _decode(schema)
    return isinstance(root, dict) and root.get("type") == "object"


def _object(value: Raw) -> dict[str, Any]:
    found = _decode(value)
    return found if isinstance(found, dict) else {}


def _system_tool(server: Raw) -> Block | None:
    """A tool of Amazon's, in Converse's words, or by a type such as `nova_grounding`."""
    asked = _object(server)
    if isinstance(asked.get("systemTool"), dict):
        return {"systemTool": asked["systemTool"]}
    kind = asked.get("type")
    return {"systemTool": {"name": kind}} if isinstance(kind, str) and kind.startswith("nova_") else None
