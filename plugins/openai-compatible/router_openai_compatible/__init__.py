"""Any server that speaks OpenAI's chat completions, with presets for the well-known ones (presets.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from msgspec import Raw, field
from msgspec.structs import replace

from router import (
    Automatic,
    Model,
    OpenAICompatible,
    Price,
    Provider,
    ProviderSettings,
    ReasoningConfig,
    Timeouts,
    hookimpl,
    load_catalogue,
)
from router.wire import openai as wire

from .presets import PLAIN, PRESETS, SAMPLERS, SAMPLING, Preset, ReasoningForm

#: members that a model may lack though its upstream knows them
_MAY_LACK = SAMPLING | {"stop", "seed"}
#: o4-mini, openai/gpt-5-mini and their like, but not gpt-oss
_OPENAI_REASONING = re.compile(r"(?:^|/)(?:o\d|gpt-5|codex)")
_WITH_SCHEMA = "Answer with JSON that fits this JSON schema, and nothing else:\n"


class CompatibleSettings(ProviderSettings):
    """`[providers.<slug>]` with `plugin = "openai-compatible"`.

    `preset` names an entry of presets.py; without one `base_url` is needed, and the server is taken to do all that OpenAI does.
    The rest changes single answers of the preset (see `Preset`): `drop` are further members of requests that are not to be sent.
    """

    preset: str = ""
    discover: bool | None = None  # type: ignore[assignment]  # None: as the preset has it
    local: bool | None = None  # type: ignore[assignment]
    think_tags: bool | None = None
    max_tokens: Literal["max_tokens", "max_completion_tokens"] | None = None
    reasoning: ReasoningForm | None = None
    drop: list[str] = field(default_factory=list)
    stream_usage: bool | None = None
    developer_role: bool | None = None
    json_schema: bool | None = None
    image_urls: bool | None = None
    completions: bool | None = None

    def __post_init__(self) -> None:
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"preset: there is no {self.preset!r}; there are {', '.join(sorted(PRESETS))}")
        if not self.preset and not self.base_url:
            raise ValueError("base_url: it is needed where there is no preset")

    @property
    def effective(self) -> Preset:
        """The preset with the changes that this table makes."""
        preset = PRESETS[self.preset] if self.preset else PLAIN
        given = {
            name: value
            for name in (
                "think_tags",
                "max_tokens",
                "reasoning",
                "stream_usage",
                "developer_role",
                "json_schema",
                "image_urls",
                "completions",
            )
            if (value := getattr(self, name)) is not None
        }
        return replace(preset, drops=preset.drops | set(self.drop), **given)


class Compatible(OpenAICompatible):
    """One such server, as its preset describes it."""

    name = "openai-compatible"
    Settings = CompatibleSettings
    automatic = (
        *(
            Automatic(slug=name, environment=each.environment, settings={"preset": name})
            for name, each in PRESETS.items()
            if each.environment
        ),
        *(
            Automatic(slug=name, probe=each.probe, settings={"preset": name})
            for name, each in PRESETS.items()
            if each.probe
        ),
    )
    # What the preset decides is the instance's own.
    needs_key: bool = True  # type: ignore[misc]
    many_choices: bool = True  # type: ignore[misc]
    reports_cost: bool = False  # type: ignore[misc]
    fetches: frozenset[str] = OpenAICompatible.fetches  # type: ignore[misc]

    def __init__(self, slug: str, settings: CompatibleSettings, timeouts: Timeouts) -> None:
        preset = self.preset = settings.effective
        settings = replace(
            settings,
            base_url=settings.base_url or preset.base_url,
            discover=preset.local if settings.discover is None else settings.discover,
            local=preset.local if settings.local is None else settings.local,
        )
        self.needs_key = bool(preset.environment)
        self.many_choices = preset.many_choices
        self.reports_cost = preset.reports_cost
        self.drops = preset.drops | (SAMPLERS - preset.samplers)
        self.stop_limit = preset.stop_limit
        self.stream_usage = preset.stream_usage
        self.reasoning_form = "thinking" if preset.reasoning == "thinking" else "effort"
        # Nobody knows what a server without a preset is; it may be a gateway, so it is told what the client said.
        self.keeps = frozenset({preset.replays} if preset.replays else ()) if settings.preset else self.everything
        if not preset.image_urls:
            self.fetches = OpenAICompatible.fetches | {"image"}
        super().__init__(slug, settings, timeouts)
        if not preset.image_urls:
            self.speaks = {}  # what is fetched cannot be relayed as it came
        if preset.completions:
            self.speaks = {**self.speaks, "openai.completions": "/completions"}
        self._facts = {model.id: model for model in self.catalogue()}
        self._lacking = lru_cache(1000)(self._not_taken)

    # --- models ---

    def catalogue(self) -> list[Model]:
        """The models of the preset."""
        if not self.preset.catalogue:
            return []
        return load_catalogue(__name__, f"catalogues/{self.settings.preset}.json")

    def unknown(self, id: str) -> Model:
        """A model takes what its upstream takes; on one's own machine it is free."""
        price = Price() if self.settings.local else None
        if "embed" in id.lower():
            return Model(id=id, name=id, output_modalities=["embeddings"], price=price)
        return Model(
            id=id,
            name=id,
            input_modalities=["text", "image"],
            parameters=sorted(self.preset.parameters(id, reasoning=False)),
            price=price,
        )

    async def models(self) -> list[Model]:
        """What the upstream lists, with what is known of it. Raises UpstreamError."""
        return [
            self._facts.get(each.id)
            or replace(
                self.unknown(each.id),
                name=each.name or each.id,
                created=each.created,
                context_length=each.context_length,
            )
            for each in await super().models()
        ]

    # --- deviations, on both lanes ---

    @property
    def think_tags(self) -> bool:
        """Thinking comes inside of the text."""
        return self.preset.think_tags

    def max_tokens_member(self, model: str) -> str:
        """What the limit of output tokens is called. OpenAI's reasoning models refuse `max_tokens`, whoever serves them."""
        if self.settings.max_tokens is None and _OPENAI_REASONING.search(model):
            return "max_completion_tokens"
        return self.preset.max_tokens

    def developer_role(self, model: str) -> bool:
        """Is the role `developer` known?"""
        return self.preset.developer_role

    def reasoning(self, config: ReasoningConfig, model: str) -> dict[str, Any]:
        """The members that ask for thinking; none where the model does not think or cannot be told how much."""
        facts = self._facts.get(model)
        if not (config.on or config.off) or (facts is not None and not facts.reasoning):
            return {}
        known = self.preset.efforts if facts is None else frozenset(facts.efforts)
        if config.off and facts is None:
            known &= {"none", "minimal"}  # a model that nobody knows may have no efforts at all
        effort = self.effort(config, known)
        by_effort = {} if effort is None else {"reasoning_effort": effort}
        if self.preset.reasoning == "reasoning_effort" or ("gpt-oss" in model and self.preset.reasoning != "none"):
            return by_effort
        if facts is not None and "none" not in known:
            return by_effort if config.on else {}  # it always thinks
        switch = _SWITCHES[self.preset.reasoning](config)
        return {**switch, **by_effort} if config.on and config.effort else switch

    def adapt(self, members: dict[str, Any], model: str) -> None:
        """The preset's deviations at the top level of a body, and in its messages."""
        super().adapt(members, model)
        preset, facts = self.preset, self._facts.get(model)
        for name in self._lacking(model) & members.keys():
            del members[name]
        if facts is not None and facts.reasoning and "gpt-oss" not in model:
            members |= {name: value for name, value in _as(members, preset.adds).items() if name not in members}
        if "temperature" in members and preset.temperature_limit < _plain(members["temperature"]):
            members |= _as(members, {"temperature": preset.temperature_limit})
        for name in preset.renames.keys() & members.keys():
            members[preset.renames[name]] = members.pop(name)
        if "tool_choice" in members:
            _choose(members, preset.tool_choices)
        if not preset.json_schema and "response_format" in members:
            _without_schema(members)
        if isinstance(members.get("messages"), Raw):
            self._patch_messages(members)
        elif not preset.names:
            for message in members.get("messages", ()):
                message.pop("name", None)

    def _not_taken(self, model: str) -> frozenset[str]:
        """Members that the model does not take, though its upstream knows them."""
        facts = self._facts.get(model)
        return _MAY_LACK - (self.preset.parameters(model, reasoning=False) if facts is None else set(facts.parameters))

    def _patch_messages(self, members: dict[str, Any]) -> None:
        """Names that are refused; thinking that comes back under another name than the upstream gave it."""
        replays = self.preset.replays
        if self.preset.names and not replays:
            return
        data = bytes(members["messages"])
        if not self.preset.names and b'"name"' in data:
            _edit(members, lambda message: message.pop("name", None))
        if replays and b'"reasoning' in data:
            _edit(members, lambda message: _replay(message, replays))


_SWITCHES: dict[str, Callable[[ReasoningConfig], dict[str, Any]]] = {
    "thinking": lambda config: {"thinking": {"type": "disabled" if config.off else "enabled"}},
    "reasoning": lambda config: {"reasoning": {"enabled": config.on}},
    "enable_thinking": lambda config: (
        {"enable_thinking": config.on} | ({"thinking_budget": config.max_tokens} if config.max_tokens else {})
    ),
    # Some templates call the switch `thinking`, and pass over the other one.
    "chat_template_kwargs": lambda config: {
        "chat_template_kwargs": {"enable_thinking": config.on, "thinking": config.on}
    },
    "none": lambda config: {},
}

# --- bodies whose values are either the client's own bytes or plain ---------------------------------------------------


def _plain(value: Any) -> Any:
    return wire.decode_any(value) if isinstance(value, Raw) else value


def _as(members: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values in the way of this body."""
    if isinstance(members.get("model"), Raw):
        return {name: Raw(wire.encode(value)) for name, value in values.items()}
    return values


def _choose(members: dict[str, Any], taken: frozenset[str]) -> None:
    """`auto` in place of a choice that is not taken; no tools at all in place of `none`."""
    choice = _plain(members["tool_choice"])
    mode = choice if isinstance(choice, str) else "named"
    if mode in taken:
        return
    del members["tool_choice"]
    if mode == "none":
        for name in ("tools", "parallel_tool_calls"):
            members.pop(name, None)


def _without_schema(members: dict[str, Any]) -> None:
    """`json_object` in place of `json_schema`; the schema as the first message."""
    wanted = _plain(members["response_format"])
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return
    schema = _plain(wanted.get("json_schema", {}).get("schema", {}))
    said = {"role": "system", "content": _WITH_SCHEMA + wire.encode(schema).decode()}
    members |= _as(members, {"response_format": {"type": "json_object"}})
    messages = members["messages"]
    if isinstance(messages, Raw):
        members["messages"] = Raw(wire.encode([said, *wire.decode_list(messages)]))
    else:
        messages.insert(0, said)


def _edit(members: dict[str, Any], change: Callable[[dict[str, Raw]], Any]) -> None:
    messages = wire.decode_list(members["messages"])
    for message in messages:
        change(message)
    members["messages"] = Raw(wire.encode(messages))


def _replay(message: dict[str, Raw], name: str) -> None:
    """Earlier thinking, from whichever member the client kept."""
    if name in message:
        return
    if "reasoning" in message:
        message[name] = message["reasoning"]
    elif "reasoning_details" in message:
        details = _plain(message["reasoning_details"])
        texts = (
            [each.get("text") or "" for each in details if isinstance(each, dict)] if isinstance(details, list) else []
        )
        message[name] = Raw(wire.encode("".join(text for text in texts if isinstance(text, str))))


@hookimpl
def router_providers() -> list[type[Provider]]:
    """One class for all presets."""
    return [Compatible]
