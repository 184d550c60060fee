"""GET /key and /auth/key: what a key may know about itself (api.md 11)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..builtin.limits import Effective, effective
from ..call import Identity
from ..ledger import Account, resets_at
from ..prices import usd
from ..store.generations import day_of
from . import Request, Route

UNLIMITED = 2147483647
WINDOWS = {"": None, "_daily": "daily", "_weekly": "weekly", "_monthly": "monthly"}


async def current(request: Request) -> dict[str, Any]:
    """The key that asks: its limits, and what it has used."""
    server, identity = request.server, request.caller
    now = server.clock.wall()
    account = server.ledger.account(identity)
    limits = effective(identity, server.settings.limits)
    budget = _budget(identity, account, now)
    left = account.left(identity, now)
    data = {
        "hash": identity.hash,
        "id": identity.id,
        "name": identity.name,
        "label": identity.label,
        "key_type": "management" if identity.management else "regular",
        "disabled": identity.disabled,
        "limit": None if identity.limit is None else usd(identity.limit),
        "limit_remaining": None if left is None else usd(max(0, left)),
        "limit_reset": identity.limit_reset,
        "include_byok_in_limit": identity.include_byok_in_limit,
        **usage(account, now),
        "allowed_providers": identity.allowed_providers,
        "allowed_models": identity.allowed_models,
        "allowed_endpoints": identity.allowed_endpoints,
        "scopes": sorted(identity.scopes),
        "tags": identity.tags,
        "default_model": identity.default_model,
        "compat": identity.compat,
        "rate_limit": rate_limit(limits),
        "guardrail_id": identity.guardrail_id,
        "created_at": moment(identity.created_unix) if identity.created_unix else None,
        "updated_at": moment(identity.updated_unix) if identity.updated_unix else None,
        "expires_at": moment(identity.expires_unix) if identity.expires_unix else None,
        "creator_user_id": None,
        "organization_id": None,
        "workspace_id": identity.workspace_id,
        "can_reveal": False,
        "is_free_tier": False,
        "is_management_key": identity.management,
        "is_provisioning_key": identity.management,
        "free_model_daily_requests": _requests_today(limits, account, now),
        "allowed_data_regions": ["global"],
        "budgets": [] if budget is None else [budget],
        "effective_budget": budget,
    }
    return {"data": data}


def usage(account: Account, now: float) -> dict[str, float]:
    """What a key has spent, ever and in the windows that hold now, in USD."""
    day = day_of(now)
    spent = {f"usage{name}": usd(account.charged(window, day)) for name, window in WINDOWS.items()}
    return spent | {f"byok_usage{name}": usd(account.byok(window, day)) for name, window in WINDOWS.items()}


def rate_limit(limits: Effective) -> dict[str, Any]:
    """The limits on requests as the contract names them; -1 is none."""
    return {
        "requests": _or_none(limits.rpm),
        "interval": "1m",
        "note": "-1 means no limit; X-RateLimit-* tells what is left",
        "requests_per_minute": _or_none(limits.rpm),
        "tokens_per_minute": _or_none(limits.tpm),
        "requests_per_day": _or_none(limits.rpd),
        "max_parallel": _or_none(limits.parallel),
    }


def moment(unix: float) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _budget(identity: Identity, account: Account, now: float) -> dict[str, Any] | None:
    """The key's limit in the form in which clients expect budgets."""
    left = account.left(identity, now)
    if identity.limit is None or left is None:
        return None
    reset = identity.limit_reset
    return {
        "budget_id": None,
        "guardrail_id": None,
        "include_byok": identity.include_byok_in_limit,
        "limit_usd": usd(identity.limit),
        "remaining_usd": usd(max(0, left)),
        "reset_interval": reset,
        "resets_at": resets_at(reset, now).isoformat().replace("+00:00", "Z") if reset else None,
        "scope": "key_limit",
        "spend_usd": usd(account.charged(reset, day_of(now))),
    }


def _requests_today(limits: Effective, account: Account, now: float) -> dict[str, int]:
    limit = UNLIMITED if limits.rpd is None else limits.rpd
    used = account.requests_by_day.get(day_of(now), 0)
    return {"limit": limit, "used": used, "remaining": max(0, limit - used)}


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit


ROUTES = [
    Route(method="GET", path="/key", handler=current, scope="any"),
    Route(method="GET", path="/auth/key", handler=current, scope="any"),
]
