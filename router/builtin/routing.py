"""Our routing policy: which endpoints a call could go to, which of them may serve it, and in which order (api.md 18)."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..call import Call, Candidate, Credential, Endpoint, Head, Identity, Preferences
from ..errors import BadRequest, Forbidden, NoEndpoint, NotFound, RouterError, UpstreamUnauthorized
from ..hookspecs import hookimpl
from ..planning import AUTO, Named
from ..prices import Price

if TYPE_CHECKING:
    from ..dialects.base import Dialect
    from ..server import Server

#: request members whose support is preferred even without `require_parameters`
SOFT = frozenset({"tools", "response_format", "verbosity"})
#: the sort that a variant asks for
VARIANT_SORT = {"nitro": "throughput", "floor": "price", "exacto": "exacto"}
SORTS = frozenset({"price", "latency", "throughput", "exacto"})
NO_PREFERENCES = Preferences()
_NO_CREDENTIAL = Credential(secret="", label="none configured")
FORCED_HEADERS = ("x-router-provider", "x-anyrouter-provider")


class Routing:
    """Candidates from the table of models; health, preferences and prices decide the order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._turn = 0

    @hookimpl(trylast=True)
    def router_candidates(self, call: Call) -> Sequence[Candidate]:
        """All endpoints of all models that the request names, in the order of the models."""
        candidates: list[Candidate] = []
        self._turn += 1
        for group, named in enumerate(self._named(call)):
            for endpoint in named.entry.endpoints:
                if named.variant != "free" or _free(endpoint):
                    candidates.extend(self._with_credentials(endpoint, group))
            if sort := VARIANT_SORT.get(named.variant):
                call.state["sort"] = sort
        return candidates

    @hookimpl(trylast=True)
    def router_rank(self, call: Call, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Those that may serve the call, best first."""
        preferences = call.head.preferences or NO_PREFERENCES
        allowed = self._allowed(call, candidates, preferences)
        if not allowed:
            return []
        allowed = _softly(call.head, allowed)
        healthy = self._healthy(call, allowed)
        if len(healthy) > 1:
            healthy = self._ordered(call, healthy, preferences)
        if preferences.allow_fallbacks is False:
            first = healthy[0].endpoint
            return [each for each in healthy if each.endpoint is first or _listed(each.endpoint, preferences.order)]
        return healthy

    # --- candidates ---

    def _named(self, call: Call) -> Iterator[Named]:
        head = call.head
        names = [name for name in (head.model, *head.models) if name]
        if not names:
            names = [self._default(call.identity)]
        seen: set[str] = set()
        for name in names:
            for named in self._find(call, name):
                if named.entry.id not in seen:
                    seen.add(named.entry.id)
                    yield named

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
        found = table.find(name)
        if not found:
            call.plan.refusal = call.plan.refusal or table.why_not(name)
        for named in found:
            if named.variant == "online":
                raise RouterError(
                    "no web plugin is configured for ':online'", kind="not_implemented", code="not_configured"
                )
        return found

    def _auto(self, call: Call) -> list[Named]:
        names = self._server.settings.routing.auto_models
        if not names:
            raise BadRequest("'auto' needs routing.auto_models in the configuration", param="model")
        found = [named for name in names for named in self._server.table.find(name)]
        fitting = [
            named
            for named in found
            if any(
                (_misfit(call.head, endpoint) if call.dialect.through_hub else _cannot(call.dialect, endpoint)) is None
                for endpoint in named.entry.endpoints
            )
        ]
        return (fitting or found)[:1]

    def _with_credentials(self, endpoint: Endpoint, group: int) -> Iterator[Candidate]:
        """The endpoint with each credential of its provider, beginning with another one each time."""
        credentials = endpoint.provider.credentials
        count = len(credentials)
        for number in range(count):
            yield Candidate(endpoint=endpoint, credential=credentials[(self._turn + number) % count], group=group)
        if not count:
            yield Candidate(endpoint=endpoint, credential=_NO_CREDENTIAL, group=group)

    # --- what may serve ---

    def _allowed(self, call: Call, candidates: Sequence[Candidate], preferences: Preferences) -> list[Candidate]:
        """The candidates that nothing excludes; `call.plan` learns why the others are out."""
        plan, forced = call.plan, _forced(call)
        allowed: list[Candidate] = []
        reasons: dict[str, str] = {}
        for candidate in candidates:
            endpoint = candidate.endpoint
            reason = (
                _not_there(candidate)
                or (call.identity and _not_for(call.identity, endpoint))
                or (forced and not _is(endpoint, forced) and f"allowed_providers: X-Router-Provider is {forced}")
                or (
                    _misfit(call.head, endpoint, own=call.dialect.name in endpoint.provider.speaks)
                    if call.dialect.through_hub
                    else _cannot(call.dialect, endpoint)
                )
                or (preferences is not NO_PREFERENCES and _unwanted(call.head, endpoint, preferences))
            )
            if reason:
                reasons[endpoint.tag] = reason
                plan.filtered.append({"endpoint": f"{endpoint.tag}: {endpoint.model_id}", "reason": reason})
            else:
                allowed.append(candidate)
        if not allowed:
            plan.refusal = _refusal(call, reasons)
        return allowed

    def _healthy(self, call: Call, allowed: list[Candidate]) -> list[Candidate]:
        """Those whose circuit lets a call through; where none does, the one that was opened first."""
        health = self._server.health
        healthy = [candidate for candidate in allowed if health.available(candidate)]
        if healthy:
            return healthy
        usable = [candidate for candidate in allowed if not health.circuit(candidate).disabled]
        if not usable:
            slugs = ", ".join(sorted({candidate.provider.slug for candidate in allowed}))
            raise UpstreamUnauthorized(
                f"the provider {slugs} refused our credential; correct it in the configuration and reload"
            )
        return [min(usable, key=lambda candidate: health.circuit(candidate).open_until)]

    # --- order ---

    def _ordered(self, call: Call, candidates: list[Candidate], preferences: Preferences) -> list[Candidate]:
        """Best first inside each model; the models stay in the order of the request unless `route` is "sort"."""
        key = self._key(call, preferences)
        position = _position(preferences.order)
        if call.head.route == "sort" or _partition(preferences) == "none":
            return sorted(candidates, key=lambda each: (position(each), key(each)))
        return sorted(candidates, key=lambda each: (each.group, position(each), key(each)))

    def _key(self, call: Call, preferences: Preferences) -> Callable[[Candidate], Any]:
        routing = self._server.settings.routing
        sort = _sort(preferences) or call.state.get("sort") or routing.sort
        if sort == "price":
            return lambda each: (_blended(each.price), each.endpoint.priority)
        if sort in ("latency", "throughput"):
            return self._measured(sort)
        if preferences.order or sort == "order" or routing.deterministic:
            return lambda each: (each.endpoint.priority, _blended(each.price), each.endpoint.tag)
        return self._balanced()

    def _measured(self, sort: str) -> Callable[[Candidate], float]:
        statistics = self._server.health.statistics

        def key(each: Candidate) -> float:
            if sort == "latency":
                latency = statistics.latency(each.endpoint)
                return 1e9 if latency is None else latency
            return -(statistics.throughput(each.endpoint) or 0.0)

        return key

    def _balanced(self) -> Callable[[Candidate], Any]:
        """Priority first, then by chance with weight 1/price², free ones before all."""
        rng = self._server.rng

        def key(each: Candidate) -> tuple[int, float]:
            price = _blended(each.price)
            # The smallest of exponentially distributed values with rate w wins with a chance proportional to w.
            return (each.endpoint.priority, 0.0 if price == 0 else rng.expovariate(1.0) * price * price)

        return key


def _not_there(candidate: Candidate) -> str | None:
    return "no credential" if candidate.credential is _NO_CREDENTIAL else None


def _not_for(identity: Identity, endpoint: Endpoint) -> str | None:
    """Why this key may not use the endpoint."""
    providers, models = identity.allowed_providers, identity.allowed_models
    if providers is not None and not any(_is(endpoint, name) for name in providers):
        return "key: provider"
    if models is not None and not any(fnmatch.fnmatchcase(endpoint.model_id, glob) for glob in models):
        return "key: model"
    return None


def _misfit(head: Head, endpoint: Endpoint, *, own: bool = False) -> str | None:
    """Why the model cannot serve the request. A model without known facts is given the benefit of the doubt, and so is one whose `own`
    API the client speaks, where that API knows of more (betas make contexts longer)."""
    model = endpoint.model
    if "text" not in model.output_modalities:
        return "modality: the model does not chat"
    if not model.context_length:
        return None
    if head.modalities and not head.modalities <= set(model.input_modalities):
        return f"modality: it takes {', '.join(model.input_modalities)}"
    if own and head.capped:
        return None
    wanted = 0 if head.capped else head.max_tokens or 0
    if model.context_length < head.prompt_tokens + wanted:
        return f"context_length: {model.context_length}"
    if model.max_output and model.max_output < wanted:
        return f"context_length: at most {model.max_output} tokens of output"
    return None


def _cannot(dialect: Dialect, endpoint: Endpoint) -> str | None:
    """Why the endpoint cannot serve an operation other than chat. The length of its input is the upstream's to judge: a limit holds for
    each of many inputs. A model that nothing is known of may do anything."""
    model, provider = endpoint.model, endpoint.provider
    if dialect.produces not in model.output_modalities and (
        model.context_length or model.output_modalities != ["text"]
    ):
        return f"modality: the model gives {', '.join(model.output_modalities)}, not {dialect.produces}"
    if dialect.name not in provider.passes and dialect.produces not in provider.translates:
        return f"modality: the provider has no API for {dialect.produces}"
    return None


def _unwanted(head: Head, endpoint: Endpoint, preferences: Preferences) -> str | None:
    """Which hard preference of the request excludes the endpoint."""
    if preferences.only is not None and not _listed(endpoint, preferences.only):
        return "allowed_providers: provider.only"
    if preferences.ignore is not None and _listed(endpoint, preferences.ignore):
        return "allowed_providers: provider.ignore"
    if preferences.order and preferences.allow_fallbacks is False and not _listed(endpoint, preferences.order):
        return "allowed_providers: provider.order without fallbacks"
    if preferences.zdr and not endpoint.zdr:
        return "data_policy:zdr"
    if preferences.data_collection == "deny" and endpoint.training:
        return "data_policy:training"
    if preferences.quantizations and endpoint.quantization not in preferences.quantizations:
        return "quantization"
    if preferences.max_price and _too_dear(endpoint.price, preferences.max_price):
        return "max_price"
    if preferences.require_parameters and not head.needs <= set(endpoint.model.parameters):
        return "require_parameters: " + ", ".join(sorted(head.needs - set(endpoint.model.parameters)))
    return None


def _too_dear(price: Price | None, most: dict[str, float | str]) -> bool:
    """Does any class of the price pass its bound? Bounds are USD per million tokens (prompt, completion) or per piece."""
    if price is None:
        return True
    actual = {
        "prompt": price.prompt / 1e6,
        "completion": price.completion / 1e6,
        "request": price.request / 1e12,
        "image": price.image / 1e12,
        "audio": (price.audio_input or price.prompt) / 1e6,
    }
    return any(actual[name] > float(bound) for name, bound in most.items() if name in actual)


def _softly(head: Head, allowed: list[Candidate]) -> list[Candidate]:
    """Where some endpoints support what the request uses, only those."""
    used = head.needs & SOFT
    if not used or len(allowed) == 1:
        return allowed
    fitting = [each for each in allowed if used <= set(each.endpoint.model.parameters)]
    groups = {each.group for each in fitting}
    return [each for each in allowed if each in fitting or each.group not in groups]


def _refusal(call: Call, reasons: dict[str, str]) -> RouterError:
    """What to tell where everything was excluded."""
    model = call.head.model or next(iter(call.head.models), "")
    values = set(reasons.values())
    if values <= {"key: model"}:
        return Forbidden(f"this key may not use {model!r}", code="model_not_allowed", param="model")
    if values <= {"key: provider", "key: model"}:
        return Forbidden(f"this key may not use the providers of {model!r}", code="provider_not_allowed", param="model")
    if values <= {"no credential"}:
        slugs = ", ".join(sorted(reasons))
        return NoEndpoint(f"no credential is configured for {slugs}: set api_key in [providers.{slugs}]")
    details = "; ".join(f"{tag}: {reason}" for tag, reason in sorted(reasons.items()))
    return NotFound(
        f"no endpoint of {model!r} fits the request: {details}",
        code="no_endpoints",
        availability={
            "code": "constraint_filtered",
            "retryable": False,
            "requested_models": [name for name in (call.head.model, *call.head.models) if name],
            "excluded_by": sorted({reason.partition(": ")[0] for reason in values}),
            "docs_url": "/docs",
        },
    )


def _forced(call: Call) -> str:
    for header in FORCED_HEADERS:
        if value := call.headers.get(header):
            return value
    return ""


def _is(endpoint: Endpoint, name: str) -> bool:
    """Does `slug` or `slug/variant` name this endpoint?"""
    return name in (endpoint.provider.slug, endpoint.tag)


def _listed(endpoint: Endpoint, names: list[str] | None) -> bool:
    return names is not None and any(_is(endpoint, name) for name in names)


def _position(order: list[str] | None) -> Callable[[Candidate], int]:
    if not order:
        return lambda each: 0
    places = {name: number for number, name in reversed(list(enumerate(order)))}
    last = len(order)
    return lambda each: min(places.get(each.endpoint.tag, last), places.get(each.provider.slug, last))


def _sort(preferences: Preferences) -> str | None:
    sort = preferences.sort
    return sort.get("by") if isinstance(sort, dict) else sort


def _partition(preferences: Preferences) -> str | None:
    return preferences.sort.get("partition") if isinstance(preferences.sort, dict) else None


def _blended(price: Price | None) -> float:
    """One number for a price: 0.75 prompt + 0.25 completion. Unknown is dearest."""
    return 1e18 if price is None else 0.75 * price.prompt + 0.25 * price.completion


def _free(endpoint: Endpoint) -> bool:
    price = endpoint.price
    return price is not None and not (price.prompt or price.completion or price.request)
