"""What a moderation model says, and what that means here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

#: of what was flagged, for the client
LONGEST_QUOTE = 100


class Result(Struct, kw_only=True):
    """One of `results`. Mistral says nothing of `flagged`; categories that do not apply may be null."""

    flagged: bool | None = None
    categories: dict[str, bool | None] = field(default_factory=dict)
    category_scores: dict[str, float | None] = field(default_factory=dict)


class _Answer(Struct, kw_only=True):
    results: list[Result]


decode = msgspec.json.Decoder(_Answer).decode


class Verdict(Struct, kw_only=True):
    """Why something was flagged; no reasons: it was not. `quote` is a piece of it, `provider` who said so."""

    reasons: list[str] = field(default_factory=list)
    quote: str = ""
    provider: str = ""


def reasons_of(result: Result, thresholds: Mapping[str, float]) -> list[str]:
    """The categories that are too much: by the threshold where there is one, else by the model's own word."""
    named = {name for name, held in result.categories.items() if held and name not in thresholds}
    named |= {name for name, least in thresholds.items() if (result.category_scores.get(name) or 0.0) >= least > 0}
    if not named and result.flagged and not any(result.categories.values()):
        return ["flagged"]
    return sorted(named)


def judge(body: bytes, asked: Sequence[Any], thresholds: Mapping[str, float], provider: str) -> Verdict:
    """The verdict on what was asked. Raises ValueError where the answer does not fit it."""
    results = decode(body).results
    if len(results) != len(asked):
        raise ValueError(f"{len(results)} results for {len(asked)} inputs")
    verdict = Verdict(provider=provider)
    for given, result in zip(asked, results, strict=True):
        reasons = reasons_of(result, thresholds)
        if reasons and not verdict.quote:
            verdict.quote = quote_of(given) if isinstance(given, str) else "[image]"
        verdict.reasons += [each for each in reasons if each not in verdict.reasons]
    return verdict


def quote_of(text: str) -> str:
    """At most 100 characters: beginning and end of what is longer."""
    if len(text) <= LONGEST_QUOTE:
        return text
    half = (LONGEST_QUOTE - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
