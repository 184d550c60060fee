"""What each generation of Claude takes, read off its name."""

from __future__ import annotations

import pytest
from router_anthropic import Anthropic
from router_anthropic.traits import traits


@pytest.mark.parametrize(
    ("model", "thinking", "off", "sampling", "structured", "prefill"),
    [
        ("claude-3-haiku-20240307", "none", "silent", "both", False, True),
        ("claude-3-5-sonnet-latest", "none", "silent", "both", False, True),
        ("claude-3-7-sonnet-20250219", "budget", "disabled", "both", False, True),
        ("claude-sonnet-4-20250514", "budget", "disabled", "both", False, True),
        ("claude-opus-4@20250514", "budget", "disabled", "both", False, True),
        ("claude-opus-4-1-20250805", "budget", "disabled", "one", True, True),
        ("claude-sonnet-4-5-20250929", "budget", "disabled", "one", True, True),
        ("claude-haiku-4-5", "budget", "disabled", "one", True, True),
        ("anthropic/claude-4.5-sonnet", "budget", "disabled", "one", True, True),
        ("claude-sonnet-4-6", "either", "disabled", "one", True, False),
        ("us.anthropic.claude-opus-4-6-v1", "either", "disabled", "one", True, False),
        ("claude-opus-4-7", "adaptive", "silent", "none", True, False),
        ("claude-opus-4.8", "adaptive", "silent", "none", True, False),
        ("claude-sonnet-5", "adaptive", "disabled", "none", True, False),
        ("claude-opus-5", "adaptive", "disabled", "none", True, False),
        ("claude-haiku-5-5", "adaptive", "disabled", "none", True, False),
        ("claude-sonnet-5-5", "adaptive", "between_tools", "none", True, False),
        ("claude-opus-5-5", "adaptive", "never", "none", True, False),
        ("claude-fable-5", "adaptive", "never", "none", True, False),
        ("claude-mythos-preview", "adaptive", "never", "none", True, False),
        ("claude-opus-6", "adaptive", "never", "none", True, False),
        ("another-makers-model-4.6", "budget", "disabled", "both", False, True),
    ],
)
def test_generations(model: str, thinking: str, off: str, sampling: str, structured: bool, prefill: bool) -> None:
    can = traits(model)

    assert (can.thinking, can.off, can.sampling, can.structured, can.prefill) == (
        thinking,
        off,
        sampling,
        structured,
        prefill,
    )


@pytest.mark.parametrize(
    ("model", "forced"),
    [
        ("claude-sonnet-5", True),
        ("claude-opus-5", True),
        ("claude-haiku-5-5", True),
        ("claude-fable-5", True),
        ("claude-sonnet-5-5", False),
        ("claude-opus-5-5", False),
        ("claude-fable-5-1", False),
        ("claude-mythos-preview", False),
    ],
)
def test_forced_calls(model: str, forced: bool) -> None:
    assert traits(model).forced is forced


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("claude-sonnet-4-5", ()),
        ("claude-opus-4-5", ("low", "medium", "high")),
        ("claude-sonnet-4-6", ("low", "medium", "high", "max")),
        ("claude-opus-4-7", ("low", "medium", "high", "xhigh", "max")),
    ],
)
def test_efforts(model: str, efforts: tuple[str, ...]) -> None:
    assert traits(model).efforts == efforts


def test_the_catalogue_says_the_same(provider: Anthropic) -> None:
    models = provider.catalogue()

    assert models
    for model in models:
        can = traits(model.id)
        assert model.max_output > 0, model.id
        assert model.reasoning == (can.thinking != "none"), model.id
        assert ("temperature" in model.parameters) == (can.sampling != "none"), model.id
        assert set(model.efforts) - {"none"} == set(can.efforts), model.id
