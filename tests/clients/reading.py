"""What a model makes of a request, whichever client wrote it: forgiving of every spelling that a provider itself accepts."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from .families import Anthropic, Family, Gemini


class Seen(NamedTuple):
    """One request. `images` are data URLs, `tools` the schemas of their arguments, `forced` the tool that must be called."""

    texts: list[str]
    tools: dict[str, Any]
    forced: str
    results: list[str]
    images: list[str]
    schema: Any
    stream: bool

    @property
    def last(self) -> str:
        """The last words."""
        return self.texts[-1] if self.texts else ""


def read(family: Family, path: str, body: Any) -> Seen:
    """Read a request to a model of this family."""
    seen = _read(family, path, body)
    return seen if seen.schema is not None else seen._replace(schema=_told(seen.texts))


def _read(family: Family, path: str, body: Any) -> Seen:
    if isinstance(family, Anthropic):
        return _messages(body)
    if isinstance(family, Gemini):
        return _contents(path, _camel(body))
    return _input(body) if path.endswith("/responses") else _chat(body)


def _chat(body: Any) -> Seen:
    parts = [part for message in body["messages"] for part in _listed(message.get("content"))]
    functions = [tool["function"] for tool in body.get("tools", ())]
    choice = body.get("tool_choice")
    return Seen(
        texts=[part["text"] for part in parts if part["type"] == "text"],
        tools={each["name"]: each.get("parameters", {}) for each in functions},
        forced=choice["function"]["name"] if isinstance(choice, dict) else _only(functions, choice == "required"),
        results=[_bare(_text(each["content"])) for each in body["messages"] if each["role"] == "tool"],
        images=[part["image_url"]["url"] for part in parts if part["type"] == "image_url"],
        schema=body.get("response_format", {}).get("json_schema", {}).get("schema"),
        stream=bool(body.get("stream")),
    )


def _input(body: Any) -> Seen:
    given = body["input"]
    items = [{"content": given}] if isinstance(given, str) else given
    parts = [part for item in items for part in _listed(item.get("content"))]
    choice = body.get("tool_choice")
    return Seen(
        texts=[part["text"] for part in parts if "text" in part],
        tools={tool["name"]: tool["parameters"] for tool in body.get("tools", ())},
        forced=choice["name"] if isinstance(choice, dict) else _only(body.get("tools"), choice == "required"),
        results=[_bare(_text(item["output"])) for item in items if item.get("type") == "function_call_output"],
        images=[part["image_url"] for part in parts if part["type"] == "input_image"],
        schema=body.get("text", {}).get("format", {}).get("schema"),
        stream=bool(body.get("stream")),
    )


def _messages(body: Any) -> Seen:
    blocks = [block for message in body["messages"] for block in _listed(message["content"])]
    wanted = body.get("output_config", {}).get("format") or body.get("output_format") or {}
    choice = body.get("tool_choice", {})
    sources = [block["source"] for block in blocks if block["type"] == "image"]
    return Seen(
        texts=[block["text"] for block in blocks if block["type"] == "text"],
        tools={tool["name"]: tool["input_schema"] for tool in body.get("tools", ())},
        forced=choice.get("name") or _only(body.get("tools"), choice.get("type") == "any"),
        results=[_bare(_text(block["content"])) for block in blocks if block["type"] == "tool_result"],
        images=[f"data:{source['media_type']};base64,{source['data']}" for source in sources],
        schema=wanted.get("schema"),
        stream=bool(body.get("stream")),
    )


def _contents(path: str, body: Any) -> Seen:
    parts = [part for turn in _many(body["contents"]) for part in _many(turn["parts"])]
    config = body.get("generationConfig", {})
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    declared = [each for tool in body.get("tools", ()) for each in tool.get("functionDeclarations", ())]
    allowed = calling.get("allowedFunctionNames") or [_only(declared, calling.get("mode") == "ANY")]
    inline = [part["inlineData"] for part in parts if "inlineData" in part]
    return Seen(
        texts=[part["text"] for part in parts if "text" in part],
        tools={each["name"]: each.get("parametersJsonSchema") or each.get("parameters", {}) for each in declared},
        forced=allowed[0],
        results=[_result(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part],
        images=[f"data:{each['mimeType']};base64,{each['data']}" for each in inline],
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        stream=":streamGenerateContent" in path,
    )


def _only(tools: Any, must: bool) -> str:
    """The name of the only tool there is, where one must be called."""
    return str(tools[0]["name"]) if must and len(tools or ()) == 1 else ""


def _told(texts: list[str]) -> Any:
    """A schema in words: what litellm writes for models that it does not know."""
    found = re.search(r"Use this JSON schema:\s*```json(.*?)```", "".join(texts), re.DOTALL)
    return json.loads(found[1]) if found else None


def _camel(value: Any) -> Any:
    """Google takes snake case for camel case."""
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"(?<=[a-z])_([a-z])", lambda at: at[1].upper(), name): _camel(each) for name, each in value.items()}


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _listed(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _text(content: Any) -> str:
    return "".join(part["text"] for part in _listed(content))


def _bare(text: str) -> str:
    """Results of Gemini's clients are objects, which other models get as JSON."""
    value = json.loads(text) if text.startswith("{") else text
    return _result(value) if isinstance(value, dict) else text


def _result(response: Any) -> str:
    """A result has a name or none, whichever the client likes."""
    return str(next(iter(response.values()))) if len(response) == 1 else json.dumps(response)
