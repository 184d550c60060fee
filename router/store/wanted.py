"""Which sums are wanted, and the query for them: over rows of `statistic`, in the order in which these lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from .sums import KEY
from .until import DAY_HOURS, SUMS

Kind = Literal["", "workspace", "user", "app", "tag"]
#: kinds that are kept for all keys together only
WHOLE = ("workspace",)
#: groups of the last days among which an order is made
MOST_RANKED = 10_000


class Rank(Struct, frozen=True):
    """An order of rows: by a column that tells them apart, or by a sum (of `columns` together), divided by another (`per`)."""

    columns: tuple[str, ...]
    per: str | None = None
    descending: bool = True


class Wanted(Struct, kw_only=True):
    """Which sums: of these hours since 1970 (both included; put together `step` by `step`, or with 0 by month), apart `by` columns
    (hour, model, provider, word, scope), of calls whose columns have one of the values in `where` and none of those in `unless`. `kind`
    says what words are, `hashes` whose calls count (None: everybody's). With `most` only so many, the last hours first, or those
    that `rank` puts in front. `sums` are those that are needed."""

    first_hour: int
    last_hour: int
    step: int = 1
    by: Sequence[str] = ()
    kind: Kind = ""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unless: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hashes: Sequence[str] | None = None
    most: int | None = None
    rank: Rank | None = None
    sums: Sequence[str] = SUMS


class Sums(Struct):
    """Sums of the calls that have these values in the columns that were told apart."""

    values: dict[str, Any]
    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0
    charge: int = 0
    byok: int = 0
    latency_ms: int = 0
    generation_ms: int = 0

    def add(self, other: Sums) -> None:
        """Take other sums in."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Piece(NamedTuple):
    """A part of the rows: of one kind, `every` hour or day from `first` to `last`."""

    kind: str
    first: int
    last: int
    every: int


def pieces_of(wanted: Wanted) -> list[Piece]:
    """Words are kept by the day, all else by the hour too: a period is its whole days and the hours before and behind them."""
    first, last = wanted.first_hour, wanted.last_hour
    mine = "*" if wanted.hashes is not None or "scope" in wanted.by else ""
    hourly = wanted.step == 1 and "hour" in wanted.by
    if wanted.kind:
        return [Piece(mine + wanted.kind, first - first % DAY_HOURS, last, DAY_HOURS)]
    if hourly:
        return [Piece(mine, first, last, 1)]
    if wanted.hashes is None and mine:
        return [Piece(f"{mine}day", first - first % DAY_HOURS, last, DAY_HOURS)]
    middle, end = -(-first // DAY_HOURS) * DAY_HOURS, (last + 1) // DAY_HOURS * DAY_HOURS
    if middle >= end:
        return [Piece(mine, first, last, 1)]
    return [
        *([Piece(mine, first, middle - 1, 1)] if first < middle else []),
        Piece(f"{mine}day", middle, end - 1, DAY_HOURS),
        *([Piece(mine, end, last, 1)] if end <= last else []),
    ]


def query_for(wanted: Wanted, pieces: Sequence[Piece]) -> tuple[str, list[Any]]:
    """The query for the columns of `by` and all sums, and its parameters."""
    parameters: list[Any] = []
    names = needed(wanted)
    grouped = _grouped(wanted, pieces)
    rows = []
    for piece in pieces:
        condition, given = conditions_of(wanted, piece)
        columns = ", ".join([*dict.fromkeys(("hour", *grouped)), *names])
        rows.append(f"SELECT {columns} FROM statistic WHERE {condition}")  # noqa: S608 - our own words
        parameters += given
    daily = all(piece.every == DAY_HOURS for piece in pieces)
    step = wanted.step if wanted.step != DAY_HOURS or not daily else 1
    # A column as it is can be read in the order in which it lies, the newest without the others.
    hour = "hour" if step == 1 else f"hour - hour % {step}"
    shown = [f"{hour} AS step" if name == "hour" else name for name in wanted.by]
    if "scope" in wanted.by and "scope" not in grouped and wanted.hashes is not None:
        # What is the same in all rows is not sorted with them.
        shown[shown.index("scope")] = "? AS scope"
        parameters = [*wanted.hashes, *parameters]
    query = f"SELECT {', '.join([*shown, told(wanted, 'sum({0})')])} FROM ({' UNION ALL '.join(rows)})"  # noqa: S608 - our own words
    if not wanted.by:
        return query, parameters
    columns = ", ".join(("hour" if step == 1 else "step") if name == "hour" else name for name in grouped)
    query += f" GROUP BY {columns}"
    if wanted.rank is None:
        direction = "" if wanted.most is None else " DESC"
        query += f" ORDER BY {columns.replace(', ', f'{direction}, ')}{direction} LIMIT ?"
    else:
        if "hour" in wanted.by:
            query += f" ORDER BY {columns.replace(', ', ' DESC, ')} DESC LIMIT {MOST_RANKED}"
        query = f"SELECT * FROM ({query}) ORDER BY {order_of(wanted.rank)} LIMIT ?"  # noqa: S608 - our own words
    return query, [*parameters, -1 if wanted.most is None else wanted.most]


def _grouped(wanted: Wanted, pieces: Sequence[Piece]) -> Sequence[str]:
    """What to tell rows apart by: in the order in which they lie, where nothing is left out between, for which what is the same in all
    of them (a kind of all keys has no scope, one without words no word) must be named too. Elsewhere that would only be sorted too."""
    same = {"scope"} if wanted.hashes is None and "scope" not in wanted.by else set[str]()
    if not wanted.kind:
        same.add("word")
    ordered = [name for name in KEY[1:] if name in wanted.by or name in same]
    while ordered and ordered[-1] not in wanted.by:
        ordered.pop()
    in_order = [name for name in ordered if name not in same] == list(wanted.by)
    if len(pieces) == 1 and in_order and ordered == list(KEY[1 : len(ordered) + 1]):
        return ordered
    one = wanted.hashes is not None and len(wanted.hashes) == 1 and len(wanted.by) > 1
    return [name for name in wanted.by if name != "scope"] if one else wanted.by


def conditions_of(wanted: Wanted, piece: Piece) -> tuple[str, list[Any]]:
    """Where a piece's rows are."""
    condition = "kind = ?"
    parameters: list[Any] = [piece.kind]
    if wanted.hashes is not None or "word" in wanted.where:
        # So that each hour or day is looked up, and what lies between is not read.
        condition += f" AND hour IN ({_EACH})"
        parameters += [piece.first, piece.every, piece.every, piece.last]
    else:
        condition += " AND hour BETWEEN ? AND ?"
        parameters += [piece.first, piece.last]
    if wanted.hashes is not None:
        condition += f" AND scope IN ({_marks(wanted.hashes)})"
        parameters += wanted.hashes
    elif "scope" not in wanted.by:
        # Where a word is looked up, its place begins with the scope; elsewhere the planner would lose sight of the order.
        condition += " AND scope = ''" if "word" in wanted.where else ""
    for values_of, operator in ((wanted.where, "IN"), (wanted.unless, "NOT IN")):
        for column, values in values_of.items():
            condition += f" AND {column} {operator} ({_marks(values)})"
            parameters += values
    return condition, parameters


_EACH = "WITH RECURSIVE each (n) AS (SELECT ? UNION ALL SELECT n + ? FROM each WHERE n + ? <= ?) SELECT n FROM each"
#: the first hour of an hour's month
_MONTH = "CAST(strftime('%s', hour * 3600, 'unixepoch', 'start of month') AS INTEGER) / 3600"
#: the months of a period in which there were calls, the newest first: where each begins, and what of it is in the period
MONTHS = f"""
    WITH day (hour) AS (
        SELECT min(hour) FROM statistic WHERE kind = '*day' AND hour >= ?1 - ?1 % 24
        UNION ALL
        SELECT (SELECT min(hour) FROM statistic WHERE kind = '*day' AND statistic.hour > day.hour) FROM day WHERE hour < ?2
    )
    SELECT {_MONTH} AS begins, min(hour), max(hour) FROM day WHERE hour <= ?2 GROUP BY 1 ORDER BY 1 DESC
"""  # noqa: S608 - our own words


def needed(wanted: Wanted) -> list[str]:
    """Those that are told or ranked by, and how many calls there were: not adding up the others saves half the time."""
    rank = wanted.rank
    named = {"requests", *wanted.sums, *(() if rank is None else (*rank.columns, rank.per))}
    return [name for name in SUMS if name in named]


def told(wanted: Wanted, form: str = "{0}") -> str:
    """All sums in their order, 0 for those that nobody needs."""
    names = needed(wanted)
    return ", ".join(f"{form.format(name) if name in names else 0} AS {name}" for name in SUMS)


def order_of(rank: Rank) -> str:
    """The order in SQL."""
    value = " + ".join("step" if name == "hour" else name for name in rank.columns)
    if rank.per is not None:
        value = f"({value}) * 1.0 / nullif({rank.per}, 0)"
    return f"{value} {'DESC' if rank.descending else 'ASC'}"


def _comparable(rank: Rank) -> Any:
    def value(each: Sums) -> tuple[bool, Any]:
        found = [each.values[name] if name in each.values else getattr(each, name) for name in rank.columns]
        total = found[0] if len(found) == 1 else sum(found)
        whole = None if rank.per is None else getattr(each, rank.per)
        return whole != 0, total if whole is None else total / whole if whole else 0

    return value


def in_order(found: list[Sums], wanted: Wanted) -> list[Sums]:
    """What was put together from several answers, which are in this order each."""
    if wanted.rank is not None:
        found.sort(key=_comparable(wanted.rank), reverse=wanted.rank.descending)
    return found if wanted.most is None or wanted.rank is None else found[: wanted.most]


def sums_of(rows: Iterable[Sequence[Any]], by: Sequence[str]) -> list[Sums]:
    """Rows as sums, without those of no calls."""
    width = len(by)
    return [Sums(dict(zip(by, row, strict=False)), *row[width:]) for row in rows if row[width]]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
