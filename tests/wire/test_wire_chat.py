"""Every recorded answer goes through the router to an OpenAI client and says there what the provider said."""

from __future__ import annotations

import aiohttp
import pytest

from .expected import Failure, expected
from .recordings import MISSING, Recording, chat_recordings
from .replays import EXCLUDED, REFRAMED, assert_says, question, splits, streams
from .stage import Stage

pytestmark = pytest.mark.wire

REPLAYED = [each for each in chat_recordings() if each.name not in EXCLUDED]
NOTHING = [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]
CASES = [pytest.param(each, split, id=f"{each.name}-{split}") for each in REPLAYED for split in splits(each)] or NOTHING
CROSSED = [
    pytest.param(each, "pieces", id=f"{each.name}-crossed") for each in REPLAYED if each.name not in REFRAMED
] or NOTHING


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), CASES)
async def test_client_gets_what_the_provider_said(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    recorded = expected(recording)
    if isinstance(recorded, Failure) and recorded.streamed:
        for choice in recorded.streamed.values():
            choice.finish = "error"

    stage.upstream.split[recording.name] = split
    await assert_says(recorded, question(recording, recording.name), stage, http)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), CROSSED)
async def test_the_other_way_round_says_the_same(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    """A stream for a client that asked for a whole answer, and the reverse: some upstreams answer so."""
    body, recorded = question(recording, f"x-{recording.name}"), expected(recording)
    if streams(recording):
        body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    else:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if isinstance(recorded, Failure) and recorded.streamed:
        if not any(choice.text for choice in recorded.streamed.values()):
            recorded.streamed = None  # nothing has been sent yet when the error comes, and there is no text to send
        for choice in (recorded.streamed or {}).values():
            choice.finish = "error"

    stage.upstream.split[f"x-{recording.name}"] = split
    await assert_says(recorded, body, stage, http)


def test_all_is_replayed_or_excluded_by_name(wire: dict[str, Recording]) -> None:
    """The table of exclusions names only what is there, and is short."""
    assert EXCLUDED.keys() <= wire.keys()
    assert len(EXCLUDED) < 5
