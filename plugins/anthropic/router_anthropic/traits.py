"""What each generation of Claude takes: Anthropic has withdrawn members and added others with almost every one.

Read off the model's name, since new models appear before any catalogue knows them. A name without a version of Claude (another maker's
model behind the same API) is taken for one of the first generation with thinking: it takes every member and no newer form.
Sources: Anthropic's migration guides from 4.6 to 5.5 and reports of what the API answers, seen in November 2026.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct


class Traits(Struct, frozen=True, kw_only=True):
    """What one model takes."""

    #: how thinking is asked for: not at all, by a budget of tokens, by either, or left to the model with an effort
    thinking: Literal["none", "budget", "either", "adaptive"] = "budget"
    #: how it is switched off: by `disabled`, by saying nothing, by `between_tools` (the least there is), or never
    off: Literal["disabled", "silent", "between_tools", "never"] = "disabled"
    #: it thinks without being asked
    thinks_unasked: bool = False
    #: temperature and top_p both, one of the two, or none (nor top_k)
    sampling: Literal["both", "one", "none"] = "both"
    #: JSON schemas in `output_config.format` and `strict` tools
    structured: bool = False
    #: a tool call can be forced
    forced: bool = True
    #: an assistant message at the end is continued
    prefill: bool = True
    #: thinking is refused behind another conversation than the one it was thought in, unless the request says to leave it out
    binds: bool = False
    #: values of `output_config.effort`
    efforts: tuple[str, ...] = ()
    #: tokens that the whole generation writes at least, for models that no catalogue knows; 0 where not known
    max_output: int = 0


_NAME = re.compile(
    r"claude-(?:(?P<line>[a-z]+)-)?(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?![\d])(?:-(?P<after>[a-z]+))?"
)
#: came between 4.6 and 5 and has no number
_PREVIEW = "claude-mythos-preview"
_UPPER = ("mythos", "fable")


@lru_cache(maxsize=512)
def traits(model: str) -> Traits:
    """What this model takes."""
    line, version = _version(model)
    if version is None:
        return Traits()
    upper = line in _UPPER
    return Traits(
        thinking=_thinking(version),
        off=_off(line, version),
        thinks_unasked=version >= (5, 0),
        sampling=_sampling(line, version),
        structured=version >= (4, 5) or (line == "opus" and version == (4, 1)),
        forced=not (version >= (5, 1) if upper else version >= (5, 5) and line != "haiku") and _PREVIEW not in model,
        prefill=version < (4, 6),
        binds=version >= (5, 1) and line != "mythos",
        efforts=_efforts(line, version),
        max_output=128_000 if version >= (5, 0) else 64_000 if version >= (4, 5) else 0,
    )


def _version(model: str) -> tuple[str, tuple[int, int] | None]:
    """Line (opus, sonnet …) and number: `claude-sonnet-4-5-20250929`, `claude-3-7-sonnet-latest`, `claude-opus-4@20250514`."""
    if _PREVIEW in model:
        return "mythos", (5, 0)
    found = _NAME.search(model)
    if found is None:
        return "", None
    line = found["line"] or found["after"] or ""
    return line, (int(found["major"]), int(found["minor"] or 0))


def _thinking(version: tuple[int, int]) -> Literal["none", "budget", "either", "adaptive"]:
    if version < (3, 7):
        return "none"
    if version < (4, 6):
        return "budget"
    return "either" if version == (4, 6) else "adaptive"


def _off(line: str, version: tuple[int, int]) -> Literal["disabled", "silent", "between_tools", "never"]:
    if version < (3, 7) or (4, 7) <= version < (5, 0):
        return "silent"  # 4.7 and 4.8 think only when asked to, and 4.7 refuses `disabled` in places
    if line in _UPPER or (line == "opus" and version >= (5, 5)):
        return "never"
    if line == "sonnet" and version >= (5, 5):
        return "between_tools"
    return "disabled"


def _sampling(line: str, version: tuple[int, int]) -> Literal["both", "one", "none"]:
    if version >= (4, 7):
        return "none"
    return "one" if version >= (4, 5) or (line == "opus" and version == (4, 1)) else "both"


def _efforts(line: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return ("low", "medium", "high", "xhigh", "max")
    if version == (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if line == "opus" and version == (4, 5) else ()
