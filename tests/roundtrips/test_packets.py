"""Recorded streams, cut into packets anywhere: a client whose API the upstream speaks gets the same bytes, and the ledger the same
counts; one of another API gets the same frames."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.errors import UpstreamError
from router.testing.recordings import Recording, read_recordings
from tests.dialects import anthropic_making, gemini_making, making, making_responses
from tests.dialects.lanes import settled

from .test_answers import SHOWN, cut, events_of

PLUGINS = Path(__file__).parents[2] / "plugins"
#: of each plugin the API that it relays, None where it only translates
SPOKEN = {
    "openai": "chat",
    "openai-compatible": "chat",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "mistral": "chat",
    "cohere": None,
    "ollama": None,
    "bedrock": None,
}
STREAMS = [
    pytest.param(plugin, each, id=f"{plugin}-{each.name}")
    for plugin in SPOKEN
    for each in read_recordings(PLUGINS / plugin / "tests" / "recordings")
    if each.streamed and 200 <= each.response.status < 300
]
RELAYED = [case for case in STREAMS if SPOKEN[str(case.values[0])]]
PLACES = some.lists(some.integers(0, 50_000), max_size=40)
#: the ids of calls that came without one, of answers and of their items are new for each answer
NEW = re.compile(
    r"\b(?:call|toolu|resp|msg|fc|rs|gen|chatcmpl|req)[-_][0-9A-Za-z_-]+|\"(?:created|created_at|completed_at)\":[0-9.]+"
)


def call_of(surface: str) -> Any:
    """A call of a client that wants a stream with thoughts and usage."""
    match surface:
        case "chat":
            return making.make_call(stream=True, stream_options={"include_usage": True})
        case "anthropic":
            return anthropic_making.make_call(stream=True)
        case "gemini":
            asked = {**gemini_making.ASK, "generationConfig": SHOWN}
            return gemini_making.make_call(asked, operation="stream", query="alt=sse")
    return making_responses.make_call(stream=True)


def flowed(call: Any, flow: Any, items: Any) -> tuple[bytes, str, Any]:
    """What the client gets of these packets or events, the failure that they end in, and what the ledger is told."""
    out: list[bytes] = []
    failed = ""
    try:
        for item in items:
            out.append(flow.feed(item))
            if flow.done:
                break
        flow.end()
        settled(call)
        out.append(flow.final())
    except UpstreamError as error:
        failed = f"{type(error).__name__}: {error.message}"
        if not flow.content:
            out.clear()  # it is kept back until there is content, since another upstream may be asked
    outcome = call.outcome
    return b"".join(out), failed, (outcome.usage, outcome.finish_reason, outcome.output_chars, outcome.upstream_id)


@pytest.mark.parametrize(("plugin", "recording"), RELAYED)
@settings(max_examples=8)
@given(places=PLACES)
def test_a_relayed_stream_is_the_same_in_any_packets(plugin: str, recording: Recording, places: list[int]) -> None:
    content, surface = recording.response.content(), SPOKEN[plugin]
    assert surface is not None

    told = []
    for pieces in ([content], cut(content, places)):
        call = call_of(surface)
        told.append(flowed(call, call.dialect.tap(call), pieces))

    assert same(told[0]) == same(told[1])


@pytest.mark.parametrize("surface", ["chat", "anthropic", "gemini", "responses"])
@pytest.mark.parametrize(("plugin", "recording"), [case for case in STREAMS if case.values[0] != "bedrock"])
@settings(max_examples=3)
@given(places=PLACES)
def test_a_translated_stream_is_the_same_in_any_packets(
    surface: str, plugin: str, recording: Recording, places: list[int]
) -> None:
    content = recording.response.content()

    told: list[Any] = []
    for ends in ([], places):
        try:
            events = events_of(plugin, content, ends)
        except UpstreamError as error:
            told.append((b"", f"{type(error).__name__}: {error.message}", None))
            continue
        call = call_of(surface)
        told.append(flowed(call, call.dialect.encoder(call), events))

    assert same(told[0]) == same(told[1])


def same(told: tuple[bytes, str, Any]) -> tuple[str, str, str]:
    """Without what is new each time."""
    sent, failed, counted = told
    return NEW.sub("?", sent.decode()), failed, NEW.sub("?", repr(counted))
