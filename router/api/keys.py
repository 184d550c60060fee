"""Keys (api.md 11): what a key may know about itself, and for who manages: all keys, new ones, changes."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from msgspec import Meta, Struct, structs

from ..account import Account, resets_at
from ..balance import Layer
from ..builtin.limits import Effective, effective
from ..errors import Conflict, Forbidden
from ..identity import INFERENCE_SCOPES, MANAGEMENT_SCOPES, Identity
from ..prices import usd
from ..store.generations import day_of
from . import Request, Route, shapes
from .belonging import lies_in_what_is_there
from .key import Key, key_of
from .key_settings import KeySettings, NewKey, settings_of

UNLIMITED = 2147483647
MOST_KEYS = 1000
DEFAULT_KEYS = 100
LONGEST_GRACE_S = 30 * 86400


class Which(Struct, kw_only=True):
    """Which part of the keys. `limit` and `page_size` are the same."""

    offset: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_KEYS)] | None = None
    page_size: Annotated[int, Meta(ge=1, le=MOST_KEYS)] | None = None
    page_token: str | None = None
    include_disabled: bool = False
    include_expired: bool = True
    workspace_id: str | None = None


class KeyList(Struct):
    """A part of the keys, newest first."""

    data: list[Key]
    total_count: int
    next_page_token: str | None


class KeyMade(Struct):
    """A new key: this is the only time that it is shown."""

    data: Key
    key: str
    hash: str
    name: str


class KeyFound(Struct):
    """One key."""

    data: Key


class Deleted(Struct):
    """It is gone."""

    deleted: bool = True


class KeyDeleted(Struct):
    """It is gone, in both layouts."""

    data: Deleted
    deleted: bool = True


class Rotation(Struct, forbid_unknown_fields=True):
    """How a key gets a new secret: the old one holds for so long."""

    grace_seconds: Annotated[float, Meta(ge=0, le=LONGEST_GRACE_S)] = 0


class KeyRotated(Struct):
    """The new secret, shown this once."""

    data: Key
    key: str


# --- all keys --------------------------------------------------------------------------------------------------------


async def listed(request: Request, query: Which) -> KeyList:
    """A part of the keys, newest first; those that are disabled only where they are asked for."""
    workspace = request.server.workspaces.find(query.workspace_id) if query.workspace_id else None
    page = await request.server.keys.page(
        query.limit or query.page_size or DEFAULT_KEYS,
        offset=query.offset or 0,
        after=query.page_token or None,
        include_disabled=query.include_disabled,
        include_expired=query.include_expired,
        workspace_id=workspace.id if workspace is not None else query.workspace_id or None,
    )
    return KeyList([shown(request, each) for each in page.keys], page.total, page.next)


async def create(request: Request, body: NewKey) -> KeyMade:
    """Make a key."""
    settings = settings_of(body)
    management = body.key_type == "management"
    if management:
        settings.setdefault("scopes", request.caller.scopes & MANAGEMENT_SCOPES)
    request.server.keys.check(management=management, **settings)
    lies_in_what_is_there(request, settings)
    _may_give(request.caller, settings.get("scopes", frozenset()))
    plain, identity = await request.server.keys.create(
        settings.pop("name"), management=management, change=request.change("key.create", ""), **settings
    )
    return KeyMade(shown(request, identity), plain, identity.hash, identity.name)


async def one(request: Request) -> KeyFound:
    """One key by its hash or id."""
    return KeyFound(shown(request, await request.server.keys.one(request.http.match_info["hash"])))


async def update(request: Request, body: KeySettings) -> KeyFound:
    """Change what is named; null clears."""
    old = await _mine(request)
    settings = settings_of(body, old)
    request.server.keys.check(management=old.management, **settings)
    lies_in_what_is_there(request, settings)
    _may_give(request.caller, settings.get("scopes", frozenset()))
    new = await request.server.keys.update(old.hash, change=request.change("key.update", ""), **settings)
    return KeyFound(shown(request, new))


async def delete(request: Request) -> KeyDeleted:
    """Take a key away for good."""
    old = await _mine(request)
    await request.server.keys.delete(old.hash, change=request.change("key.delete", ""))
    return KeyDeleted(Deleted())


async def rotate(request: Request, body: Rotation) -> KeyRotated:
    """A new secret with the same settings."""
    old = await _mine(request)
    plain, new = await request.server.keys.rotate(
        old.hash, grace_s=body.grace_seconds, change=request.change("key.rotate", "")
    )
    return KeyRotated(shown(request, new), plain)


async def reveal(request: Request) -> NoReturn:
    """Raises Conflict, always."""
    await request.server.keys.one(request.http.match_info["hash"])
    raise Conflict(
        "a key is shown once, when it is made; only its hash is kept. POST /keys/{hash}/rotate gives it a new secret",
        code="not_revealable",
    )


def shown(request: Request, identity: Identity) -> Key:
    """A key as it is shown now."""
    server = request.server
    return key_of(identity, server.ledger.account(identity), server.settings.limits, server.clock.wall())


async def _mine(request: Request) -> Identity:
    """The key that the path names, which the caller may change: nobody gets more rights by way of another key.

    Raises NotFound, Forbidden.
    """
    found = await request.server.keys.one(request.http.match_info["hash"])
    _may_give(request.caller, found.scopes)
    return found


def _may_give(caller: Identity, scopes: frozenset[str]) -> None:
    """Raises Forbidden where a key would have rights that the caller lacks, besides those that every inference key has."""
    if more := scopes - INFERENCE_SCOPES - caller.scopes:
        raise Forbidden(f"this key lacks the scope {min(more)!r}, so it cannot give it or change a key that has it")


# --- the key that asks -----------------------------------------------------------------------------------------------


async def current(request: Request) -> dict[str, Any]:
    """The key that asks: its limit and the budgets that hold for it, and what it has used."""
    server, identity = request.server, request.caller
    now = server.clock.wall()
    account = server.ledger.account(identity)
    layers = server.ledger.layers(identity, now)
    effective_layer = _effective(layers)
    data = structs.asdict(shown(request, identity)) | {
        "workspace_id": identity.workspace_id,
        "organization_id": None,
        "is_free_tier": False,
        "is_management_key": identity.management,
        "is_provisioning_key": identity.management,
        "free_model_daily_requests": _requests_today(effective(identity, server.settings.limits), account, now),
        "allowed_data_regions": ["global"],
        "budgets": [_budget(each, now) for each in layers],
        "effective_budget": None if effective_layer is None else _budget(effective_layer, now),
    }
    return {"data": data}


def _budget(layer: Layer, now: float) -> dict[str, Any]:
    """A layer in the form in which clients expect budgets."""
    reset = layer.interval
    return {
        "budget_id": layer.budget_id,
        "guardrail_id": layer.guardrail_id,
        "include_byok": layer.include_byok,
        "limit_usd": usd(layer.limit),
        "remaining_usd": usd(max(0, layer.left)),
        "reset_interval": reset,
        "resets_at": resets_at(reset, now).isoformat().replace("+00:00", "Z") if reset else None,
        "scope": layer.scope,
        "spend_usd": usd(layer.spent),
    }


def _effective(layers: list[Layer]) -> Layer | None:
    """The one that refuses first: the first that is used up, else that with the least left."""
    spent = next((each for each in layers if each.left <= 0), None)
    return spent or min(layers, key=lambda each: each.left, default=None)


def _requests_today(limits: Effective, account: Account, now: float) -> dict[str, int]:
    limit = UNLIMITED if limits.rpd is None else limits.rpd
    used = account.requests_by_day.get(day_of(now), 0)
    return {"limit": limit, "used": used, "remaining": max(0, limit - used)}


MANAGE = "keys:manage"
ROUTES = [
    Route(method="GET", path="/key", handler=current, scope="any", answers={200: shapes.CurrentKeyFound}),
    Route(method="GET", path="/auth/key", handler=current, scope="any", answers={200: shapes.CurrentKeyFound}),
    Route(method="GET", path="/keys", handler=listed, scope=MANAGE),
    Route(method="POST", path="/keys", handler=create, scope=MANAGE, status=201, once=True),
    Route(method="GET", path="/keys/{hash}", handler=one, scope=MANAGE),
    Route(method="PATCH", path="/keys/{hash}", handler=update, scope=MANAGE),
    Route(method="PUT", path="/keys/{hash}", handler=update, scope=MANAGE),
    Route(method="DELETE", path="/keys/{hash}", handler=delete, scope=MANAGE),
    Route(method="DELETE", path="/auth/keys/{hash}", handler=delete, scope=MANAGE),
    Route(method="POST", path="/keys/{hash}/rotate", handler=rotate, scope=MANAGE, once=True),
    Route(method="POST", path="/keys/{hash}/reveal", handler=reveal, scope=MANAGE),
]
