"""Where a call may go: the table of models, how the names in a request are read, and the plan.

The policy (which candidates, in which order) is the hooks' `router_candidates` and `router_rank`; `builtin/routing` is ours.
"""

from __future__ import annotations

import copy
import fnmatch
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from .availability import availability
from .call import Call, Candidate, Endpoint, Plan
from .errors import BadRequest, NoEndpoint, NotFound, RouterError
from .model import Model
from .plugins import catalogue_of
from .settings import EndpointSettings, ModelSettings, Settings, SettingsError, price_of

if TYPE_CHECKING:
    from .provider import Provider

#: suffixes with a meaning (api.md 18); an id that holds one literally wins
VARIANTS = frozenset({"free", "nitro", "floor", "online", "thinking", "extended", "exacto"})
AUTO = frozenset({"auto", "openrouter/auto", "router/auto"})
PASSED_THROUGH = 2000
NEAREST_KEPT = 1000
#: how many are compared letter by letter to find those
SHORTLIST = 50
#: characters of a request that an error may repeat
LONGEST_ECHO = 200


class Entry(Struct, kw_only=True):
    """A model as the table lists it: its public id, the facts shown for it, and its endpoints (at least one)."""

    id: str
    model: Model
    endpoints: list[Endpoint] = field(default_factory=list)


class Named(Struct, kw_only=True):
    """What a name in a request means: an entry of the table, and the variant that was asked for ("" for none)."""

    entry: Entry
    variant: str = ""


class Table:
    """All models that can be asked for, by public id. Built at start, after discovery and at each reload; read by every call."""

    def __init__(self, providers: Mapping[str, Provider], broken: Mapping[str, str], settings: Settings) -> None:
        self._providers = providers
        self._broken = broken
        self._aliases = settings.aliases
        self._default = settings.routing.default_provider
        if self._default is not None and self._default not in providers and self._default not in broken:
            raise SettingsError(f"routing.default_provider: no provider {self._default!r} is configured")
        self._takes_deprecated = settings.routing.deprecated_models
        #: models that are not served since their makers give them up, by public id and by their own
        self._deprecated: dict[str, Model] = {}
        self._configured = frozenset(settings.models)
        self.entries: dict[str, Entry] = {}
        #: grows whenever the entries change after the start: what was made of them is made again
        self.changes = 0
        self._bare: dict[str, list[str]] = {}
        self._passed: dict[str, Entry] = {}
        self._discovered: dict[str, list[Model]] = {}
        #: what routing has made of lists of names; whatever changes the table empties it
        self.pools: dict[tuple[str, ...], Any] = {}
        #: what `nearest` has found
        self._near: dict[str, list[str]] = {}
        #: what an upstream listed once and does so no longer: slug and upstream model
        self._gone: set[tuple[str, str]] = set()
        for provider in providers.values():
            self._add_all(provider, catalogue_of(provider))
        for id, own in settings.models.items():
            self._add_configured(id, own)

    def discovered(self, provider: Provider, models: list[Model]) -> None:
        """Take in what an upstream lists. Facts of the catalogue stand where the list has no price, those of the configuration always;
        what is no longer listed goes."""
        self.pools.clear()
        self._near.clear()
        kept = {model.id for model in models}
        self.changes += 1
        for old in self._discovered.get(provider.slug, []):
            if old.id not in kept:
                self._forget(f"{provider.slug}/{old.id}", old.id)
                self._gone.add((provider.slug, old.id))
        self._gone.difference_update((provider.slug, id) for id in kept)
        self._discovered[provider.slug] = models
        self._add_all(provider, [model for model in models if self._news(f"{provider.slug}/{model.id}", model)])

    def _news(self, id: str, model: Model) -> bool:
        return id not in self.entries or (model.price is not None and id not in self._configured)

    def gone(self, endpoint: Endpoint) -> bool:
        """Has its upstream ceased to list it?"""
        return (endpoint.provider.slug, endpoint.model.id) in self._gone

    def with_aliases(self, aliases: Mapping[str, list[str]]) -> Table:
        """The same models under further names, for a look at what these would do: this table stays as it is."""
        other = copy.copy(self)
        other._aliases = {**self._aliases, **aliases}
        other._passed, other.pools = {}, {}
        return other

    def find(self, name: str) -> list[Named]:
        """The entries that a name of a request means, in the order in which they are tried; empty where it means nothing.

        Exact id, alias, `~author/name-latest`, `provider/upstream-model` of a provider that takes unknown ones, bare name that fits one
        model only, bare name of the default provider, and each of these with a variant behind a colon. Raises BadRequest where a bare
        name fits several.
        """
        if found := self._exact(name):
            return [Named(entry=entry) for entry in found]
        base, _, variant = name.rpartition(":")
        if variant in VARIANTS and base and (found := self._exact(base) or self._as_list(self._elsewhere(base))):
            return [Named(entry=entry, variant=variant) for entry in found]
        return [Named(entry=entry) for entry in self._as_list(self._elsewhere(name))]

    def find_at(self, slug: str, name: str) -> list[Named]:
        """What a provider itself knows by this name, where a client names provider and model apart. No alias is such a name."""
        return [] if name in self._aliases else self.find(f"{slug}/{name}")

    def reading(self, name: str) -> str:
        """How `find` comes to what it says of this name."""
        for how, known in (("exact id", self.entries), ("alias", self._aliases), ("bare name", self._bare)):
            if name in known:
                return how
        base, _, variant = name.rpartition(":")
        if variant in VARIANTS and base:
            return f"{self.reading(base)}, variant {variant}"
        return "unknown to the catalogue"

    def why_not(self, name: str) -> RouterError:
        """What to tell a client whose model nobody knows."""
        name = name[:LONGEST_ECHO]
        slug, _, upstream_id = name.partition("/")
        if slug in self._broken:
            told = availability("temporarily_unavailable", [name], providers=[slug], retryable=False)
            return NoEndpoint(f"{name!r} cannot be served: {self._broken[slug]}", availability=told)
        near = self.nearest(name)
        code, said = "model_deprecated", "GET /v1/models lists what there is"
        if name in self._deprecated:
            said = "its maker gives it up, and routing.deprecated_models is false"
        elif (slug, upstream_id) in self._gone:
            said = f"{slug} no longer has it; {said}"
        else:
            code = "model_not_found"
        return NotFound(
            f"no model {name!r} here; {said}" + (f" (did you mean {', '.join(near)}?)" if near else ""),
            code="model_not_found",
            param="model",
            availability=availability(code, [name], nearest=near),
        )

    def nearest(self, name: str) -> list[str]:
        """Up to three ids of other models that look like this one."""
        name = name[:LONGEST_ECHO]
        near = self._near.get(name)
        if near is None:
            if len(self._near) >= NEAREST_KEPT:
                self._near.clear()
            near = self._near[name] = self._alike(name)
        return near

    def _alike(self, name: str) -> list[str]:
        """Compares the name with all others: 2 ms for each thousand of them."""
        near = closest(name, self.entries, 6)
        if not near and "/" not in name:
            near = [self._bare[bare][0] for bare in closest(name, self._bare, 3)]
        seen = [self.entries[name]] if name in self.entries else []
        found: list[str] = []
        for id in near:
            entry = self.entries[id]
            if all(entry is not other for other in seen):
                seen.append(entry)
                found.append(id)
        return found[:3]

    def matching(self, globs: Sequence[str]) -> Iterator[Entry]:
        """The entries whose id fits one of the patterns."""
        for entry in self.entries.values():
            if any(fnmatch.fnmatchcase(entry.id, glob) for glob in globs):
                yield entry

    def _exact(self, name: str, seen: frozenset[str] = frozenset()) -> list[Entry]:
        if (entry := self.entries.get(name)) is not None:
            return [entry]
        if name in self._aliases and name not in seen:
            return [
                entry
                for target in self._aliases[name]
                for entry in self._exact(target, seen | {name}) or self._as_list(self._pass_through(target))
            ]
        if name.startswith("~"):
            return self._as_list(self._newest(name))
        ids = self._bare.get(name)
        if ids is None:
            return []
        if len(ids) > 1 and (own := self._by_default(name)) is not None:
            return [own]
        if len(ids) > 1:
            raise BadRequest(
                f"{name!r} names several models: {', '.join(ids[:5])}; say which one",
                param="model",
                code="model_not_found",
            )
        return [self.entries[ids[0]]]

    def _newest(self, name: str) -> Entry | None:
        """What `~author/name-latest` stands for: of the models of this line the one that came last and that nobody gives up."""
        line, _, latest = name[1:].rpartition("-")
        if latest != "latest" or "/" not in line:
            return None
        of_line = (
            entry
            for id, entry in self.entries.items()
            if id.startswith(line) and not id[len(line) : len(line) + 1].isalpha() and not entry.model.deprecated
        )
        # Of several that came together the one of the shortest name: the others are its kinds.
        return max(of_line, key=lambda each: (each.model.created, -len(each.id)), default=None)

    def _elsewhere(self, name: str) -> Entry | None:
        """A model that is not in the table: passed through to the provider that is named, or to the default one."""
        return self._pass_through(name) or (self._by_default(name) if "/" not in name else None)

    def _by_default(self, name: str) -> Entry | None:
        """A bare name as the default provider knows it."""
        if self._default is None:
            return None
        full = f"{self._default}/{name}"
        return self.entries.get(full) or self._pass_through(full)

    @staticmethod
    def _as_list(entry: Entry | None) -> list[Entry]:
        return [] if entry is None else [entry]

    def _pass_through(self, name: str) -> Entry | None:
        """A model that no catalogue knows, of a provider that may be asked for anything."""
        if (entry := self._passed.get(name)) is not None:
            return entry
        slug, _, upstream_id = name.partition("/")
        provider = self._providers.get(slug)
        if provider is None or not upstream_id or not provider.settings.unknown_models or name in self._deprecated:
            return None
        if len(self._passed) >= PASSED_THROUGH:
            self._passed.clear()
        model = provider.unknown(upstream_id)
        entry = self._passed[name] = Entry(id=name, model=model, endpoints=[_endpoint(provider, name, model)])
        return entry

    def _add_all(self, provider: Provider, models: Iterable[Model]) -> None:
        for model in models:
            id = f"{provider.slug}/{model.id}"
            if model.deprecated and not self._takes_deprecated:
                self._deprecated[id] = self._deprecated[model.id] = model
                self._forget(id, model.id)
                continue
            entry = Entry(id=id, model=model, endpoints=[_endpoint(provider, id, model)])
            self.entries[id] = entry
            for bare in (model.id, *model.aliases):
                ids = self._bare.setdefault(bare, [])
                if id not in ids:
                    ids.append(id)
            for alias in model.aliases:
                self.entries.setdefault(f"{provider.slug}/{alias}", entry)

    def _forget(self, id: str, bare: str) -> None:
        self.entries.pop(id, None)
        ids = self._bare.get(bare, [])
        if id in ids:
            ids.remove(id)
        if not ids:
            self._bare.pop(bare, None)

    def _add_configured(self, id: str, own: ModelSettings) -> None:
        known = self.entries.get(id)
        endpoints = [self._configured_endpoint(id, own, each, number) for number, each in enumerate(own.endpoints)]
        if not endpoints:
            if known is None and (given_up := self._deprecated.pop(id, None)) is not None:
                slug = id.partition("/")[0]
                known = Entry(id=id, model=given_up, endpoints=[_endpoint(self._providers[slug], id, given_up)])
            if known is None:
                raise SettingsError(f"models.{id}.endpoints: at least one endpoint is needed for a model of your own")
            endpoints = [_with_facts(endpoint, own, None) for endpoint in known.endpoints]
        # Endpoints of providers that are not there now are left out, the model stays listed as long as one remains.
        present = [endpoint for endpoint in endpoints if endpoint is not None]
        if not present:
            return
        facts = _facts(known.model if known else replace(present[0].model, name=id), own)
        self.entries[id] = Entry(id=id, model=facts, endpoints=present)
        slug = id.rpartition("/")[2]
        ids = self._bare.setdefault(slug, [])
        if id not in ids:
            ids.append(id)

    def _configured_endpoint(self, id: str, own: ModelSettings, each: EndpointSettings, number: int) -> Endpoint | None:
        provider = self._providers.get(each.provider)
        if provider is None:
            if each.provider in self._broken:
                return None
            raise SettingsError(
                f"models.{id}.endpoints[{number}].provider: no provider {each.provider!r} is configured"
            )
        listed = self.entries.get(f"{each.provider}/{each.model}")
        model = listed.model if listed else provider.unknown(each.model)
        return _with_facts(_endpoint(provider, id, model), own, each)


def _endpoint(provider: Provider, id: str, model: Model) -> Endpoint:
    facts = provider.settings
    return Endpoint(
        provider=provider,
        model_id=id,
        model=model,
        price=model.price,
        priority=facts.priority,
        zdr=facts.zdr,
        training=facts.training,
        quantization=facts.quantization,
        local=facts.local,
    )


def _facts(model: Model, own: ModelSettings) -> Model:
    """The catalogue's facts with those that the configuration gives."""
    given: dict[str, Any] = {
        "name": own.name,
        "description": own.description,
        "context_length": own.context_length,
        "max_output": own.max_output,
        "input_modalities": own.input_modalities,
        "output_modalities": own.output_modalities,
        "parameters": own.supported_parameters,
        "price": price_of(own.pricing) if own.pricing else None,
    }
    return replace(model, **{name: value for name, value in given.items() if value is not None})


def _with_facts(endpoint: Endpoint, own: ModelSettings, each: EndpointSettings | None) -> Endpoint:
    model = _facts(endpoint.model, own)
    endpoint = replace(endpoint, model=model, price=model.price)
    if each is None:
        return endpoint
    given = {
        "context_length": each.context_length,
        "max_output": each.max_output,
        "parameters": each.supported_parameters,
    }
    return replace(
        endpoint,
        model=replace(model, **{name: value for name, value in given.items() if value is not None}),
        price=price_of(each.pricing) if each.pricing else endpoint.price,
        variant=each.variant,
        priority=each.priority,
        zdr=endpoint.zdr if each.zdr is None else each.zdr,
        quantization=each.quantization or endpoint.quantization,
    )


def closest(name: str, names: Iterable[str], most: int) -> list[str]:
    """The names that look like this one, the closest first. Comparing two takes difflib some 50 µs, and the server waits; so it gets
    only those that share most pairs of letters with it, which are found in 2 µs each."""
    pairs = {name[at : at + 2] for at in range(len(name) - 1)}
    shortlist = heapq.nlargest(
        SHORTLIST, names, key=lambda each: sum(map(each.__contains__, pairs)) / (len(pairs) + len(each))
    )
    return get_close_matches(name, shortlist, n=most, cutoff=0.6)


class Planner:
    """Asks the hooks what will happen to a call and where it may go."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    async def plan(self, call: Call) -> Plan:
        """The plan, with at least one candidate. Raises NotFound or NoEndpoint, saying what was in the way."""
        plan = self.choose(call)
        await self.prepare(call)
        return plan

    def choose(self, call: Call) -> Plan:
        """The candidates, in order. Raises as `plan` does."""
        hook = self._hook
        plan = call.plan = Plan()
        if call.identity is not None:
            call.restrictions = tuple(hook.router_restrict(identity=call.identity))
        answers = hook.router_candidates(call=call)
        # One answer is handed on as it is: it may know more of its candidates than a list does.
        candidates = answers[0] if len(answers) == 1 else [candidate for answer in answers for candidate in answer]
        if candidates:
            plan.total = len(candidates)
            ranked = hook.router_rank(call=call, candidates=candidates)
            plan.candidates = candidates if ranked is None else ranked
        if not plan.candidates:
            raise plan.refusal or NotFound(f"nobody serves {call.head.model!r}", code="model_not_found", param="model")
        return plan

    async def prepare(self, call: Call) -> None:
        """What plugins make of the request, and want to see of the answer."""
        hook = self._hook
        if not call.dialect.through_hub:
            call.filters = hook.router_rewrite(call=call)
            return
        call.filters = hook.router_filter(call=call)
        call.transforms = hook.router_transform(call=call)
        if call.transforms:
            request = call.dialect.decode(call.head)
            call.transforms += hook.router_review(call=call)
            for transform in call.transforms:
                request = await transform(request)
            call.request = request


__all__ = ["AUTO", "VARIANTS", "Candidate", "Entry", "Named", "Planner", "Table"]
