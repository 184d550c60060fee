"""A conversation of any client API reaches any upstream with all that both have words for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import replace as changed

from router.dialects.anthropic_messages import AnthropicMessages
from router.dialects.gemini_generate import GeminiGenerate
from router.dialects.openai_chat import OpenAIChat
from router.dialects.openai_responses import OpenAIResponses

from .essence import READERS, Essence, of_hub, of_talk
from .surfaces import SURFACES
from .talks import TOOLS, Talk, talks
from .upstreams import KINDS, LACKS, UNSPOKEN, made

DIALECTS: dict[str, Any] = {
    "chat": OpenAIChat(),
    "anthropic": AnthropicMessages(),
    "gemini": GeminiGenerate(),
    "responses": OpenAIResponses(),
}
#: upstreams that cannot be told which tool to call: they get no other
NAMELESS = ("mistral", "cohere", "ollama")
PROVIDERS = {name: made(name) for name in KINDS}


def decoded(surface: str, talk: Talk) -> Any:
    """What the hub gets."""
    dialect = DIALECTS[surface]
    body = json.dumps(SURFACES[surface](talk), ensure_ascii=False).encode()
    return dialect.decode(dialect.peek(body, {"model": "acme/chat"}, "chat"))


def without(told: Essence, names: set[str]) -> Essence:
    """All but these members."""
    empty = Essence()
    return replace(told, **{name: getattr(empty, name) for name in names})


@pytest.mark.parametrize("surface", SURFACES)
@settings(max_examples=25)
@given(talk=talks())
def test_the_hub_gets_what_a_client_says(surface: str, talk: Talk) -> None:
    unspoken = unspoken_by(surface, talk)

    assert without(of_hub(decoded(surface, talk)), unspoken) == without(of_talk(talk), unspoken)


def unspoken_by(surface: str, talk: Talk) -> set[str]:
    """What this client cannot say. Anthropic's clients always name a limit."""
    return UNSPOKEN[surface] | ({"max_tokens"} if surface == "anthropic" and talk.max_tokens is None else set())


@pytest.mark.parametrize("upstream", KINDS)
@pytest.mark.parametrize("surface", SURFACES)
@settings(max_examples=12)
@given(talk=talks())
def test_a_conversation_survives(surface: str, upstream: str, talk: Talk) -> None:
    if "files" in LACKS[upstream]:  # they are refused
        talk = replace(talk, turns=[replace(t, asked=[p for p in t.asked if p.kind != "file"]) for t in talk.turns])
    request = changed(decoded(surface, talk), model=KINDS[upstream][1])

    sent = json.loads(PROVIDERS[upstream].encode(request).body)

    lost, meant = unspoken_by(surface, talk) | LACKS[upstream], of_talk(talk)
    if upstream == "anthropic" and talk.max_tokens is None:
        lost.add("max_tokens")  # it insists on a limit
    if upstream == "anthropic" and None not in (talk.temperature, talk.top_p):
        lost.add("top_p")  # of both, Claude 4.5 takes one
    if upstream in NAMELESS and talk.forced in TOOLS:
        meant.tools = [talk.forced]
    assert without(READERS[upstream](sent), lost) == without(meant, lost)
