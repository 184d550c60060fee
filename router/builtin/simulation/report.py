"""What a simulation found: sums in all, by model that was asked for and by provider, and why some calls would not be served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from ...call import Endpoint
from ...errors import RouterError
from ...prices import usd
from ...store.traffic import Alike
from .figures import Logged

#: messages of refusals that are shown
SHOWN = 100


class Sums(Struct):
    """One side of a comparison. Money is picodollars; `requests` may be a fraction of one where chance decides."""

    requests: float = 0.0
    cost: int = 0
    unpriced: float = 0.0

    def add(self, requests: float, cost: int | None, share: float = 1.0) -> None:
        """Count calls with what they cost in all."""
        self.requests += requests * share
        if cost is None:
            self.unpriced += requests * share
        else:
            self.cost += cost if share == 1.0 else round(cost * share)


class Line(Struct):
    """A model or provider, or everything. `before` and `after` are what can be compared: calls that had a price and would have one,
    in picodollars."""

    requests: int = 0
    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached: int = 0
    actual: Sums = field(default_factory=Sums)
    simulated: Sums = field(default_factory=Sums)
    unserved: int = 0
    before: int = 0
    after: int = 0


class Refused(Struct):
    """Calls that nobody would serve, for one reason."""

    model: str
    code: str
    reason: str
    excluded_by: Sequence[str]
    requests: int = 0


class Report:
    """Filled kind by kind; `printed` is its JSON form."""

    def __init__(self, logged: Logged, *, failed: dict[str, int]) -> None:
        self.total = Line()
        self.models: dict[str, Line] = {}
        self.endpoints: dict[str, dict[tuple[str, str], tuple[Endpoint, Sums]]] = {}
        self.providers: dict[str, tuple[Sums, Sums]] = {}
        self.refused: dict[tuple[str, str], Refused] = {}
        self._served_by: dict[str, dict[tuple[str, str], Sums]] = {}
        self._logged = logged
        self._failed = failed

    # --- filling ---

    def actual(self, kind: Alike) -> None:
        """Take in what happened."""
        charge = kind.charge if kind.priced else None
        for line in self._lines(kind):
            line.requests += kind.requests
            line.input += kind.usage.input
            line.output += kind.usage.output
            line.reasoning += kind.usage.reasoning
            line.cached += kind.usage.cache_read
            line.actual.add(kind.requests, charge)
        self._provider(kind.provider)[0].add(kind.requests, charge)
        served_by = self._served_by.setdefault(kind.requested, {})
        served_by.setdefault((kind.provider, kind.model), Sums()).add(kind.requests, charge)

    def served(self, kind: Alike, expected: Sequence[tuple[Endpoint, float, int | None]]) -> None:
        """Take in where its calls would go, with which chance, and what all of them would cost there."""
        endpoints = self.endpoints.setdefault(kind.requested, {})
        comparable = kind.priced == kind.requests and all(cost is not None for _, _, cost in expected)
        for endpoint, share, cost in expected:
            for line in self._lines(kind):
                line.simulated.add(kind.requests, cost, share)
                if comparable and cost is not None:
                    line.after += cost if share == 1.0 else round(cost * share)
            key = (endpoint.tag, endpoint.model_id)
            _, sums = endpoints.setdefault(key, (endpoint, Sums()))
            sums.add(kind.requests, cost, share)
            self._provider(endpoint.provider.slug)[1].add(kind.requests, cost, share)
        if comparable:
            for line in self._lines(kind):
                line.before += kind.charge

    def unserved(self, kind: Alike, refusal: RouterError | None) -> None:
        """Take in calls that nobody would serve."""
        for line in self._lines(kind):
            line.unserved += kind.requests
        message = refusal.message if refusal is not None else "nobody serves it"
        key = (kind.requested, message)
        if key not in self.refused and len(self.refused) >= SHOWN:
            key = ("", "")
            message = "further reasons"
        if key not in self.refused:
            told = (refusal.availability if refusal is not None else None) or {}
            code = refusal.code if refusal is not None else "model_not_found"
            self.refused[key] = Refused(key[0], code, message, told.get("excluded_by", []))
        self.refused[key].requests += kind.requests

    def _lines(self, kind: Alike) -> tuple[Line, Line]:
        line = self.models.get(kind.requested)
        if line is None:
            line = self.models[kind.requested] = Line()
        return self.total, line

    def _provider(self, slug: str) -> tuple[Sums, Sums]:
        return self.providers.setdefault(slug, (Sums(), Sums()))

    # --- printing ---

    def printed(self) -> dict[str, Any]:
        """The JSON form; those that cost most come first. Money is USD."""
        models = sorted(self.models.items(), key=lambda each: (-each[1].actual.cost, each[0]))
        providers = sorted(self.providers.items(), key=lambda each: (-each[1][0].cost, each[0]))
        return {
            "total": _line(self.total),
            "models": [self._model(name, line) for name, line in models],
            "providers": [{"provider": slug, **_both(*sides)} for slug, sides in providers],
            "unserved": [
                {
                    "model": each.model,
                    "requests": each.requests,
                    "code": each.code,
                    "reason": each.reason,
                    "excluded_by": each.excluded_by,
                }
                for each in sorted(self.refused.values(), key=lambda each: -each.requests)
            ],
            "left_out": self._failed,
        }

    def _model(self, name: str, line: Line) -> dict[str, Any]:
        found = self.endpoints.get(name, {})
        by_share = sorted(found.items(), key=lambda each: (-each[1][1].requests, each[0]))
        return {
            "model": name,
            **_line(line),
            "actual": [
                {"provider": provider, "model": model, **_sums(sums)}
                for (provider, model), sums in sorted(self._served_by[name].items())
            ],
            "simulated": [self._endpoint(line, *each) for _, each in by_share],
        }

    def _endpoint(self, line: Line, endpoint: Endpoint, sums: Sums) -> dict[str, Any]:
        latency = self._logged.latency(endpoint)
        return {
            "provider": endpoint.provider.slug,
            "tag": endpoint.tag,
            "model": endpoint.model_id,
            "share": round(sums.requests / line.requests, 6),
            **_sums(sums),
            "latency_ms": None if latency is None else round(latency * 1000, 1),
        }


def _line(line: Line) -> dict[str, Any]:
    return {
        "requests": line.requests,
        "prompt_tokens": line.input,
        "completion_tokens": line.output,
        "reasoning_tokens": line.reasoning,
        "cached_tokens": line.cached,
        "unserved_requests": line.unserved,
        "unpriced_requests": round(line.simulated.unpriced, 3),
        "actual_cost": usd(line.actual.cost),
        "simulated_cost": usd(line.simulated.cost),
        "difference": usd(line.after - line.before),
    }


def _both(actual: Sums, simulated: Sums) -> dict[str, Any]:
    return {
        "actual_requests": round(actual.requests),
        "simulated_requests": round(simulated.requests, 3),
        "actual_cost": usd(actual.cost),
        "simulated_cost": usd(simulated.cost),
        "difference": usd(simulated.cost - actual.cost),
    }


def _sums(sums: Sums) -> dict[str, Any]:
    return {"requests": round(sums.requests, 3), "cost": usd(sums.cost)}


__all__ = ["Report"]
