"""OpenRouter as a provider: a gateway to all families, which speaks the APIs of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, field

from router import (
    Automatic,
    Candidate,
    ChatRequest,
    Model,
    OpenAICompatible,
    Outgoing,
    Provider,
    ProviderSettings,
    UpstreamError,
    UpstreamUnavailable,
    hookimpl,
    load_catalogue,
)
from router.wire import openai as wire

from . import failures
from .listed import models_of

#: with the models of embeddings, which the list leaves out unasked
_LIST = "/models?output_modalities=all"
_CLAUDES = ("anthropic/", "~anthropic/")


class OpenRouterSettings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]` with `plugin = "openrouter"`.

    `provider` are OpenRouter's preferences among its providers, sent with every request. `referer` and `title` say on whose behalf
    the router asks.
    """

    base_url: str = "https://openrouter.ai/api/v1"
    provider: dict[str, Any] = field(default_factory=dict)
    referer: str = ""
    title: str = ""


class OpenRouter(OpenAICompatible):
    """OpenRouter's chat completions, Responses and completions of text; Anthropic's Messages for Claude."""

    name = "openrouter"
    speaks: Mapping[str, str] = {  # type: ignore[misc]  # as in the base class
        **OpenAICompatible.speaks,
        "openai.responses": "/responses",
        "openai.completions": "/completions",
        "anthropic.messages": "/messages",
    }
    passes: Mapping[str, str] = {"openai.embeddings": "/embeddings"}  # type: ignore[misc]
    Settings = OpenRouterSettings
    automatic = (Automatic(slug="openrouter", environment="OPENROUTER_API_KEY"),)
    reports_cost = True
    many_choices = False
    base64_vectors = True
    reasoning_form = "object"
    keeps = OpenAICompatible.everything
    #: each piece of thinking says whose it is, and goes to nobody else
    signed: ClassVar[frozenset[str]] = frozenset(
        {
            *("anthropic-claude-v1", "google-gemini-v1", "openai-responses-v1"),
            *("azure-openai-responses-v1", "xai-responses-v1", "unknown"),
        }
    )

    def headers(self, key: str) -> dict[str, str]:
        """The credential, and on whose behalf."""
        told = super().headers(key)
        if self.settings.referer:
            told["HTTP-Referer"] = self.settings.referer
        if self.settings.title:
            told["X-Title"] = self.settings.title
        return told

    def developer_role(self, model: str) -> bool:
        """OpenRouter knows it, and sees to the models that do not."""
        return True

    # --- models ---

    def catalogue(self) -> list[Model]:
        """The models that ship with the plugin."""
        return load_catalogue(__name__)

    async def models(self) -> list[Model]:
        """What OpenRouter lists, with prices and all. Raises UpstreamError."""
        if not self.credentials:
            return []
        body = await self.exchange(Outgoing(path=_LIST, method="GET"), self.credentials[0])
        try:
            return models_of(body)
        except msgspec.DecodeError as error:
            raise UpstreamUnavailable("OpenRouter's list of models cannot be read") from error

    # --- requests ---

    def searches(self, model: str) -> bool:
        """OpenRouter does it for all."""
        return True

    def relays(self, dialect: str, candidate: Candidate) -> bool:
        """Anthropic's clients are relayed to Claude: other models' thinking fits into chat completions only."""
        if dialect == "anthropic.messages":
            return candidate.endpoint.model.id.startswith(_CLAUDES)
        return super().relays(dialect, candidate)

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """Preferences in place of the client's, which were ours to follow."""
        if dialect not in ("openai.responses", "anthropic.messages"):
            super().raw_patch(dialect, members, candidate)
        if self.settings.provider:
            members["provider"] = Raw(wire.encode(self.settings.provider))

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[str], list[str]]:
        """The body with the preferences."""
        told, dropped, warnings = super().body(request)
        if (wanted := request.web_search) is not None:
            told.pop("web_search_options", None)
            names = ("max_uses", "include_domains", "exclude_domains", "user_location")
            told["plugins"] = [{"id": "web"} | {name: value for name in names if (value := getattr(wanted, name))}]
        return told | ({"provider": self.settings.provider} if self.settings.provider else {}), dropped, warnings

    # --- answers ---

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What went wrong, in the words of whoever knows best."""
        found, told = failures.read(status, headers, body)
        return super().error(status, headers, told) if found.kind == "invalid_request" else found


@hookimpl
def router_providers() -> list[type[Provider]]:
    """OpenRouter."""
    return [OpenRouter]
