"""The rules of routing, written down a second time: what a request over a table comes to, from the facts of both and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct


class Fact(Struct, frozen=True):
    """One endpoint of a model. `price` is USD per million tokens, in and out; `parameters` what it supports."""

    model: str
    provider: str
    price: float
    priority: int
    context: int
    output: int
    zdr: bool
    training: bool
    quantization: str
    parameters: frozenset[str]

    @property
    def name(self) -> str:
        """How explanations call it."""
        return f"{self.provider}: {self.model}"


class Wanted(Struct, kw_only=True):
    """A request as far as routing looks at it. `names` may end in a variant; `capped`: `max_tokens` is only a bound (Messages)."""

    names: list[str]
    provider: dict[str, Any]
    needs: frozenset[str]
    prompt: int
    max_tokens: int
    route: str = "fallback"
    forced: str = ""
    allowed: list[str] | None = None
    capped: bool = False


Table = Mapping[str, Sequence[Fact]]


class Verdict(Struct):
    """Who is asked, in this order, and all that speaks against each of the others, by its name."""

    order: list[Fact]
    against: dict[str, set[str]]


def judged(table: Table, aliases: Mapping[str, list[str]], wanted: Wanted) -> Verdict:
    """What must come out."""
    pool = list(_pool(table, aliases, wanted.names))
    against = {fact.name: set(_hard(fact, wanted)) for _, _, fact in pool}
    left = [each for each in pool if not against[each[2].name]]
    if "tools" in wanted.needs:
        able = {group for group, _, fact in left if "tools" in fact.parameters}
        for group, _, fact in left:
            if group in able and "tools" not in fact.parameters:
                against[fact.name].add("require_parameters")
    asked = 0 if wanted.capped else wanted.max_tokens
    for _, _, fact in pool:
        if wanted.prompt + asked > fact.context or asked > fact.output:
            against[fact.name].add("context_length")
    left = [each for each in left if not against[each[2].name]]
    return Verdict(_ordered(left, wanted), {name: reasons for name, reasons in against.items() if reasons})


def _pool(table: Table, aliases: Mapping[str, list[str]], names: Sequence[str]) -> Iterator[tuple[int, str, Fact]]:
    group, seen = 0, set()
    for name in names:
        base, _, variant = name.partition(":")
        for id in aliases.get(base, [base]):
            facts = table[id]
            if variant == "free":
                facts = [fact for fact in facts if fact.price == 0]
            elif variant == "extended":
                facts = [fact for fact in facts if fact.context == max(each.context for each in facts)]
            if id not in seen:
                seen.add(id)
                yield from ((group, variant, fact) for fact in facts)
            group += 1


def _hard(fact: Fact, wanted: Wanted) -> Iterator[str]:
    provider = wanted.provider
    if wanted.allowed is not None and fact.provider not in wanted.allowed:
        yield "key"
    outside = (
        (wanted.forced and fact.provider != wanted.forced)
        or fact.provider not in provider.get("only", [fact.provider])
        or fact.provider in provider.get("ignore", [])
        or (provider.get("allow_fallbacks") is False and fact.provider not in provider.get("order", [fact.provider]))
    )
    if outside:
        yield "allowed_providers"
    if provider.get("zdr") and not fact.zdr:
        yield "data_policy:zdr"
    if provider.get("data_collection") == "deny" and fact.training:
        yield "data_policy:training"
    if fact.quantization not in provider.get("quantizations", [fact.quantization]):
        yield "quantization"
    if fact.price > provider.get("max_price", {}).get("prompt", fact.price):
        yield "max_price"
    if provider.get("require_parameters") and not wanted.needs <= fact.parameters:
        yield "require_parameters"


def _ordered(left: list[tuple[int, str, Fact]], wanted: Wanted) -> list[Fact]:
    if not left:
        return []
    provider = wanted.provider
    by_price = provider.get("sort") == "price" or ("sort" not in provider and left[0][1] == "floor")
    order = provider.get("order", [])

    def key(each: tuple[int, str, Fact]) -> tuple[Any, ...]:
        group, _, fact = each
        place = order.index(fact.provider) if fact.provider in order else len(order)
        own = (fact.price, fact.priority) if by_price else (fact.priority, fact.price, fact.provider)
        return (0 if wanted.route == "sort" else group, place, *own)

    facts = [fact for _, _, fact in sorted(left, key=key)]
    if provider.get("allow_fallbacks") is False:
        return [fact for fact in facts if fact is facts[0] or fact.provider in order]
    return facts
