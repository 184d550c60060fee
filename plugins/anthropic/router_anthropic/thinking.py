"""How much to think: the hub's effort or budget in the form that the model takes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from router import ChatRequest, Outgoing, ReasoningConfig

from .traits import Traits

MIN_BUDGET, MAX_BUDGET = 1024, 128_000
#: the part of `max_tokens` that an effort is worth
RATIO = {"max": 0.95, "xhigh": 0.95, "high": 0.8, "medium": 0.5, "low": 0.2, "minimal": 0.1}


class Thinking(Struct, kw_only=True):
    """What is sent: `config` as `thinking`, `effort` in `output_config`, and `max_tokens` with room for it.

    `on`: thinking was asked for. `budget`: in the older form, which excludes prefill and wants every turn's thinking back.
    """

    max_tokens: int
    config: dict[str, Any] | None = None
    effort: str | None = None
    on: bool = False

    @property
    def budget(self) -> bool:
        """True for the form with a budget of tokens."""
        return self.config is not None and self.config["type"] == "enabled"


def thinking(request: ChatRequest, can: Traits, max_output: int, outgoing: Outgoing) -> Thinking:
    """What to send for `request.reasoning`. `max_output` is the model's limit in tokens, 0 where not known."""
    max_tokens = request.max_tokens or max_output or 4096
    wanted = request.reasoning
    if wanted is None or not (wanted.on or wanted.off):
        return Thinking(max_tokens=max_tokens)
    if wanted.off:
        return Thinking(max_tokens=max_tokens, config=_off(can, outgoing))
    if can.thinking == "none":
        outgoing.dropped.append("reasoning")
        return Thinking(max_tokens=max_tokens)
    if can.thinking == "budget" or (can.thinking == "either" and wanted.max_tokens):
        return _with_budget(wanted, max_tokens, max_output, outgoing)
    if wanted.max_tokens:
        outgoing.warnings.append(
            f"{request.model} takes no budget for thinking: reasoning.max_tokens is left out, and the model decides"
        )
    config = {"type": "adaptive", "display": "omitted" if wanted.exclude else "summarized"}
    return Thinking(max_tokens=max_tokens, config=config, effort=effort_of(wanted.effort, can), on=True)


def effort_of(effort: str | None, can: Traits) -> str | None:
    """The nearest effort that the model takes, None where nothing was said or it takes none."""
    if effort is None or not can.efforts:
        return None
    if effort in can.efforts:
        return effort
    return can.efforts[0] if effort == "minimal" else can.efforts[-1]


def _off(can: Traits, outgoing: Outgoing) -> dict[str, Any] | None:
    match can.off:
        case "silent":
            return None
        case "never":
            outgoing.warnings.append("this model always thinks: reasoning cannot be switched off")
            return None
    return {"type": can.off}


def _with_budget(wanted: ReasoningConfig, max_tokens: int, max_output: int, outgoing: Outgoing) -> Thinking:
    """The budget lies below `max_tokens`, which counts thinking too: it is raised where nothing would be left for the answer."""
    ratio = RATIO.get(wanted.effort or "medium", 0.5)
    budget = min(max(wanted.max_tokens or int(max_tokens * ratio), MIN_BUDGET), MAX_BUDGET)
    if budget >= max_tokens:
        raised = budget + max_tokens
        if max_output and raised > max_output:
            raised = max(max_output, max_tokens)
            budget = max(min(budget, raised - 1), MIN_BUDGET)
            raised = max(raised, budget + 1)
        outgoing.warnings.append(
            f"max_tokens raised from {max_tokens} to {raised}: thinking takes up to {budget} of them"
        )
        max_tokens = raised
    return Thinking(max_tokens=max_tokens, config={"type": "enabled", "budget_tokens": budget}, on=True)
