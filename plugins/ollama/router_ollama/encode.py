"""A request of the hub as the body of Ollama's `/api/chat`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from router import ChatRequest, Outgoing, ReasoningConfig, ResponseFormat, Tool

from .turns import Turns

#: members of the hub that Ollama has no word for
_UNKNOWN = ("top_a", "logit_bias", "logprobs", "top_logprobs", "user", "verbosity", "cache_control")
#: the hub's names of sampling members and Ollama's
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "max_tokens": "num_predict",
}
#: what a client of OpenAI's dialect may send along in Ollama's own words
_OWN = frozenset({"options", "keep_alive"})
#: what requests may have, in the words of OpenAI's chat
PARAMETERS = frozenset(_OPTIONS) | {
    *("max_completion_tokens", "stop", "response_format", "structured_outputs", "tools", "tool_choice"),
    *("reasoning", "include_reasoning", "reasoning_effort"),
}
#: efforts that are words of Ollama's
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_NO_PARAMETERS = {"type": "object", "properties": {}}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def chat(
    request: ChatRequest,
    *,
    reasons: bool | None = None,
    num_ctx: int | None = None,
    keep_alive: str | int | None = None,
) -> Outgoing:
    """The upstream's request. `reasons`: the model thinks when asked; None where nobody knows."""
    dropped = [name for name in _UNKNOWN if getattr(request, name) not in (None, False)]
    warnings: list[str] = []
    turns = Turns()
    for message in request.messages:
        turns.add(message)
    turns.finish()
    body: dict[str, Any] = {"model": request.model, "messages": turns.messages, "stream": request.stream}
    if tools := _tools(request, dropped, warnings):
        body["tools"] = tools
    _format(request.response_format, body, dropped)
    _think(request.reasoning, request.model, reasons, body, dropped)
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    own = _own(request, dropped)
    if options := ({"num_ctx": num_ctx} if num_ctx else {}) | _options(own.pop("options", None)) | _sampling(request):
        body["options"] = options
    if request.service_tier not in (None, "auto", "default"):
        dropped.append("service_tier")
    dropped = sorted({*dropped, *turns.dropped})
    return Outgoing(path="/api/chat", body=_encode(body | own), dropped=dropped, warnings=warnings)


def _sampling(request: ChatRequest) -> dict[str, Any]:
    told = {theirs: value for name, theirs in _OPTIONS.items() if (value := getattr(request, name)) is not None}
    return told | ({"stop": request.stop} if request.stop else {})


def _options(given: Raw | None) -> dict[str, Any]:
    options = _decode(given) if given is not None else None
    return options if isinstance(options, dict) else {}


def _own(request: ChatRequest, dropped: list[str]) -> dict[str, Raw]:
    """What the client said in Ollama's own words; all else that nobody knows is named as dropped."""
    own = {name: raw for name, raw in request.extra.items() if name in _OWN and request.family == "openai"}
    dropped += request.extra.keys() - own.keys()
    return own


# --- tools -----------------------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, dropped: list[str], warnings: list[str]) -> list[dict[str, Any]]:
    """Ollama cannot be told to call a tool, nor not to: then none is sent."""
    own = [tool for tool in request.tools if tool.server is None]
    if len(own) < len(request.tools):
        dropped.append("tools")
    if any(tool.cache_control is not None for tool in own):
        dropped.append("cache_control")
    if request.parallel_tool_calls is False and own:
        dropped.append("parallel_tool_calls")
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        return []
    if choice is not None and choice.mode == "named":
        own = [tool for tool in own if tool.name == choice.name]
        warnings.append("tool_choice: Ollama cannot be made to call a tool; no other one was sent")
    elif choice is not None and choice.mode == "required":
        dropped.append("tool_choice")
    return [_tool(tool) for tool in own]


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters or _NO_PARAMETERS}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


# --- the form of the answer, thinking --------------------------------------------------------------------------------


def _format(form: ResponseFormat | None, body: dict[str, Any], dropped: list[str]) -> None:
    if form is None or form.type == "text":
        return
    if form.type not in ("json_object", "json_schema"):
        dropped.append("response_format")
    elif form.schema is not None:
        body["format"] = form.schema
    else:
        body["format"] = "json"


def _think(
    asked: ReasoningConfig | None, model: str, reasons: bool | None, body: dict[str, Any], dropped: list[str]
) -> None:
    """gpt-oss has levels and cannot stop, all others have a switch; a model that does not think refuses to be asked to."""
    if asked is None or not (asked.on or asked.off):
        return
    if asked.off:
        body["think"] = "low" if "gpt-oss" in model else False
    elif reasons is False:
        dropped.append("reasoning")
    elif "gpt-oss" in model:
        body["think"] = _LEVELS.get(asked.effort or "medium", "medium")
    else:
        body["think"] = True
