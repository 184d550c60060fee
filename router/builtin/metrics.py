"""Counters for Prometheus at /metrics, in its text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from ..api import Request, Route
from ..call import Attempt, Call
from ..errors import Forbidden
from ..hookspecs import hookimpl
from ..prices import usd_text

if TYPE_CHECKING:
    from ..server import Server

#: upper bounds of the latency histogram, in seconds
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
#: models that are counted by name, the first that were asked; what no catalogue knows is called what clients call it
MOST_MODELS = 2000
OTHERS = "others"


class Histogram:
    """Counts per bucket, and the sum, in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Take one value in."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Counts attempts, tokens, money and latencies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._models: set[str] = set()
        self._attempts: dict[tuple[str, str, str], int] = defaultdict(int)
        self._latencies: dict[str, Histogram] = defaultdict(Histogram)
        self._tokens: dict[tuple[str, str, str], int] = defaultdict(int)
        self._cost: dict[tuple[str, str], int] = defaultdict(int)

    @hookimpl
    def router_attempted(self, call: Call, attempt: Attempt) -> None:
        """One try; the one that answered has usage and charge."""
        endpoint = attempt.candidate.endpoint
        provider, model = endpoint.provider.slug, self._label(endpoint.model_id)
        self._attempts[provider, model, attempt.error.kind if attempt.error else "ok"] += 1
        if attempt.error is None and call.usage is not None:
            self._latencies[provider].add(attempt.latency_s)
            self._tokens[provider, model, "prompt"] += call.usage.input
            self._tokens[provider, model, "completion"] += call.usage.output
            self._cost[provider, model] += call.charge or 0

    def _label(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= MOST_MODELS:
            return OTHERS
        self._models.add(model)
        return model

    @hookimpl
    def router_routes(self, app: Server) -> Sequence[Route]:
        """GET /metrics."""
        return [Route(method="GET", path="/metrics", handler=self._answer, scope="public", prefixes=("",))]

    async def _answer(self, request: Request) -> web.Response:
        """For loopback without a key, for everybody else with a management key."""
        if not _is_local(request.http):
            identity = await self._server.identify(request.http, "any")
            if identity is None or not identity.management:
                raise Forbidden("metrics are for loopback or a management key")
        return web.Response(text="\n".join(self._lines()) + "\n", content_type="text/plain")

    def _lines(self) -> Iterator[str]:
        yield "# TYPE router_attempts_total counter"
        for (provider, model, result), count in self._attempts.items():
            yield f"router_attempts_total{_labels(provider=provider, model=model, result=result)} {count}"
        yield "# TYPE router_tokens_total counter"
        for (provider, model, side), count in self._tokens.items():
            yield f"router_tokens_total{_labels(provider=provider, model=model, side=side)} {count}"
        yield "# TYPE router_cost_usd_total counter"
        for (provider, model), amount in self._cost.items():
            yield f"router_cost_usd_total{_labels(provider=provider, model=model)} {usd_text(amount)}"
        yield "# TYPE router_first_content_seconds histogram"
        for provider, histogram in self._latencies.items():
            yield from _histogram("router_first_content_seconds", provider, histogram)


def _is_local(request: web.Request) -> bool:
    """True for this machine itself, but not for a proxy on it that asks for somebody else."""
    if request.headers.keys() & {"X-Forwarded-For", "Forwarded", "Via"}:
        return False
    return ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback  # noqa: S104 - a comparison


def _histogram(name: str, provider: str, histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket{_labels(provider=provider, le=bound)} {total}"
    yield f"{name}_sum{_labels(provider=provider)} {histogram.sum:.6f}"
    yield f"{name}_count{_labels(provider=provider)} {total}"


def _labels(**labels: str) -> str:
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
