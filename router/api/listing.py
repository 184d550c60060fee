"""The list of models for those who look for some of them: what the filters, orders and pages of `GET /models` mean (api.md 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from msgspec import Raw, Struct

from ..call import encode_json
from ..errors import BadRequest
from ..planning import Entry, Table
from ..prices import Price, picodollars
from .entries import CAPABILITIES, entry

if TYPE_CHECKING:
    from multidict import MultiMapping

    from ..server import Server

INPUTS = frozenset({"text", "image", "file", "audio", "video"})
OUTPUTS = frozenset({"text", "image", "embeddings", "audio", "video", "rerank", "speech", "transcription"})
#: the size of a page that was asked for without a size, and the largest one
PAGE, MAX_PAGE = 500, 1000
LARGEST = 10**12
WEEK_DAYS = 7
#: rows that are made without a pause
AT_ONCE = 100


class Row(Struct, kw_only=True):
    """A model as the filters see it. `shown` is its public form as JSON; `text` is what searches look into, in lower case;
    `prompt` and `completion` are picodollars per token, None where nobody knows."""

    entry: Entry
    shown: Raw
    text: str
    author: frozenset[str]
    providers: frozenset[str]
    category: frozenset[str]
    parameters: frozenset[str]
    inputs: frozenset[str]
    outputs: frozenset[str]
    capabilities: frozenset[str]
    context: int
    prompt: int | None
    completion: int | None
    free: bool
    zdr: bool

    @property
    def id(self) -> str:
        """The public id."""
        return self.entry.id


class Listing:
    """The rows of a server's table in the order of their ids, made once per state of the table."""

    def __init__(self, table: Callable[[], Table]) -> None:
        self._table = table
        self._state: tuple[Table, int] | None = None
        self._rows: dict[str, Row] = {}
        self._whole = b""

    async def rows(self) -> list[Row]:
        """Every model there is."""
        table = self._table()
        state = (table, table.changes)
        if self._state != state:
            rows = await self._made(table)
            self._rows, self._state, self._whole = rows, state, b""
        return list(self._rows.values())

    async def whole(self) -> bytes:
        """The answer to who asks for nothing in particular."""
        rows = await self.rows()
        if not self._whole:
            self._whole = encode_json(Page(rows=[row for row in rows if "text" in row.outputs]).body())
        return self._whole

    async def _made(self, table: Table) -> dict[str, Row]:
        """The rows of this table; those of models that are what they were are kept. Thousands take a tenth of a second, in which
        others have their turns."""
        entries = {each.id: each for each in table.entries.values()}
        rows = {}
        for id, each in sorted(entries.items()):
            row = self._rows.get(id)
            if row is None or row.entry is not each:
                row = row_of(each)
            rows[id] = row
            if not len(rows) % AT_ONCE:
                await asyncio.sleep(0)
        return rows


def row_of(each: Entry) -> Row:
    """What the filters need of a model."""
    shown = entry(each)
    price = each.endpoints[0].price
    capabilities = {name for name, there in shown["capabilities"].items() if there}
    return Row(
        entry=each,
        shown=Raw(encode_json(shown)),
        text="\n".join((each.id, each.model.name, each.model.description)).casefold(),
        author=frozenset({each.id.partition("/")[0].casefold()}),
        providers=frozenset(endpoint.provider.slug.casefold() for endpoint in each.endpoints),
        category=frozenset({shown["category"]}),
        parameters=frozenset(each.model.parameters),
        inputs=frozenset(each.model.input_modalities),
        outputs=frozenset(each.model.output_modalities),
        capabilities=frozenset({*capabilities, *shown["capability_list"]}),
        context=each.model.context_length,
        prompt=price.prompt if price else None,
        completion=price.completion if price else None,
        free=_costs_nothing(price),
        zdr=any(endpoint.zdr for endpoint in each.endpoints),
    )


def _costs_nothing(price: Price | None) -> bool:
    return price is not None and not (price.prompt or price.completion or price.request)


async def selected(server: Server, query: MultiMapping[str], *, outputs: str | None = None) -> list[Row]:
    """The models that pass every filter of the query, in the order that it asks for. `outputs` overrules its `output_modalities`.
    Raises BadRequest."""
    rows = await server.listing.rows()
    for name, parse in FILTERS.items():
        values = [value for value in query.getall(name, ()) if value.strip()]
        if name == "output_modalities":
            values = [outputs] if outputs else values or ["text"]
        if values and (test := parse(name, values)) is not None:
            rows = [row for row in rows if test(row)]
    wanted = query.get("sort")
    return await _sorted(server, rows, wanted) if wanted else rows


# --- filters ---------------------------------------------------------------------------------------------------------

#: None where the value means that there is nothing to test
Test = Callable[[Row], bool] | None


def _words(values: list[str]) -> frozenset[str]:
    return frozenset(word.strip().casefold() for value in values for word in value.split(",") if word.strip())


def _holds(attribute: str, known: frozenset[str] | None = None) -> Callable[[str, list[str]], Test]:
    """All of the words are there."""

    def parse(name: str, values: list[str]) -> Test:
        wanted = _known(name, _words(values), known)
        return lambda row: wanted <= getattr(row, attribute)

    return parse


def _meets(attribute: str) -> Callable[[str, list[str]], Test]:
    """One of the words is there."""

    def parse(name: str, values: list[str]) -> Test:
        wanted = _words(values)
        return lambda row: not wanted.isdisjoint(getattr(row, attribute))

    return parse


def _known(name: str, words: frozenset[str], known: frozenset[str] | None) -> frozenset[str]:
    if known is not None and (strange := words - known):
        raise BadRequest(
            f"{name}: no such thing as {min(strange)[:50]!r}; there are {', '.join(sorted(known))}", param=name
        )
    return words


def _outputs(name: str, values: list[str]) -> Test:
    wanted = _known(name, _words(values), OUTPUTS | {"all"})
    return None if "all" in wanted else lambda row: not wanted.isdisjoint(row.outputs)


def _provider(name: str, values: list[str]) -> Test:
    wanted = _words(values)
    return lambda row: not (wanted.isdisjoint(row.providers) and wanted.isdisjoint(row.author))


def _search(name: str, values: list[str]) -> Test:
    wanted = values[-1].strip().casefold()
    return lambda row: wanted in row.text


def _flag(attribute: str) -> Callable[[str, list[str]], Test]:
    def parse(name: str, values: list[str]) -> Test:
        return (lambda row: bool(getattr(row, attribute))) if truth(name, values[-1]) else None

    return parse


def truth(name: str, value: str) -> bool:
    """A flag of the query. Raises BadRequest."""
    if value.lower() not in ("true", "1", "false", "0"):
        raise BadRequest(f"{name} must be true or false; got {value[:20]!r}", param=name)
    return value.lower() in ("true", "1")


def _context(name: str, values: list[str]) -> Test:
    least = whole_number(name, values[-1])
    return lambda row: row.context >= least


def _price(attribute: str, *, least: bool) -> Callable[[str, list[str]], Test]:
    """A bound in USD per million tokens. A price that nobody knows lies within no bound."""

    def parse(name: str, values: list[str]) -> Test:
        bound = _dollars(name, values[-1])

        def test(row: Row) -> bool:
            price: int | None = getattr(row, attribute)
            if price is None:
                return False
            return price * 1_000_000 >= bound if least else price * 1_000_000 <= bound

        return test

    return parse


def _dollars(name: str, value: str) -> int:
    try:
        amount = float(value)
        if not 0 <= amount <= LARGEST:
            raise ValueError
        return picodollars(value.strip())
    except ValueError:
        raise BadRequest(
            f"{name} must be a price in USD per million tokens, from 0 up; got {value[:20]!r}", param=name
        ) from None


def whole_number(name: str, value: str, least: int = 0, most: int = LARGEST) -> int:
    """A count of the query. Raises BadRequest."""
    if not (value.isascii() and value.isdecimal()) or not least <= int(value[:14]) <= most:
        to = f" to {most}" if most < LARGEST else " up"
        raise BadRequest(f"{name} must be a whole number from {least}{to}; got {value[:20]!r}", param=name)
    return int(value[:14])


FILTERS: Mapping[str, Callable[[str, list[str]], Test]] = {
    "supported_parameters": _holds("parameters"),
    "output_modalities": _outputs,
    "input_modalities": _holds("inputs", INPUTS),
    "provider": _provider,
    "providers": _provider,
    "model_authors": _meets("author"),
    "category": _meets("category"),
    "q": _search,
    "search": _search,
    "free": _flag("free"),
    "zdr": _flag("zdr"),
    "context": _context,
    "min_context": _context,
    "capability": _holds("capabilities", frozenset(CAPABILITIES)),
    "min_price": _price("prompt", least=True),
    "max_price": _price("prompt", least=False),
    "min_output_price": _price("completion", least=True),
    "max_output_price": _price("completion", least=False),
}

# --- order -----------------------------------------------------------------------------------------------------------

#: None where nothing is known: such a model comes last, whatever the order
Score = Callable[[Row], float | None]


async def _sorted(server: Server, rows: list[Row], name: str) -> list[Row]:
    """The rows by a score. Equal ones stay in the order of their ids."""
    if name not in SORTS:
        raise BadRequest(f"sort must be one of {', '.join(SORTS)}; got {name[:50]!r}", param="sort")
    make, sign = SORTS[name]
    score = await make(server)

    def key(row: Row) -> tuple[bool, float]:
        value = score(row)
        return value is None, 0 if value is None else value * sign

    return sorted(rows, key=key)


async def _created(server: Server) -> Score:
    return lambda row: row.entry.model.created or None


async def _average_price(server: Server) -> Score:
    return lambda row: None if row.prompt is None or row.completion is None else row.prompt + row.completion


async def _context_length(server: Server) -> Score:
    return lambda row: row.context or None


async def _latency(server: Server) -> Score:
    latency = server.health.statistics.latency
    return lambda row: min(_measured(latency(each) for each in row.entry.endpoints), default=None)


async def _throughput(server: Server) -> Score:
    throughput = server.health.statistics.throughput
    return lambda row: max(_measured(throughput(each) for each in row.entry.endpoints), default=None)


async def _tokens(server: Server) -> Score:
    """By the tokens of the last week, as the ledger has them."""
    tokens = await server.generations.tokens(since_unix=server.clock.wall() - WEEK_DAYS * 86400)
    return lambda row: tokens.get(row.id)


def _measured(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


SORTS: Mapping[str, tuple[Callable[[Server], Awaitable[Score]], int]] = {
    "newest": (_created, -1),
    "pricing-low-to-high": (_average_price, 1),
    "pricing-high-to-low": (_average_price, -1),
    "context-high-to-low": (_context_length, -1),
    "throughput-high-to-low": (_throughput, -1),
    "latency-low-to-high": (_latency, 1),
    "most-popular": (_tokens, -1),
    "top-weekly": (_tokens, -1),
}

# --- pages -----------------------------------------------------------------------------------------------------------

PAGING = frozenset({"offset", "limit", "after_id", "before_id"})
#: what changes the answer; other members of the query are ignored
MEANT = frozenset({*FILTERS, *PAGING, "sort", "use_rss"})


class Page(Struct, kw_only=True):
    """A part of a list. `total` counts the whole of it; `more` tells whether it goes on in the direction in which it is read."""

    rows: list[Row]
    total: int = -1
    more: bool = False
    next: str | None = None

    def body(self) -> dict[str, Any]:
        """The merged answer of all services."""
        rows = self.rows
        return {
            "object": "list",
            "success": True,
            "data": [row.shown for row in rows],
            "total_count": len(rows) if self.total < 0 else self.total,
            "links": {"next": self.next},
            "has_more": self.more,
            "first_id": rows[0].id if rows else None,
            "last_id": rows[-1].id if rows else None,
        }


def paged(rows: list[Row], query: MultiMapping[str], path: str) -> Page:
    """The page that the query asks for: all where it names none. Raises BadRequest."""
    asked = {name: query[name] for name in PAGING if query.get(name)}
    if not asked:
        return Page(rows=rows)
    if len(asked.keys() - {"limit"}) > 1:
        names = sorted(asked.keys() - {"limit"})
        raise BadRequest(f"{' and '.join(names)} exclude each other; send one of them", param=names[0])
    limit = whole_number("limit", asked.get("limit", str(PAGE)), 1, MAX_PAGE)
    if "before_id" in asked:
        end = _place(rows, "before_id", asked["before_id"])
        start = max(end - limit, 0)
        more, onward = start > 0, {"before_id": rows[start].id} if start else {}
    else:
        start = whole_number("offset", asked.get("offset", "0"))
        if "after_id" in asked:
            start = _place(rows, "after_id", asked["after_id"]) + 1
        end = start + limit
        more = end < len(rows)
        onward = {"after_id": rows[end - 1].id} if more and "after_id" in asked else {"offset": str(end)}
    return Page(
        rows=rows[start:end], total=len(rows), more=more, next=_link(path, query, limit, onward) if more else None
    )


def _place(rows: list[Row], name: str, id: str) -> int:
    for place, row in enumerate(rows):
        if row.id == id:
            return place
    raise BadRequest(f"{name}: {id[:200]!r} is not in this list", param=name)


def _link(path: str, query: MultiMapping[str], limit: int, onward: dict[str, str]) -> str:
    """Where the list goes on. What has no meaning here is left out: the client's key may be in there."""
    kept = [(name, value) for name, value in query.items() if name in MEANT - PAGING]
    return f"{path}?{urlencode([*kept, *onward.items(), ('limit', str(limit))])}"
