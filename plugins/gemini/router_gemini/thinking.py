"""How much to think: the request's reasoning as Gemini's thinkingConfig."""

from __future__ import annotations

from router import ReasoningConfig
from router.wire.gemini import ThinkingConfig

from .traits import Traits

#: share of the tokens that may be written
RATIOS = {"max": 0.95, "xhigh": 0.95, "high": 0.8, "medium": 0.5, "low": 0.2, "minimal": 0.1}
_LEVELS = {"max": "HIGH", "xhigh": "HIGH", "high": "HIGH", "medium": "MEDIUM", "low": "LOW", "minimal": "MINIMAL"}
#: the most tokens that a level stands for
_LEVEL_TOKENS = (("MINIMAL", 512), ("LOW", 1024), ("MEDIUM", 8192))


def thinking_config(asked: ReasoningConfig | None, traits: Traits, max_tokens: int | None) -> ThinkingConfig | None:
    """The thinkingConfig, None where nothing was asked for or the model cannot be told."""
    if asked is None or not (asked.on or asked.off) or not (traits.budgets or traits.levels):
        return None
    if asked.off:
        if traits.budgets is None:
            return ThinkingConfig(thinking_level=traits.levels[0])
        return ThinkingConfig(thinking_budget=0 if traits.can_stop else traits.budgets[0])
    config = ThinkingConfig(include_thoughts=None if asked.exclude else True)
    if traits.budgets is not None:
        config.thinking_budget = _budget(asked, traits, traits.budgets, max_tokens)
    else:
        config.thinking_level = _level(asked, traits.levels)
    return config


def _budget(asked: ReasoningConfig, traits: Traits, budgets: tuple[int, int], max_tokens: int | None) -> int | None:
    least, most = budgets
    if asked.max_tokens:
        return min(max(asked.max_tokens, least), most)
    if asked.effort:
        return min(max(int((max_tokens or most) * RATIOS[asked.effort]), least), most)
    return -1 if traits.idle else None


def _level(asked: ReasoningConfig, levels: tuple[str, ...]) -> str | None:
    """The level of the effort, or the next one above that the model has."""
    if asked.max_tokens:
        wanted = next((level for level, tokens in _LEVEL_TOKENS if asked.max_tokens <= tokens), "HIGH")
    elif asked.effort:
        wanted = _LEVELS[asked.effort]
    else:
        return None
    order = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
    return next((level for level in order[order.index(wanted) :] if level in levels), levels[-1])
