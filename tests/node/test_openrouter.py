"""OpenRouter's own SDK for Node, unmodified: it checks all that it gets. `make node` runs it."""

from __future__ import annotations

from functools import cache

import pytest

from .conftest import Outcome, run

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]

DOES = (
    "models",
    "endpoints, zdr, providers",
    "keys",
    "chat, generation, credits, activity",
    "streamed chat",
    "responses",
    "embeddings",
    "guardrails",
    "a code and its exchange",
)


@cache
def done(told: str) -> dict[str, Outcome]:
    return {line["name"]: line for line in run("openrouter.mjs", told)}


@pytest.mark.parametrize("name", DOES)
def test_what_openrouters_sdk_does(told: str, name: str) -> None:
    outcome = done(told)[name]

    assert outcome["outcome"] == "yes", outcome.get("detail")


def test_every_line_is_looked_at(told: str) -> None:
    assert tuple(done(told)) == DOES
