"""The catalogues of all plugins are what their script makes of its source."""

from __future__ import annotations

import importlib.util
import os
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = Path(os.environ.get("ONEBOX_SHARED", ROOT.parent / "shared")) / "catalog"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """plugins/refresh_catalogues.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("refresh_catalogues", ROOT / "plugins" / "refresh_catalogues.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not SOURCE.exists(), reason=f"the source of the catalogues is not at {SOURCE}")
def test_a_refresh_changes_nothing(script: ModuleType) -> None:
    made = script.catalogues(SOURCE)

    assert len(made) == 24
    stale = [path.relative_to(ROOT) for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python plugins/refresh_catalogues.py"


def test_prices_are_exact_or_refused(script: ModuleType) -> None:
    assert script._per_token(Decimal("0.0028")) == 2_800
    assert script._per_token(30) == 30_000_000
    with pytest.raises(ValueError, match="no whole number"):
        script._per_token(Decimal("0.0000001"))


def test_a_price_for_long_prompts_holds_beyond_its_size(script: ModuleType) -> None:
    row = script._tier({"tier": {"size": 200_000}, "input": 4, "output": 18, "cache_read": Decimal("0.4")})

    assert (row.min_prompt_tokens, row.prompt, row.input_cache_read) == (200_001, 4_000_000, 400_000)
    with pytest.raises(ValueError, match="hours"):
        script._tier({"tier": {"size": 1, "type": "hours"}, "input": 1, "output": 1})


def test_a_free_cache_beside_a_dear_prompt_is_not_believed(script: ModuleType) -> None:
    fact = {"provider": "groq", "id": "m", "cost": {"input": 2, "output": 3, "cache_read": 0}}

    assert script._price(fact, True).input_cache_read is None
    assert script._price({"provider": "groq", "id": "m"}, True) is None
