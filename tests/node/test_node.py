"""The SDKs for Node, unmodified, over sockets, with models of every family of providers. `make node` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from . import stage
from .conftest import FEATURES, Outcomes

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]

#: each script of clients/ and the surfaces that it speaks to
SCRIPTS = {
    "openai.mjs": ("chat", "responses"),
    "anthropic.mjs": ("messages",),
    "google-genai.mjs": ("gemini",),
    "ai-openai.mjs": ("chat", "responses"),
    "ai-openai-compatible.mjs": ("chat",),
    "ai-anthropic.mjs": ("messages",),
    "ai-google.mjs": ("gemini",),
    "ai-openrouter.mjs": ("chat",),
}
FAMILIES = (*(family.slug for family in stage.FAMILIES), "echo")
#: surfaces that know no vectors
WITHOUT_VECTORS = ("responses", "messages")


def grid() -> Iterator[tuple[str, str, str, str]]:
    for script, surfaces in SCRIPTS.items():
        for surface in surfaces:
            for family in FAMILIES:
                # nothing stands behind echo that could notice
                features = (feature for feature in FEATURES if (family, feature) != ("echo", "cancel"))
                yield from ((script, surface, family, feature) for feature in features)


@pytest.mark.parametrize(("script", "surface", "family", "feature"), list(grid()))
def test_a_client(outcomes: Callable[[str], Outcomes], script: str, surface: str, family: str, feature: str) -> None:
    outcome = outcomes(script)[surface, family, feature]

    if feature == "embeddings" and surface in WITHOUT_VECTORS:
        assert outcome["outcome"] == "not in this client"
    elif feature == "embeddings" and family == "anthropic":
        assert outcome["outcome"] == "no"
        assert outcome["detail"].startswith("404")
    else:
        assert outcome["outcome"] == "yes", outcome["detail"]


def test_every_line_is_looked_at(outcomes: Callable[[str], Outcomes]) -> None:
    """What a script does and what is asserted above are the same."""
    assert sorted((script, *place) for script in SCRIPTS for place in outcomes(script)) == sorted(grid())
