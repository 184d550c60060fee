"""What clients are told of models that cannot be had (api.md 4.2), so that they can choose another one or wait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

#: the same request may succeed later
PASSING = frozenset({"capacity_exhausted", "temporarily_unavailable"})
MOST_FALLBACKS = 3


def availability(
    code: str,
    requested: Iterable[str],
    *,
    nearest: Sequence[str] = (),
    providers: Iterable[str] = (),
    retry_after_s: float | None = None,
    retryable: bool | None = None,
) -> dict[str, Any]:
    """The object. `requested` are the names in the request, `nearest` the ids of models that could serve instead, `providers` those
    that failed. `retryable` overrides what the code says."""
    told: dict[str, Any] = {
        "code": code,
        "retryable": code in PASSING if retryable is None else retryable,
        "requested_models": [name for name in requested if name],
        "docs_url": "/docs",
    }
    if retry_after_s is not None:
        told["retry_after"] = math.ceil(retry_after_s)
    if affected := sorted(set(providers)):
        told["affected_providers"] = affected
    if nearest:
        told["fallback_models"] = list(nearest[:MOST_FALLBACKS])
    return told
