"""One form for requests that mean the same: default members gone, text as blocks, names in one case."""

from __future__ import annotations

import json
from typing import Any

from .as_chat import LEFT_OUT, Body, camel, lower_types, only


def anthropic_normal(body: Body) -> Body:
    """A Messages request without model and defaults."""
    normal = {name: value for name, value in without(body, LEFT_OUT | {"model"}).items() if value not in (None, [])}
    if not normal.get("stream"):
        normal.pop("stream", None)
    if "system" in normal:
        normal["system"] = blocks(normal["system"])
    normal["messages"] = [
        {"role": message["role"], "content": [block_normal(each) for each in blocks(message["content"])]}
        for message in normal["messages"]
    ]
    if "tools" in normal:
        drops = ({"type": "custom"}, {"description": ""})
        normal["tools"] = [
            {name: value for name, value in tool.items() if {name: value} not in drops} for tool in normal["tools"]
        ]
    if "tool_choice" in normal:
        choice = normal["tool_choice"]
        if choice.get("disable_parallel_tool_use") is False:
            choice = {name: value for name, value in choice.items() if name != "disable_parallel_tool_use"}
        normal["tool_choice"] = choice
        if choice == {"type": "auto"}:
            del normal["tool_choice"]
    return normal


def blocks(content: Any) -> list[Body]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def block_normal(block: Body) -> Body:
    normal = dict(block)
    if "content" in normal:
        normal["content"] = blocks(normal["content"])
    if not normal.get("is_error"):
        normal.pop("is_error", None)
    return normal


def gemini_normal(body: Body, recorded: Body) -> Body:
    """A generateContent request without defaults. `recorded` says whether its client gave ids to calls."""
    normal: Body = without(camel(body), LEFT_OUT)
    has_ids = '"id"' in json.dumps(without(recorded, {"tools"}))
    normal["contents"] = [
        {"role": each.get("role", "user"), "parts": [part_normal(part, has_ids) for part in each["parts"]]}
        for each in merged(normal["contents"])
    ]
    if "systemInstruction" in normal:
        normal["systemInstruction"] = "".join(part["text"] for part in normal["systemInstruction"]["parts"])
    config = normal.pop("generationConfig", {})
    for old in ("responseSchema", "responseJsonSchema"):
        if old in config:
            config["schema"] = cleaned(config.pop(old))
    normal["generationConfig"] = config
    names: list[str] = []
    if "tools" in normal:
        declared = [each for tool in normal["tools"] for each in tool["functionDeclarations"]]
        normal["tools"] = [declaration_normal(each) for each in declared]
        names = sorted(each["name"] for each in declared)
    calling = normal.pop("toolConfig", {}).get("functionCallingConfig", {})
    if sorted(calling.get("allowedFunctionNames", [])) == names and len(names) > 1:
        calling = {"mode": calling["mode"]}
    if calling.get("mode", "AUTO") != "AUTO":
        normal["toolConfig"] = calling
    return normal


def merged(contents: list[Body]) -> list[Body]:
    """Turns of one role that follow each other are one turn."""
    turns: list[Body] = []
    for content in contents:
        if turns and turns[-1]["role"] == content.get("role", "user"):
            turns[-1]["parts"] = turns[-1]["parts"] + content["parts"]
        else:
            turns.append({"role": content.get("role", "user"), "parts": content["parts"]})
    return turns


def part_normal(part: Body, has_ids: bool) -> Body:
    normal = dict(part)
    if "text" in part:
        normal.pop("thoughtSignature", None)
    for name in ("functionCall", "functionResponse"):
        if name in part:
            normal[name] = {key: value for key, value in part[name].items() if has_ids or key != "id"}
    if "functionResponse" in part:
        said = only(part["functionResponse"]["response"])
        normal["functionResponse"]["response"] = parsed(said)
    if "inlineData" in part:
        data = part["inlineData"]["data"].replace("-", "+").replace("_", "/")
        normal["inlineData"] = part["inlineData"] | {"data": data}
    return normal


def parsed(said: Any) -> Any:
    """A tool's answer is text in a chat: an object went in as JSON."""
    try:
        return json.loads(said) if isinstance(said, str) and said.startswith("{") else said
    except ValueError:
        return said


def declaration_normal(declaration: Body) -> Body:
    schema = declaration.get("parametersJsonSchema") or declaration.get("parameters") or {}
    normal = {"name": declaration["name"], "description": declaration.get("description") or ""}
    schema = cleaned(lower_types(schema))
    return normal | ({"schema": schema} if schema.get("properties") else {})


def cleaned(schema: Any) -> Any:
    """A schema without what Google's own dialect of schemas leaves out."""
    if isinstance(schema, list):
        return [cleaned(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: cleaned(value) for key, value in inner.items()} if name == "properties" else cleaned(inner)
        for name, inner in schema.items()
        if name not in ("additionalProperties", "title", "default", "$schema")
    }


def without(value: Any, names: set[str]) -> Any:
    """The value without the members of these names, at any depth."""
    if isinstance(value, list):
        return [without(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: without(inner, names) for name, inner in value.items() if name not in names}
