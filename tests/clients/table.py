"""docs/compatibility.md, from what the runs of clients have written to `.compatibility/`: `python -m tests.clients.table`.

Each line there is a JSON object: `client`, `version`, `surface`, `family`, `feature`, `outcome` (yes, no, or not in this client)
and, where there is one, the `reason`. Several lines of one cell are one cell, which says yes when all do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".compatibility"
PAGE = ROOT / "docs" / "compatibility.md"
#: each is a file, written by `make clients` or `make node`
SUITES = ("current", "year-old", "older", "third-party", "node")
SURFACES = ("OpenAI chat completions", "OpenAI Responses", "Anthropic Messages", "Gemini generateContent")
FAMILIES = ("openai", "anthropic", "gemini")
FEATURES = ("plain", "stream", "tools", "structured", "images", "embeddings", "errors", "cancel")
OUTCOMES = ("no", "not in this client", "yes")
#: why a cell says something else than yes, where the run does not tell
NO_VECTORS = "Anthropic has no models of vectors."
NOT_TRIED = "Not tried with this client."
HEAD = """\
# Which client works with which models

Written by the test run (`make clients node compatibility`), not by hand. Each cell is a test with the client as its makers publish
it, over sockets, against a router whose upstreams answer as each family of providers does.

- **plain**, **stream**: an answer as a whole and in pieces
- **tools**: two calls in one answer, whole and streamed, and their results back to the model
- **structured**: an answer after a JSON schema, in the way that the client offers for it
- **images**: a picture as data
- **embeddings**: vectors, where the client and the family have them
- **errors**: a wrong key, a model that nobody has, a value out of range, an upstream that refuses or is busy; each as the error
  that the client has for it
- **cancel**: a program that leaves in the middle of a stream; the connection to the upstream is closed then
"""


class Row(NamedTuple):
    """A client in one version on models of one family."""

    surface: str
    client: str
    version: str
    family: str


class Cell(NamedTuple):
    """What is known of one feature in one row."""

    outcome: str
    reason: str = ""


Table = dict[Row, dict[str, Cell]]


def main() -> None:
    """Write the page."""
    missing = [name for name in SUITES if not (FOLDER / f"{name}.jsonl").exists()]
    if missing:
        sys.exit(f"nothing is known of {', '.join(missing)}: run `make clients node` first")
    PAGE.write_text(page(merged((name, lines_of(name)) for name in SUITES)), encoding="utf-8")


def lines_of(suite: str) -> list[dict[str, str]]:
    """What a run wrote."""
    text = (FOLDER / f"{suite}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def merged(suites: Iterable[tuple[str, Iterable[dict[str, str]]]]) -> Table:
    """One cell for all lines about the same. Packages of Node are told from those of Python, which bear the same names."""
    table: Table = {}
    for suite, lines in suites:
        for line in lines:
            client = line["client"] + (" (Node)" if suite == "node" else "")
            row = Row(line["surface"], client, line["version"], line["family"])
            cells = table.setdefault(row, {})
            new = Cell(line["outcome"], line.get("reason", ""))
            cells[line["feature"]] = min(
                cells.get(line["feature"], new), new, key=lambda cell: OUTCOMES.index(cell.outcome)
            )
    return table


def page(table: Table) -> str:
    """The whole page: a table for each surface, and the notes below all of them."""
    notes: list[str] = []
    parts = [HEAD]
    for surface in sorted({row.surface for row in table}, key=place(SURFACES)):
        rows = {row: cells for row, cells in table.items() if row.surface == surface}
        parts += [f"## {surface}\n", section(rows, notes)]
    if notes:
        parts.append("\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)) + "\n")
    return "\n".join(parts)


def section(rows: Table, notes: list[str]) -> str:
    """One table. Features that no client of the surface has are no column of it."""
    features = sorted({feature for cells in rows.values() for feature in cells}, key=place(FEATURES))
    lines = [_line("client", "version", "models of", *features), _line(*["---"] * (3 + len(features)))]
    for row in sorted(rows, key=_order):
        told = [_told(row, feature, rows[row].get(feature), notes) for feature in features]
        lines.append(_line(row.client, row.version, row.family, *told))
    return "\n".join(lines) + "\n"


def place(names: Sequence[str]) -> object:
    """A key that sorts as `names` are, and behind them what is none of them."""
    return lambda name: (names.index(name) if name in names else len(names), name)


def _order(row: Row) -> tuple[str, list[int], int]:
    """The newest version of a client first."""
    numbers = [-int(number) for number in row.version.split(".") if number.isdecimal()]
    return row.client, numbers, FAMILIES.index(row.family) if row.family in FAMILIES else len(FAMILIES)


def _told(row: Row, feature: str, cell: Cell | None, notes: list[str]) -> str:
    if cell is None:
        reason = NO_VECTORS if (row.family, feature) == ("anthropic", "embeddings") else NOT_TRIED
        return f"- {_note(reason, notes)}"
    if cell.outcome == "yes":
        return "yes"
    reason = cell.reason or "The client has no such feature." if cell.outcome != "no" else cell.reason
    shown = "no" if cell.outcome == "no" else "-"
    return f"{shown} {_note(reason, notes)}" if reason else shown


def _note(reason: str, notes: list[str]) -> str:
    """The number of a note, with its text once."""
    if reason not in notes:
        notes.append(reason)
    return f"<sup>{notes.index(reason) + 1}</sup>"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
