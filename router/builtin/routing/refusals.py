"""What a client is told whose request no endpoint may serve (api.md 4.2)."""

from __future__ import annotations

from collections.abc import Iterable

from ...availability import availability
from ...call import Call
from ...errors import BadRequest, Forbidden, NoEndpoint, NotFound, RouterError
from .fitness import DOES_NOT_CHAT, GIVES_OTHERS
from .pools import Suitable


def refusal(call: Call, found: Suitable, nearest: list[str]) -> RouterError:
    """The error for a call all of whose endpoints are excluded. `nearest` are ids of other models."""
    model = call.head.model or next(iter(call.head.models), "")
    values = set(found.reasons.values())
    if not values:
        return _gone(call, model, nearest)
    if values <= {"key: model"}:
        return _forbidden(call, f"this key may not use {model!r}", "model_not_allowed")
    if values <= {"key: provider", "key: model"}:
        return _forbidden(call, f"this key may not use the providers of {model!r}", "provider_not_allowed")
    if all(value.startswith(("key: ", "guardrail: ")) for value in values):
        return _guarded(call, model, values)
    if values <= {"no credential"}:
        slugs = ", ".join(sorted(found.reasons))
        told = availability("temporarily_unavailable", _requested(call), providers=found.reasons, retryable=False)
        return NoEndpoint(
            f"no credential is configured for {slugs}: set api_key in [providers.{slugs}]", availability=told
        )
    details = "; ".join(f"{tag}: {reason}" for tag, reason in sorted(found.reasons.items()))
    kinds = {reason.partition(": ")[0] for reason in values}
    told = availability(_code(values, kinds), _requested(call), nearest=nearest)
    told["excluded_by"] = sorted(kinds)
    if len(kinds) == 1:
        told["constraint"] = {"field": next(iter(kinds)), "detail": details}
    message = f"no endpoint of {model!r} fits the request: {details}"
    if told["code"] == "wrong_endpoint":
        return BadRequest(message, param="model", availability=told)
    return NotFound(message, code="no_endpoints", availability=told)


def _gone(call: Call, model: str, nearest: list[str]) -> RouterError:
    """The name was understood, but no endpoint has what its variant wants."""
    code = "free_variant_ended" if model.endswith(":free") else "no_endpoints"
    told = availability(code, _requested(call), nearest=nearest)
    return NotFound(f"no endpoint serves {model!r}", code="no_endpoints", param="model", availability=told)


def _code(values: set[str], kinds: set[str]) -> str:
    if values == {DOES_NOT_CHAT}:
        return "wrong_endpoint"
    if all(value.startswith(GIVES_OTHERS) for value in values):
        return "no_endpoints"
    if all(kind.startswith("data_policy:") for kind in kinds):
        return "privacy_restricted"
    return "constraint_filtered"


def _guarded(call: Call, model: str, values: set[str]) -> Forbidden:
    """A guardrail, alone or together with the key, leaves nothing."""
    kinds = {value.partition(": ")[2] for value in values}
    by = {value.partition(": ")[0] for value in values}
    if kinds == {"model"}:
        return _forbidden(call, f"a guardrail of this key does not allow {model!r}", "model_not_allowed", by)
    if kinds <= {"provider", "model"}:
        return _forbidden(call, f"a guardrail of this key allows no provider of {model!r}", "provider_not_allowed", by)
    wants = ", ".join(sorted(kinds))
    return _forbidden(
        call, f"a guardrail of this key allows no endpoint of {model!r} ({wants})", "guardrail_blocked", by
    )


def _forbidden(call: Call, message: str, code: str, by: Iterable[str] = ("key",)) -> Forbidden:
    told = availability("constraint_filtered", _requested(call))
    told["excluded_by"] = sorted(by)
    return Forbidden(message, code=code, param="model", availability=told)


def _requested(call: Call) -> tuple[str, ...]:
    return (call.head.model, *call.head.models)
