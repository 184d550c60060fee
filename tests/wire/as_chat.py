"""Recorded Anthropic and Gemini requests as the OpenAI chat requests that mean the same.

Only for what has one clear form in OpenAI's chat; anything else raises `NoForm`, and is listed in `UNDETERMINED`.
"""

from __future__ import annotations

import json
import re
from typing import Any

Body = dict[str, Any]

#: recordings whose request has no form in OpenAI's chat, with the reason
UNDETERMINED = {
    "anthropic-d44a38": "a message that is a string: the router itself refuses it",
    "anthropic-f371b8": "a document of plain text with citations",
    "anthropic-6ec1dd": "a document of plain text with citations",
    "anthropic-555108": "search results inside a tool result",
    "anthropic-605eb6": "an image by its file id",
    "anthropic-e2e610": "a tool that Anthropic runs, in the history",
    "anthropic-b46328": "a tool that Anthropic runs, in the history",
    "anthropic-c62f29": "a tool that Anthropic runs, in the history",
    "anthropic-9bdd09": "a tool that Anthropic runs, in the history",
    "anthropic-5b4b32": "a tool that Anthropic runs, in the history",
    "anthropic-004dfd": "a tool that Anthropic runs, in the history",
    "anthropic-18c5ff": "a tool that Anthropic runs",
    "anthropic-819451": "a tool that Anthropic runs",
    "anthropic-a6d8b6": "a tool that Anthropic runs",
    "anthropic-3520f0": "a tool that Anthropic runs",
    "anthropic-c759cc": "a tool that Anthropic runs",
    "anthropic-432665": "a tool that Anthropic defines",
    "anthropic-579b49": "a tool that Anthropic runs",
    "anthropic-00ed8f": "a tool that Anthropic runs",
    "anthropic-937b3e": "a tool that Anthropic runs",
    "anthropic-6aa772": "a tool that Anthropic runs",
    "gemini-3606a9": "a tool that Google runs, in the history",
    "gemini-b81b22": "a tool that Google runs, in the history",
    "gemini-864ea0": "a tool that Google runs",
    "gemini-34c9c2": "a tool that Google runs",
    "gemini-c97892": "audio by its URI",
    "gemini-444ea2": "a file of Google's store by its URI",
    "vertex-71e11a": "audio by its URI",
    "vertex-c5c9a1": "an image by URL in a tool result: the router would fetch it from the internet",
}

#: members that no chat request can carry: they are taken off the recorded body before it is compared
LEFT_OUT = {
    "anthropic_version",
    "context_management",
    "safetySettings",
    "responseModalities",
    "videoMetadata",
    "display",
}


class NoForm(Exception):
    """This has no form in OpenAI's chat."""


# --- Anthropic -------------------------------------------------------------------------------------------------------


def anthropic_as_chat(body: Body) -> Body:
    """The chat request for a Messages request. `model` and `stream` are the caller's business."""
    chat: Body = {"messages": []}
    if "system" in body:
        chat["messages"].append({"role": "system", "content": body["system"]})
    for message in body["messages"]:
        blocks = message["content"]
        if message["role"] == "assistant":
            chat["messages"].append(assistant_turn(blocks))
        else:
            chat["messages"] += user_turn([{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks)
    for name in ("max_tokens", "temperature", "top_k", "cache_control"):
        if name in body:
            chat[name] = body[name]
    if "stop_sequences" in body:
        chat["stop"] = body["stop_sequences"]
    if "tools" in body:
        chat["tools"] = [function(tool["name"], tool["input_schema"], tool) for tool in body["tools"]]
    if "tool_choice" in body:
        choice = body["tool_choice"]
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = {"auto": "auto", "any": "required", "tool": named}[choice["type"]]
    if "thinking" in body:
        chat["reasoning"] = {"max_tokens": body["thinking"]["budget_tokens"]}
    if "output_config" in body:
        chat["response_format"] = json_schema(body["output_config"]["format"]["schema"])
    return chat


def user_turn(blocks: list[Body]) -> list[Body]:
    """Tool results become messages of their own, the rest one user message."""
    results, parts = [], []
    for block in blocks:
        match block:
            case {"type": "tool_result", "tool_use_id": call}:
                content = block["content"]
                content = content if isinstance(content, str) else [user_part(each) for each in content]
                results.append({"role": "tool", "tool_call_id": call, "content": content})
            case _:
                parts.append(user_part(block))
    return results + ([{"role": "user", "content": parts}] if parts else [])


def user_part(block: Body) -> Body:
    match block:
        case {"type": "text"}:
            return block
        case {"type": "image", "source": {"type": "url", "url": url}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
    raise NoForm(block)


def assistant_turn(blocks: list[Body]) -> Body:
    message: Body = {"role": "assistant", "content": None}
    for block in blocks:
        match block:
            case {"type": "text", "text": text}:
                message["content"] = (message["content"] or "") + text
            case {"type": "tool_use", "id": call, "name": name, "input": arguments}:
                message.setdefault("tool_calls", []).append(tool_call(call, name, arguments))
            case {"type": "thinking", "thinking": text, "signature": signature}:
                detail = {
                    "type": "reasoning.text",
                    "text": text,
                    "signature": signature,
                    "format": "anthropic-claude-v1",
                }
                message.setdefault("reasoning_details", []).append(detail)
            case _:
                raise NoForm(block)
    return message


# --- Gemini ----------------------------------------------------------------------------------------------------------


def gemini_as_chat(body: Body) -> Body:
    """The chat request for a generateContent request. Names may be in camel or in snake case."""
    body = camel(body)
    chat: Body = {"messages": []}
    if "systemInstruction" in body:
        system = "".join(part["text"] for part in body["systemInstruction"]["parts"])
        chat["messages"].append({"role": "system", "content": system})
    ids = CallIds()
    for content in body["contents"]:
        chat["messages"] += model_turn(content, ids) if content["role"] == "model" else gemini_user_turn(content, ids)
    if "tools" in body:
        chat["tools"] = []
        for declaration in (each for tool in body["tools"] for each in tool["functionDeclarations"]):
            schema = declaration.get("parametersJsonSchema") or declaration["parameters"]
            chat["tools"].append(function(declaration["name"], lower_types(schema), declaration))
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if calling.get("mode") == "ANY":
        names = calling["allowedFunctionNames"]
        one = {"type": "function", "function": {"name": names[0]}}
        chat["tool_choice"] = one if len(names) < len(chat["tools"]) or len(names) == 1 else "required"
    elif calling:
        chat["tool_choice"] = calling["mode"].lower()
    return chat | generation_config(body.get("generationConfig", {}))


def generation_config(config: Body) -> Body:
    names = {
        "temperature": "temperature",
        "topP": "top_p",
        "topK": "top_k",
        "maxOutputTokens": "max_tokens",
        "stopSequences": "stop",
        "seed": "seed",
        "presencePenalty": "presence_penalty",
        "frequencyPenalty": "frequency_penalty",
    }
    chat = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    if "topK" in config:
        chat["top_k"] = int(config["topK"])
    if schema := config.get("responseJsonSchema") or config.get("responseSchema"):
        chat["response_format"] = json_schema(schema)
    if thinking := config.get("thinkingConfig"):
        level = thinking.get("thinkingLevel")
        chat["reasoning"] = {"effort": level.lower()} if level else {"enabled": True}
    return chat


class CallIds:
    """Ids of calls: the recorded ones, else invented ones. Answers without an id come in the order of the calls."""

    def __init__(self) -> None:
        self.made = 0
        self.open: list[str] = []

    def call(self, recorded: str | None) -> str:
        self.made += 1
        self.open.append(recorded or f"call_{self.made:04}")
        return self.open[-1]

    def answer(self, recorded: str | None) -> str:
        id = recorded or self.open[0]
        self.open.remove(id)
        return id


def gemini_user_turn(content: Body, ids: CallIds) -> list[Body]:
    results, parts = [], []
    for part in content["parts"]:
        match part:
            case {"functionResponse": answer}:
                said = (
                    json.dumps(answer["response"])
                    if not isinstance(only(answer["response"]), str)
                    else only(answer["response"])
                )
                results.append({"role": "tool", "tool_call_id": ids.answer(answer.get("id")), "content": said})
            case {"text": text}:
                parts.append({"type": "text", "text": text})
            case {"inlineData": {"mimeType": "application/pdf" as kind, "data": data}}:
                parts.append({"type": "file", "file": {"filename": "a.pdf", "file_data": data_url(kind, data)}})
            case {"inlineData": {"mimeType": kind, "data": data}} if kind.startswith("image/"):
                parts.append({"type": "image_url", "image_url": {"url": data_url(kind, data)}})
            case {"fileData": {"mimeType": kind, "fileUri": url}} if kind.startswith("video/"):
                parts.append({"type": "video_url", "video_url": {"url": url}})
            case _:
                raise NoForm(part)
    return results + ([{"role": "user", "content": parts}] if parts else [])


def model_turn(content: Body, ids: CallIds) -> list[Body]:
    message: Body = {"role": "assistant", "content": None}
    for part in content["parts"]:
        match part:
            case {"functionCall": {"name": name, "args": arguments} as call}:
                id = ids.call(call.get("id"))
                message.setdefault("tool_calls", []).append(tool_call(id, name, arguments))
                if signature := part.get("thoughtSignature"):
                    detail = {"type": "reasoning.encrypted", "data": signature, "id": id, "format": "google-gemini-v1"}
                    message.setdefault("reasoning_details", []).append(detail)
            case {"text": text}:
                message["content"] = (message["content"] or "") + text
            case _:
                raise NoForm(part)
    return [message]


def only(response: Body) -> Any:
    """What a function said, where its response wraps one value as all clients do."""
    if len(response) == 1 and (name := next(iter(response))) in ("output", "result", "return_value"):
        return response[name]
    return response


# --- what both have in common ----------------------------------------------------------------------------------------


def function(name: str, schema: Body, tool: Body) -> Body:
    definition = {"name": name, "description": tool.get("description"), "parameters": schema}
    if "strict" in tool:
        definition["strict"] = tool["strict"]
    return {"type": "function", "function": {key: value for key, value in definition.items() if value is not None}}


def tool_call(id: str, name: str, arguments: Body) -> Body:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def json_schema(schema: Body) -> Body:
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def data_url(kind: str, data: str) -> str:
    """Some recorded clients wrote base64 in its URL-safe alphabet."""
    return f"data:{kind};base64,{data.replace('-', '+').replace('_', '/')}"


#: members whose content is not Google's vocabulary
FOREIGN = {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}


def camel(value: Any) -> Any:
    """Google takes both cases; the content of schemas, arguments and responses stays as it is."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): inner for name, inner in value.items()}
    return {name: inner if name in FOREIGN else camel(inner) for name, inner in named.items()}


def lower_types(schema: Any) -> Any:
    """Google's own schemas write types in capitals."""
    if isinstance(schema, list):
        return [lower_types(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: inner.lower() if name == "type" and isinstance(inner, str) else lower_types(inner)
        for name, inner in schema.items()
    }
