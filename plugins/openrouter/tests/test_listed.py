"""OpenRouter's list of models, read for its facts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from router_openrouter.listed import models_of, price_of

from router import Model, Price, PriceOverride

CLAUDE = {
    "id": "anthropic/claude-x",
    "canonical_slug": "anthropic/claude-x-20260101",
    "hugging_face_id": "",
    "name": "Anthropic: Claude X",
    "created": 1767225600,
    "description": "words",
    "context_length": 200000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"], "tokenizer": "Claude"},
    "pricing": {"prompt": "0.000003", "completion": "0.000015", "web_search": "0.01", "input_cache_read": "0.0000003"},
    "top_provider": {"context_length": 200000, "max_completion_tokens": 64000, "is_moderated": True},
    "supported_parameters": ["max_tokens", "reasoning", "include_reasoning", "tools"],
    "reasoning": {"mandatory": False, "supported_efforts": ["high", "low"]},
    "knowledge_cutoff": "2025-06-30",
    "expiration_date": None,
}


def listed(*models: Any) -> list[Model]:
    return models_of(msgspec.json.encode({"data": list(models)}))


def test_facts() -> None:
    (model,) = listed(CLAUDE)

    assert model == Model(
        id="anthropic/claude-x",
        name="Anthropic: Claude X",
        created=1767225600,
        context_length=200000,
        max_output=64000,
        input_modalities=["text", "image"],
        price=Price(prompt=3_000_000, completion=15_000_000, input_cache_read=300_000, web_search=10_000_000_000),
        parameters=[
            *("include_reasoning", "max_completion_tokens", "max_tokens", "parallel_tool_calls"),
            *("reasoning", "reasoning_effort", "tools", "user"),
        ],
        reasoning=True,
        efforts=["high", "low"],
        knowledge_cutoff="2025-06-30",
        tokenizer="Claude",
    )


def test_a_bare_entry_is_a_model_too() -> None:
    assert listed({"id": "a/b", "pricing": None, "architecture": None}) == [Model(id="a/b", name="a/b")]


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.000001"},
        {"prompt": "free", "completion": "0"},
        {"prompt": "NaN", "completion": "0"},
        {"prompt": "Infinity", "completion": "0"},
        {"prompt": 1, "completion": 2},
    ],
)
def test_a_price_that_is_not_known_is_none(pricing: dict[str, Any]) -> None:
    assert price_of(pricing) is None


def test_a_free_model_has_a_price() -> None:
    assert price_of({"prompt": "0", "completion": "0"}) == Price()


def test_more_digits_than_a_price_has_are_rounded() -> None:
    price = price_of({"prompt": "0.00000025", "completion": "0", "input_cache_write": "0.00000008333333333333334"})

    assert price is not None
    assert price.input_cache_write == 83_333


def test_thinking_at_the_price_of_the_answer_has_none_of_its_own() -> None:
    price = price_of({"prompt": "0", "completion": "0.000001", "internal_reasoning": "0.000001", "audio": "0.000002"})

    assert price == Price(completion=1_000_000, audio_input=2_000_000)


def test_long_prompts_and_hours_have_other_prices() -> None:
    rows = [
        {"min_prompt_tokens": 200000, "prompt": "0.000006", "completion": "0.00002"},
        {"utc_start": "16:30", "utc_end": "00:30", "prompt": "0.000001"},
    ]

    price = price_of({"prompt": "0.000003", "completion": "0.00001", "overrides": rows})

    assert price is not None
    assert price.overrides == [
        PriceOverride(min_prompt_tokens=200000, prompt=6_000_000, completion=20_000_000),
        PriceOverride(utc_start="16:30", utc_end="00:30", prompt=1_000_000),
    ]


def test_what_is_no_list_raises() -> None:
    with pytest.raises(msgspec.DecodeError):
        models_of(b'{"data": 1}')
