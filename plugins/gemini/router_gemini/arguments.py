"""Arguments of a call, whole or in pieces, as JSON text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec

from router.wire.gemini import PartialArg

#: the steps of a path such as $.route['start point'].stops[2].name
_STEP = re.compile(r"""\.([^.\[\]]+)|\['([^']*)'\]|\["([^"]*)"\]|\[(\d+)\]""")
#: an array grows one by one: a number far beyond its end is nonsense
_MAX_GAP = 1000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Arguments:
    """Collects the arguments of one call."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole
        self._value: dict[str, Any] = {}
        self._pieces = False

    def add(self, pieces: Iterable[PartialArg]) -> None:
        """Take pieces in: each names its place, a string continues the one before it at the same place."""
        for piece in pieces:
            if not self._pieces:
                self._pieces = True
                begun = _decode(self._whole) if self._whole else {}
                self._value = begun if isinstance(begun, dict) else {}
            _put(self._value, _steps(piece.json_path or ""), piece)

    def text(self) -> str:
        """The arguments as JSON, without white space; {} where there are none."""
        if self._pieces:
            return _encode(self._value).decode()
        if self._whole in (b"", b"null"):
            return "{}"
        return msgspec.json.format(self._whole, indent=-1).decode()


def _steps(path: str) -> list[str | int]:
    return [int(number) if number else name or quoted or double for name, quoted, double, number in _STEP.findall(path)]


def _put(root: dict[str, Any], steps: list[str | int], piece: PartialArg) -> None:
    """Set the value at the end of the steps. A path that contradicts what is there is passed over."""
    if not steps:
        return
    at: Any = root
    for step, following in pairwise(steps):
        found = _get(at, step)
        if not isinstance(found, dict | list):
            found = [] if isinstance(following, int) else {}
            _set(at, step, found)
        at = found
    _set(at, steps[-1], _value(piece, _get(at, steps[-1])))


def _value(piece: PartialArg, before: Any) -> Any:
    if piece.string_value is not None:
        return (before if isinstance(before, str) else "") + piece.string_value
    if piece.number_value is not None:
        number = piece.number_value
        return int(number) if number.is_integer() else number
    return piece.bool_value


def _get(at: Any, step: str | int) -> Any:
    if isinstance(at, dict) and isinstance(step, str):
        return at.get(step)
    if isinstance(at, list) and isinstance(step, int) and step < len(at):
        return at[step]
    return None


def _set(at: Any, step: str | int, value: Any) -> None:
    if isinstance(at, dict) and isinstance(step, str):
        at[step] = value
    elif isinstance(at, list) and isinstance(step, int) and step < len(at) + _MAX_GAP:
        at += [None] * (step + 1 - len(at))
        at[step] = value
