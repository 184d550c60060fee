"""Our routing policy: which endpoints a call could go to, which of them may serve it, and in which order (api.md 18).

`pools` knows what names come to, `fitness` what is excluded and why, `order` what goes first, `sticky` where a conversation stays,
`opinions` when a refusal is not believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...availability import availability
from ...call import Attempt, Call, Candidate, Endpoint
from ...errors import BadRequest, UpstreamUnauthorized
from ...head import Preferences
from ...hookspecs import hookimpl
from ...identity import Identity
from ...planning import AUTO, Named
from .fitness import NO_PREFERENCES, fits, forced_provider, listed, names, suitable
from .opinions import ask_another
from .order import Order, strategy_of
from .pools import Choice, Pool, Suitable, place
from .refusals import refusal
from .sticky import Sticky

if TYPE_CHECKING:
    from .surroundings import Surroundings

#: lists of names whose pools are kept
KEPT_POOLS = 5000


class Routing:
    """Candidates from the table of models; health, preferences and prices decide the order."""

    def __init__(self, server: Surroundings) -> None:
        self._server = server
        self._order = Order(server)
        self._sticky = Sticky(server.clock.monotonic)
        self._turn = 0

    @hookimpl(trylast=True)
    def router_candidates(self, call: Call) -> Sequence[Candidate]:
        """All endpoints of all models that the request names, in the order of the models."""
        head, table = call.head, self._server.table
        wanted = (head.model, *head.models) if head.models else (head.model,)
        forced = forced_provider(call)
        pool: Pool | None = table.pools.get(wanted) if not forced else None
        if pool is None:
            given = [name for name in wanted if name] or [self._default(call.identity)]
            found = [named for name in given for named in self._find(call, name)]
            pool = Pool.named(found, self._server.credentials)
            if found and not pool:  # the variant of its name leaves nothing
                call.plan.refusal = refusal(call, Suitable([]), table.nearest(head.model))
            if found and wanted[0] and not forced and AUTO.isdisjoint(given) and call.plan.refusal is None:
                if len(table.pools) >= KEPT_POOLS:
                    table.pools.clear()
                table.pools[wanted] = pool
        return pool.serving(call) if pool.guarded else pool

    @hookimpl(trylast=True)
    def router_rank(self, call: Call, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Those that may serve the call, best first."""
        plan, pool = call.plan, Pool.of(candidates)
        plan.nearest = self._server.table.nearest
        found = suitable(call, pool)
        plan.filtered = found.filtered
        if not found.choices:
            plan.refusal = refusal(call, found, self._server.table.nearest(call.head.model))
            return []
        health = self._server.health
        # Python looks through the smaller one of the two.
        ill = set() if health.calm else {id for key in found.by_key.keys() & health.uneasy for id in found.by_key[key]}
        choices = self._arranged(call, found.choices, ill)
        if not ill and len(choices) == 1 and len(choices[0].candidates) == 1:
            return choices[0].candidates
        usable = self._usable(call, choices, ill)
        if pool.ranked:
            mixed = head_mixes(call)
            usable = sorted(usable, key=lambda each: (0 if mixed else each.group, place(each)))
        return usable

    @hookimpl
    def router_attempted(self, call: Call, attempt: Attempt) -> None:
        """Conversations stay with who served them, or leave who failed; a parameter that was refused may please another one."""
        self._sticky.attempted(call, attempt)
        ask_another(call, attempt)

    def expected(self, call: Call) -> list[tuple[Endpoint, float]]:
        """Which endpoints the call goes to first, each with its chance. Empty where the plan's `refusal` says why none does. Draws
        nothing: for those who count with many calls like this one."""
        candidates = self.router_candidates(call)
        ranked = self.router_rank(call, candidates) if candidates else []
        if not ranked or call.plan.strategy != "balanced":
            return [(each.endpoint, 1.0) for each in ranked[:1]]
        preferences = call.head.preferences or NO_PREFERENCES
        choices = suitable(call, Pool.of(candidates)).choices
        first = _groups(choices, mixed=call.head.route == "sort" or _mixed(preferences))[0]
        slow = {id(each) for each in first if self._order.slow(each, preferences)}
        chances = zip(first, self._order.chances(first, slow), strict=True)
        return [(each.endpoint, chance) for each, chance in chances if chance]

    # --- names ---

    def _default(self, identity: Identity | None) -> str:
        default = (identity.default_model if identity else None) or self._server.settings.routing.default_model
        if not default:
            raise BadRequest(
                "the request names no model, and neither this key nor routing.default_model gives one", param="model"
            )
        return default

    def _find(self, call: Call, name: str) -> list[Named]:
        table = self._server.table
        if name in AUTO:
            return self._auto(call)
        forced = forced_provider(call)
        try:
            found = table.find(name)
        except BadRequest:
            if not forced:
                raise
            found = []  # a name that fits several models: the provider says which one
        if forced and not any(names(endpoint, forced) for named in found for endpoint in named.entry.endpoints):
            found = table.find_at(forced.partition("/")[0], name) or found
        if not found:
            call.plan.refusal = call.plan.refusal or table.why_not(name)
        return found

    def _auto(self, call: Call) -> list[Named]:
        """The first of the models for `auto` that this call fits, or else the first."""
        names = self._server.settings.routing.auto_models
        if not names:
            call.plan.refusal = BadRequest("'auto' needs routing.auto_models in the configuration", param="model")
        found = [named for name in names for named in self._server.table.find(name)]
        allowed = next((each.get("allowed_models") for each in call.head.plugins if each["id"] == "auto-router"), None)
        if isinstance(allowed, list):
            found = [each for each in found if any(fnmatchcase(each.entry.id, str(glob)) for glob in allowed)]
        fitting = [named for named in found if any(fits(call, endpoint) for endpoint in named.entry.endpoints)]
        return (fitting or found)[:1]

    # --- order ---

    def _arranged(self, call: Call, choices: list[Choice], ill: set[int]) -> list[Choice]:
        """Best first inside each model; the models stay in the order of the request unless it wants them mixed. `ill` are the ids of
        choices that something is known against."""
        preferences = call.head.preferences or NO_PREFERENCES
        routing = self._server.settings.routing
        strategy = strategy_of(call, choices[0], preferences, routing.sort, deterministic=routing.deterministic)
        call.plan.strategy = strategy
        if len(choices) > 1:
            ordered: list[Choice] = []
            for group in _groups(choices, mixed=call.head.route == "sort" or _mixed(preferences)):
                ordered.extend(self._group(call, strategy, group, preferences, ill))
            choices = ordered
        if preferences.allow_fallbacks is False:
            first = choices[0]
            choices = [each for each in choices if each is first or listed(each.endpoint, preferences.order)]
        return choices

    def _group(
        self, call: Call, strategy: str, choices: list[Choice], preferences: Preferences, ill: set[int]
    ) -> list[Choice]:
        """The endpoints of one model."""
        choices = self._order.of(strategy, choices, preferences.order)
        if len(choices) == 1:
            return choices
        moved = call.plan.moved
        if preferences.preferred_max_latency is not None or preferences.preferred_min_throughput is not None:
            slow = {id(each): reason for each in choices if (reason := self._order.slow(each, preferences))}
            choices = _last(choices, slow, moved)
        if ill and strategy == "balanced":
            choices = self._by_health(choices, ill, moved)
        if not preferences.order and (stay := self._sticky.first(call, choices)) is not None:
            choices = _first(choices, stay, "the conversation's prompt is cached there", moved)
        return choices

    def _by_health(self, choices: list[Choice], ill: set[int], moved: list[dict[str, str]]) -> list[Choice]:
        """Endpoints that lately failed go last."""
        health, now = self._server.health, self._server.clock.monotonic()
        shaky = {
            id(each): "a significant outage in the last 30 s"
            for each in choices
            if id(each) in ill and all(health.circuit(candidate).shaky(now) for candidate in each.candidates)
        }
        return _last(choices, shaky, moved)

    def _usable(self, call: Call, choices: list[Choice], ill: set[int]) -> list[Candidate]:
        """The candidates whose circuit lets a call through; where none does, the one that was opened least recently."""
        health, now = self._server.health, self._server.clock.monotonic()
        usable: list[Candidate] = []
        shut: list[Candidate] = []
        for choice in choices:
            candidates = choice.candidates if len(choice.candidates) == 1 else self._in_turn(choice.candidates)
            if id(choice) not in ill:
                usable += candidates
                continue
            for candidate in candidates:
                (usable if health.circuit(candidate).allows(now) else shut).append(candidate)
        if shut:
            call.plan.filtered = call.plan.filtered + [
                {"endpoint": f"{each.endpoint.tag}: {each.endpoint.model_id}", "reason": "health: its circuit is open"}
                for each in shut
            ]
        if usable:
            return usable
        known = [each for each in shut if not health.circuit(each).disabled]
        if not known:
            slugs = ", ".join(sorted({candidate.provider.slug for candidate in shut}))
            raise UpstreamUnauthorized(
                f"the provider {slugs} refused our credential; correct it in the configuration and reload",
                availability=availability(
                    "temporarily_unavailable",
                    (call.head.model, *call.head.models),
                    providers=(candidate.provider.slug for candidate in shut),
                    retryable=False,
                ),
            )
        return [min(known, key=lambda each: health.circuit(each).opened_s)]

    def _in_turn(self, candidates: list[Candidate]) -> list[Candidate]:
        """The configured credentials of an endpoint, beginning with another one each time; what plugins bring keeps its place."""
        self._turn += 1
        own = [each for each in candidates if place(each) == 1]
        if not own:
            return candidates
        first = self._turn % len(own)
        own = own[first:] + own[:first]
        if len(own) == len(candidates):
            return own
        return (
            [each for each in candidates if not place(each)] + own + [each for each in candidates if place(each) == 2]
        )


def _groups(choices: list[Choice], *, mixed: bool) -> list[list[Choice]]:
    if mixed or choices[0].group == choices[-1].group:
        return [choices]
    groups: dict[int, list[Choice]] = {}
    for each in choices:
        groups.setdefault(each.group, []).append(each)
    return list(groups.values())


def head_mixes(call: Call) -> bool:
    """Does the request want the endpoints of all its models in one order?"""
    return call.head.route == "sort" or _mixed(call.head.preferences or NO_PREFERENCES)


def _mixed(preferences: Preferences) -> bool:
    return isinstance(preferences.sort, dict) and preferences.sort.get("partition") == "none"


def _last(choices: list[Choice], why: dict[int, str], moved: list[dict[str, str]]) -> list[Choice]:
    """Those with a reason behind the others, each side in its order."""
    if not why or len(why) == len(choices):
        return choices
    kept: list[Choice] = []
    last: list[Choice] = []
    for each in choices:
        (last if id(each) in why else kept).append(each)
    moved.extend({"endpoint": each.name, "to": "the end", "reason": why[id(each)]} for each in last)
    return kept + last


def _first(choices: list[Choice], first: Choice, why: str, moved: list[dict[str, str]]) -> list[Choice]:
    if choices[0] is first:
        return choices
    moved.append({"endpoint": first.name, "to": "the front", "reason": why})
    return [first, *(each for each in choices if each is not first)]


__all__ = ["Routing"]
