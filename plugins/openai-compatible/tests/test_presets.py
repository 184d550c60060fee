"""The table of presets, its catalogues and settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import router_openai_compatible
from router_openai_compatible import Compatible
from router_openai_compatible.presets import PRESETS

from router import Price

Make = Callable[..., Compatible]
CATALOGUES = Path(router_openai_compatible.__file__).parent / "catalogues"
WANTED = {
    *("groq", "together", "deepseek", "xai", "fireworks", "cerebras", "perplexity", "moonshot", "zai", "huggingface"),
    *("vllm", "lmstudio", "llamacpp", "sglang", "nvidia"),
}


def test_the_promised_ones_are_there() -> None:
    assert PRESETS.keys() >= WANTED


@pytest.mark.parametrize("name", PRESETS)
def test_each_makes_a_provider(name: str, provider: Make) -> None:
    made, preset = provider(name), PRESETS[name]

    assert re.match(r"http://127\.0\.0\.1:\d+/v1$" if preset.local else r"https://\S+[^/]$", made.settings.base_url)
    assert made.settings.local == made.settings.discover == preset.local
    assert bool(preset.environment) != preset.local


def test_those_with_a_key_or_a_server_exist_without_configuration() -> None:
    offers = {offer.slug: offer for offer in Compatible.automatic}

    assert offers["groq"].environment == "GROQ_API_KEY"
    assert offers["lmstudio"].probe == "http://127.0.0.1:1234/v1/models"
    assert offers.keys() == PRESETS.keys() - {"sglang", "ollama"}
    assert len(offers) == len(Compatible.automatic)
    for slug, offer in offers.items():
        assert offer.settings == {"preset": slug}


@pytest.mark.parametrize("name", PRESETS)
def test_catalogues(name: str, provider: Make) -> None:
    assert (CATALOGUES / f"{name}.json").exists() == PRESETS[name].catalogue

    models = provider(name).catalogue()

    assert bool(models) == PRESETS[name].catalogue
    assert len({model.id for model in models}) == len(models)
    for model in models:
        assert not model.description
        assert model.created > 1_500_000_000
        if "text" in model.output_modalities:
            assert "max_tokens" in model.parameters
            assert model.reasoning or not model.efforts
        else:
            assert not model.parameters
        if model.price is not None:
            assert 0 <= model.price.prompt < 1_000_000_000
            for row in model.price.overrides:
                assert row.min_prompt_tokens > 1000
                assert row.prompt is not None


def test_prices_are_exact(provider: Make) -> None:
    flash = next(model for model in provider("deepseek").catalogue() if model.id == "deepseek-v4-flash")

    assert flash.price == Price(prompt=140_000, completion=280_000, input_cache_read=2_800)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"preset": "grok"}, "preset: there is no 'grok'; there are alibaba"),
        ({}, "base_url: it is needed"),
        ({"preset": "groq", "max_tokens": "tokens"}, "Invalid enum value"),
        ({"preset": "groq", "presett": 1}, "unknown field `presett`"),
    ],
)
def test_wrong_settings_are_refused(table: dict[str, object], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"plugin": "openai-compatible", **table}, Compatible.Settings)


def test_settings_change_the_preset(provider: Make) -> None:
    made = provider("vllm", think_tags=False, discover=False, base_url="http://127.0.0.1:9/v1", drop=["seed"])

    assert made.speaks == {"openai.chat": "/chat/completions", "openai.completions": "/completions"}
    assert not made.settings.discover
    assert made.settings.base_url == "http://127.0.0.1:9/v1"
    assert "seed" in made.drops


def test_a_key_is_needed_by_services_only(provider: Make) -> None:
    assert not provider("groq", api_key="").credentials
    assert provider("vllm", api_key="").credentials
    assert provider(base_url="http://127.0.0.1:9/v1", api_key="").credentials


def test_unknown_models_are_free_on_ones_own_machine_only(provider: Make) -> None:
    local, service = provider("lmstudio").unknown("qwen3"), provider("groq").unknown("qwen9")

    assert local.price == Price()
    assert service.price is None
    assert "tools" in service.parameters
    assert "top_k" in local.parameters
    assert provider("lmstudio").unknown("text-embedding-nomic").output_modalities == ["embeddings"]


def test_the_readme_lists_them_all() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (?:`(\w+)`|[^|]+) \| `", readme, re.MULTILINE))

    assert rows == {name: preset.environment for name, preset in PRESETS.items()}
