"""100,000 requests over five providers that fail, hang, refuse and recover (the promises of api.md 18, as one story)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import pairwise

import pytest

from router.health import BUDGET_LEAST, BUDGET_S, BUDGET_SHARE, LONGEST_S

from .world import Phase, Player, World, play

pytestmark = pytest.mark.long

REQUESTS, A_SECOND = 100_000, 20.0
#: seconds of the story: everybody is well in the first part
CALM_S = 1500.0
PRICES = {"cheap": 1.0, "fair": 1.2, "dear": 1.5, "flaky": 1.8, "dead": 2.0}
LONGEST_PAUSE_S = 2.0
DEAD_S, WELL_AGAIN_S = 1500.0, 4000.0

STORY = [
    Player("cheap", "0.000001", [Phase(0), Phase(1600, "fails"), Phase(2200), Phase(3000, "hangs"), Phase(3600)]),
    Player("fair", "0.0000012", [Phase(0), Phase(2300, "busy", a_second=3), Phase(2900)]),
    Player("dear", "0.0000015", [Phase(0), Phase(1700, "fails", failing=0.5), Phase(2400)]),
    Player("flaky", "0.0000018", [Phase(0), Phase(CALM_S, "fails", failing=0.1)]),
    Player("dead", "0.000002", [Phase(0), Phase(DEAD_S, "refuses"), Phase(WELL_AGAIN_S)]),
]


@pytest.fixture(scope="module")
def world() -> World:
    return play(STORY, requests=REQUESTS, a_second=A_SECOND, seed=7)


@pytest.mark.timeout(240)
def test_whoever_can_be_served_is_served(world: World) -> None:
    """Some provider could serve every one of these requests."""
    served, failed = len(world.seen.served), len(world.seen.failed)

    assert served + failed == REQUESTS
    assert served / REQUESTS >= 0.999


def test_traffic_is_shared_by_price(world: World) -> None:
    calm = Counter(slug for at, slug in world.seen.served if at < CALM_S)
    weights = {slug: 1 / price**2 for slug, price in PRICES.items()}

    for slug, weight in weights.items():
        assert calm[slug] / calm.total() == pytest.approx(weight / sum(weights.values()), abs=0.03)


def test_a_dead_provider_gets_only_probes(world: World) -> None:
    """Three failures open its circuit (more where calls were on their way); then one look per pause of 30, 60, … 600 seconds."""
    asked = [at for at, _ in world.seen.attempts["dead"] if DEAD_S <= at < WELL_AGAIN_S]
    opened = asked[2]
    probes = [at for at in asked if at > opened + 5]

    assert len(asked) - len(probes) <= 3 + 5
    assert len(probes) <= 3 + (WELL_AGAIN_S - DEAD_S) / LONGEST_S + 3
    assert all(later - earlier >= 30 for earlier, later in pairwise(probes))


def test_it_serves_again_within_one_pause(world: World) -> None:
    again = next(at for at, slug in world.seen.served if slug == "dead" and at >= WELL_AGAIN_S)

    assert again - WELL_AGAIN_S <= LONGEST_S + 10


def test_what_hangs_holds_few(world: World) -> None:
    """A provider that answers nothing is asked by those who were on their way, and then by one probe at a time."""
    hung = [at for at, _ in world.seen.attempts["cheap"] if 3000 <= at < 3600]

    assert len(hung) <= A_SECOND * 21 + 20


def test_nobody_is_asked_again_beyond_the_budget(world: World) -> None:
    """A repetition counts when it is decided on, up to two seconds before it happens."""
    for slug, attempts in world.seen.attempts.items():
        starts = sorted(at for at, _ in attempts)
        repeats = sorted(world.seen.repeats[slug])
        for at in repeats:
            window = bisect_left(repeats, at) - bisect_left(repeats, at - BUDGET_S + LONGEST_PAUSE_S) + 1
            asked = bisect_left(starts, at) - bisect_left(starts, at - BUDGET_S - LONGEST_PAUSE_S) + 1
            assert window <= max(BUDGET_LEAST, BUDGET_SHARE * asked)


def test_it_repeats_itself() -> None:
    """The same seed tells the same story."""
    once, twice = (play(STORY, requests=2000, a_second=A_SECOND, seed=3).seen for _ in range(2))

    assert once.served == twice.served
