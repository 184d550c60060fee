"""The API of webhooks (api.md 14), under ARouter's paths and as OpenRouter's observability destinations of the type `webhook`."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field
from yarl import URL

from ...api import Request, Route
from ...api.belonging import lies_in_what_is_there
from ...api.moments import moment
from ...api.typed import given
from ...errors import BadRequest, Conflict
from ...fetch import refuse_private
from ...store.webhooks import Webhook
from .delivery import Undelivered, event_body

if TYPE_CHECKING:
    from . import Webhooks

EVENTS = (
    "generation.completed",
    "generation.failed",
    "key.limit_reached",
    "balance.low",
    "provider.down",
    "batch.completed",
)
MOST = 100
#: members of OpenRouter's destinations that are taken and change nothing
WITHOUT_EFFECT = (
    "type",
    "privacy_mode",
    "sampling_rate",
    "filter_rules",
    "regions",
    "broadcast_generation_cost",
    "broadcast_generation_cost_allocation",
    "broadcast_generation_identity",
    "broadcast_generation_request_context",
)
MANAGE = "config:manage"

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Url = Annotated[str, Meta(min_length=1, max_length=2000)]
Event = Literal[
    "generation.completed",
    "generation.failed",
    "key.limit_reached",
    "balance.low",
    "provider.down",
    "batch.completed",
]
Hashes = Annotated[list[Annotated[str, Meta(pattern="^[a-f0-9]{64}$")]], Meta(min_length=1, max_length=100)]


class WebhookConfig(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to, as observability destinations have it."""

    url: Url | UnsetType = UNSET
    method: Literal["POST"] = "POST"


class WebhookSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a change names. `config.url` is the same as `url`. OpenRouter's clients say more, which changes nothing here: what is told
    of a call is always the same, and never what was said in it (`privacy_mode` is shown as true)."""

    url: Url | UnsetType = UNSET
    config: WebhookConfig | UnsetType = UNSET
    type: Literal["webhook"] | UnsetType = UNSET
    name: Text | UnsetType | None = UNSET
    events: Annotated[list[Event], Meta(min_length=1, max_length=20)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    api_key_hashes: Hashes | UnsetType | None = UNSET
    privacy_mode: bool | UnsetType = UNSET
    sampling_rate: Annotated[float, Meta(ge=1, le=1)] | UnsetType = UNSET
    filter_rules: UnsetType | None = UNSET
    regions: Annotated[list[Literal["global"]], Meta(min_length=1)] | UnsetType = UNSET
    broadcast_generation_cost: bool | UnsetType = UNSET
    broadcast_generation_cost_allocation: bool | UnsetType = UNSET
    broadcast_generation_identity: bool | UnsetType = UNSET
    broadcast_generation_request_context: bool | UnsetType = UNSET


class NewWebhook(WebhookSettings, kw_only=True, forbid_unknown_fields=True):
    """A new endpoint; without `events` it is told all of them, without `workspace_id` of calls in all workspaces."""

    workspace_id: Text | UnsetType | None = UNSET


class WebhookAddress(Struct):
    """Where to."""

    url: str
    method: Literal["POST"] = "POST"


class WebhookView(Struct, kw_only=True):
    """An endpoint, and how the last deliveries went. `disabled_reason` says why the router has disabled it."""

    id: str
    name: str | None
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    failures: int
    last_status: int | None
    last_error: str | None
    last_delivery_at: str | None
    api_key_hashes: list[str] | None
    workspace_id: str | None
    config: WebhookAddress
    created_at: str
    updated_at: str
    type: Literal["webhook"] = "webhook"
    privacy_mode: bool = True
    sampling_rate: float = 1
    filter_rules: None = None
    broadcast_generation_cost: bool = True
    broadcast_generation_identity: bool = True
    broadcast_generation_request_context: bool = False
    broadcast_generation_cost_allocation: bool = False
    regions: list[str] = field(default_factory=lambda: ["global"])


class WebhookFound(Struct):
    """One endpoint."""

    data: WebhookView


class WebhookMade(Struct):
    """A new endpoint. The secret is shown this once."""

    data: WebhookView
    secret: str


class WebhookList(Struct):
    """The endpoints, newest first."""

    data: list[WebhookView]
    total_count: int


class WebhookDeleted(Struct):
    """It is gone."""

    deleted: Literal[True] = True


class WebhookSecret(Struct):
    """The new secret; the old one is void at once."""

    secret: str


class Trial(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to: a URL, or an endpoint by its `id`, with whose secret the event is signed then."""

    url: Url | None = None
    id: str | None = None
    event: Event = "generation.completed"


class Tried(Struct, kw_only=True):
    """What came of it."""

    success: bool
    status: int | None
    error: str | None = None


class WebhookQuery(Struct, kw_only=True):
    """Which part."""

    offset: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


def routes(plugin: Webhooks) -> list[Route]:
    """The routes."""

    async def listed(request: Request, query: WebhookQuery) -> WebhookList:
        """All endpoints."""
        found = plugin.store.all()
        return WebhookList([shown(each) for each in found[query.offset :][: query.limit]], len(found))

    async def create(request: Request, body: NewWebhook) -> WebhookMade:
        """Make an endpoint. Its secret is shown this once."""
        settings = _settings(request, body)
        if "url" not in settings:
            raise BadRequest("url: where to? (or config.url)", param="url")
        if len(plugin.store.all()) >= MOST:
            raise Conflict(f"there are {MOST} webhooks already; delete one")
        now = request.server.clock.wall()
        values: dict[str, Any] = {"name": None, "events": list(EVENTS), **settings}
        webhook = Webhook(
            id=str(uuid.uuid4()), salt=secrets.token_hex(16), created_unix=now, updated_unix=now, **values
        )
        await plugin.store.put(webhook, request.change("webhook.create", webhook.id, **settings))
        return WebhookMade(shown(webhook), plugin.store.secret(webhook))

    async def one(request: Request) -> WebhookFound:
        """One of them."""
        return WebhookFound(shown(plugin.store.one(request.http.match_info["id"])))

    async def update(request: Request, body: WebhookSettings) -> WebhookFound:
        """Change what is named. One that was disabled begins anew with `enabled`."""
        old, settings = plugin.store.one(request.http.match_info["id"]), _settings(request, body)
        noted = dict(settings)
        if settings.get("enabled"):
            settings |= {"failures": 0, "retry_unix": 0.0, "disabled_reason": None}
        new = msgspec.structs.replace(old, **settings, updated_unix=request.server.clock.wall())
        await plugin.store.put(new, request.change("webhook.update", old.id, **noted))
        return WebhookFound(shown(new))

    async def delete(request: Request) -> WebhookDeleted:
        """Take one away, with what it was still to be told."""
        webhook = plugin.store.one(request.http.match_info["id"])
        await plugin.store.delete(webhook, request.change("webhook.delete", webhook.id, url=webhook.url))
        return WebhookDeleted()

    async def rotate(request: Request) -> WebhookSecret:
        """Give it a new secret."""
        old = plugin.store.one(request.http.match_info["id"])
        new = msgspec.structs.replace(old, salt=secrets.token_hex(16), updated_unix=request.server.clock.wall())
        await plugin.store.put(new, request.change("webhook.rotate_secret", old.id))
        return WebhookSecret(plugin.store.secret(new))

    own: dict[str, Any] = {"scope": MANAGE, "prefixes": ("",)}
    made = [
        route
        for path, where in (
            ("/api/webhooks/endpoints", own),
            ("/observability/destinations", {"scope": MANAGE}),
        )
        for route in (
            Route(method="GET", path=path, handler=listed, **where),
            Route(method="POST", path=path, handler=create, status=201, once=True, **where),
            Route(method="GET", path=f"{path}/{{id}}", handler=one, **where),
            Route(method="PATCH", path=f"{path}/{{id}}", handler=update, alone=True, **where),
            Route(method="DELETE", path=f"{path}/{{id}}", handler=delete, alone=True, **where),
        )
    ]
    return [
        *made,
        Route(
            method="POST",
            path="/api/webhooks/endpoints/{id}/rotate-secret",
            handler=rotate,
            once=True,
            alone=True,
            **own,
        ),
        *_trials(plugin),
    ]


def _trials(plugin: Webhooks) -> list[Route]:
    async def test_connection(request: Request, body: Trial) -> Tried:
        """Does anybody take a POST there? Sends the event `ping`."""
        return await trial(request, body, "ping")

    async def test_event(request: Request, body: Trial) -> Tried:
        """Send an event as it would be sent, with made up data."""
        return await trial(request, body, body.event)

    async def trial(request: Request, body: Trial, event: str) -> Tried:
        webhook = plugin.store.one(body.id) if body.id is not None else None
        url = body.url or (webhook.url if webhook is not None else None)
        if url is None:
            raise BadRequest("url or id: where to?", param="url")
        _check_url(request, url)
        secret = plugin.store.secret(webhook) if webhook is not None else None
        id = f"evt_test_{secrets.token_hex(8)}"
        sent = event_body(id, event, request.server.clock.wall(), {"test": True})
        try:
            status = await plugin.delivery.send(url, sent, event, id, secret)
        except Undelivered as error:
            return Tried(success=False, status=error.status, error=str(error))
        return Tried(success=True, status=status)

    return [
        Route(method="POST", path=path, handler=handler, scope=MANAGE, prefixes=("",))
        for path, handler in (
            ("/api/webhooks/test-connection", test_connection),
            ("/api/webhooks/test-event", test_event),
        )
    ]


def shown(webhook: Webhook) -> WebhookView:
    """All but what the secret is made of."""
    same = ("id", "name", "url", "events", "enabled", "disabled_reason", "failures", "last_status", "last_error")
    return WebhookView(
        **{name: getattr(webhook, name) for name in (*same, "api_key_hashes", "workspace_id")},
        config=WebhookAddress(webhook.url),
        last_delivery_at=None if webhook.last_unix is None else moment(webhook.last_unix),
        created_at=moment(webhook.created_unix),
        updated_at=moment(webhook.updated_unix),
    )


def _settings(request: Request, body: WebhookSettings) -> dict[str, Any]:
    """The members of a Webhook that this sets. Raises BadRequest."""
    named = dict(given(body))
    config = named.pop("config", None)
    for name in WITHOUT_EFFECT:
        named.pop(name, None)
    if config is not None and isinstance(config.url, str) and named.setdefault("url", config.url) != config.url:
        raise BadRequest("url and config.url differ; they are the same, so give one", param="url")
    if "url" in named:
        _check_url(request, named["url"])
    lies_in_what_is_there(request, named)
    for hash in named.get("api_key_hashes") or ():
        if request.server.keys.get(hash) is None:
            raise BadRequest(
                f"api_key_hashes: there is no key {hash}; GET /keys lists what there is", param="api_key_hashes"
            )
    return named


def _check_url(request: Request, text: str) -> None:
    """Raises BadRequest."""
    private = request.server.settings.fetch.allow_private
    if not text.isprintable() or " " in text:
        raise BadRequest("url: this is no URL", param="url")
    try:
        url = URL(text)
        refuse_private(url, allow_private=private)
    except ValueError:
        raise BadRequest("url: this is no URL", param="url") from None
    if url.user is not None or url.password is not None:
        raise BadRequest("url: no names and passwords in it; events are signed", param="url")
    if url.scheme != "https" and not private:
        raise BadRequest("url: https is needed (http with fetch.allow_private)", param="url")
