"""Health of what we call, in memory: one circuit per endpoint and credential (api.md 18.8). What is measured
of endpoints is in `statistics`.

A circuit opens after 3 failures in a row, or when at least half of 10 or more within 30 s failed; it stays open for
30·2^k seconds (at most 600), or as long as the upstream asked if that is longer; then one probe decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .call import Attempt, Candidate
from .errors import UpstreamBusy, UpstreamUnauthorized
from .statistics import Statistics

WINDOW_S = 30.0
BASE_S, LONGEST_S = 30.0, 600.0
SAMPLES = 256

Key = tuple[str, str, str]


class Circuit:
    """The state of one endpoint with one credential."""

    __slots__ = ("disabled", "failures", "last_error", "open_until", "openings", "outcomes", "probing", "row")

    def __init__(self) -> None:
        self.row = 0  # failures in a row
        self.outcomes: deque[tuple[float, bool]] = deque()
        self.open_until = 0.0
        self.openings = 0
        self.probing = False
        self.disabled = False  # the credential was refused: until a reload
        self.last_error = ""
        self.failures = 0

    def allows(self, now: float) -> bool:
        """True where a call may go through: closed, or half open with nobody probing."""
        if self.disabled:
            return False
        return self.open_until == 0.0 or (now >= self.open_until and not self.probing)

    def succeeded(self, now: float) -> None:
        """A call went well: close."""
        self.row, self.openings, self.open_until, self.probing = 0, 0, 0.0, False
        self._record(now, True)

    def failed(self, now: float, retry_after_s: float | None) -> None:
        """A call failed for a reason that counts."""
        self.row += 1
        self.failures += 1
        self._record(now, False)
        bad = sum(1 for _, good in self.outcomes if not good)
        many = len(self.outcomes) >= 10 and bad * 2 >= len(self.outcomes)
        if self.row >= 3 or many or self.probing or retry_after_s is not None:
            pause = min(BASE_S * 2**self.openings, LONGEST_S) if retry_after_s is None or self.row >= 3 else 0.0
            # A longer deadline always replaces a shorter one, never the other way round.
            self.open_until = max(self.open_until, now + max(pause, retry_after_s or 0.0))
            self.openings += 1
        self.probing = False

    def _record(self, now: float, good: bool) -> None:
        self.outcomes.append((now, good))
        while self.outcomes[0][0] < now - WINDOW_S or len(self.outcomes) > SAMPLES:
            self.outcomes.popleft()


class Health:
    """All circuits, and the statistics of all endpoints. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._circuits: dict[Key, Circuit] = {}
        self.statistics = Statistics(clock)

    def circuit(self, candidate: Candidate) -> Circuit:
        """The circuit of an endpoint and credential."""
        endpoint = candidate.endpoint
        key = (endpoint.provider.slug, endpoint.model.id, candidate.credential.label)
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = Circuit()
        return circuit

    def available(self, candidate: Candidate) -> bool:
        """May a call go there now?"""
        return self.circuit(candidate).allows(self._clock())

    def starting(self, candidate: Candidate) -> None:
        """An attempt begins: where the circuit is half open it is the probe."""
        circuit = self.circuit(candidate)
        if circuit.open_until:
            circuit.probing = True

    def attempted(self, attempt: Attempt) -> None:
        """An attempt is over."""
        now = self._clock()
        circuit = self.circuit(attempt.candidate)
        self.statistics.record(attempt, now)
        error = attempt.error
        if error is None:
            circuit.succeeded(now)
        elif isinstance(error, UpstreamUnauthorized):
            circuit.disabled, circuit.last_error = True, error.message
        elif isinstance(error, UpstreamBusy):
            # 429 says that the endpoint is alive: only this credential cools down.
            circuit.failed(now, error.retry_after_s)
            circuit.last_error = error.message
        elif error.counts:
            circuit.failed(now, error.retry_after_s)
            circuit.last_error = error.message
        else:
            circuit.probing = False

    def abandoned(self, candidate: Candidate) -> None:
        """An attempt ended without a verdict (the client left)."""
        self.circuit(candidate).probing = False

    def provider(self, slug: str) -> list[Circuit]:
        """All circuits of one provider."""
        return [circuit for (owner, _, _), circuit in self._circuits.items() if owner == slug]

    def reset(self) -> None:
        """Forget refused credentials (a reload may have brought new ones)."""
        for circuit in self._circuits.values():
            circuit.disabled = False
