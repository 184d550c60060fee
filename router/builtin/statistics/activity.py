"""GET /activity: what was used day by day (api.md 13)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from ...api import Request
from ...api.moments import date_of
from ...api.sheets import sheet
from ...prices import usd
from ...store.wanted import Sums
from .periods import DAY_HOURS, day, period
from .reading import MANY, Dimension, Query, Reading

Grouping = Literal["model", "provider", "key", "user", "day", "workspace", "app", "tag"]


#: items by key, user, app or tag, of which there may be many
DEFAULT_ITEMS, MOST_ITEMS = 1000, 100_000


class Which(Struct, kw_only=True):
    """One UTC day, or the days from `start_date` to `end_date` (without any the last 30), and whose calls."""

    date: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    model: str | None = None
    api_key_hash: str | None = None
    user_id: str | None = None
    workspace_id: str | None = None
    group_by: Grouping | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] = DEFAULT_ITEMS
    format: Literal["json", "csv"] = "json"


class ActivityItem(Struct, kw_only=True):
    """The calls of one day that are alike. `usage` (what was charged) and `byok_usage_inference` in USD. Members by which the items
    were not told apart are empty; the name of a group that is not a model or a provider is there where it was asked for."""

    date: str
    model: str = ""
    model_permaslug: str = ""
    endpoint_id: str = ""
    provider_name: str = ""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    usage: float
    byok_usage_inference: float
    workspace_id: str | UnsetType = UNSET
    api_key_hash: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    app: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET


class Activity(Struct):
    """The newest day first. `truncated`: there are more items by key, user, app or tag than `limit`; older days are missing."""

    data: list[ActivityItem]
    truncated: bool | UnsetType = UNSET


#: sums that are told
TOLD = ("requests", "input", "output", "reasoning", "cached", "charge", "byok")
COLUMNS = ActivityItem.__struct_fields__
#: what else the items are told apart by; without a group by model and endpoint
BY: dict[str | None, tuple[Dimension, ...]] = {
    None: ("model", "provider"),
    "workspace": ("model", "provider", "workspace"),
    "day": (),
    "model": ("model",),
    "provider": ("provider",),
    "key": ("key",),
    "user": ("user",),
    "app": ("app",),
    "tag": ("tag",),
}
NAMES = {"workspace": "workspace_id", "key": "api_key_hash", "user": "user", "app": "app", "tag": "tag"}


def activity(reading: Reading) -> Any:
    """The handler."""

    async def handle(request: Request, query: Which) -> Activity | web.Response:
        """What was used by day, model and provider, or by day and group."""
        now = request.server.clock.wall()
        names = ("start_date", "end_date")
        which = day(query.date) if query.date else period(now, query.start_date, query.end_date, names)
        which.first -= which.first % DAY_HOURS
        asked = {
            "model": query.model,
            "key": query.api_key_hash,
            "user": query.user_id,
            "workspace": query.workspace_id,
        }
        found, whole = await reading.find(
            request,
            Query(
                period=which,
                by=BY[query.group_by],
                granularity="daily",
                where={name: [value] for name, value in asked.items() if value},
                most=query.limit + 1 if query.group_by in MANY else None,
                sums=TOLD,
            ),
        )
        many = query.group_by in MANY
        truncated = not whole or (many and len(found) > query.limit)
        items = [_item(each) for each in sorted(found, key=lambda each: -each.values["hour"])]
        items = items[: query.limit] if many else items
        if query.format == "csv":
            shown = [name for name in COLUMNS if not items or getattr(items[0], name) is not UNSET]
            return sheet("activity", shown, ([getattr(item, name) for name in shown] for item in items))
        return Activity(items, truncated or UNSET)

    return handle


def _item(sums: Sums) -> ActivityItem:
    values = sums.values
    model, provider = values.get("model", ""), values.get("provider", "")
    item = ActivityItem(
        date=date_of(values["hour"] // DAY_HOURS),
        model=model,
        model_permaslug=model,
        endpoint_id=f"{provider}:{model}" if provider and model else "",
        provider_name=provider,
        requests=sums.requests,
        prompt_tokens=sums.input,
        completion_tokens=sums.output,
        reasoning_tokens=sums.reasoning,
        cached_tokens=sums.cached,
        usage=usd(sums.charge),
        byok_usage_inference=usd(sums.byok),
    )
    for name, value in values.items():
        if name in NAMES:
            setattr(item, NAMES[name], value)
    return item
