"""Mistral AI as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from router import (
    Automatic,
    ChatRequest,
    Model,
    OpenAICompatible,
    Outgoing,
    Provider,
    ProviderSettings,
    ReasoningConfig,
    Timeouts,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)

from . import errors
from .messages import fit

#: the members of a request that Mistral knows; it answers 422 to any other
KNOWN = frozenset(
    {
        *("model", "messages", "stream", "max_tokens", "temperature", "top_p", "stop", "random_seed", "n"),
        *("presence_penalty", "frequency_penalty", "response_format", "tools", "tool_choice", "parallel_tool_calls"),
        *("prompt_mode", "reasoning_effort", "metadata", "prediction", "guardrails", "prompt_cache_key", "safe_prompt"),
    }
)
#: the same for vectors
EMBEDDING = frozenset({"model", "input", "output_dimension", "output_dtype", "metadata"})
MAX_TEMPERATURE = 1.5
#: the sampling members that all of its models take, in the words of OpenAI's chat
PARAMETERS = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "n"),
        *("frequency_penalty", "presence_penalty", "response_format", "structured_outputs"),
        *("tools", "tool_choice", "parallel_tool_calls"),
    }
)


class MistralSettings(ProviderSettings):
    """`[providers.<slug>]`."""

    base_url: str = "https://api.mistral.ai/v1"


class Mistral(OpenAICompatible):
    """Mistral's chat completions: OpenAI's with other names, other rules of turns, and content in chunks.

    Nothing is relayed as it came: a client of OpenAI's could not read thinking, which is inside of the content here.
    """

    name = "mistral"
    speaks: Mapping[str, str] = {}  # type: ignore[misc]  # as in the base class
    Settings = MistralSettings
    automatic = (Automatic(slug="mistral", environment="MISTRAL_API_KEY"),)
    fetches = frozenset()  # it reads the URLs of images and documents itself
    keeps = frozenset({"prefix", "reasoning_content"})  # `fit` makes chunks of the latter
    stream_usage = False  # it comes unasked, and `stream_options` are refused

    def __init__(self, slug: str, settings: MistralSettings, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        self._facts = {model.id: model for model in self.catalogue()}

    def adapt_embedding(self, members: dict[str, Raw]) -> None:
        """It has a name of its own for the length of a vector, and answers 422 to members that it does not know."""
        if "dimensions" in members:
            members["output_dimension"] = members.pop("dimensions")
        for name in members.keys() - EMBEDDING:
            del members[name]

    def catalogue(self) -> list[Model]:
        """Mistral's models."""
        return load_catalogue(__name__)

    def unknown(self, id: str) -> Model:
        """A new or fine-tuned model takes what they all take."""
        if "embed" in id:
            return Model(id=id, name=id, output_modalities=["embeddings"], tokenizer="Mistral")
        reasons = id.startswith("magistral")
        more = {"reasoning", "include_reasoning"} if reasons else set()
        return Model(id=id, name=id, parameters=sorted(PARAMETERS | more), reasoning=reasons, tokenizer="Mistral")

    async def models(self) -> list[Model]:
        """The models that chat, as Mistral lists them now. Raises UpstreamError."""
        if not self.credentials:
            return []
        body = await self.exchange(Outgoing(path="/models", method="GET"), self.credentials[0])
        try:
            listed = _decode_list(body).data
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("the upstream's list of models cannot be read") from error
        return [self._facts.get(each.id) or self._model(each) for each in listed if each.capabilities.completion_chat]

    def _model(self, listed: _Listed) -> Model:
        model = self.unknown(listed.id)
        model.name = listed.name or listed.id
        model.created = listed.created or 0
        model.context_length = listed.max_context_length or 0
        kinds = ("image",) * bool(listed.capabilities.vision) + ("audio",) * bool(listed.capabilities.audio)
        model.input_modalities = ["text", *kinds]
        model.deprecated = listed.deprecation is not None
        return model

    # --- deviations ---

    def max_tokens_member(self, model: str) -> str:
        """The limit of output tokens has its old name."""
        return "max_tokens"

    def reasons(self, model: str) -> bool:
        """Does it think, always or when asked?"""
        return (self._facts.get(model) or self.unknown(model)).reasoning

    def reasoning(self, config: ReasoningConfig, model: str) -> dict[str, Any]:
        """Hybrid models have two efforts, `high` and `none`; the magistral ones always think, in a mode of the prompt."""
        facts = self._facts.get(model) or self.unknown(model)
        if facts.efforts and (config.on or config.off):
            return {"reasoning_effort": self.effort(config, frozenset(facts.efforts))}
        return {"prompt_mode": "reasoning"} if facts.reasoning and config.on else {}

    def adapt(self, members: dict[str, Any], model: str) -> None:
        """Mistral's names at the top level, and nothing that it does not know."""
        super().adapt(members, model)
        if (seed := members.pop("seed", None)) is not None:
            members["random_seed"] = seed % 2**63
        if members.get("tool_choice") == "required":
            members["tool_choice"] = "any"
        if (members.get("temperature") or 0) > MAX_TEMPERATURE:
            members["temperature"] = MAX_TEMPERATURE
        if isinstance(form := members.get("response_format"), dict) and form["type"] not in _FORMS:
            del members["response_format"]
        if "tools" in members:
            members["tools"] = [_tool(each) for each in members["tools"] if isinstance(each, dict)]
            if isinstance(choice := members.get("tool_choice"), dict):
                members["tools"] = [
                    each for each in members["tools"] if each["function"]["name"] == choice["function"]["name"]
                ]
                members["tool_choice"] = "any"
        if not members.get("tools"):
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                members.pop(name, None)
        for name in members.keys() - KNOWN:
            del members[name]

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[str], list[str]]:
        """The request in Mistral's form."""
        body, dropped, warnings = super().body(request)
        if "random_seed" in body:
            dropped.remove("seed")
        if request.temperature is not None and request.temperature > MAX_TEMPERATURE:
            warnings.append(f"temperature: Mistral takes at most {MAX_TEMPERATURE}, which was sent")
        if any(tool.server is not None for tool in request.tools):
            dropped.append("tools")
        body["messages"], lost = fit(body["messages"], thinks=self.reasons(request.model))
        return body, sorted({*dropped, *lost}), warnings

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong, in Mistral's forms."""
        return super().error(status, headers, errors.plain(body))


_FORMS = ("text", "json_object", "json_schema")
_NO_PARAMETERS = {"type": "object", "properties": {}}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """`parameters` must be there."""
    return {"type": "function", "function": {"parameters": _NO_PARAMETERS, **tool["function"]}}


class _Capabilities(Struct):
    completion_chat: bool | None = True
    vision: bool | None = None
    audio: bool | None = None


class _Listed(Struct):
    """An entry of `/models`."""

    id: str
    name: str | None = None
    created: int | None = None
    max_context_length: int | None = None
    deprecation: str | None = None
    capabilities: _Capabilities = field(default_factory=_Capabilities)


class _List(Struct):
    data: list[_Listed] = []


_decode_list = msgspec.json.Decoder(_List).decode


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Mistral."""
    return [Mistral]
