"""OpenAI as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Raw

from router import (
    Automatic,
    Candidate,
    Model,
    OpenAICompatible,
    Provider,
    ProviderSettings,
    ReasoningConfig,
    Timeouts,
    hookimpl,
    load_catalogue,
)
from router.wire import openai as wire

from .deviations import completes, converses, counts_completion, parameters_of, reasons, refused, refused_in_responses


class OpenAISettings(ProviderSettings):
    """`[providers.<slug>]`. `organization` and `project` are ids that OpenAI counts usage under."""

    base_url: str = "https://api.openai.com/v1"
    organization: str = ""
    project: str = ""


class OpenAI(OpenAICompatible):
    """OpenAI's chat completions, Responses and completions of text. What its models refuse is in deviations.py."""

    name = "openai"
    speaks: Mapping[str, str] = {  # type: ignore[misc]  # as in the base class
        **OpenAICompatible.speaks,
        "openai.responses": "/responses",
        "openai.completions": "/completions",
    }
    Settings: ClassVar[type[ProviderSettings]] = OpenAISettings
    automatic = (Automatic(slug="openai", environment="OPENAI_API_KEY"),)
    base64_vectors = True
    keeps = frozenset()
    stop_limit = 4

    def __init__(self, slug: str, settings: OpenAISettings, timeouts: Timeouts) -> None:
        super().__init__(slug, settings, timeouts)
        self._efforts = {model.id: frozenset(model.efforts) for model in self.catalogue() if model.efforts}

    def catalogue(self) -> list[Model]:
        """OpenAI's models. Those of sound and moderation, which the source of the catalogue does not have, are listed by hand."""
        return [*load_catalogue(__name__), *load_catalogue(__name__, "media.json")]

    def unknown(self, id: str) -> Model:
        """A new, dated or fine-tuned model: what its family takes."""
        return Model(id=id, name=id, parameters=sorted(parameters_of(id)), reasoning=reasons(id), tokenizer="GPT")

    def searches(self, model: str) -> bool:
        """In chat completions only those models do that always do."""
        return "-search-" in model

    def relays(self, dialect: str, candidate: Candidate) -> bool:
        """Not all models have all three APIs."""
        match dialect:
            case "openai.responses":
                return converses(candidate.endpoint.model.id)
            case "openai.completions":
                return completes(candidate.endpoint.model.id)
        return super().relays(dialect, candidate)

    def raw_patch(self, dialect: str, members: dict[str, Raw], candidate: Candidate) -> None:
        """Leave out what the model would refuse."""
        if dialect != "openai.responses":
            super().raw_patch(dialect, members, candidate)
            return
        reasoning = members.get("reasoning", Raw(b"null"))
        told = wire.decode_any(reasoning)
        effort = told.get("effort") if isinstance(told, dict) else None
        for name in refused_in_responses(candidate.endpoint.model.id, effort) & members.keys():
            del members[name]

    def adapt_embedding(self, members: dict[str, Raw]) -> None:
        """What vectors are for is nothing that it can be told."""
        members.pop("input_type", None)
        super().adapt_embedding(members)

    def headers(self, key: str) -> dict[str, str]:
        """The credential, and whom OpenAI is to count the usage for."""
        told = super().headers(key)
        if self.settings.organization:
            told["OpenAI-Organization"] = self.settings.organization
        if self.settings.project:
            told["OpenAI-Project"] = self.settings.project
        return told

    def max_tokens_member(self, model: str) -> str:
        """Reasoning models count all that they write, thinking too."""
        return "max_completion_tokens" if counts_completion(model) else "max_tokens"

    def developer_role(self, model: str) -> bool:
        """Reasoning models have it in place of `system`."""
        return reasons(model)

    def reasoning(self, config: ReasoningConfig, model: str) -> dict[str, Any]:
        """`reasoning_effort`, in a word that the model knows; nothing for models that do not reason."""
        effort = self.effort(config, self._efforts.get(model)) if reasons(model) else None
        return {} if effort is None else {"reasoning_effort": effort}

    def adapt(self, members: dict[str, Any], model: str) -> None:
        """Leave out what the model would refuse."""
        effort = members.get("reasoning_effort")
        word = wire.decode_any(effort) if isinstance(effort, Raw) else effort
        for name in refused(model, word) & members.keys():
            del members[name]
        super().adapt(members, model)


@hookimpl
def router_providers() -> list[type[Provider]]:
    """OpenAI."""
    return [OpenAI]
