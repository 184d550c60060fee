"""Every recorded answer goes through the router to an OpenAI client and says there what the provider said."""

from __future__ import annotations

import aiohttp
import pytest

from .client import ask
from .expected import Failure, Reply, expected
from .recordings import MISSING, Recording, chat_recordings
from .replays import EXCLUDED, question, same_ids, splits
from .stage import Stage

pytestmark = pytest.mark.wire

CASES = [
    pytest.param(recording, split, id=f"{recording.name}-{split}")
    for recording in chat_recordings()
    if recording.name not in EXCLUDED
    for split in splits(recording)
] or [pytest.param(None, "", marks=pytest.mark.skip(reason=MISSING))]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("recording", "split"), CASES)
async def test_client_gets_what_the_provider_said(
    recording: Recording, split: str, stage: Stage, http: aiohttp.ClientSession
) -> None:
    stage.upstream.split[recording.name] = split
    body, recorded = question(recording, recording.name), expected(recording)

    answer = await ask(http, stage.url, stage.key, body)

    assert answer.faults == []
    same_ids(answer.said, recorded)
    if isinstance(recorded, Reply) and isinstance(answer.said, Reply):
        assert answer.provider == recording.name
        assert answer.usage_estimated == (recorded.usage is None)
        recorded.usage = recorded.usage or answer.said.usage
    if isinstance(recorded, Failure) and recorded.streamed:
        for choice in recorded.streamed.values():
            choice.finish = "error"
    assert answer.said == recorded
    assert stage.upstream.asked[recording.name][-1].headers  # it was this upstream that was asked


def test_all_is_replayed_or_excluded_by_name(wire: dict[str, Recording]) -> None:
    """The table of exclusions names only what is there, and is short."""
    assert EXCLUDED.keys() <= wire.keys()
    assert len(EXCLUDED) < 5
