"""What may be said of a key by who makes or changes it, and what that means (api.md 2, 11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..errors import BadRequest
from ..identity import Identity
from ..prices import picodollars
from ..settings import CompatSettings
from .moments import unix_of
from .typed import given

Usd = Annotated[float, Meta(ge=0, lt=4_000_000)]
Count = Annotated[int, Meta(ge=-1, lt=2**53)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Names = Annotated[list[Text], Meta(max_length=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=16)]
Reset = Literal["daily", "weekly", "monthly"]
#: members that a change takes over as they are
PLAIN = (
    "name",
    "limit_reset",
    "allowed_providers",
    "allowed_models",
    "allowed_endpoints",
    "default_model",
    "guardrail_id",
    "workspace_id",
    "creator_user_id",
)
#: members that cannot be nothing: null gives them their first value again
CLEARED: dict[str, Any] = {"disabled": False, "include_byok_in_limit": False, "tags": [], "compat": {}}
LIMITS = ("rpm", "tpm", "rpd", "max_parallel")
A_MINUTE = ("1m", "60s", "minute")
A_DAY = ("1d", "24h", "day")


class RateLimitSettings(Struct, kw_only=True):
    """Limits on requests, as they are shown too; -1 is none, null the configured default."""

    requests: Count | UnsetType | None = UNSET
    interval: str | None = None
    requests_per_minute: Count | UnsetType | None = UNSET
    tokens_per_minute: Count | UnsetType | None = UNSET
    requests_per_day: Count | UnsetType | None = UNSET
    max_parallel: Count | UnsetType | None = UNSET


class KeySettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a change names. Money in USD; `limit_usd` is the same as `limit`; `rate_limit` the same as `rpm`, `tpm`, `rpd` and
    `max_parallel`. null clears."""

    name: Name | UnsetType = UNSET
    label: Name | UnsetType | None = UNSET
    key_type: Literal["regular", "management"] | UnsetType = UNSET
    disabled: bool | UnsetType | None = UNSET
    limit: Usd | UnsetType | None = UNSET
    limit_usd: Usd | UnsetType | None = UNSET
    limit_reset: Reset | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    allowed_providers: Names | UnsetType | None = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    allowed_endpoints: Names | UnsetType | None = UNSET
    scopes: Names | UnsetType | None = UNSET
    rate_limit: RateLimitSettings | UnsetType | None = UNSET
    rpm: Count | UnsetType | None = UNSET
    tpm: Count | UnsetType | None = UNSET
    rpd: Count | UnsetType | None = UNSET
    max_parallel: Count | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET
    default_model: Text | UnsetType | None = UNSET
    compat: dict[str, Any] | UnsetType | None = UNSET
    guardrail_id: Text | UnsetType | None = UNSET
    workspace_id: Text | UnsetType | None = UNSET
    creator_user_id: Text | UnsetType | None = UNSET


class NewKey(KeySettings, kw_only=True, forbid_unknown_fields=True):
    """What a new key shall be."""

    name: Name


def settings_of(body: KeySettings, old: Identity | None = None) -> dict[str, Any]:
    """The members of an Identity that this sets. `old`: the key that is changed. Raises BadRequest with `param`."""
    named = given(body)
    if old is not None and named.get("key_type", _kind(old)) != _kind(old):
        raise BadRequest(f"key_type: this is a {_kind(old)} key and stays one; make another", param="key_type")
    settings = {name: named[name] for name in PLAIN if name in named}
    settings |= {
        name: empty if named[name] is None else named[name] for name, empty in CLEARED.items() if name in named
    }
    settings |= _limit(named) | _rates(named, old)
    if "label" in named:
        settings["own_label"] = named["label"]
    if "expires_at" in named:
        settings["expires_unix"] = None if named["expires_at"] is None else expires_unix(named["expires_at"])
    if "scopes" in named and named["scopes"] is not None:
        settings["scopes"] = frozenset(named["scopes"])
    elif "scopes" in named and old is not None:
        raise BadRequest("scopes: name the scopes; [] is none", param="scopes")
    _check_compat(settings.get("compat", {}))
    return settings


def expires_unix(text: str) -> float:
    """When a key ends. Raises BadRequest."""
    try:
        return unix_of(text)
    except ValueError as error:
        raise BadRequest(f"expires_at: {error}", param="expires_at") from None


def _kind(identity: Identity) -> str:
    return "management" if identity.management else "regular"


def _limit(named: Any) -> dict[str, Any]:
    """`limit` by either name, in picodollars."""
    values = [named[name] for name in ("limit", "limit_usd") if name in named]
    if not values:
        return {}
    if values[0] != values[-1]:
        raise BadRequest("limit and limit_usd differ; they are the same, so give one", param="limit")
    return {"limit": None if values[0] is None else picodollars(values[0])}


def _rates(named: Any, old: Identity | None) -> dict[str, int | None]:
    """The limits on requests, by whatever name."""
    rates: dict[str, int | None] = {name: named[name] for name in LIMITS if name in named}
    if "rate_limit" not in named:
        return rates
    if (limits := named["rate_limit"]) is None:
        return dict.fromkeys(LIMITS) | rates
    found = {
        "rpm": limits.requests_per_minute,
        "tpm": limits.tokens_per_minute,
        "rpd": limits.requests_per_day,
        "max_parallel": limits.max_parallel,
    }
    for name, value in [*found.items(), (_window(limits), limits.requests)]:
        if value is UNSET:
            continue
        if rates.setdefault(name, value) != value:
            raise BadRequest(f"rate_limit: {name} is given twice, as {rates[name]} and {value}", param="rate_limit")
    return rates


def _window(limits: RateLimitSettings) -> str:
    """What `requests` counts."""
    interval = limits.interval or A_MINUTE[0]
    if interval in A_MINUTE:
        return "rpm"
    if interval in A_DAY:
        return "rpd"
    raise BadRequest("rate_limit.interval is 1m or 1d", param="rate_limit.interval")


def _check_compat(compat: dict[str, Any]) -> None:
    try:
        msgspec.convert(compat, CompatSettings)
    except msgspec.ValidationError as error:
        raise BadRequest(f"compat: {str(error)[:1].lower()}{str(error)[1:]}", param="compat") from None
