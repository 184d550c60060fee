"""What a request's names come to: all endpoints of all its models, with a candidate for each credential.

Made once for each list of names and kept as long as the table of models, so that a call finds it with one look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from msgspec import Struct, field

from ...call import Call, Candidate, Credential, Endpoint
from ...health import Key, keys_of
from ...planning import Named
from ...prices import Price

#: the sort that a variant asks for
VARIANT_SORT = {"nitro": "throughput", "floor": "price", "exacto": "exacto"}
NO_CREDENTIAL = Credential(secret="", label="none configured")
#: which credentials of plugins serve a call: so many patterns are remembered for each pool
KEPT_PATTERNS = 100

Credentials = Callable[[Endpoint], Sequence[Credential]]


class Choice(Struct):
    """One endpoint of one model of a request. `price` is one number for its price (picodollars a token), `caches` tells whether a
    cached prompt is cheaper, `keys` whose health counts, `sort` what the variant in the model's name asks for ("" for nothing)."""

    endpoint: Endpoint
    group: int
    candidates: list[Candidate]
    price: float
    caches: bool
    keys: set[Key]
    sort: str = ""

    @property
    def name(self) -> str:
        """How explanations call it."""
        return f"{self.endpoint.tag}: {self.endpoint.model_id}"


class Suitable(Struct):
    """The choices that may serve requests of one kind, and why the others may not. `reasons` are by the tag of the endpoint.
    `shortest` is the smallest context (tokens), `smallest` the smallest bound of output; 0 where no endpoint has one. `by_key`: the
    ids of the choices that a key's health counts for."""

    choices: list[Choice]
    filtered: list[dict[str, str]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    shortest: int = 0
    smallest: int = 0
    by_key: dict[Key, list[int]] = field(default_factory=dict)


class Pool(list[Candidate]):
    """The candidates, in the order of the models. `suitable` remembers what was found out about kinds of requests. `guarded` are the
    credentials that do not serve every call, `ranked`: some come before or behind the configured ones."""

    def __init__(self, choices: Iterable[Choice]) -> None:
        self.choices = list(choices)
        self.suitable: dict[tuple[object, ...], Suitable] = {}
        self._narrowed: dict[tuple[bool, ...], Pool] = {}
        super().__init__(candidate for choice in self.choices for candidate in choice.candidates)
        brought = {each.credential.label: each.credential for each in self if brings(each)}
        self.ranked = bool(brought)
        self.guarded = [each for each in brought.values() if each.serves is not None]

    def serving(self, call: Call) -> Pool:
        """The pool without the credentials that do not serve this call."""
        pattern = tuple([each.serves is None or each.serves(call) for each in self.guarded])
        if all(pattern):
            return self
        found = self._narrowed.get(pattern)
        if found is None:
            if len(self._narrowed) >= KEPT_PATTERNS:
                self._narrowed.clear()
            not_for_it = {each.label for each, serves in zip(self.guarded, pattern, strict=True) if not serves}
            found = self._narrowed[pattern] = Pool(_without(choice, not_for_it) for choice in self.choices)
        return found

    @classmethod
    def named(cls, found: Iterable[Named], more: Credentials) -> Pool:
        """The pool of these models; the same model twice counts once. `more` are the credentials that plugins bring."""
        choices: list[Choice] = []
        seen: set[str] = set()
        for group, named in enumerate(found):
            if named.entry.id not in seen:
                seen.add(named.entry.id)
                choices.extend(_choices(named, group, more))
        return cls(choices)

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Pool:
        """The pool of candidates that other plugins have made or added to."""
        if isinstance(candidates, Pool):
            return candidates
        runs = groupby(candidates, key=lambda each: (each.group, id(each.endpoint)))
        return cls(_choice(same[0].endpoint, group, same) for (group, _), run in runs if (same := list(run)))


def _choices(named: Named, group: int, more: Credentials) -> Iterable[Choice]:
    endpoints = named.entry.endpoints
    if named.variant == "free":
        endpoints = [each for each in endpoints if free(each.price)]
    elif named.variant == "extended":
        longest = max(each.model.context_length for each in endpoints)
        endpoints = [each for each in endpoints if each.model.context_length == longest]
    sort = VARIANT_SORT.get(named.variant, "")
    for endpoint in endpoints:
        brought, own = more(endpoint), endpoint.provider.credentials
        if brought:
            own = [*(each for each in brought if not each.last), *own, *(each for each in brought if each.last)]
        credentials = own or [NO_CREDENTIAL]
        candidates = [Candidate(endpoint=endpoint, credential=each, group=group) for each in credentials]
        yield _choice(endpoint, group, candidates, sort)


def _choice(endpoint: Endpoint, group: int, candidates: list[Candidate], sort: str = "") -> Choice:
    keys = {key for each in candidates for key in keys_of(each)}
    return Choice(endpoint, group, candidates, blended(endpoint.price), caches(endpoint.price), keys, sort)


def brings(candidate: Candidate) -> bool:
    """Was the credential brought by a plugin?"""
    credential = candidate.credential
    return credential.byok or credential.last or credential.serves is not None


def place(candidate: Candidate) -> int:
    """Credentials that plugins bring first, then the configured ones, then those that come last."""
    if candidate.credential.last:
        return 2
    return 0 if brings(candidate) else 1


def _without(choice: Choice, labels: set[str]) -> Choice:
    kept = [each for each in choice.candidates if not brings(each) or each.credential.label not in labels]
    if not kept:
        kept = [Candidate(endpoint=choice.endpoint, credential=NO_CREDENTIAL, group=choice.group)]
    return _choice(choice.endpoint, choice.group, kept, choice.sort)


def blended(price: Price | None) -> float:
    """One number for a price: 0.75 prompt + 0.25 completion. Unknown is dearest."""
    return 1e18 if price is None else 0.75 * price.prompt + 0.25 * price.completion


def caches(price: Price | None) -> bool:
    """Is a cached prompt cheaper?"""
    return price is not None and price.input_cache_read is not None and price.input_cache_read < price.prompt


def free(price: Price | None) -> bool:
    """Costs nothing, and is known to."""
    return price is not None and not (price.prompt or price.completion or price.request)
