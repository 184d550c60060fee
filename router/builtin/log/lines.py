"""A line of the log as the API prints it, and the query that chooses lines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...api import Request
from ...api.moments import moment, unix_of
from ...errors import BadRequest
from ...prices import usd
from ...store.log import Filter, Logged

MOST_LINES, DEFAULT_LINES = 1000, 100


class Query(Struct, kw_only=True):
    """Which lines. `status` is `ok`, `error` or the number of an HTTP status."""

    kind: Literal["request", "admin"] | None = None
    trace_id: str | None = None
    request_id: str | None = None
    api_key_hash: str | None = None
    model: str | None = None
    provider: str | None = None
    tag: str | None = None
    status: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_LINES)] = DEFAULT_LINES
    page_token: str | None = None
    format: Literal["json", "csv"] = "json"
    stream: bool = False


class Line(Struct, kw_only=True):
    """A call (`request`) or a change (`admin`). `action` is the kind of call, or what was done; `target` the model, or what it was done
    to; `key_hash` whose call it was, or who made the change (null: nobody with a key, see `actor`). `cost` is USD."""

    id: str
    kind: str
    trace_id: str | None
    request_id: str | None
    generation_id: str | None
    key_hash: str | None
    actor: str | None
    action: str
    target: str
    status: str
    http_status: int | None
    error_code: str | None
    model: str | None
    provider_name: str | None
    tags: list[str]
    total_tokens: int | None
    latency_ms: int | None
    cost: float | None
    detail: dict[str, Any]
    created_at: str


class Lines(Struct):
    """A page, newest first, and where the next one begins."""

    data: list[Line]
    next_page_token: str | None


#: what a table has room for
COLUMNS = tuple(name for name in Line.__struct_fields__ if name != "detail")


def line_of(each: Logged) -> Line:
    """As it is printed. Who makes changes on the command line has no hash."""
    of_call = each.kind == "request"
    hash = each.actor if len(each.actor) == 64 else None
    return Line(
        id=each.id,
        kind=each.kind,
        trace_id=each.trace_id,
        request_id=each.request_id or None,
        generation_id=each.id if of_call else None,
        key_hash=hash,
        actor=None if hash is not None else each.actor or None,
        action=each.action,
        target=each.target,
        status=each.status,
        http_status=each.http_status,
        error_code=each.error_code,
        model=each.model,
        provider_name=each.provider,
        tags=each.tags,
        total_tokens=each.tokens,
        latency_ms=each.latency_ms,
        cost=None if each.cost is None else usd(each.cost),
        detail=each.detail,
        created_at=moment(each.at_unix),
    )


def cells(line: Line) -> list[Any]:
    """A line of a table."""
    return [",".join(line.tags) if name == "tags" else getattr(line, name) for name in COLUMNS]


async def wanted(request: Request, query: Query) -> Filter:
    """The lines that the query asks for and the caller may see. Raises BadRequest."""
    caller, entries = request.caller, request.server.entries
    asked = None if query.api_key_hash is None else await entries.hashes(query.api_key_hash)
    hashes = asked
    if not caller.management:
        own = await entries.hashes(caller.hash)
        hashes = own if asked is None else [hash for hash in own if hash in asked]
    if query.status is not None and query.status not in ("ok", "error") and not _is_status(query.status):
        raise BadRequest("status: ok, error, or the number of an HTTP status such as 429", param="status")
    return Filter(
        kind=query.kind,
        trace_id=query.trace_id,
        request_id=query.request_id,
        hashes=hashes,
        own=not caller.management,
        model=query.model,
        provider=query.provider,
        tag=query.tag,
        status=query.status,
        start=None if query.start_date is None else _unix(query.start_date, "start_date"),
        end=None if query.end_date is None else _unix(query.end_date, "end_date", whole_day=True),
    )


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()


def _unix(text: str, name: str, *, whole_day: bool = False) -> float:
    """The beginning of a date or the moment of a date-time; with `whole_day` the end of the date."""
    try:
        return unix_of(text) + (86400 if whole_day and len(text) <= 10 else 0)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None
