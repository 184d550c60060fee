"""A key as it is shown, by the API and on the command line (api.md 11): never the key itself."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ..account import Account
from ..builtin.limits import Effective, effective
from ..identity import DEFAULT_WORKSPACE, Identity
from ..prices import usd
from ..settings import LimitSettings
from ..store.generations import day_of
from .moments import moment


class RateLimit(Struct, kw_only=True):
    """Limits on requests; -1 is none."""

    requests: int
    interval: str = "1m"
    note: str = "-1 means no limit; X-RateLimit-* tells what is left"
    requests_per_minute: int
    tokens_per_minute: int
    requests_per_day: int
    max_parallel: int


class Key(Struct, kw_only=True):
    """A key. Money in USD; `limit_remaining` has what is held back for calls under way taken off."""

    hash: str
    id: str
    name: str
    label: str
    key_type: str
    disabled: bool
    limit: float | None
    limit_remaining: float | None
    limit_reset: str | None
    include_byok_in_limit: bool
    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    byok_usage: float
    byok_usage_daily: float
    byok_usage_weekly: float
    byok_usage_monthly: float
    allowed_providers: list[str] | None
    allowed_models: list[str] | None
    allowed_endpoints: list[str] | None
    scopes: list[str]
    tags: list[str]
    default_model: str | None
    compat: dict[str, Any]
    rate_limit: RateLimit
    guardrail_id: str | None
    created_at: str | None
    updated_at: str | None
    last_used_at: str | None
    expires_at: str | None
    creator_user_id: str | None
    external_user: str | None = None
    workspace_id: str
    can_reveal: bool = False


def key_of(identity: Identity, account: Account, defaults: LimitSettings, now: float) -> Key:
    """What is shown of a key at this moment. `defaults` are the limits that hold where it has none of its own."""
    day = day_of(now)
    left = account.left(identity, now)
    return Key(
        hash=identity.hash,
        id=identity.id,
        name=identity.name,
        label=identity.own_label or identity.label,
        key_type="management" if identity.management else "regular",
        disabled=identity.disabled,
        limit=None if identity.limit is None else usd(identity.limit),
        limit_remaining=None if left is None else usd(max(0, left)),
        limit_reset=identity.limit_reset,
        include_byok_in_limit=identity.include_byok_in_limit,
        usage=usd(account.charged(None, day)),
        usage_daily=usd(account.charged("daily", day)),
        usage_weekly=usd(account.charged("weekly", day)),
        usage_monthly=usd(account.charged("monthly", day)),
        byok_usage=usd(account.byok(None, day)),
        byok_usage_daily=usd(account.byok("daily", day)),
        byok_usage_weekly=usd(account.byok("weekly", day)),
        byok_usage_monthly=usd(account.byok("monthly", day)),
        allowed_providers=identity.allowed_providers,
        allowed_models=identity.allowed_models,
        allowed_endpoints=identity.allowed_endpoints,
        scopes=sorted(identity.scopes),
        tags=identity.tags,
        default_model=identity.default_model,
        compat=identity.compat,
        rate_limit=rate_limit(effective(identity, defaults)),
        guardrail_id=identity.guardrail_id,
        created_at=_moment(identity.created_unix),
        updated_at=_moment(identity.updated_unix),
        last_used_at=_moment(account.last_unix),
        expires_at=_moment(identity.expires_unix),
        creator_user_id=identity.creator_user_id,
        workspace_id=identity.workspace_id or DEFAULT_WORKSPACE,
    )


def rate_limit(limits: Effective) -> RateLimit:
    """The limits on requests as the contract names them."""
    rpm = _or_none(limits.rpm)
    return RateLimit(
        requests=rpm,
        requests_per_minute=rpm,
        tokens_per_minute=_or_none(limits.tpm),
        requests_per_day=_or_none(limits.rpd),
        max_parallel=_or_none(limits.parallel),
    )


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit


def _moment(unix: float | None) -> str | None:
    return moment(unix) if unix else None
