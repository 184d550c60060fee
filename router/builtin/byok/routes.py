"""The API of keys that clients bring (api.md 14). A key goes in and never comes out again: what is shown is its label."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ...api import Request, Route
from ...api.belonging import lies_in_what_is_there
from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest
from ...store.byok import ByokKey

if TYPE_CHECKING:
    from . import Byok

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Secret = Annotated[str, Meta(min_length=1, max_length=20_000)]
Names = Annotated[list[Text], Meta(max_length=100)]
Hashes = Annotated[list[Annotated[str, Meta(pattern="^[a-f0-9]{64}$")]], Meta(max_length=100)]
Order = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
#: members that are looked at by themselves, or not at all
APART = ("key", "provider", "declared_region", "declared_zdr", "is_byok_only", "is_required")
#: members that may be nothing, and what null makes of the others
CLEARED: dict[str, Any] = {"disabled": False, "is_fallback": False, "sort_order": 0}


class ByokSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a change names; null clears a restriction."""

    key: Secret | UnsetType = UNSET
    name: Text | UnsetType | None = UNSET
    disabled: bool | UnsetType | None = UNSET
    is_fallback: bool | UnsetType | None = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    allowed_api_key_hashes: Hashes | UnsetType | None = UNSET
    allowed_user_ids: Names | UnsetType | None = UNSET
    sort_order: Order | UnsetType | None = UNSET
    declared_region: UnsetType | None = UNSET
    declared_zdr: UnsetType | None = UNSET
    is_byok_only: Literal[False] | UnsetType = UNSET
    is_required: Literal[False] | UnsetType = UNSET


class NewByokKey(ByokSettings, kw_only=True, forbid_unknown_fields=True):
    """A key at a provider. Without `workspace_id` it serves all workspaces."""

    provider: Text
    key: Secret
    workspace_id: Text | UnsetType | None = UNSET


class ByokView(Struct, kw_only=True):
    """What is shown of a key. The last four are for OpenRouter's clients, which insist on them; there is no such thing here."""

    id: str
    provider: str
    name: str | None
    label: str
    disabled: bool
    is_fallback: bool
    allowed_models: list[str] | None
    allowed_api_key_hashes: list[str] | None
    allowed_user_ids: list[str] | None
    sort_order: int
    workspace_id: str | None
    created_at: str
    updated_at: str
    declared_region: None = None
    declared_zdr: None = None
    is_byok_only: Literal[False] = False
    is_required: Literal[False] = False


class ByokFound(Struct):
    """One key."""

    data: ByokView


class ByokList(Struct):
    """A part of the keys, by provider and there in their order."""

    data: list[ByokView]
    total_count: int


class ByokDeleted(Struct):
    """It is gone."""

    deleted: Literal[True] = True


class ByokQuery(Struct, kw_only=True):
    """Which part."""

    offset: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    provider: str | None = None
    workspace_id: str | None = None


def routes(plugin: Byok) -> list[Route]:
    """The routes; where keys cannot be encrypted they say what is missing."""

    async def listed(request: Request, query: ByokQuery) -> ByokList:
        """Keys that clients have brought for providers."""
        plugin.vault  # noqa: B018 - raises where there is none
        found = [
            key
            for key in plugin.keys.all()
            if query.provider in (None, key.provider)
            and (query.workspace_id is None or key.workspace_id in (None, query.workspace_id))
        ]
        return ByokList([shown(key) for key in found[query.offset :][: query.limit]], len(found))

    async def create(request: Request, body: NewByokKey) -> ByokFound:
        """Bring a key for a provider. It is encrypted, and not shown again."""
        vault, now = plugin.vault, request.server.clock.wall()
        _check_provider(request, body.provider)
        settings = _settings(request, body)
        id = str(uuid.uuid4())
        key = ByokKey(
            id=id,
            provider=body.provider,
            label=label_of(body.key),
            sealed=vault.close(body.key, id),
            created_unix=now,
            updated_unix=now,
            **{"name": None, **settings},
        )
        await plugin.keys.put(key, request.change("byok.create", id, provider=body.provider, **settings))
        return ByokFound(shown(key))

    async def one(request: Request) -> ByokFound:
        """One of them."""
        plugin.vault  # noqa: B018
        return ByokFound(shown(plugin.keys.one(request.http.match_info["id"])))

    async def update(request: Request, body: ByokSettings) -> ByokFound:
        """Change what is named; another `key` takes the place of the old one."""
        vault = plugin.vault
        old = plugin.keys.one(request.http.match_info["id"])
        settings = _settings(request, body)
        noted = dict(settings)
        if isinstance(body.key, str):
            settings |= {
                "sealed": vault.close(body.key, old.id),
                "label": label_of(body.key),
                "version": old.version + 1,
            }
            noted["key"] = "replaced"
        new = msgspec.structs.replace(old, **settings, updated_unix=request.server.clock.wall())
        await plugin.keys.put(new, request.change("byok.update", old.id, **noted))
        return ByokFound(shown(new))

    async def delete(request: Request) -> ByokDeleted:
        """Take a key away."""
        plugin.vault  # noqa: B018
        key = plugin.keys.one(request.http.match_info["id"])
        await plugin.keys.delete(key, request.change("byok.delete", key.id, provider=key.provider))
        return ByokDeleted()

    return [
        Route(method="GET", path="/byok", handler=listed, scope=MANAGE),
        Route(method="POST", path="/byok", handler=create, scope=MANAGE, status=201, once=True),
        Route(method="GET", path="/byok/{id}", handler=one, scope=MANAGE),
        Route(method="PATCH", path="/byok/{id}", handler=update, scope=MANAGE, alone=True),
        Route(method="DELETE", path="/byok/{id}", handler=delete, scope=MANAGE, alone=True),
    ]


MANAGE = "config:manage"


def shown(key: ByokKey) -> ByokView:
    """All but the key itself."""
    names = [name for name in ByokView.__struct_fields__ if hasattr(key, name)]
    return ByokView(
        **{name: getattr(key, name) for name in names},
        created_at=moment(key.created_unix),
        updated_at=moment(key.updated_unix),
    )


def label_of(secret: str) -> str:
    """Enough of a key to know it again."""
    return f"{secret[:3]}...{secret[-4:]}" if len(secret) >= 16 else "..."


def _settings(request: Request, body: ByokSettings) -> dict[str, Any]:
    """The members of a ByokKey that this sets, but for the key. Raises BadRequest."""
    if isinstance(body.key, str) and not (body.key.isprintable() and body.key == body.key.strip()):
        raise BadRequest(
            "key: it has white space around it or control characters in it, which no request could carry", param="key"
        )
    named = {name: value for name, value in given(body).items() if name not in APART}
    settings = {name: CLEARED.get(name) if value is None else value for name, value in named.items()}
    lies_in_what_is_there(request, settings)
    hashes = settings.get("allowed_api_key_hashes")
    if hashes is not None and not hashes:
        raise BadRequest(
            "allowed_api_key_hashes: name at least one key; null lifts the restriction", param="allowed_api_key_hashes"
        )
    for hash in hashes or ():
        if request.server.keys.get(hash) is None:
            raise BadRequest(
                f"allowed_api_key_hashes: there is no key {hash}; GET /keys lists what there is",
                param="allowed_api_key_hashes",
            )
    return settings


def _check_provider(request: Request, slug: str) -> None:
    if slug not in request.server.providers:
        known = ", ".join(sorted(request.server.providers)[:20]) or "none"
        raise BadRequest(
            f"provider: no provider {slug[:100]!r} is configured here; there are {known}", param="provider"
        )
