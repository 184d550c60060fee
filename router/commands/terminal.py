"""What commands print: aligned tables, JSON documents, colour on terminals only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ..logs import escaped

Colour = Literal["red", "green", "yellow", "bold", "dim"]
_CODES: dict[Colour, int] = {"red": 31, "green": 32, "yellow": 33, "bold": 1, "dim": 2}


class CommandError(Exception):
    """The command cannot do what it was asked for; the message is one line."""


def write(text: str = "") -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, none: str) -> None:
    """Columns as wide as their longest entry; numbers to the right. `none` is printed where there are no rows."""
    if not rows:
        write(none)
        return
    cells = [[escaped("-" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    right = [all(isinstance(cell, int | float | None) for cell in column) for column in zip(*rows, strict=True)]
    write(coloured(_line(headings, widths, right), "bold"))
    for row in cells:
        write(_line(row, widths, right))


def coloured(text: str, colour: Colour) -> str:
    """The text in a colour where standard output is a terminal that wants it (https://no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    )
    return "  ".join(cells).rstrip()
