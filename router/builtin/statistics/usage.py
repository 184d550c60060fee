"""GET /usage, /api/usage/summary and /api/usage/timeseries: what was used over time, and in all (api.md 13)."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ...api import Request
from ...api.sheets import sheet
from ...prices import usd
from ...store.until import SUMS
from ...store.wanted import Sums
from .activity import DEFAULT_ITEMS, MOST_ITEMS, Grouping
from .periods import Granularity, period, timestamp
from .reading import MANY, Dimension, Query, Reading, heaviest_first

#: sums that are told
TOLD = tuple(name for name in SUMS if not name.endswith("_ms"))
DATES, TIMES = ("start_date", "end_date"), ("start_time", "end_time")


class Which(Struct, kw_only=True):
    """A period (without one the last 30 UTC days), whose calls, and how they are told apart."""

    start_date: str | None = None
    end_date: str | None = None
    model: str | None = None
    tag: str | None = None
    api_key_hash: str | None = None
    group_by: Grouping | None = None
    granularity: Granularity = "daily"
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] = DEFAULT_ITEMS
    format: Literal["json", "csv"] = "json"


class Point(Struct, kw_only=True):
    """The calls of one hour, day or month, of one group where groups were asked for. `cost` in USD."""

    timestamp: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    total_tokens: int
    cost: float
    byok_cost: float
    errors: int
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    api_key_hash: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    workspace_id: str | UnsetType = UNSET
    app: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET


class Summary(Struct, kw_only=True):
    """All of them together. A call with several tags counts once."""

    start: str
    end: str
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    total_tokens: int
    cost: float
    byok_cost: float


class Series(Struct):
    """The oldest first. `truncated`: by key, user, app or tag there are more points than `limit`; the oldest are missing. The summary
    has all calls."""

    data: list[Point]
    summary: Summary
    granularity: str
    truncated: bool | UnsetType = UNSET


NAMES = {"key": "api_key_hash", "workspace": "workspace_id"}


def usage(reading: Reading) -> Any:
    """The handler of GET /usage."""

    async def handle(request: Request, query: Which) -> Series | web.Response:
        """What was used over time."""
        which = period(request.server.clock.wall(), query.start_date, query.end_date, DATES)
        asked = {"model": query.model, "key": query.api_key_hash, "tag": query.tag}
        where = {name: [value] for name, value in asked.items() if value}
        by: tuple[Dimension, ...] = () if query.group_by is None or query.group_by == "day" else (query.group_by,)
        many = query.group_by in MANY
        asking = Query(period=which, by=by, granularity=query.granularity, where=where, sums=TOLD)
        asking.most = query.limit + 1 if many else None
        found, whole = await reading.find(request, asking)
        truncated = not whole or (many and len(found) > query.limit)
        found.sort(key=lambda each: each.values["hour"])
        found = found[-query.limit :] if many else found
        points = [_point(each) for each in found]
        if query.format == "csv":
            shown = [name for name in Point.__struct_fields__ if not points or getattr(points[0], name) is not UNSET]
            return sheet("usage", shown, ([getattr(point, name) for name in shown] for point in points))
        # Calls have several tags, or no user, and not all groups may be there.
        total = await reading.read(request, Query(period=which, where=where)) if many or truncated else found
        summary = _summary(total, timestamp(which.first), timestamp(which.last + 1))
        return Series(points, summary, query.granularity, truncated or UNSET)

    return handle


def _point(sums: Sums) -> Point:
    point = Point(timestamp=timestamp(sums.values["hour"]), **_figures(sums))
    for name, value in sums.values.items():
        if name != "hour":
            setattr(point, NAMES.get(name, name), value)
    return point


def _summary(found: list[Sums], start: str, end: str) -> Summary:
    return Summary(start=start, end=end, **_figures(total_of(found)))


def _figures(sums: Sums) -> dict[str, Any]:
    """What points and the summary tell alike."""
    return {
        "requests": sums.requests,
        "errors": sums.errors,
        "prompt_tokens": sums.input,
        "completion_tokens": sums.output,
        "reasoning_tokens": sums.reasoning,
        "cached_tokens": sums.cached,
        "total_tokens": sums.input + sums.output,
        "cost": usd(sums.charge),
        "byok_cost": usd(sums.byok),
    }


def total_of(found: list[Sums]) -> Sums:
    """All of them added up."""
    return Sums({}, *(sum(map(attrgetter(name), found)) for name in SUMS))


# --- the form of ARouter ---------------------------------------------------------------------------------------------


class Span(Struct, kw_only=True):
    """A period (without one the last 30 UTC days) and whose calls."""

    start_time: str | None = None
    end_time: str | None = None
    provider_id: str | None = None
    model: str | None = None
    key_id: str | None = None


class Buckets(Span, kw_only=True):
    """The same, and in which steps."""

    granularity: Granularity = "daily"
    format: Literal["json", "csv"] = "json"


class Share(Struct, kw_only=True):
    """What one provider or model has of it."""

    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated_cost_usd: float
    provider_id: str | UnsetType = UNSET
    model: str | UnsetType = UNSET


class Totals(Struct, kw_only=True):
    """What was used in all; the dearest provider and model first."""

    total_requests: int
    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int
    estimated_cost_usd: float
    by_provider: list[Share] = field(default_factory=list)
    by_model: list[Share] = field(default_factory=list)


class DataPoint(Struct, kw_only=True):
    """The calls of one hour, day or month."""

    timestamp: str
    requests: int
    input_tokens: int
    output_tokens: int
    estimated_cost_usd: float


class Timeseries(Struct):
    """The oldest first."""

    data_points: list[DataPoint]


def summary(reading: Reading) -> Any:
    """The handler of GET /api/usage/summary."""

    async def handle(request: Request, query: Span) -> Totals:
        """What was used in all, and by whom."""
        found = await reading.read(request, _asked(request, query, ("model", "provider"), None))
        total = total_of(found)
        return Totals(
            total_requests=total.requests,
            total_input_tokens=total.input,
            total_output_tokens=total.output,
            total_tokens=total.input + total.output,
            estimated_cost_usd=usd(total.charge),
            by_provider=_shares(found, "provider", "provider_id"),
            by_model=_shares(found, "model", "model"),
        )

    return handle


def timeseries(reading: Reading) -> Any:
    """The handler of GET /api/usage/timeseries."""

    async def handle(request: Request, query: Buckets) -> Timeseries | web.Response:
        """What was used over time."""
        found = await reading.read(request, _asked(request, query, (), query.granularity))
        points = [
            DataPoint(
                timestamp=timestamp(each.values["hour"]),
                requests=each.requests,
                input_tokens=each.input,
                output_tokens=each.output,
                estimated_cost_usd=usd(each.charge),
            )
            for each in sorted(found, key=lambda each: each.values["hour"])
        ]
        if query.format == "csv":
            names = DataPoint.__struct_fields__
            return sheet("timeseries", names, ([getattr(point, name) for name in names] for point in points))
        return Timeseries(points)

    return handle


def _asked(request: Request, query: Span, by: tuple[Dimension, ...], granularity: Granularity | None) -> Query:
    asked = {"provider": query.provider_id, "model": query.model, "key": query.key_id}
    return Query(
        period=period(request.server.clock.wall(), query.start_time, query.end_time, TIMES),
        by=by,
        granularity=granularity,
        where={name: [value] for name, value in asked.items() if value},
    )


def _shares(found: list[Sums], column: str, name: str) -> list[Share]:
    """The sums by one column."""
    shares: dict[str, Sums] = {}
    for each in found:
        shares.setdefault(each.values[column], Sums({})).add(each)
    for value, sums in shares.items():
        sums.values = {name: value}
    return [
        Share(
            requests=each.requests,
            input_tokens=each.input,
            output_tokens=each.output,
            total_tokens=each.input + each.output,
            estimated_cost_usd=usd(each.charge),
            **each.values,
        )
        for each in heaviest_first(shares.values())
    ]
