"""The `provider` object of a request with the types and ranges of its members (api.md 18), the same on all surfaces.

docs/routing.md says what each of them does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ...errors import BadRequest
from ...head import Preferences

QUANTIZATIONS = (
    *("int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6"),
    *("fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"),
)
SORTS = ("price", "throughput", "latency", "exacto")
PARTITIONS = ("model", "none")
PERCENTILES = ("p50", "p75", "p90", "p99")
PRICES = ("prompt", "completion", "request", "image", "audio")
LONGEST_NAME = 256
ECHOED = 80

_decimal = re.compile(r"\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?").fullmatch


class Given(Preferences, kw_only=True, forbid_unknown_fields=True):
    """The object as it comes: a null inside of it is an absent member, as everywhere."""

    preferred_min_throughput: float | dict[str, float | None] | None = None  # type: ignore[assignment]
    preferred_max_latency: float | dict[str, float | None] | None = None  # type: ignore[assignment]
    max_price: dict[str, float | str | None] | None = None  # type: ignore[assignment]


decode = msgspec.json.Decoder(Given | None).decode


def checked(value: Preferences) -> Preferences:
    """The object, where its members are in order. Raises BadRequest that names the one that is not."""
    for name in ("order", "only", "ignore"):
        _names(name, getattr(value, name) or ())
    if value.data_collection is not None:
        _word("data_collection", value.data_collection, ("allow", "deny"))
    for index, each in enumerate(value.quantizations or ()):
        _word(f"quantizations[{index}]", each, QUANTIZATIONS)
    if value.sort is not None:
        _sort(value.sort)
    for name in ("preferred_min_throughput", "preferred_max_latency"):
        if (given := getattr(value, name)) is not None:
            setattr(value, name, _threshold(name, given))
    if value.max_price is not None:
        value.max_price = _prices(value.max_price)
    return value


def _bad(place: str, wanted: str) -> BadRequest:
    return BadRequest(f"provider.{place} must be {wanted}", param=f"provider.{place}")


def _unknown(place: str, known: Iterable[str]) -> BadRequest:
    place = f"provider.{place}"[:ECHOED]
    return BadRequest(f"{place}: unknown key; known are {', '.join(known)}", param=place)


def _names(place: str, names: Iterable[str]) -> None:
    for index, each in enumerate(names):
        if not each or len(each) > LONGEST_NAME or not each.isprintable():
            raise _bad(f"{place}[{index}]", f"the name of a provider, of 1 to {LONGEST_NAME} printable characters")


def _word(place: str, given: Any, words: tuple[str, ...]) -> None:
    if given not in words:
        raise _bad(place, f"one of {', '.join(words)}; got {str(given)[:ECHOED]!r}")


def _sort(sort: str | dict[str, Any]) -> None:
    if isinstance(sort, str):
        _word("sort", sort, SORTS)
        return
    for name, each in sort.items():
        if name not in ("by", "partition"):
            raise _unknown(f"sort.{name}", ("by", "partition"))
        if each is not None:
            _word(f"sort.{name}", each, SORTS if name == "by" else PARTITIONS)


def _threshold(place: str, given: float | dict[str, float | None]) -> float | dict[str, float]:
    """A number, or one for each of some percentiles."""
    if not isinstance(given, dict):
        return _number(place, given)
    for name in given:
        if name not in PERCENTILES:
            raise _unknown(f"{place}.{name}", PERCENTILES)
    return {name: _number(f"{place}.{name}", each) for name, each in given.items() if each is not None}


def _prices(given: dict[str, Any]) -> dict[str, float | str]:
    """Bounds by class, as numbers."""
    for name in given:
        if name not in PRICES:
            raise _unknown(f"max_price.{name}", PRICES)
    return {name: _number(f"max_price.{name}", each) for name, each in given.items() if each is not None}


def _number(place: str, given: float | str) -> float:
    """From 0 up. Prices may be decimal text, as OpenRouter's SDKs send them."""
    if isinstance(given, str):
        if not _decimal(given):
            raise _bad(place, f"a number from 0 up, or one as decimal text; got {given[:ECHOED]!r}")
        given = float(given)
    if not 0 <= given < math.inf:
        raise _bad(place, f"a number from 0 up; got {given:g}")
    return given
