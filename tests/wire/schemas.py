"""The providers' interface descriptions of ../shared/specs as validators of requests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from .recordings import SHARED

#: dialect -> file, pointer to the request's schema
REQUESTS = {
    "openai-chat": ("openai.openapi.json", "#/components/schemas/CreateChatCompletionRequest"),
    "anthropic-messages": ("anthropic.schema.json", "#/$defs/MessageCreateParamsNonStreaming"),
    "gemini-generate": ("gemini.openapi.json", "#/components/schemas/GenerateContentRequest"),
    "mistral-chat": ("mistral.openapi.json", "#/components/schemas/ChatCompletionRequest"),
    "ollama-chat": ("ollama.openapi.json", "#/components/schemas/ChatRequest"),
}


@cache
def validator(dialect: str) -> jsonschema.Draft202012Validator:
    """The validator of this dialect's requests."""
    file, pointer = REQUESTS[dialect]
    document = json.loads((SHARED / "specs" / file).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(document | {"$ref": pointer})


def breaches(dialect: str, body: dict[str, Any]) -> list[str]:
    """What the description has against this request: a place and a reason each."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(dialect).iter_errors(body)]
