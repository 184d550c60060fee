"""What a conversation says, whoever spells it: of a `Talk`, of a request in the hub, and of what goes to an upstream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from router.dialects.anthropic_messages import AnthropicMessages
from router.dialects.gemini_generate import GeminiGenerate
from router.dialects.openai_chat import OpenAIChat
from router.model import AnyPart, ChatRequest, File, Image, Reasoning, Text, ToolCall, ToolResult

from .talks import SCHEMA, TOOLS, Talk

Body = dict[str, Any]
GIVEN = re.compile(r"What \w+ returned:")


@dataclass
class Essence:
    """`order` holds what is said, called and answered, in order; a call is known by its number, since ids may change. Pictures and
    documents stand apart, in their own order: of a tool's result they may have to go to the user's turn behind it."""

    order: list[tuple[Any, ...]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    thoughts: list[tuple[str, str]] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    system: str = ""
    tools: list[str] = field(default_factory=list)
    forced: str = ""
    schema: bool = False
    stop: list[str] = field(default_factory=list)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    _calls: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def says(self, role: str, text: str) -> None:
        """Text of a turn. What stands together is one text."""
        if not text:
            return
        if self.order and self.order[-1][0] == role:
            text = self.order.pop()[1] + text
        self.order.append((role, text))

    def calls(self, id: str, name: str, arguments: Any) -> None:
        """A tool is called."""
        self._calls[id] = len(self._calls)
        self.order.append(("call", self._calls[id], name, canonical(arguments)))

    def answers(self, id: str, text: str, *, failed: bool = False) -> None:
        """A tool has answered."""
        self.order.append(("result", self._calls[id], text))
        self.failed.append(failed)


def canonical(value: Any) -> str:
    """JSON in one spelling."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def of_talk(talk: Talk) -> Essence:
    """What is meant."""
    told = Essence(system=talk.system, tools=list(TOOLS) if talk.tools else [], forced=talk.forced, schema=talk.schema)
    told.stop, told.temperature, told.top_p, told.max_tokens = talk.stop, talk.temperature, talk.top_p, talk.max_tokens
    for turn in talk.turns:
        for part in turn.asked:
            if part.kind == "text":
                told.says("user", part.data)
            else:
                (told.images if part.kind == "image" else told.files).append(part.data)
        if turn.thought:
            told.thoughts.append(turn.thought)
        told.says("assistant", turn.said)
        for call in turn.calls:
            told.calls(call.id, call.name, call.arguments)
        for call in turn.calls:
            told.answers(call.id, call.result[0].data, failed=call.failed)
            told.images += [each.data for each in call.result if each.kind == "image"]
    return told


# --- the hub ---------------------------------------------------------------------------------------------------------


def of_hub(request: ChatRequest) -> Essence:
    """What a request says in the hub."""
    told = Essence(tools=[tool.name for tool in request.tools], stop=request.stop)
    told.temperature, told.top_p, told.max_tokens = request.temperature, request.top_p, request.max_tokens
    if (choice := request.tool_choice) is not None:
        told.forced = {"required": "required", "named": choice.name}.get(choice.mode, "")
    if (form := request.response_format) is not None and form.schema is not None:
        told.schema = same_schema(msgspec.json.decode(form.schema))
    for message in request.messages:
        for part in message.content:
            if message.role in ("system", "developer"):
                told.system += part.text if isinstance(part, Text) else ""
            else:
                _take(told, message.role, part)
    return told


def _take(told: Essence, role: str, part: AnyPart) -> None:
    match part:
        case Text(text=text):
            told.says(role, text)
        case Image(data=data):
            told.images.append(data)
        case File(data=data):
            told.files.append(data)
        case Reasoning(text=text, signature=signature):
            told.thoughts.append((text, signature or ""))
        case ToolCall(id=id, name=name, arguments=arguments):
            told.calls(id, name, json.loads(arguments or "{}"))
        case ToolResult(tool_call_id=id, content=content, is_error=failed):
            told.answers(id, "".join(each.text for each in content if isinstance(each, Text)), failed=failed)
            told.images += [each.data for each in content if isinstance(each, Image)]


def same_schema(schema: Body) -> bool:
    """Is it ours? What a model is told of it beside may differ."""
    assert schema["properties"].keys() == SCHEMA["properties"].keys()  # type: ignore[attr-defined]
    assert schema["required"] == SCHEMA["required"]
    return True


# --- upstreams: those of a client API by its dialect, the others by a reader of their own --------------------------------


def _chat(body: Body) -> Essence:
    return of_hub(_decoded(OpenAIChat(), body, "chat"))


def _anthropic(body: Body) -> Essence:
    return of_hub(_decoded(AnthropicMessages(), body, "chat"))


def _gemini(body: Body) -> Essence:
    """Pictures that a tool gave follow as the user's, behind a word about them."""
    for content in body["contents"]:
        content["parts"] = [each for each in content["parts"] if not GIVEN.fullmatch(each.get("text", ""))]
    return of_hub(_decoded(GeminiGenerate(), body, "chat"))


def _decoded(dialect: Any, body: Body, operation: str) -> ChatRequest:
    request: ChatRequest = dialect.decode(dialect.peek(json.dumps(body).encode(), {"model": "m"}, operation))
    return request


def _mistral(body: Body) -> Essence:
    """OpenAI's chat, but for documents and thoughts, and for an answer that has to stand between a tool's and the user's words."""
    for message in body["messages"]:
        message.pop("prefix", None)
        if isinstance(message.get("content"), list):
            message["content"] = [_mistral_part(each) for each in message["content"] if each["type"] != "thinking"]
    choice = body.pop("tool_choice", "")
    told = _chat(body)
    told.order = [each for each in told.order if each != ("assistant", "OK")]
    told.forced = _only(told.tools) if choice == "any" else ""
    return told


def _mistral_part(part: Body) -> Body:
    if part["type"] != "document_url":
        return part
    return {"type": "file", "file": {"filename": part["document_name"], "file_data": part["document_url"]}}


def _cohere(body: Body) -> Essence:
    choice = body.pop("tool_choice", "")
    names = [each["function"]["name"] for each in body.get("tools", [])]
    form = body.pop("response_format", {})
    told = _chat(body | {"stop": body.pop("stop_sequences", None), "top_p": body.pop("p", None)})
    told.schema = bool(form) and same_schema(form["json_schema"])
    told.forced = _only(names) if choice == "REQUIRED" else ""
    return told


def _only(tools: list[str]) -> str:
    """Which tool has to be called, where that cannot be said but by sending no other."""
    return tools[0] if len(tools) == 1 else "required"


def _ollama(body: Body) -> Essence:
    options = body.get("options", {})
    told = Essence(tools=[each["function"]["name"] for each in body.get("tools", [])], stop=options.get("stop", []))
    told.temperature, told.top_p = options.get("temperature"), options.get("top_p")
    told.max_tokens, told.schema = options.get("num_predict"), "format" in body and same_schema(body["format"])
    waiting: list[tuple[str, str]] = []
    for number, message in enumerate(body["messages"]):
        told.images += message.get("images", [])
        match message["role"]:
            case "system":
                told.system += message["content"]
            case "tool":
                id, name = waiting.pop(0)
                assert message["tool_name"] == name
                told.answers(id, message["content"])
            case role:
                told.says(role, message["content"])
                for place, call in enumerate(message.get("tool_calls", [])):
                    waiting.append((f"{number}.{place}", call["function"]["name"]))
                    told.calls(waiting[-1][0], call["function"]["name"], call["function"]["arguments"])
    return told


def _bedrock(body: Body) -> Essence:
    inference = body.get("inferenceConfig", {})
    told = Essence(system="".join(each.get("text", "") for each in body.get("system", [])))
    told.stop, told.temperature = inference.get("stopSequences", []), inference.get("temperature")
    told.top_p, told.max_tokens = inference.get("topP"), inference.get("maxTokens")
    tools = body.get("toolConfig", {})
    for tool in tools.get("tools", []):
        if (name := tool["toolSpec"]["name"]) in TOOLS:
            told.tools.append(name)
        else:  # a form is asked for by a tool that has to be called
            told.schema = same_schema(tool["toolSpec"]["inputSchema"]["json"])
    if (choice := tools.get("toolChoice")) and not told.schema and "auto" not in choice:
        told.forced = choice.get("tool", {}).get("name", "required")
    if "outputConfig" in body:
        told.schema = same_schema(json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]))
    for message in body["messages"]:
        for block in message["content"]:
            _bedrock_block(told, message["role"], block)
    return told


def _bedrock_block(told: Essence, role: str, block: Body) -> None:
    match block:
        case {"text": text}:
            told.says(role, text)
        case {"image": {"source": {"bytes": data}}}:
            told.images.append(data)
        case {"document": {"source": {"bytes": data}}}:
            told.files.append(data)
        case {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}:
            told.thoughts.append((text, signature))
        case {"toolUse": {"toolUseId": id, "name": name, "input": arguments}}:
            told.calls(id, name, arguments)
        case {"toolResult": {"toolUseId": id, "content": content, **rest}}:
            text = "".join(each.get("text", "") for each in content)
            told.answers(id, text, failed=rest.get("status") == "error")
            told.images += [each["image"]["source"]["bytes"] for each in content if "image" in each]
        case _:
            raise AssertionError(f"a block that nobody asked for: {block}")


READERS: dict[str, Callable[[Body], Essence]] = {
    "openai": _chat,
    "openai-compatible": _chat,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "mistral": _mistral,
    "cohere": _cohere,
    "ollama": _ollama,
}
