"""Guardrails as the API takes and shows them (api.md 14): flat members and `rules` say the same; both may be sent, both are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest
from ...prices import picodollars, usd
from ...store.guardrails import FAMILIES, INTERVALS, Action, BuiltinFilter, ContentFilter, Guardrail, Rules
from .builtins import BUILTINS
from .patterns import compiled

Usd = Annotated[float, Meta(ge=0, lt=4_000_000)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
#: no list is a list that allows nothing: null stands for no restriction
Names = Annotated[list[Text], Meta(min_length=1, max_length=1000)]
Interval = Literal["daily", "weekly", "monthly"]
MOST_FILTERS = 100


class FilterForm(Struct, kw_only=True, forbid_unknown_fields=True):
    """A content filter of the owner's. `label` stands in place of what is redacted."""

    pattern: Annotated[str, Meta(min_length=1)]
    action: Action
    label: Annotated[str, Meta(max_length=100)] | None = None


class BuiltinForm(Struct, kw_only=True, forbid_unknown_fields=True):
    """A filter that the router brings. Its label is the router's: one that is sent is passed over."""

    slug: str
    action: Action
    label: str | None = None
    scan_scope: Literal["user_only", "all_messages"] | None = None


class RulesForm(Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as the flat members, in other words."""

    max_daily_spend: Usd | UnsetType | None = UNSET
    max_weekly_spend: Usd | UnsetType | None = UNSET
    max_monthly_spend: Usd | UnsetType | None = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    blocked_models: Names | UnsetType | None = UNSET
    require_zdr: bool | UnsetType | None = UNSET


class GuardrailSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a change of a guardrail names; null clears. Money in USD."""

    name: Text | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    workspace_id: Text | UnsetType | None = UNSET
    limit_usd: Usd | UnsetType | None = UNSET
    reset_interval: Interval | UnsetType | None = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    ignored_models: Names | UnsetType | None = UNSET
    allowed_providers: Names | UnsetType | None = UNSET
    ignored_providers: Names | UnsetType | None = UNSET
    enforce_zdr: bool | UnsetType | None = UNSET
    enforce_zdr_anthropic: bool | UnsetType | None = UNSET
    enforce_zdr_google: bool | UnsetType | None = UNSET
    enforce_zdr_openai: bool | UnsetType | None = UNSET
    enforce_zdr_xai: bool | UnsetType | None = UNSET
    enforce_zdr_other: bool | UnsetType | None = UNSET
    enable_paid_model_training: bool | UnsetType | None = UNSET
    enable_free_model_training: bool | UnsetType | None = UNSET
    enable_free_model_publication: bool | UnsetType | None = UNSET
    content_filters: Annotated[list[FilterForm], Meta(max_length=MOST_FILTERS)] | UnsetType | None = UNSET
    content_filter_builtins: Annotated[list[BuiltinForm], Meta(max_length=MOST_FILTERS)] | UnsetType | None = UNSET
    include_byok_in_budgets: bool | UnsetType | None = UNSET
    rules: RulesForm | UnsetType | None = UNSET


class NewGuardrail(GuardrailSettings, kw_only=True, forbid_unknown_fields=True):
    """A new guardrail."""

    name: Text


class ShownBuiltin(Struct, kw_only=True, omit_defaults=True):
    """A filter that the router brings, with the label that stands in place of what is redacted."""

    slug: str
    action: str
    label: str
    scan_scope: str | None = None


class ShownFilter(Struct, kw_only=True):
    """A filter of the owner's."""

    pattern: str
    action: str
    label: str | None


class ShownRules(Struct, kw_only=True):
    """The same as the flat members, in other words."""

    max_daily_spend: float | None
    max_weekly_spend: float | None
    max_monthly_spend: float | None
    allowed_models: list[str] | None
    blocked_models: list[str] | None
    require_zdr: bool


class Shown(Struct, kw_only=True):
    """A guardrail. Money in USD."""

    id: str
    name: str
    description: str | None
    workspace_id: str
    limit_usd: float | None
    reset_interval: str | None
    allowed_models: list[str] | None
    ignored_models: list[str] | None
    allowed_providers: list[str] | None
    ignored_providers: list[str] | None
    enforce_zdr: bool | None
    enforce_zdr_anthropic: bool | None
    enforce_zdr_google: bool | None
    enforce_zdr_openai: bool | None
    enforce_zdr_xai: bool | None
    enforce_zdr_other: bool | None
    enable_paid_model_training: bool | None
    enable_free_model_training: bool | None
    enable_free_model_publication: bool | None
    content_filters: list[ShownFilter] | None
    content_filter_builtins: list[ShownBuiltin] | None
    include_byok_in_budgets: bool
    rules: ShownRules
    created_at: str
    updated_at: str | None


# --- in --------------------------------------------------------------------------------------------------------------

#: flat member → member of `rules`
TWICE = {
    "allowed_models": "allowed_models",
    "ignored_models": "blocked_models",
    "enforce_zdr": "require_zdr",
}
LISTS = ("allowed_models", "ignored_models", "allowed_providers", "ignored_providers")
SWITCHES = {
    "enable_paid_model_training": "paid_training",
    "enable_free_model_training": "free_training",
    "enable_free_model_publication": "free_publication",
}


def rules_of(body: GuardrailSettings, old: Rules) -> Rules:
    """The rules with what a request changes. Raises BadRequest with `param`."""
    said = dict(given(body))
    other = given(body.rules) if isinstance(body.rules, RulesForm) else {}
    for flat, name in TWICE.items():
        if name in other:
            if flat in said and said[flat] != other[name]:
                raise BadRequest(f"{flat} and rules.{name} say different things; send one of them", param=flat)
            said[flat] = other[name]
    rules = replace(old, **{name: said[name] for name in LISTS if name in said})
    for flat, name in SWITCHES.items():
        if flat in said:
            setattr(rules, name, said[flat])
    if "include_byok_in_budgets" in said:
        rules.include_byok = bool(said["include_byok_in_budgets"])
    if "content_filters" in said:
        rules.content_filters = _filters(said["content_filters"])
    if "content_filter_builtins" in said:
        rules.builtins = _builtins(said["content_filter_builtins"])
    rules.zdr = _zdr(said, old.zdr)
    rules.budgets, rules.shown = _budgets(said, other, old)
    return rules


def _zdr(said: dict[str, Any], old: dict[str, bool]) -> dict[str, bool]:
    zdr = dict(old)
    for family in FAMILIES:
        name = f"enforce_zdr_{family}"
        if name in said or "enforce_zdr" in said:
            value = said.get(name, said.get("enforce_zdr"))
            zdr.pop(family, None)
            if value is not None:
                zdr[family] = value
    return zdr


def _budgets(said: dict[str, Any], other: Any, old: Rules) -> tuple[dict[str, int], str | None]:
    """All budgets by interval, and which of them is `limit_usd`."""
    budgets, shown = dict(old.budgets), old.shown or broadest(old.budgets)
    if "limit_usd" in said or "reset_interval" in said:
        amount = _amount(said["limit_usd"]) if "limit_usd" in said else budgets.get(shown or "")
        if shown is not None:
            budgets.pop(shown, None)
        shown = (said["reset_interval"] or "lifetime") if "reset_interval" in said else shown or "lifetime"
        if amount is not None:
            budgets[shown] = amount
    for interval in ("daily", "weekly", "monthly"):
        name = f"max_{interval}_spend"
        if name not in other:
            continue
        amount = _amount(other[name])
        if said.get("limit_usd") is not None and shown == interval and amount != budgets[interval]:
            raise BadRequest(f"limit_usd and rules.{name} say different things; send one of them", param="limit_usd")
        budgets.pop(interval, None)
        if amount is not None:
            budgets[interval] = amount
    return budgets, shown if shown in budgets else broadest(budgets)


def broadest(budgets: Any) -> str | None:
    """The longest of these intervals."""
    return max(budgets, key=INTERVALS.index, default=None)


def _amount(value: float | None) -> int | None:
    return None if value is None else picodollars(value)


def _filters(forms: list[FilterForm] | None) -> list[ContentFilter] | None:
    if forms is None:
        return None
    for form in forms:
        try:
            compiled(form.pattern)
        except ValueError as error:
            raise BadRequest(
                f"content_filters: {form.pattern[:80]!r}: {error}",
                code="invalid_regex_pattern",
                param="content_filters",
            ) from None
    return [ContentFilter(pattern=each.pattern, action=each.action, label=each.label) for each in forms]


def _builtins(forms: list[BuiltinForm] | None) -> list[BuiltinFilter] | None:
    if forms is None:
        return None
    for form in forms:
        if form.slug not in BUILTINS:
            raise BadRequest(
                f"content_filter_builtins: there is no {form.slug[:50]!r} here; there are {', '.join(BUILTINS)}",
                param="content_filter_builtins",
            )
    return [BuiltinFilter(slug=each.slug, action=each.action, scan_scope=each.scan_scope) for each in forms]


# --- out -------------------------------------------------------------------------------------------------------------


def shown(guardrail: Guardrail) -> Shown:
    """A guardrail as the API shows it."""
    rules = guardrail.rules
    interval = rules.shown
    families = [rules.zdr.get(family) for family in FAMILIES]
    zdr = families[0] if len(set(families)) == 1 else None
    spend = {name: None if (amount := rules.budgets.get(name)) is None else usd(amount) for name in INTERVALS}
    return Shown(
        id=guardrail.id,
        name=guardrail.name,
        description=guardrail.description,
        workspace_id=guardrail.workspace_id,
        limit_usd=None if interval is None else spend[interval],
        reset_interval=None if interval == "lifetime" else interval,
        allowed_models=rules.allowed_models,
        ignored_models=rules.ignored_models,
        allowed_providers=rules.allowed_providers,
        ignored_providers=rules.ignored_providers,
        enforce_zdr=zdr,
        **{f"enforce_zdr_{family}": rules.zdr.get(family) for family in FAMILIES},
        **{flat: getattr(rules, name) for flat, name in SWITCHES.items()},
        content_filters=None
        if rules.content_filters is None
        else [
            ShownFilter(pattern=each.pattern, action=each.action, label=each.label) for each in rules.content_filters
        ],
        content_filter_builtins=None
        if rules.builtins is None
        else [
            ShownBuiltin(
                slug=each.slug, action=each.action, label=BUILTINS[each.slug].label, scan_scope=each.scan_scope
            )
            for each in rules.builtins
            if each.slug in BUILTINS
        ],
        include_byok_in_budgets=rules.include_byok,
        rules=ShownRules(
            max_daily_spend=spend["daily"],
            max_weekly_spend=spend["weekly"],
            max_monthly_spend=spend["monthly"],
            allowed_models=rules.allowed_models,
            blocked_models=rules.ignored_models,
            require_zdr=zdr is True,
        ),
        created_at=moment(guardrail.created_unix),
        updated_at=None if guardrail.updated_unix is None else moment(guardrail.updated_unix),
    )


__all__ = ["GuardrailSettings", "NewGuardrail", "Shown", "broadest", "rules_of", "shown"]
