"""An answer of any upstream reaches any client with all that the upstream says, however its bytes are cut into packets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.events import Event
from router.testing.recordings import Replayed
from tests.dialects import anthropic_making, gemini_making, making, making_responses
from tests.dialects.lanes import encoded
from tests.wire import anthropic_client, client, gemini_client, responses_client
from tests.wire.client import Answer
from tests.wire.expected import Reply
from tests.wire.replays import same_ids

from .answers import WRITERS, Said, answers
from .upstreams import KINDS, made

PROVIDERS = {name: made(name) for name in KINDS}
SHOWN = {"thinkingConfig": {"includeThoughts": True}}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Packets that end at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def events_of(upstream: str, content: bytes, places: list[int]) -> list[Event]:
    """What the provider reads. Bedrock's answer is whole."""
    provider = PROVIDERS[upstream]
    if upstream == "bedrock":
        return list(provider.decode(content).events())

    async def read() -> list[Event]:
        return [event async for event in provider.events(provider.messages(Replayed(cut(content, places))))]

    return asyncio.run(read())


# --- clients ---------------------------------------------------------------------------------------------------------


def chat(events: list[Event]) -> Answer:
    """OpenAI's."""
    call = making.make_call(stream=True, stream_options={"include_usage": True})
    return client.fold(encoded(call, events).decode(), usage_apart=True)


def anthropic(events: list[Event]) -> Answer:
    """Anthropic's."""
    return anthropic_client.fold(encoded(anthropic_making.make_call(stream=True), events).decode())


def gemini(events: list[Event]) -> Answer:
    """Google's."""
    call = gemini_making.make_call(
        {**gemini_making.ASK, "generationConfig": SHOWN}, operation="stream", query="alt=sse"
    )
    faults: list[str] = []
    told = encoded(call, events)
    return gemini_client.fold(gemini_client.events_of(told, faults), faults)


def responses(events: list[Event]) -> Answer:
    """Responses."""
    call = making_responses.make_call(stream=True)
    return responses_client.fold(encoded(call, events).decode())


CLIENTS: dict[str, Callable[[list[Event]], Answer]] = {
    "chat": chat,
    "anthropic": anthropic,
    "gemini": gemini,
    "responses": responses,
}
#: upstreams that count neither what was cached nor what was thought; Bedrock counts the first
UNCOUNTED = ("mistral", "cohere", "ollama")


@pytest.mark.parametrize("upstream", KINDS)
@settings(max_examples=25)
@given(said=answers(), places=some.lists(some.integers(0, 5000), max_size=12))
def test_an_answer_survives(upstream: str, said: Said, places: list[int]) -> None:
    content = WRITERS[upstream](said)

    events = events_of(upstream, content, places)

    assert events == events_of(upstream, content, []) or upstream == "ollama"  # whose calls get new ids
    for surface, read in CLIENTS.items():
        recorded = meant(upstream, said)
        answer = read(events)
        assert answer.faults == [], surface
        same_ids(answer.said, recorded)
        assert answer.said == recorded, surface
        assert not answer.usage_estimated


def meant(upstream: str, said: Said) -> Reply:
    """What a client is to read."""
    told = said.reply(thinks=True, counts=upstream not in UNCOUNTED, named=upstream != "ollama")
    if upstream == "bedrock" and told.usage is not None:
        told.usage.reasoning = 0
    return told
