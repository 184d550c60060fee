"""What a request for statistics may see and how it wants it told apart, as a query of the store (`store.statistics`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from ...api import Request
from ...errors import BadRequest
from ...identity import DEFAULT_WORKSPACE
from ...store.statistics import Found, Statistics, TooMuch
from ...store.until import SUMS
from ...store.wanted import WHOLE, Kind, Rank, Sums, Wanted
from .periods import DAY_HOURS, Granularity, Period

if TYPE_CHECKING:
    from ...server import Server

Dimension = Literal["model", "provider", "key", "user", "workspace", "app", "tag"]
#: dimensions that may have so many values that not all of them can be told
MANY: tuple[str, ...] = ("key", "user", "app", "tag")
STEPS: dict[Granularity, int] = {"hourly": 1, "daily": DAY_HOURS, "monthly": 0}
#: what the store calls them
COLUMNS: dict[str, str] = {
    **dict.fromkeys(("user", "workspace", "app", "tag"), "word"),
    "model": "model",
    "provider": "provider",
    "key": "scope",
}
#: what one key has one value of
OF_KEYS = ("key", "workspace")
#: dimensions whose values are the store's words
WORDS: tuple[Kind, ...] = ("user", "app", "tag", "workspace")


class Query(Struct, kw_only=True):
    """What is asked for: `by` dimensions, in buckets of time or (None) all at once, of calls with these values and without those;
    with `most` only so many rows, those of the last days, or which `rank` (over dimensions, "hour" and sums) puts in front."""

    period: Period
    by: Sequence[Dimension] = ()
    granularity: Granularity | None = None
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unless: Mapping[str, Sequence[str]] = field(default_factory=dict)
    most: int | None = None
    rank: Rank | None = None
    sums: Sequence[str] = SUMS


class Reading:
    """Reads sums for who asks: an inference key sees its own calls."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.store: Statistics

    async def read(self, request: Request, query: Query) -> list[Sums]:
        """The sums; their `values` are `hour` (of a bucket's beginning) and the dimensions. Raises BadRequest."""
        return (await self.find(request, query)).sums

    async def find(self, request: Request, query: Query) -> Found:
        """The same, and whether that is all of them. Raises BadRequest."""
        hashes = await self._hashes(request, query)
        if hashes is not None and not hashes:
            return Found([])
        kind = self._kind(query)
        if kind in WHOLE and hashes is not None:
            return await self._of_one_workspace(query, hashes)
        return await self._found(query, kind, hashes)

    async def _found(self, query: Query, kind: Kind, hashes: Sequence[str] | None) -> Found:
        columns: dict[str, str] = {name: _column(name) for name in query.by}
        try:
            found = await self.store.find(self._wanted(query, kind, hashes, columns))
        except TooMuch:
            raise BadRequest(
                f"there are too many calls to leave some out by their {kind}; ask by day (granularity), or for a shorter time",
                param="filters",
            ) from None
        names = [*(["hour"] if query.granularity else []), *query.by]
        for each in found.sums:
            each.values = dict(zip(names, each.values.values(), strict=True))
        return found

    async def _hashes(self, request: Request, query: Query) -> list[str] | None:
        """The hashes of the keys whose calls count, None for those of all."""
        asked = query.where.get("key")
        known = None if asked is None else [hash for each in asked for hash in await self.store.hashes(each)]
        if known is None and query.unless.get("key"):
            raise BadRequest("keys can be asked for, and not left out", param="filters")
        if request.caller.management:
            return known
        own = await self.store.hashes(request.caller.hash)
        return own if known is None else [hash for hash in own if hash in known]

    def _kind(self, query: Query) -> Kind:
        """Which words are needed. Raises BadRequest for more than one kind of them."""
        named = {*query.by, *query.where, *query.unless}
        kinds = [kind for kind in WORDS if kind in named]
        if len(kinds) > 1:
            raise BadRequest(
                f"{' and '.join(kinds)} cannot be combined: sums are kept for each of them alone; ask for one of them",
                param="group_by",
            )
        if kinds and query.granularity == "hourly":
            raise BadRequest(f"sums by {kinds[0]} are kept by the day; ask for daily or monthly", param="granularity")
        if kinds == ["workspace"] and "key" in query.by:
            raise BadRequest("workspace and key cannot be combined; ask for one of them", param="group_by")
        if kinds:
            return kinds[0]
        return ""

    async def _of_one_workspace(self, query: Query, hashes: Sequence[str]) -> Found:
        """The calls of single keys by workspace: each is in the one that it is in now."""
        key = self._server.keys.get(hashes[0])
        workspace = (key.workspace_id if key is not None else None) or DEFAULT_WORKSPACE
        wanted = query.where.get("workspace")
        if (wanted is not None and workspace not in wanted) or workspace in query.unless.get("workspace", ()):
            return Found([])
        by = [name for name in query.by if name not in OF_KEYS]
        plain = Query(
            period=query.period,
            by=by,
            granularity=query.granularity,
            where={name: values for name, values in query.where.items() if name not in OF_KEYS},
            unless={name: values for name, values in query.unless.items() if name not in OF_KEYS},
            most=query.most,
            rank=query.rank if query.rank is not None and not {*query.rank.columns} & {*OF_KEYS} else None,
            sums=query.sums,
        )
        found = await self._found(plain, "", hashes)
        for each in found.sums:
            if "workspace" in query.by:
                each.values["workspace"] = workspace
            if "key" in query.by:
                each.values["key"] = key.hash if key is not None else hashes[0]
        return found

    def _wanted(self, query: Query, kind: Kind, hashes: Sequence[str] | None, columns: Mapping[str, str]) -> Wanted:
        return Wanted(
            first_hour=query.period.first,
            last_hour=query.period.last,
            step=STEPS[query.granularity or "daily"],
            by=[*(["hour"] if query.granularity else []), *(columns[name] for name in query.by)],
            kind=kind,
            where={_column(name): values for name, values in query.where.items() if name != "key"},
            unless={_column(name): values for name, values in query.unless.items() if name != "key"},
            hashes=hashes,
            most=query.most,
            rank=_ranked(query.rank),
            sums=query.sums,
        )


def _ranked(rank: Rank | None) -> Rank | None:
    """The same over the store's columns."""
    if rank is None:
        return None
    columns = tuple(_column(name) if name in COLUMNS else name for name in rank.columns)
    return Rank(columns, rank.per, rank.descending)


def _column(name: str) -> str:
    return COLUMNS[name]


def heaviest_first(
    found: Iterable[Sums], key: Callable[[Sums], Any] = lambda each: (each.charge, each.requests)
) -> list[Sums]:
    """Those that cost most in front."""
    return sorted(found, key=key, reverse=True)
