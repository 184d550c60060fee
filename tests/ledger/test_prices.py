"""A price applied to a usage: disjoint classes of tokens, none counted twice, and none left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prices import Price, PriceOverride, Usage

#: 1970-01-01, 12:00 UTC
NOON = 12 * 3600.0
PLAIN = Price(prompt=10, completion=100)


def total(price: Price, *, at: float = NOON, **usage: Any) -> int:
    """What it costs."""
    return price.cost(Usage(**usage).clamped(), at).total


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PLAIN, {"input": 3, "output": 2}, 230),
        # Without a price of its own a class costs what its side costs.
        (
            PLAIN,
            {"input": 9, "cache_read": 2, "cache_write": 2, "cache_write_1h": 2, "audio_input": 1, "image_input": 1},
            90,
        ),
        (PLAIN, {"output": 9, "reasoning": 2, "audio_output": 2, "image_output": 2}, 900),
        ({"input_cache_read": 1}, {"input": 10, "cache_read": 6}, 46),
        ({"input_cache_write": 12}, {"input": 10, "cache_write": 6}, 112),
        (
            {"input_cache_write": 12, "input_cache_write_1h": 20},
            {"input": 10, "cache_write": 6, "cache_write_1h": 2},
            132,
        ),
        ({"input_cache_write": 12}, {"input": 10, "cache_write_1h": 2}, 104),
        ({"input_cache_read": 0}, {"input": 10, "cache_read": 6}, 40),
        ({"internal_reasoning": 300}, {"output": 10, "reasoning": 4}, 1800),
        ({"internal_reasoning": 0}, {"output": 10, "reasoning": 4}, 1000),
        ({"audio_input": 40, "image_input": 20}, {"input": 10, "audio_input": 3, "image_input": 2}, 210),
        ({"audio_output": 400, "image_output": 200}, {"output": 10, "audio_output": 3, "image_output": 2}, 2100),
        # What was read from the cache may have been sound: it is not paid twice.
        ({"audio_input": 40, "input_cache_read": 1}, {"input": 10, "cache_read": 8, "audio_input": 9}, 88),
        ({"request": 7, "image": 50, "web_search": 30}, {"images": 2, "searches": 3}, 197),
        (PLAIN, {"input": 50, "output": 50, "billed_input": 3, "billed_output": 2}, 230),
    ],
)
def test_classes(price: Any, usage: Any, cost: int) -> None:
    if isinstance(price, dict):
        price = Price(prompt=10, completion=100, **price)
    assert total(price, **usage) == cost


@pytest.mark.parametrize(
    ("price", "usage", "discount"),
    [
        ({"input_cache_read": 1}, {"cache_read": 6}, 54),
        ({"input_cache_write": 12}, {"cache_write": 5}, -10),
        ({"input_cache_read": 1, "input_cache_write": 12}, {"cache_read": 2, "cache_write": 2}, 14),
        ({}, {"cache_read": 6}, 0),
    ],
)
def test_the_discount_is_what_it_would_cost_without_the_cache_less_what_it_costs(
    price: Any, usage: Any, discount: int
) -> None:
    whole = Price(prompt=10, completion=100, **price)
    cost = whole.cost(Usage(input=20, **usage), NOON)
    assert cost.cache_discount == discount == total(whole, input=20) - cost.total


LONG = PriceOverride(min_prompt_tokens=100, prompt=20)
NIGHT = PriceOverride(utc_start="22:00", utc_end="06:00", prompt=5)


@pytest.mark.parametrize(
    ("overrides", "tokens", "hour", "prompt"),
    [
        ([LONG], 99, 12, 10),
        ([LONG], 100, 12, 20),
        ([NIGHT], 1, 12, 10),
        ([NIGHT], 1, 22, 5),
        ([NIGHT], 1, 23.99, 5),
        ([NIGHT], 1, 0, 5),
        ([NIGHT], 1, 6, 10),
        ([LONG, NIGHT], 100, 23, 5),
        ([NIGHT, LONG], 100, 23, 20),
    ],
)
def test_of_the_overrides_that_match_the_last_one_holds(overrides: Any, tokens: int, hour: float, prompt: int) -> None:
    price = Price(prompt=10, completion=100, overrides=overrides)
    assert total(price, input=tokens, output=1, at=hour * 3600) == tokens * prompt + 100


counts = st.integers(-5, 10**10)
prices = st.one_of(st.none(), st.integers(0, 10**8))


@given(
    st.builds(
        Price,
        prompt=st.integers(0, 10**8),
        completion=st.integers(0, 10**8),
        internal_reasoning=prices,
        input_cache_read=prices,
        input_cache_write=prices,
        input_cache_write_1h=prices,
        audio_input=prices,
        audio_output=prices,
        image_input=prices,
        image_output=prices,
    ),
    st.fixed_dictionaries(dict.fromkeys(Usage.__struct_fields__[:10], counts)),
)
def test_no_usage_costs_less_than_nothing_or_more_than_all_of_it_at_the_dearest(
    price: Price, usage: dict[str, int]
) -> None:
    clamped = Usage(**usage).clamped()
    cost = price.cost(clamped, NOON)

    ins = (
        price.input_cache_read,
        price.input_cache_write,
        price.input_cache_write_1h,
        price.audio_input,
        price.image_input,
    )
    outs = (price.internal_reasoning, price.audio_output, price.image_output)
    assert 0 <= cost.prompt <= clamped.input * max(price.prompt, *(each or 0 for each in ins))
    assert 0 <= cost.completion <= clamped.output * max(price.completion, *(each or 0 for each in outs))
