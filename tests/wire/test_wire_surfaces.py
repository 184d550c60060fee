"""Recorded answers of Mistral, Cohere, Ollama, Bedrock and Vertex, by their own plugins, say the same to clients of Anthropic, Gemini
and Responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from . import clouds, natives
from .expected import Failure, Reply
from .recordings import MISSING, Recording
from .replays import streams
from .stage import Stage, staged
from .surfaces import SURFACES, Question, ask, assert_tells, in_words_of, post

pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="session")]

NATIVES = natives.replayed()
REPLAYED = (*NATIVES, *clouds.chats())
NOTHING = [pytest.param("", None, marks=pytest.mark.skip(reason=MISSING))]
PAIRS = [(surface, each) for surface in SURFACES for each in REPLAYED]
#: what Vertex answers in the client's own words
OWN = {("anthropic", "anthropic-messages"), ("gemini", "gemini-generate")}


def cases(pairs: list[tuple[str, Recording]]) -> list[Any]:
    """A test's parameters for each surface and recording."""
    return [pytest.param(surface, each, id=f"{surface}-{each.name}") for surface, each in pairs] or NOTHING


CROSSED = cases(PAIRS)
RELAYED = cases([pair for pair in PAIRS if (pair[0], pair[1].dialect) in OWN])
TRANSLATED = cases([pair for pair in PAIRS if (pair[0], pair[1].dialect) not in OWN])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with an instance for each recording, surface and form (`x-` for the other way round)."""
    if not REPLAYED:
        pytest.skip(MISSING)
    prefixes = [f"{cross}{surface}-" for cross in ("", "x-") for surface in SURFACES]
    own = {prefix + each.name: each for prefix in prefixes for each in NATIVES}
    cloudy = {prefix + each.name: each for prefix in prefixes for each in clouds.chats()}

    def config(url: str) -> str:
        _, _, rest = clouds.config(url, cloudy).partition("\n\n")
        return natives.config(url, own) + "\n" + rest

    async with staged(own | cloudy, config, tmp_path_factory.mktemp("surfaces")) as stage:
        yield stage


@pytest.mark.parametrize(("surface", "recording"), RELAYED)
async def test_the_same_api_is_relayed(
    surface: str, recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Byte for byte, whatever the packets; of some recordings the blank line at the end was cut off."""
    instance = f"{surface}-{recording.name}"
    stage.upstream.split[instance] = "pieces"
    model, said = f"{instance}/{clouds.model_of(recording)}", clouds.said_by(recording)

    status, raw = await post(surface, Question(model, tools_of(said), streams(recording)), stage, http)

    if isinstance(said, Failure):
        assert status == said.status
    else:
        assert (status, raw.rstrip()) == (200, recording.raw.rstrip())


@pytest.mark.parametrize(("surface", "recording"), TRANSLATED)
async def test_client_gets_what_the_provider_said(
    surface: str, recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    await assert_says(surface, recording, f"{surface}-{recording.name}", streams(recording), stage, http)


@pytest.mark.parametrize(("surface", "recording"), CROSSED)
async def test_the_other_way_round_says_the_same(
    surface: str, recording: Recording, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse."""
    await assert_says(surface, recording, f"x-{surface}-{recording.name}", not streams(recording), stage, http)


async def assert_says(
    surface: str, recording: Recording, instance: str, stream: bool, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Ask, and compare the answer with what was recorded."""
    stage.upstream.split[instance] = "pieces"
    native = recording.dialect in natives.DIALECTS
    said = natives.said_by(recording) if native else clouds.said_by(recording)
    model = f"{instance}/{(natives if native else clouds).model_of(recording)}"

    answer = await ask(surface, Question(model, tools_of(said), stream), stage, http)

    assert_tells(answer, in_words_of(surface, said, streamed=stream), model)
    assert len(stage.upstream.asked[instance]) == 1


def tools_of(said: Reply | Failure) -> tuple[str, ...]:
    """The names of the tools that are called."""
    if isinstance(said, Failure):
        return ()
    return tuple(sorted({call.name for choice in said.choices.values() for call in choice.calls}))
