"""A request of the hub as the body of Cohere's `/v2/chat`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from router import ChatRequest, Outgoing, ReasoningConfig, ResponseFormat, Tool, ToolChoice

from .turns import Turns

MAX_STOPS = 5
#: members of the hub that Cohere has no word for
_UNKNOWN = (
    *("min_p", "top_a", "repetition_penalty", "logit_bias", "top_logprobs", "user", "verbosity", "cache_control"),
)
#: what a client of OpenAI's dialect may send along in Cohere's own words
_OWN = frozenset({"documents", "citation_options", "safety_mode", "strict_tools"})
#: sampling members: the hub's name, Cohere's name, the least and the most that is taken
_RANGES = (
    ("temperature", "temperature", 0.0, 1.0),
    ("top_p", "p", 0.01, 0.99),
    ("frequency_penalty", "frequency_penalty", 0.0, 1.0),
    ("presence_penalty", "presence_penalty", 0.0, 1.0),
    ("top_k", "k", 0, 500),
)
#: share of the tokens that may be written, by effort
_RATIOS = {"max": 0.95, "xhigh": 0.95, "high": 0.8, "medium": 0.5, "low": 0.2, "minimal": 0.1}
_NO_PARAMETERS = {"type": "object", "properties": {}}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def chat(request: ChatRequest, reasons: bool | None) -> Outgoing:
    """The upstream's request. `reasons`: the model thinks when asked; None where nobody knows."""
    dropped = [name for name in _UNKNOWN if getattr(request, name) is not None]
    warnings: list[str] = []
    turns = Turns(thinks=reasons is True)
    for message in request.messages:
        turns.add(message)
    turns.finish()
    body: dict[str, Any] = {"model": request.model, "messages": turns.messages, "stream": request.stream}
    body |= _sampling(request, warnings)
    body |= _tools(request, dropped, warnings)
    body |= _own(request, dropped)
    if turns.documents:
        given = body.get("documents")
        more = _decode(given) if isinstance(given, Raw) else []
        body["documents"] = [*more, *turns.documents] if isinstance(more, list) else turns.documents
    _format(request.response_format, body, dropped, warnings)
    _thinking(request, reasons, body, dropped)
    if request.parallel_tool_calls is False and "tools" in body:
        dropped.append("parallel_tool_calls")
    if request.service_tier not in (None, "auto", "default"):
        dropped.append("service_tier")
    return Outgoing(path="/v2/chat", body=_encode(body), dropped=sorted({*dropped, *turns.dropped}), warnings=warnings)


def _sampling(request: ChatRequest, warnings: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, theirs, least, most in _RANGES:
        value = getattr(request, name)
        if value is None:
            continue
        told[theirs] = min(max(value, least), most)
        if told[theirs] != value and (name, value) != ("top_p", 1):  # 1 means "all", as nearly as 0.99 does
            warnings.append(f"{name}: Cohere takes {least} to {most}, {told[theirs]} was sent")
    if request.max_tokens is not None:
        told["max_tokens"] = request.max_tokens
    if request.seed is not None:
        told["seed"] = request.seed % 2**64
    if request.logprobs:
        told["logprobs"] = True
    if stops := [stop for stop in request.stop if stop]:
        told["stop_sequences"] = stops[:MAX_STOPS]
        if len(stops) > MAX_STOPS:
            warnings.append(f"stop: only the first {MAX_STOPS} of {len(stops)} were sent")
    return told


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, dropped: list[str], warnings: list[str]) -> dict[str, Any]:
    own = [tool for tool in request.tools if tool.server is None]
    for tool in request.tools:
        if tool.server is not None:
            dropped.append("tools")
            warnings.append(f"tools: Cohere has no tool of its own called {tool.name[:64]}")
    if any(tool.cache_control is not None for tool in own):
        dropped.append("cache_control")
    choice = request.tool_choice
    if choice is not None and choice.mode == "named":
        own = [tool for tool in own if tool.name == choice.name]
    if not own:
        return {}
    return {"tools": [_tool(tool) for tool in own]} | _choice(choice)


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters or _NO_PARAMETERS}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> dict[str, str]:
    """A named tool is required by being the only one."""
    if choice is None or choice.mode == "auto":
        return {}
    return {"tool_choice": "NONE" if choice.mode == "none" else "REQUIRED"}


# --- the rest --------------------------------------------------------------------------------------------------------


def _own(request: ChatRequest, dropped: list[str]) -> dict[str, Raw]:
    """What the client said in Cohere's own words; all else that nobody knows is named as dropped."""
    own = {name: raw for name, raw in request.extra.items() if name in _OWN and request.family == "openai"}
    dropped += request.extra.keys() - own.keys()
    return own


def _format(form: ResponseFormat | None, body: dict[str, Any], dropped: list[str], warnings: list[str]) -> None:
    """Beside tools or documents Cohere refuses a form, so that it becomes an instruction."""
    if form is None or form.type == "text":
        return
    if form.type not in ("json_object", "json_schema"):
        dropped.append("response_format")
        return
    if "tools" in body or "documents" in body:
        body["messages"].insert(0, {"role": "system", "content": _instruction(form)})
        warnings.append("response_format: Cohere takes it beside tools or documents only as an instruction")
        return
    body["response_format"] = {"type": "json_object"}
    if form.schema is not None:
        body["response_format"]["json_schema"] = form.schema


def _instruction(form: ResponseFormat) -> str:
    schema = f" that matches this JSON schema: {bytes(form.schema).decode()}" if form.schema is not None else ""
    return f"Unless you call a function, answer with nothing but JSON{schema}"


def _thinking(request: ChatRequest, reasons: bool | None, body: dict[str, Any], dropped: list[str]) -> None:
    """A model that cannot think refuses to be asked, even to be asked not to."""
    asked = request.reasoning
    if asked is None or not (asked.on or asked.off):
        return
    if asked.off:
        if reasons:
            body["thinking"] = {"type": "disabled"}
    elif reasons is False:
        dropped.append("reasoning")
    else:
        budget = _budget(asked, request.max_tokens)
        body["thinking"] = {"type": "enabled"} | ({"token_budget": budget} if budget else {})


def _budget(asked: ReasoningConfig, max_tokens: int | None) -> int | None:
    """In tokens, None for Cohere's own. An effort is a share of what may be written at all."""
    if asked.max_tokens:
        return asked.max_tokens
    return max(int(max_tokens * _RATIOS[asked.effort]), 1) if asked.effort and max_tokens else None
