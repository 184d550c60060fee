"""Health of what we call, in memory: one circuit per endpoint and credential (api.md 18.8), and how often each provider was asked the
same again. What is measured of endpoints is in `statistics`.

A circuit opens after 3 failures in a row, or when at least half of 10 or more within 30 s failed; it stays open for
30·2^k seconds (at most 600), or as long as the upstream asked if that is longer; then one probe decides. A 429 that says when to come
back only cools its circuit until then: the upstream is alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set

from .call import Attempt, Candidate, Credential, Endpoint
from .errors import UpstreamBusy, UpstreamUnauthorized
from .statistics import Statistics
from .windows import Window

WINDOW_S = 30.0
BASE_S, LONGEST_S = 30.0, 600.0
SAMPLES = 256
#: circuits that are kept: models that no catalogue knows are called what clients call them
MOST = 10_000
#: failures in a row, and failures among how many, that open a circuit
ROW, MANY = 3, 10
#: the retry budget of a provider (reliability 4): a share of its requests in the last seconds, and so many in any case, or one request
#: alone could never be tried again
BUDGET_S, BUDGET_SHARE, BUDGET_LEAST = 10, 0.2, 3

Key = tuple[str, str, str]


class Circuit:
    """The state of one endpoint with one credential. All times are monotonic seconds."""

    __slots__ = (
        *("cooling_until", "disabled", "exhausted_until", "failures", "last_error"),
        *("open_until", "opened_s", "openings", "outcomes", "probing", "row"),
    )

    def __init__(self) -> None:
        self.row = 0  # failures in a row
        self.outcomes: deque[tuple[float, bool]] = deque()
        #: 0 while closed; later than now while open; earlier while half open
        self.open_until = 0.0
        self.opened_s = 0.0
        self.openings = 0
        self.probing = False
        #: the upstream said 429, and when to come back
        self.cooling_until = 0.0
        #: the upstream's headers said that nothing is left until then: asked last
        self.exhausted_until = 0.0
        self.disabled = False  # the credential was refused: until a reload
        self.last_error = ""
        self.failures = 0

    def allows(self, now: float) -> bool:
        """True where a call may go through: closed, or half open with nobody probing."""
        if self.disabled or now < self.cooling_until:
            return False
        return self.open_until == 0.0 or (now >= self.open_until and not self.probing)

    def shaky(self, now: float) -> bool:
        """At least half of what it was asked lately failed, or nothing is left of what its upstream allows."""
        if now < self.exhausted_until:
            return True
        self._forget(now)
        bad = sum(1 for _, good in self.outcomes if not good)
        return bad >= 2 and bad * 2 >= len(self.outcomes)

    def until(self, now: float) -> float:
        """When it lets calls through again, if nothing else happens; `now` where it does so already."""
        return max(now, self.cooling_until, self.open_until)

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
        many = len(self.outcomes) >= MANY and bad * 2 >= len(self.outcomes)
        if self.row >= ROW or many or self.open_until:
            # A longer deadline always replaces a shorter one, never the other way round.
            pause = max(min(BASE_S * 2**self.openings, LONGEST_S), retry_after_s or 0.0)
            self.open_until = max(self.open_until, now + pause)
            self.opened_s = now
            self.openings += 1
        elif retry_after_s is not None:
            self.cool(now, retry_after_s)
        self.probing = False

    def cool(self, now: float, seconds: float) -> None:
        """Leave it alone for so long."""
        self.cooling_until = max(self.cooling_until, now + seconds)
        self.probing = False

    def _record(self, now: float, good: bool) -> None:
        self.outcomes.append((now, good))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self.outcomes and (self.outcomes[0][0] < now - WINDOW_S or len(self.outcomes) > SAMPLES):
            self.outcomes.popleft()


class Budget:
    """How often a provider was asked, and asked the same thing again, in the last ten seconds."""

    __slots__ = ("again", "asked")

    def __init__(self) -> None:
        self.asked = Window(BUDGET_S)
        self.again = Window(BUDGET_S)

    def take(self, now: float) -> bool:
        """Use up one repetition, if there is one left."""
        if self.again.sum(now) >= max(BUDGET_LEAST, int(self.asked.sum(now) * BUDGET_SHARE)):
            return False
        self.again.add(now, 1)
        return True


class Health:
    """All circuits and budgets, and the statistics of all endpoints. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.statistics = Statistics(clock)
        self._circuits: dict[Key, Circuit] = {}
        self._budgets: dict[str, Budget] = {}
        #: credentials that an upstream does not know at all: (provider, label)
        self._refused: set[tuple[str, str]] = set()
        #: when each circuit that something went wrong with last did so; without any, nobody needs to look at circuits
        self._uneasy: dict[Key, float] = {}

    @property
    def calm(self) -> bool:
        """True while every circuit is closed and nothing failed lately."""
        return not self._uneasy

    def circuit(self, candidate: Candidate) -> Circuit:
        """The circuit of an endpoint and credential."""
        key = _key(candidate)
        circuit = self._circuits.get(key)
        if circuit is None:
            if len(self._circuits) >= MOST:
                self._forget_half()
            circuit = self._circuits[key] = Circuit()
            circuit.disabled = (key[0], key[2]) in self._refused
        return circuit

    @property
    def uneasy(self) -> Set[Key]:
        """Where there is something to look at: who has none of these keys (`keys_of`) is well."""
        return self._uneasy.keys()

    def available(self, candidate: Candidate) -> bool:
        """May a call go there now?"""
        return self.calm or self.circuit(candidate).allows(self._clock())

    def repeat(self, candidate: Candidate) -> bool:
        """May the candidate be asked the same thing once more, behind the pause that its upstream wants? Uses up a part of its
        provider's budget."""
        circuit = self.circuit(candidate)
        return not circuit.open_until and not circuit.disabled and self._budget(candidate).take(self._clock())

    def starting(self, candidate: Candidate) -> None:
        """An attempt begins: where the circuit is half open it is the probe."""
        self._budget(candidate).asked.add(self._clock(), 1)
        if not self.calm:
            circuit = self.circuit(candidate)
            circuit.probing = circuit.open_until != 0.0

    def attempted(self, attempt: Attempt) -> None:
        """An attempt is over."""
        now, candidate, error = self._clock(), attempt.candidate, attempt.error
        circuit = self.circuit(candidate)
        self.statistics.record(attempt, now)
        if error is None:
            circuit.succeeded(now)
            if attempt.exhausted_s is not None:
                circuit.exhausted_until = now + attempt.exhausted_s
        elif isinstance(error, UpstreamUnauthorized):
            circuit.last_error = error.message
            self._disable(candidate, everywhere=error.upstream_status == 401)
        elif isinstance(error, UpstreamBusy) and error.retry_after_s is not None:
            circuit.last_error = error.message
            circuit.failures += 1
            circuit.cool(now, error.retry_after_s)
        elif error.counts:
            circuit.last_error = error.message
            circuit.failed(now, error.retry_after_s)
        else:
            circuit.probing = False
        self._watch(candidate, circuit, now)

    def abandoned(self, candidate: Candidate) -> None:
        """An attempt ended without a verdict (the client left)."""
        self.circuit(candidate).probing = False

    def circuits(self, endpoint: Endpoint, credentials: Iterable[Credential]) -> list[Circuit]:
        """The circuits of an endpoint, one for each of these credentials that was used."""
        slug, model = endpoint.provider.slug, endpoint.model.id
        keys = ((slug, model, credential.label) for credential in credentials)
        return [circuit for key in keys if (circuit := self._circuits.get(key)) is not None]

    def provider(self, slug: str, credentials: Iterable[Credential] | None = None) -> list[Circuit]:
        """All circuits of one provider, or those of these credentials."""
        labels = None if credentials is None else {each.label for each in credentials}
        return [
            circuit
            for (owner, _, label), circuit in self._circuits.items()
            if owner == slug and (labels is None or label in labels)
        ]

    def reset(self) -> None:
        """Forget refused credentials (a reload may have brought new ones)."""
        for slug, label in self._refused:
            self._uneasy.pop((slug, "", label), None)
        self._refused.clear()
        for circuit in self._circuits.values():
            circuit.disabled = False

    # --- helpers ---

    def _forget_half(self) -> None:
        """Forget half of the circuits, first those with which nothing is wrong, of these the oldest."""
        for key in sorted(self._circuits, key=self._uneasy.__contains__)[: MOST // 2]:
            del self._circuits[key]
            self._uneasy.pop(key, None)

    def _budget(self, candidate: Candidate) -> Budget:
        slug = candidate.provider.slug
        budget = self._budgets.get(slug)
        if budget is None:
            budget = self._budgets[slug] = Budget()
        return budget

    def _disable(self, candidate: Candidate, *, everywhere: bool) -> None:
        """Ask with this credential no more: for this endpoint, or (401: nobody knows it) for all of its provider."""
        self.circuit(candidate).disabled = True
        if not everywhere:
            return
        slug, _, label = _key(candidate)
        self._refused.add((slug, label))
        self._uneasy[slug, "", label] = self._clock()
        for key, circuit in self._circuits.items():
            if (key[0], key[2]) == (slug, label):
                circuit.disabled = True
                self._uneasy[key] = self._clock()

    def _watch(self, candidate: Candidate, circuit: Circuit, now: float) -> None:
        """Keep in mind where there is something to look at, and forget what has passed."""
        if circuit.outcomes and circuit.outcomes[-1][1] and not self._uneasy and circuit.exhausted_until <= now:
            return
        self._uneasy[_key(candidate)] = now
        for key in [key for key in self._uneasy if key in self._circuits and _calm(self._circuits[key], now)]:
            del self._uneasy[key]


def keys_of(candidate: Candidate) -> tuple[Key, Key]:
    """Whose health counts for a candidate: that of endpoint and credential, and that of the credential at all endpoints."""
    slug, model, label = _key(candidate)
    return (slug, model, label), (slug, "", label)


def _key(candidate: Candidate) -> Key:
    endpoint = candidate.endpoint
    return (endpoint.provider.slug, endpoint.model.id, candidate.credential.label)


def _calm(circuit: Circuit, now: float) -> bool:
    waiting = circuit.disabled or circuit.open_until or max(circuit.cooling_until, circuit.exhausted_until) > now
    return not waiting and all(good for at, good in circuit.outcomes if at >= now - WINDOW_S)
