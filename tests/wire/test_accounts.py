"""No recording is passed over in silence: each is replayed by a test of this run, or excluded by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from .accounts import EXCLUDED, ran
from .recordings import MISSING, Recording, recordings

pytestmark = pytest.mark.wire


def test_every_recording_is_replayed_or_excluded_by_name(request: pytest.FixtureRequest) -> None:
    every = {each.name for each in recordings()}
    if not every:
        pytest.skip(MISSING)
    items = request.session.items
    files = {each.path.name for each in items}
    if request.config.option.keyword or any("::" in each for each in request.config.args):
        pytest.skip("only some of the replays were asked for")
    if not {each.name for each in Path(__file__).parent.glob("test_wire_*.py")} <= files:
        pytest.skip("only some of the replays were asked for")

    replayed = {
        value.name
        for item in items
        for value in getattr(getattr(item, "callspec", None), "params", {}).values()
        if isinstance(value, Recording) and "survive" not in item.name and ran(item.nodeid)
    }

    assert len(every) == len(recordings()), "names are unique"
    assert every - replayed - EXCLUDED.keys() == set()
    assert EXCLUDED.keys() <= every
    assert EXCLUDED.keys() & replayed == set(), "what is replayed is not excluded"
    assert all(EXCLUDED.values())


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("test_wire_chat.py::test_a[openai-d6ea49-bytes]", ("openai-d6ea49", "chat")),
        ("test_wire_anthropic.py::test_a[vercel-gateway-88e588-pieces]", ("vercel-gateway-88e588", "anthropic")),
        ("test_wire_surfaces.py::test_a[gemini-bedrock-f242fc]", ("bedrock-f242fc", "gemini")),
        ("test_wire_gemini.py::test_recorded_requests_survive_the_hub[gemini-b7eba4]", ("gemini-b7eba4", "requests")),
        ("test_wire_modalities.py::test_a[cohere-77e1f3-float]", ("cohere-77e1f3", "others")),
        ("test_wire_responses.py::test_a[bedrock-mantle-88e588-whole]", ("bedrock-mantle-88e588", "responses")),
        ("test_expected.py::test_b[openai-d6ea49]", None),
    ],
)
def test_an_id_says_what_ran(node: str, told: tuple[str, str] | None) -> None:
    assert ran(f"tests/wire/{node}") == told
