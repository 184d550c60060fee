"""What a client is told whose request no endpoint may serve (api.md 4.2)."""

from __future__ import annotations

from typing import Any

from ...call import Call
from ...errors import BadRequest, Forbidden, NoEndpoint, NotFound, RouterError
from .fitness import DOES_NOT_CHAT
from .pools import Suitable


def refusal(call: Call, found: Suitable, nearest: list[str]) -> RouterError:
    """The error for a call all of whose endpoints are excluded. `nearest` are ids of other models."""
    model = call.head.model or next(iter(call.head.models), "")
    values = set(found.reasons.values())
    if not values:
        return _gone(call, model, nearest)
    if values <= {"key: model"}:
        return Forbidden(f"this key may not use {model!r}", code="model_not_allowed", param="model")
    if values <= {"key: provider", "key: model"}:
        return Forbidden(f"this key may not use the providers of {model!r}", code="provider_not_allowed", param="model")
    if values <= {"no credential"}:
        slugs = ", ".join(sorted(found.reasons))
        return NoEndpoint(f"no credential is configured for {slugs}: set api_key in [providers.{slugs}]")
    details = "; ".join(f"{tag}: {reason}" for tag, reason in sorted(found.reasons.items()))
    kinds = {reason.partition(": ")[0] for reason in values}
    told = _availability(call, _code(values, kinds), nearest)
    told["excluded_by"] = sorted(kinds)
    if len(kinds) == 1:
        told["constraint"] = {"field": next(iter(kinds)), "detail": details}
    message = f"no endpoint of {model!r} fits the request: {details}"
    if told["code"] == "wrong_endpoint":
        return BadRequest(message, param="model", availability=told)
    return NotFound(message, code="no_endpoints", availability=told)


def _gone(call: Call, model: str, nearest: list[str]) -> RouterError:
    """The name was understood, but no endpoint has what its variant wants."""
    told = _availability(call, "free_variant_ended" if model.endswith(":free") else "no_endpoints", nearest)
    return NotFound(f"no endpoint serves {model!r}", code="no_endpoints", param="model", availability=told)


def _code(values: set[str], kinds: set[str]) -> str:
    if values == {DOES_NOT_CHAT}:
        return "wrong_endpoint"
    if all(kind.startswith("data_policy:") for kind in kinds):
        return "privacy_restricted"
    return "constraint_filtered"


def _availability(call: Call, code: str, nearest: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "code": code,
        "retryable": False,
        "requested_models": [name for name in (call.head.model, *call.head.models) if name],
        "docs_url": "/docs",
    }
    if nearest:
        told["fallback_models"] = nearest
    return told
