"""What `X-OpenRouter-Metadata` prints into answers and errors (api.md 18.9): what was asked for, who could serve it, who did."""

from __future__ import annotations

from typing import Any

from ...call import Attempt, Call, Candidate
from ...planning import AUTO

#: the settings of a request that decide where it goes, under their names in its `provider` object
PREFERENCES = ("order", "only", "ignore", "allow_fallbacks", "zdr", "data_collection", "quantizations", "max_price")


def report(call: Call) -> dict[str, Any]:
    """The object, as far as the call has come."""
    plan, attempts = call.plan, call.attempts
    available = _available(call)
    selected = next((each["provider"] for each in available if each["selected"]), None)
    return {
        "requested": call.head.model or next(iter(call.head.models), ""),
        "strategy": strategy(call),
        "region": None,
        "summary": f"available={len(available)}" + (f", selected={selected}" if selected else ""),
        "attempt": len(attempts),
        "is_byok": call.is_byok,
        "endpoints": {"total": _total(call), "available": available},
        "attempts": [_attempt(each) for each in attempts],
        "pipeline": call.pipeline,
        "params": _params(call),
        "dropped_params": call.dropped,
        "warnings": call.warnings or call.head.warnings,
        "filtered": plan.filtered,
    }


def strategy(call: Call) -> str:
    """How the names of the request led to models, in the words that clients of OpenRouter know. What decided the order of the endpoints
    is `params.sort`."""
    head = call.head
    if head.models:
        return "fallback"
    if head.model in AUTO:
        return "auto"
    if head.model.endswith(":free"):
        return "free"
    named = {candidate.endpoint.model_id for candidate in call.plan.candidates}
    return "direct" if not named or any(_same(head.model, id) for id in named) else "alias"


def _same(name: str, id: str) -> bool:
    return not name or id in (name, name.rpartition(":")[0]) or id.endswith(f"/{name}")


def _available(call: Call) -> list[dict[str, Any]]:
    """The endpoints that might have been asked, in their order; one that has several credentials counts once."""
    chosen = None if call.error is not None and not call.first_content_s else call.candidate
    told: dict[int, dict[str, Any]] = {}
    for candidate in call.plan.candidates:
        endpoint = candidate.endpoint
        told.setdefault(
            id(endpoint),
            {
                "provider": endpoint.provider.slug,
                "model": endpoint.model_id,
                "selected": chosen is not None and endpoint is chosen.endpoint,
            },
        )
    return list(told.values())


def _total(call: Call) -> int:
    """The endpoints of all models that the request names: those that might be asked, and those that were excluded."""
    known = {id(each.endpoint) for each in call.plan.candidates}
    excluded = {each["endpoint"] for each in call.plan.filtered} - set(map(name_of, call.plan.candidates))
    return len(known) + len(excluded)


def name_of(candidate: Candidate) -> str:
    """How explanations call an endpoint."""
    return f"{candidate.endpoint.tag}: {candidate.endpoint.model_id}"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    failed = attempt.error.status if attempt.error is not None else 200
    return {
        "provider": attempt.candidate.provider.slug,
        "model": attempt.candidate.endpoint.model_id,
        "status": attempt.status or failed,
    }


def _params(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = {"sort": call.plan.strategy}
    preferences = call.head.preferences
    if preferences is not None:
        told |= {name: value for name in PREFERENCES if (value := getattr(preferences, name)) is not None}
    return told
