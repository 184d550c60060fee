"""How endpoints did in the period of a simulation: what `sort` and the preferred thresholds go by there."""

from __future__ import annotations

from collections.abc import Iterable

from ...call import Endpoint
from ...statistics import SLIDING_S, Statistics
from ...store.traffic import Seen


class Logged(Statistics):
    """Means of the ledger's rows, by provider and public model, in place of percentiles: rows are read as sums."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        super().__init__(lambda: 0.0)
        self._sums: dict[tuple[str, str], Seen] = {}
        for each in seen:
            known = self._sums.setdefault((each.provider, each.model), Seen("", each.model, each.provider))
            known.requests += each.requests
            known.latency_ms += each.latency_ms
            known.generation_ms += each.generation_ms
            known.output += each.output

    def latency(self, endpoint: Endpoint, percentile: int = 50, seconds: float = SLIDING_S) -> float | None:
        """Seconds to the first content."""
        found = self._sums.get((endpoint.provider.slug, endpoint.model_id))
        return None if found is None else found.latency_ms / found.requests / 1000

    def throughput(self, endpoint: Endpoint, percentile: int = 50, seconds: float = SLIDING_S) -> float | None:
        """Tokens per second behind it."""
        found = self._sums.get((endpoint.provider.slug, endpoint.model_id))
        return None if found is None or not found.generation_ms else found.output / found.generation_ms * 1000


__all__ = ["Logged"]
