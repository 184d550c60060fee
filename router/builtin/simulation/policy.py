"""The policy of a simulation: what a request's `provider` object and `[routing]` can say, and other models for those asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from ...dialects.openai_chat.fields import preferences
from ...errors import BadRequest
from ...head import Preferences
from ...planning import Table
from ...settings import RoutingSettings

#: orders that `[routing]` has and the `provider` object has not
SETTING_SORTS = ("balanced", "order")
OWN = ("aliases", "auto_models", "default_model", "deterministic", "models", "sort")


class Policy(Struct, kw_only=True):
    """How calls are to be routed. `models`: what is asked for instead, first to last, by the name that was asked for."""

    preferences: Preferences
    sort: str | None = None
    deterministic: bool | None = None
    default_model: str | None = None
    auto_models: list[str] | None = None
    models: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)

    def settings(self, now: RoutingSettings) -> RoutingSettings:
        """`[routing]` with what the policy changes."""
        changes = {
            "sort": self.sort,
            "deterministic": self.deterministic,
            "default_model": self.default_model,
            "auto_models": self.auto_models,
        }
        return replace(now, **{name: value for name, value in changes.items() if value is not None})


def policy_of(members: Mapping[str, Any], table: Table) -> Policy:
    """The policy that a JSON object describes. Raises BadRequest with the place in `param`."""
    own = {name: members[name] for name in OWN if name in members}
    sort = own.pop("sort", None)
    sort_of_settings = isinstance(sort, str) and sort in SETTING_SORTS
    others = {name: value for name, value in members.items() if name not in OWN}
    policy = Policy(
        preferences=_preferences(others if sort is None or sort_of_settings else {**others, "sort": sort}),
        sort=sort if sort_of_settings else None,
        deterministic=_member(own, "deterministic", bool | None, "true or false"),
        default_model=_member(own, "default_model", str | None, "a model"),
        auto_models=_member(own, "auto_models", list[str] | None, "a list of models"),
        models=_names(own, "models"),
        aliases=_names(own, "aliases"),
    )
    table = table.with_aliases(policy.aliases)
    for place, names in _places(policy):
        for name in names:
            if not table.find(name):
                raise BadRequest(f"{place}: there is no model {name[:100]!r}; `router models` lists them", param=place)
    return policy


def _preferences(members: Mapping[str, Any]) -> Preferences:
    try:
        return preferences(Raw(msgspec.json.encode(members))) or Preferences()
    except BadRequest as error:
        place = (error.param or "provider").replace("provider", "policy", 1)
        message = error.message.replace("provider", "policy", 1)
        if message.endswith("unknown key"):
            known = sorted({*OWN, *Preferences.__struct_fields__})
            message += f"; known are {', '.join(known)}"
        raise BadRequest(message, param=place) from None


def _member(own: Mapping[str, Any], name: str, kind: Any, wanted: str) -> Any:
    try:
        return msgspec.convert(own.get(name), kind)
    except msgspec.ValidationError:
        raise BadRequest(f"policy.{name} must be {wanted}", param=f"policy.{name}") from None


def _names(own: Mapping[str, Any], name: str) -> dict[str, list[str]]:
    """Names by name: one may stand without a list."""
    given = _member(own, name, dict[str, str | list[str]] | None, "an object of model names, or lists of them") or {}
    for each, names in given.items():
        if not names:
            raise BadRequest(f"policy.{name}.{each}: at least one model is needed", param=f"policy.{name}.{each}")
    return {each: [names] if isinstance(names, str) else names for each, names in given.items()}


def _places(policy: Policy) -> list[tuple[str, list[str]]]:
    """All models that the policy names, with where it does."""
    return [
        *((f"policy.models.{each}", names) for each, names in policy.models.items()),
        *((f"policy.aliases.{each}", names) for each, names in policy.aliases.items()),
        ("policy.auto_models", policy.auto_models or []),
        ("policy.default_model", [policy.default_model] if policy.default_model else []),
    ]


__all__ = ["Policy", "policy_of"]
