"""OpenRouter's own list of models (`GET /models`) as facts: lengths, modalities, prices, what a request may have."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct, field

from router import Model, Price, PriceOverride

PICODOLLARS = 10**12
#: a number of USD beyond this is no price of a token or a search
DEAREST = 1000

#: OpenRouter's names for classes of tokens, and for pieces, by ours
_CLASSES = {
    "prompt": "prompt",
    "completion": "completion",
    "input_cache_read": "input_cache_read",
    "input_cache_write": "input_cache_write",
    "input_cache_write_1h": "input_cache_write_1h",
    "internal_reasoning": "internal_reasoning",
    "audio_input": "audio",
    "audio_output": "audio_output",
}
_PIECES = {
    "request": "request",
    "web_search": "web_search",
    "image_input": "image_token",
    "image_output": "image_output",
}

#: what OpenRouter itself sees to where a model has the first of a pair
_WITH = {
    "max_tokens": ("max_completion_tokens", "user"),
    "tools": ("parallel_tool_calls",),
    "reasoning": ("reasoning_effort",),
}


class _Architecture(Struct):
    """What goes in and comes out."""

    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    tokenizer: str | None = None


class _Top(Struct):
    """The limits of the endpoint that is asked first."""

    max_completion_tokens: int | None = None


class _Reasoning(Struct):
    """How a model can be told to think."""

    supported_efforts: list[str] | None = None


class _Listed(Struct):
    """An entry of the list, as far as it is read."""

    id: str
    name: str | None = None
    created: int | None = None
    context_length: int | None = None
    architecture: _Architecture | None = None
    pricing: dict[str, Any] | None = None
    top_provider: _Top | None = None
    supported_parameters: list[str] | None = None
    reasoning: _Reasoning | None = None
    knowledge_cutoff: str | None = None
    hugging_face_id: str | None = None
    expiration_date: str | None = None


class _List(Struct):
    data: list[_Listed] = field(default_factory=list)


_decode = msgspec.json.Decoder(_List).decode


def models_of(body: bytes) -> list[Model]:
    """The models of a list. Raises msgspec.DecodeError."""
    return [_model(each) for each in _decode(body).data]


def _model(given: _Listed) -> Model:
    made = given.architecture or _Architecture()
    taken = set(given.supported_parameters or ())
    more = {name for first, names in _WITH.items() if first in taken for name in names}
    reasons = "reasoning" in taken
    return Model(
        id=given.id,
        name=given.name or given.id,
        created=given.created or 0,
        context_length=given.context_length or 0,
        max_output=(given.top_provider.max_completion_tokens or 0) if given.top_provider else 0,
        input_modalities=made.input_modalities or ["text"],
        output_modalities=made.output_modalities or ["text"],
        price=price_of(given.pricing or {}),
        parameters=sorted(taken | more),
        reasoning=reasons,
        efforts=(given.reasoning.supported_efforts or []) if reasons and given.reasoning else [],
        knowledge_cutoff=given.knowledge_cutoff,
        tokenizer=made.tokenizer or "Other",
        open_weights=bool(given.hugging_face_id),
        deprecated=given.expiration_date is not None,
    )


# --- prices ----------------------------------------------------------------------------------------------------------


def price_of(pricing: Mapping[str, Any]) -> Price | None:
    """None where it is not known beforehand: OpenRouter's own routers of models cost what the chosen one does, and say -1."""
    told = _amounts(pricing, _CLASSES | _PIECES)
    if "prompt" not in told or "completion" not in told:
        return None
    if told.get("internal_reasoning") == told["completion"]:
        del told["internal_reasoning"]
    rows = pricing.get("overrides")
    return Price(**told, overrides=[_override(each) for each in rows or () if isinstance(each, dict)])


def _override(given: Mapping[str, Any]) -> PriceOverride:
    """Prices from a length of the prompt on, or for some hours of the day."""
    least = given.get("min_prompt_tokens")
    return PriceOverride(
        min_prompt_tokens=least if isinstance(least, int) else 0,
        utc_start=str(given.get("utc_start") or ""),
        utc_end=str(given.get("utc_end") or ""),
        **_amounts(given, _CLASSES),
    )


def _amounts(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    found = ((ours, _picodollars(given.get(theirs))) for ours, theirs in names.items())
    return {name: amount for name, amount in found if amount is not None}


def _picodollars(usd: Any) -> int | None:
    """A decimal string in USD; some have more digits than a price can have (0.00000008333333333333334)."""
    if not isinstance(usd, str):
        return None
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < DEAREST:
        return None
    return int((amount * PICODOLLARS).to_integral_value(rounding=ROUND_HALF_UP))
