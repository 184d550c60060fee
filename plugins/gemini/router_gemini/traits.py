"""What a model takes, told from its name: Google's list of models does not say it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
#: aliases such as gemini-flash-latest name no version; they follow the newest model
_NEWEST = (99, 0)
#: families that are no Gemini: the oldest rules are safe for them
_OTHER = (0, 0)


class Traits(NamedTuple):
    """`version` is (major, minor). `budgets` are the least and the most tokens that may be thought (2.5), `levels` the words for it
    (3 and later), least first; a model without either does not think on demand.

    `can_stop`: thinking may be switched off. `idle`: it is off unless asked for. `json_schema`: takes JSON Schema as it is.
    `signed_calls`: refuses function calls in the history that lack a signature. `tools_with_json`: takes functions and a form of
    the answer together. `media_results`: takes media inside the answers of functions.
    """

    version: tuple[int, int]
    budgets: tuple[int, int] | None
    levels: tuple[str, ...]
    can_stop: bool
    idle: bool
    json_schema: bool
    signed_calls: bool
    tools_with_json: bool
    media_results: bool


@lru_cache(maxsize=256)
def traits(model: str) -> Traits:
    """The traits of a model of this name."""
    version = _version(model)
    gemini3 = version >= (3, 0)
    budgets = _budgets(model) if version == (2, 5) else None
    return Traits(
        version=version,
        budgets=budgets,
        levels=_levels(model, version),
        can_stop=budgets is not None and "pro" not in model,
        idle=budgets is not None and "lite" in model,
        json_schema=version >= (2, 5),
        signed_calls=gemini3,
        tools_with_json=gemini3,
        media_results=gemini3,
    )


def _version(model: str) -> tuple[int, int]:
    if found := _VERSION.search(model):
        return int(found[1]), int(found[2] or 0)
    return _NEWEST if "gemini" in model else _OTHER


def _budgets(model: str) -> tuple[int, int] | None:
    if "image" in model or "tts" in model or "audio" in model:
        return None
    if "pro" in model:
        return 128, 32768
    return (512 if "lite" in model else 1), 24576


def _levels(model: str, version: tuple[int, int]) -> tuple[str, ...]:
    """The levels of this model, as Google's page on thinking listed them in 2026-11."""
    if "gemma-4" in model:
        return "MINIMAL", "HIGH"
    if version < (3, 0) or "tts" in model or "audio" in model:
        return ()
    if "image" in model:
        return ("MINIMAL", "HIGH") if "flash" in model else ()
    if "pro" in model:
        return ("LOW", "HIGH") if version == (3, 0) else ("LOW", "MEDIUM", "HIGH")
    return ("MINIMAL", "LOW", "MEDIUM", "HIGH") if version <= (3, 6) else ("LOW", "MEDIUM", "HIGH")
