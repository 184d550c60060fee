"""One provider of each wire format, and what it cannot say."""

from __future__ import annotations

from router_anthropic import Anthropic
from router_bedrock import Bedrock
from router_cohere import Cohere
from router_gemini import Gemini
from router_mistral import Mistral
from router_ollama import Ollama
from router_openai import OpenAI
from router_openai_compatible import Compatible

from router.provider import Provider
from router.settings import Timeouts, convert

#: plugin, model, further settings
KINDS: dict[str, tuple[type[Provider], str, dict[str, str]]] = {
    "openai": (OpenAI, "gpt-4o-mini", {}),
    "openai-compatible": (Compatible, "some-model", {"base_url": "http://127.0.0.1:1/v1"}),
    "anthropic": (Anthropic, "claude-sonnet-4-5", {}),
    "gemini": (Gemini, "gemini-2.5-flash", {}),
    "bedrock": (Bedrock, "anthropic.claude-3-7-sonnet-20250219-v1:0", {"region": "eu-north-1"}),
    "mistral": (Mistral, "mistral-small-latest", {}),
    "cohere": (Cohere, "command-a-03-2025", {}),
    "ollama": (Ollama, "qwen3:8b", {}),
}

#: members of a request that an upstream has no word for, or cannot be told by every client
LACKS: dict[str, set[str]] = {
    "openai": {"thoughts", "failed"},
    "openai-compatible": {"thoughts", "failed"},
    "anthropic": set(),
    "gemini": {"thoughts"},
    "bedrock": set(),
    "mistral": {"thoughts", "failed"},
    "cohere": {"thoughts", "failed", "files"},
    "ollama": {"thoughts", "failed", "files", "forced"},
}
#: the same of client APIs
UNSPOKEN: dict[str, set[str]] = {
    "chat": {"failed"},
    "anthropic": set(),
    "gemini": {"thoughts"},
    "responses": {"failed", "thoughts", "stop"},
}


def made(name: str) -> Provider:
    """An instance."""
    kind, _, more = KINDS[name]
    settings = convert({"plugin": kind.name, "api_key": "a-key-of-tests", **more}, kind.Settings, "providers.it")
    return kind("it", settings, Timeouts())
