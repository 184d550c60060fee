"""What the Node clients are told: whom to ask for what, and what will be said. The models are those of `tests.clients.stage`."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from router.testing import FakeUpstream
from tests.clients.families import INPUT, OUTPUT, Anthropic, Family, Gemini, OpenAI
from tests.clients.stage import CITIES, COMPLAINT, REFUSAL, VECTOR, WAIT_S, WORDS
from tests.serving import Served

FAMILIES: tuple[Family, ...] = (OpenAI(), Anthropic(), Gemini())
#: models of vectors by family; Anthropic has none
EMBEDDING_MODELS = {"openai": "text-embedding-3-small", "gemini": "gemini-embedding-001"}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def providers(upstream: FakeUpstream) -> dict[str, Any]:
    """The tables of the configuration."""
    return {family.slug: family.provider(upstream.url) for family in FAMILIES} | {"echo": {"plugin": "echo"}}


def scene(served: Served, upstream: FakeUpstream) -> dict[str, Any]:
    """What clients/scenarios.mjs is to know. Who fares badly is given as model and prompt; `*` stands for anything: a model that was
    busy is left alone for a while."""
    return {
        "url": served.url,
        "key": served.key,
        "management": served.management,
        "upstream": upstream.url,
        "picture": PICTURE,
        "families": [*(_family(family) for family in FAMILIES), ECHO],
    }


def _family(family: Family) -> dict[str, Any]:
    new = f"{family.model}-*"
    return {
        "slug": family.slug,
        "model": family.model,
        "broken": [new, "fail in the middle"],
        "busy": [new, "fail with 429"],
        "missing": [new, "fail with 404"],
        "refused": [new, "fail with 400"],
        "slow": [new, "tell at length *"],
        "embedding_model": f"{family.slug}/{EMBEDDING_MODELS.get(family.slug, family.upstream_model)}",
        "vector": VECTOR,
        "text": "".join(WORDS),
        "words": WORDS,
        "plan": {"steps": [{"text": CITIES[0], "minutes": 21}], "sure": True},
        "calls": [{"name": "get_weather", "arguments": {"city": CITIES[-1]}}, {"name": "now", "arguments": {}}],
        "seen": f"image/png of {len(b64decode(PICTURE))} bytes",
        "tokens": [INPUT, OUTPUT],
        "refusal": REFUSAL,
        "complaint": COMPLAINT,
        "retry_after": str(WAIT_S),
    }


#: nobody needs to foretell what it makes up for arguments and plans
ECHO = {
    "slug": "echo",
    "model": "echo/echo",
    "broken": ["echo/cut", "Hello, Ås! 🌍"],
    "busy": ["echo/error-429", "Hello"],
    "missing": ["echo/nothing", "Hello"],
    "refused": ["echo/error-400", "Hello"],
    "slow": None,
    "embedding_model": "echo/echo",
    "text": "Hello, Ås! 🌍",
    "calls": [{"name": "get_weather"}, {"name": "now"}],
    "seen": "[image]",
    "refusal": "echo fails",
    "complaint": "in the middle",
    "retry_after": "1",
}
