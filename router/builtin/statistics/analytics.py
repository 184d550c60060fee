"""GET /analytics/meta and POST /analytics/query: any of the metrics by any of the dimensions (api.md 13)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from operator import add, attrgetter
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...api import Request
from ...call import wants_number_codes
from ...errors import BadRequest
from ...prices import usd
from ...store.wanted import Rank, Sums
from .periods import Granularity, period, timestamp
from .reading import Dimension, Query, Reading

DEFAULT_ROWS, MOST_ROWS = 1000, 10_000
MOST_FILTERS = 20
Value = str | int | float


class Metric(Struct):
    """A figure: sums of the store together, divided by another. `form` is how to show it, money is kept in picodollars."""

    label: str
    columns: tuple[str, ...]
    per: str | None = None
    form: Literal["number", "currency", "percent", "latency", "throughput"] = "number"

    @property
    def rate(self) -> bool:
        """An average, which cannot be added up."""
        return self.per is not None

    def of(self, found: Sequence[Sums]) -> Sequence[float | None]:
        """Its values: of a thousand rows one after the other, since each step costs as much for one as for all."""
        values: list[Any] = [*map(attrgetter(self.columns[0]), found)]
        for column in self.columns[1:]:
            values = [*map(add, values, map(attrgetter(column), found))]
        if self.form == "currency":
            values = [*map(usd, values)]
        elif self.form == "throughput":
            values = [value * 1000 for value in values]
        if self.per is None:
            return values
        return [
            value / whole if whole else None
            for value, whole in zip(values, map(attrgetter(self.per), found), strict=True)
        ]


METRICS = {
    "request_count": Metric("Requests", ("requests",)),
    "error_count": Metric("Errors", ("errors",)),
    "error_rate": Metric("Error rate", ("errors",), "requests", "percent"),
    "prompt_tokens": Metric("Prompt tokens", ("input",)),
    "completion_tokens": Metric("Completion tokens", ("output",)),
    "reasoning_tokens": Metric("Reasoning tokens", ("reasoning",)),
    "cached_tokens": Metric("Cached prompt tokens", ("cached",)),
    "total_tokens": Metric("Tokens", ("input", "output")),
    "cache_hit_rate": Metric("Cached share of prompts", ("cached",), "input", "percent"),
    "total_cost": Metric("Cost", ("charge",), None, "currency"),
    "byok_cost": Metric("Cost of own provider keys", ("byok",), None, "currency"),
    "average_cost": Metric("Cost of a request", ("charge",), "requests", "currency"),
    "average_latency_ms": Metric("Time to first content", ("latency_ms",), "requests", "latency"),
    "average_generation_ms": Metric("Time from first content to the end", ("generation_ms",), "requests", "latency"),
    "tokens_per_second": Metric("Tokens per second", ("output",), "generation_ms", "throughput"),
}
#: names that clients know these by
SPELLINGS = {
    "requests": "request_count",
    "errors": "error_count",
    "cost": "total_cost",
    "usage": "total_cost",
    "tokens": "total_tokens",
}
DIMENSIONS: dict[str, str] = {
    "model": "Model",
    "provider": "Provider",
    "api_key": "API key",
    "user": "User",
    "app": "App",
    "tag": "Tag",
    "workspace": "Workspace",
}
KEYS = ("key", "api_key_hash", "api_key_id")
OPERATORS = {"eq": "scalar", "neq": "scalar", "in": "array", "not_in": "array"}
GRANULARITIES: dict[str, Granularity] = {"hour": "hourly", "day": "daily", "month": "monthly"}
LABELS = {"hour": "Hour", "day": "Day", "month": "Month"}
#: where the bucket of a row stands, as OpenRouter names it
BUCKETS: dict[Granularity, str] = {"hourly": "date__hour", "daily": "date__day", "monthly": "date__month"}


class Condition(Struct, forbid_unknown_fields=True):
    """A dimension compared with a value or, for `in` and `not_in`, several."""

    field: str
    value: Value | list[Value]
    operator: str = "eq"
    include_unset: bool = False


class TimeRange(Struct):
    """The period as OpenRouter names it."""

    start: str
    end: str


class OrderBy(Struct):
    """A metric, a dimension, or "date"."""

    field: str
    direction: Literal["asc", "desc"] = "desc"


class Asked(Struct, kw_only=True):
    """What is asked for; `time_range` is another way to say `start` and `end`. Without a period the last 30 UTC days."""

    metrics: Annotated[list[str], Meta(min_length=1)]
    dimensions: list[str] | None = None
    filters: list[Condition] | dict[str, Value | list[Value]] | None = None
    start: str | float | None = None
    end: str | float | None = None
    time_range: TimeRange | None = None
    granularity: str | None = None
    order_by: OrderBy | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = DEFAULT_ROWS


Row = dict[str, Any]


async def meta(request: Request) -> dict[str, Any]:
    """What can be asked for."""
    return {
        "data": {
            "metrics": [
                {"name": name, "display_label": each.label, "display_format": each.form, "is_rate": each.rate}
                for name, each in METRICS.items()
            ],
            "dimensions": [{"name": name, "display_label": label} for name, label in DIMENSIONS.items()],
            "operators": [{"name": name, "value_type": kind} for name, kind in OPERATORS.items()],
            "granularities": [{"name": name, "display_label": label} for name, label in LABELS.items()],
        }
    }


def query(reading: Reading) -> Any:
    """The handler of POST /analytics/query."""

    async def handle(request: Request, body: Asked) -> dict[str, Any]:
        """Metrics by dimensions. Raises BadRequest for names that nobody knows."""
        started = time.perf_counter()
        metrics = [_metric(name) for name in body.metrics]
        asked = _query(request, body)
        found, whole = await reading.find(request, asked)
        # Without a rank the oldest come first, and are those that there is no room for.
        shown = found[: body.limit] if asked.rank is not None else found[-body.limit :]
        if asked.rank is None and _order(body).direction == "desc":
            shown.reverse()
        told = _rows(shown, metrics, body, asked)
        metadata = {
            "query_time_ms": round((time.perf_counter() - started) * 1000, 3),
            "row_count": len(told),
            "truncated": not whole or len(found) > body.limit,
        }
        if body.time_range is not None or wants_number_codes(request.http.headers, "string"):
            return {"data": {"data": told, "metadata": metadata}}
        return {"data": told, "metadata": metadata}

    return handle


def _query(request: Request, body: Asked) -> Query:
    start, end = (body.time_range.start, body.time_range.end) if body.time_range else (body.start, body.end)
    where: dict[str, Sequence[str]] = {}
    unless: dict[str, Sequence[str]] = {}
    conditions = _conditions(body)
    if len(conditions) > MOST_FILTERS:
        raise BadRequest(f"filters: at most {MOST_FILTERS} of them", param="filters")
    for each in conditions:
        name = _dimension(each.field, "filters")
        values = [str(value) for value in (each.value if isinstance(each.value, list) else [each.value])]
        if each.operator not in OPERATORS:
            raise _unknown("operator", each.operator, OPERATORS, "filters")
        chosen = where if each.operator in ("eq", "in") else unless
        if name in chosen and chosen is where:
            values = [value for value in values if value in where[name]]
        chosen[name] = [*(unless.get(name, ()) if chosen is unless else ()), *values]
    metrics = [_metric(name) for name in body.metrics]
    return Query(
        period=period(request.server.clock.wall(), _text(start), _text(end), ("start", "end")),
        by=list(dict.fromkeys(_dimension(name, "dimensions") for name in body.dimensions or ())),
        granularity=None if body.granularity is None else _granularity(body.granularity),
        where=where,
        unless=unless,
        most=body.limit + 1,
        rank=_rank(body),
        sums=[column for each in metrics for column in (*each.columns, *((each.per,) if each.per else ()))],
    )


def _order(body: Asked) -> OrderBy:
    """As it was asked for; else by time, and without time what has most of the first metric in front."""
    if body.order_by is not None:
        return body.order_by
    return OrderBy("timestamp", "asc") if body.granularity else OrderBy(body.metrics[0])


def _rank(body: Asked) -> Rank | None:
    """The order, None for that of time. Raises BadRequest."""
    order = _order(body)
    field = "timestamp" if order.field == "date" else order.field
    known = [*(["timestamp"] if body.granularity else []), *(body.dimensions or ()), *body.metrics]
    if field not in known:
        raise _unknown("column", order.field, known, "order_by")
    if field == "timestamp":
        return None
    if field in body.metrics:
        metric = _metric(field)
        return Rank(metric.columns, metric.per, order.direction == "desc")
    return Rank((_dimension(field, "order_by"),), None, order.direction == "desc")


def _conditions(body: Asked) -> list[Condition]:
    if isinstance(body.filters, dict):
        return [
            Condition(name, value, "in" if isinstance(value, list) else "eq") for name, value in body.filters.items()
        ]
    return body.filters or []


def _text(given: str | float | None) -> str | None:
    return given if isinstance(given, str) or given is None else f"{given:.0f}"


def _metric(name: str) -> Metric:
    found = METRICS.get(SPELLINGS.get(name, name))
    if found is None:
        raise _unknown("metric", name, METRICS, "metrics")
    return found


def _dimension(name: str, param: str) -> Dimension:
    plain = "api_key" if name in KEYS else name.removesuffix("_id")
    if plain not in DIMENSIONS:
        raise _unknown("dimension", name, DIMENSIONS, param)
    return "key" if plain == "api_key" else plain  # type: ignore[return-value]  # one of them


def _granularity(name: str) -> Granularity:
    if name in BUCKETS:
        return name
    if name not in GRANULARITIES:
        raise _unknown("granularity", name, GRANULARITIES, "granularity")
    return GRANULARITIES[name]


def _unknown(what: str, name: str, known: Iterable[str], param: str) -> BadRequest:
    return BadRequest(f"{param}: there is no {what} {name[:50]!r}; there are {', '.join(known)}", param=param)


def _rows(found: Sequence[Sums], metrics: Sequence[Metric], body: Asked, asked: Query) -> list[Row]:
    """As the client named everything."""
    columns: dict[str, Iterable[Any]] = {}
    if asked.granularity is not None:
        columns["timestamp"] = columns[BUCKETS[asked.granularity]] = [timestamp(each.values["hour"]) for each in found]
    for name in body.dimensions or ():
        dimension = _dimension(name, "dimensions")
        columns[name] = [each.values[dimension] for each in found]
    for name, metric in zip(body.metrics, metrics, strict=True):
        columns[name] = metric.of(found)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
