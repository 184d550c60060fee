"""Why a call goes where it goes: each candidate with its figures and what it would cost, what was excluded or moved, and the steps that
led there. Nothing here asks an upstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...call import Call, Candidate, Endpoint
from ...errors import BadRequest
from ...health import Circuit
from ...ledger import DEFAULT_OUTPUT_TOKENS
from ...planning import AUTO
from ...prices import PICODOLLARS, Price, Usage, usd_text
from ..routing.pools import blended
from .report import name_of

if TYPE_CHECKING:
    from ...server import Server

UPTIME_S = 1800.0


def explanation(server: Server, call: Call) -> dict[str, Any]:
    """The plan of a call, explained."""
    plan = call.plan
    return {
        "object": "explanation",
        "endpoint": call.asked_path,
        "requested_models": [name for name in (call.head.model, *call.head.models) if name],
        "strategy": plan.strategy,
        "candidates": candidates(server, call),
        "filtered": plan.filtered,
        "moved": plan.moved,
        "policy": policy(server, call),
    }


def candidates(server: Server, call: Call) -> list[dict[str, Any]]:
    """Who would be asked, in this order."""
    most = server.settings.routing.max_attempts
    shares = _shares(call)
    told = []
    for position, candidate in enumerate(call.plan.candidates, 1):
        verdict = "first" if position == 1 else "fallback" if position <= most else "beyond routing.max_attempts"
        endpoint = candidate.endpoint
        told.append(
            {
                "position": position,
                "verdict": verdict,
                "endpoint": name_of(candidate),
                "provider": candidate.provider.slug,
                "model": endpoint.model_id,
                "upstream_model": endpoint.model.id,
                "credential": candidate.credential.label,
                "group": candidate.group,
                "priority": endpoint.priority,
                "lane": lane(server, call, candidate),
                "scores": _scores(server, candidate, shares.get(id(endpoint))),
                "pricing": _pricing(endpoint.price),
                "estimate": estimated(call, endpoint),
            }
        )
    return told


def lane(server: Server, call: Call, candidate: Candidate) -> str:
    """raw: the client's bytes, patched; hub: translated."""
    if call.dialect.through_hub:
        return "raw" if server.relay.raw(call, candidate) else "hub"
    passed = candidate.provider.pass_path(call.dialect.name, candidate, call.operation) is not None
    return "raw" if passed else "hub"


def estimated(call: Call, endpoint: Endpoint) -> dict[str, Any]:
    """What the call would cost with an answer of full length, in USD; null where no price is known."""
    head, longest = call.head, endpoint.model.max_output
    wanted = DEFAULT_OUTPUT_TOKENS if head.max_tokens is None else head.max_tokens
    output = (min(wanted, longest) if longest else wanted) * head.n
    told: dict[str, Any] = {
        "prompt_tokens": head.prompt_tokens,
        "completion_tokens": output,
        "completion_bounded": head.max_tokens is not None,
        "prompt": None,
        "completion": None,
        "usd": None,
    }
    if endpoint.price is not None:
        cost = endpoint.price.cost(Usage(input=head.prompt_tokens, output=output), call.created_unix)
        told |= {
            "prompt": cost.prompt / PICODOLLARS,
            "completion": cost.completion / PICODOLLARS,
            "usd": cost.total / PICODOLLARS,
        }
    return told


# --- figures ---------------------------------------------------------------------------------------------------------


def _scores(server: Server, candidate: Candidate, share: float | None) -> dict[str, Any]:
    endpoint, health = candidate.endpoint, server.health
    price = None if endpoint.price is None else blended(endpoint.price) / 1e6
    now = server.clock.monotonic()
    circuit = health.circuit(candidate)
    return {
        "price": price,
        "weight": 1 / price**2 if price else None,
        "expected_share": share,
        "latency": health.statistics.latency(endpoint),
        "throughput": health.statistics.throughput(endpoint),
        "uptime": health.statistics.uptime(endpoint, UPTIME_S),
        "tool_success": health.statistics.tool_success(endpoint),
        "circuit": state_of(circuit, now),
        "circuit_until_s": round(circuit.until(now) - now, 3),
    }


def state_of(circuit: Circuit, now: float) -> str:
    """One word for a circuit."""
    if circuit.disabled:
        return "disabled"
    if now < circuit.cooling_until:
        return "cooling"
    if circuit.open_until == 0.0:
        return "closed"
    return "open" if now < circuit.open_until or circuit.probing else "half_open"


def _shares(call: Call) -> dict[int, float]:
    """How often each endpoint of the first model is asked first, by its id: certain, unless prices and chance decide."""
    plan = call.plan
    first = plan.candidates[0] if plan.candidates else None
    if first is None:
        return {}
    endpoints = {id(each.endpoint): each.endpoint for each in plan.candidates if each.group == first.group}
    last = {each["endpoint"] for each in plan.moved if each["to"] == "the end"}
    if plan.strategy != "balanced" or any(each["to"] == "the front" for each in plan.moved):
        return {key: float(endpoint is first.endpoint) for key, endpoint in endpoints.items()}
    stayed = [
        endpoint
        for endpoint in endpoints.values()
        if f"{endpoint.tag}: {endpoint.model_id}" not in last or len(last) >= len(endpoints)
    ]
    return dict.fromkeys(endpoints, 0.0) | _by_price(stayed, first.endpoint)


def _by_price(endpoints: Sequence[Endpoint], first: Endpoint) -> dict[int, float]:
    """Shares in proportion to 1/price², among those of the first priority; where some are free, the first of these gets all."""
    best = min(each.priority for each in endpoints)
    prices = {id(each): blended(each.price) for each in endpoints if each.priority == best}
    if not all(prices.values()):
        return {key: float(key == id(first)) for key in prices}
    weights = {key: price**-2 for key, price in prices.items()}
    return {key: weight / sum(weights.values()) for key, weight in weights.items()}


def _pricing(price: Price | None) -> dict[str, str] | None:
    """USD per token."""
    if price is None:
        return None
    told = {"prompt": price.prompt, "completion": price.completion, "request": price.request}
    return {name: usd_text(amount) for name, amount in told.items()}


# --- steps -----------------------------------------------------------------------------------------------------------


def policy(server: Server, call: Call) -> list[dict[str, Any]]:
    """What was decided, one step after the other."""
    plan = call.plan
    steps = [_admitted(call), *_names(server, call)]
    if plan.filtered:
        steps.append(_step("filter", f"{len(plan.filtered)} endpoints excluded", plan.filtered))
    if plan.candidates:
        steps.append(_step("order", f"ordered by {plan.strategy}", {"strategy": plan.strategy}))
    steps.extend(_step("move", f"{each['endpoint']} to {each['to']}: {each['reason']}", each) for each in plan.moved)
    for kind, what, functions in (
        ("transform", "changes the request", call.transforms),
        ("filter_answer", "reads or changes the answer", call.filters),
    ):
        steps.extend(_step(kind, f"{_owner(each)} {what}", {"plugin": _owner(each)}) for each in functions)
    return [*steps, *({"step": "plugin", **each} for each in call.pipeline)]


def _step(step: str, summary: str, data: Any) -> dict[str, Any]:
    return {"step": step, "summary": summary, "data": data}


def _admitted(call: Call) -> dict[str, Any]:
    identity, limit = call.identity, call.rate_limit
    name = (identity.name or identity.label) if identity is not None else "nobody"
    left = f", {limit[1]} of {limit[0]} requests left" if limit is not None else ""
    return _step("admit", f"key {name}{left}", {"key": name})


def _names(server: Server, call: Call) -> list[dict[str, Any]]:
    """What each name in the request stands for."""
    steps = []
    for name in [each for each in (call.head.model, *call.head.models) if each] or [""]:
        if not name:
            ids, how = _models(call), "no model named: the default"
        elif name in AUTO:
            ids, how = _models(call), "routing.auto_models"
        else:
            ids, how = _found(server, name)
        summary = f"{name or 'default'!r} ({how}): {', '.join(ids) or 'no model'}"
        steps.append(_step("resolve", summary, {"name": name, "how": how, "models": ids}))
    return steps


def _found(server: Server, name: str) -> tuple[list[str], str]:
    """The ids that a name stands for, and how it comes to them. One that fits several models is no failure here: a header may say whose
    is meant."""
    try:
        found = server.table.find(name)
    except BadRequest:
        return [], "fits several models"
    return [named.entry.id for named in found], server.table.reading(name) if found else "unknown"


def _models(call: Call) -> list[str]:
    return list(dict.fromkeys(candidate.endpoint.model_id for candidate in call.plan.candidates))


def _owner(function: Any) -> str:
    """The plugin that a transform or filter belongs to, by the module it was written in."""
    module = str(getattr(function, "__module__", type(function).__module__))
    return module.removeprefix("router.builtin.").removeprefix("router_").partition(".")[0]
