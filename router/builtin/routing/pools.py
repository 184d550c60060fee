"""What a request's names come to: all endpoints of all its models, with a candidate for each credential.

Made once for each list of names and kept as long as the table of models, so that a call finds it with one look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Struct, field

from ...call import Candidate, Credential, Endpoint
from ...health import Key, keys_of
from ...planning import Named
from ...prices import Price

#: the sort that a variant asks for
VARIANT_SORT = {"nitro": "throughput", "floor": "price", "exacto": "exacto"}
NO_CREDENTIAL = Credential(secret="", label="none configured")


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
    """The candidates, in the order of the models. `suitable` remembers what was found out about kinds of requests."""

    def __init__(self, choices: Iterable[Choice]) -> None:
        self.choices = list(choices)
        self.suitable: dict[tuple[object, ...], Suitable] = {}
        super().__init__(candidate for choice in self.choices for candidate in choice.candidates)

    @classmethod
    def named(cls, found: Iterable[Named]) -> Pool:
        """The pool of these models; the same model twice counts once."""
        choices: list[Choice] = []
        seen: set[str] = set()
        for group, named in enumerate(found):
            if named.entry.id not in seen:
                seen.add(named.entry.id)
                choices.extend(_choices(named, group))
        return cls(choices)

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Pool:
        """The pool of candidates that other plugins have made or added to."""
        if isinstance(candidates, Pool):
            return candidates
        runs = groupby(candidates, key=lambda each: (each.group, id(each.endpoint)))
        return cls(_choice(same[0].endpoint, group, same) for (group, _), run in runs if (same := list(run)))


def _choices(named: Named, group: int) -> Iterable[Choice]:
    endpoints = named.entry.endpoints
    if named.variant == "free":
        endpoints = [each for each in endpoints if free(each.price)]
    elif named.variant == "extended":
        longest = max(each.model.context_length for each in endpoints)
        endpoints = [each for each in endpoints if each.model.context_length == longest]
    sort = VARIANT_SORT.get(named.variant, "")
    for endpoint in endpoints:
        credentials = endpoint.provider.credentials or [NO_CREDENTIAL]
        candidates = [Candidate(endpoint=endpoint, credential=each, group=group) for each in credentials]
        yield _choice(endpoint, group, candidates, sort)


def _choice(endpoint: Endpoint, group: int, candidates: list[Candidate], sort: str = "") -> Choice:
    keys = {key for each in candidates for key in keys_of(each)}
    return Choice(endpoint, group, candidates, blended(endpoint.price), caches(endpoint.price), keys, sort)


def blended(price: Price | None) -> float:
    """One number for a price: 0.75 prompt + 0.25 completion. Unknown is dearest."""
    return 1e18 if price is None else 0.75 * price.prompt + 0.25 * price.completion


def caches(price: Price | None) -> bool:
    """Is a cached prompt cheaper?"""
    return price is not None and price.input_cache_read is not None and price.input_cache_read < price.prompt


def free(price: Price | None) -> bool:
    """Costs nothing, and is known to."""
    return price is not None and not (price.prompt or price.completion or price.request)
