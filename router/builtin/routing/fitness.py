"""Why an endpoint may not serve a request: facts of the model, restrictions of the key, preferences of the request (api.md 18.3).

A reason begins with its name in `availability.excluded_by` (api.md 4.2); details follow behind a colon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from multidict import istr

from ...call import Call, Endpoint
from ...head import Head, Preferences
from ...prices import Price
from .pools import NO_CREDENTIAL, Choice, Pool, Suitable

if TYPE_CHECKING:
    from ...dialects.base import Dialect

#: request members whose support is preferred even without `require_parameters`
SOFT = frozenset({"tools", "response_format", "verbosity"})
#: looked for in every call: a name that is folded already is found in a third of the time
FORCED_HEADERS = (istr("x-router-provider"), istr("x-anyrouter-provider"))
NO_PREFERENCES = Preferences()
#: kinds of requests whose suitable endpoints are remembered, for each pool: clients say what is in them
KEPT_KINDS = 100
#: preferences that take more bytes are looked at anew each time: they would fill the memory
LONGEST_KIND = 1024
DOES_NOT_CHAT = "modality: the model does not chat"
GIVES_OTHERS = "modality: the model gives "


def suitable(call: Call, pool: Pool) -> Suitable:
    """What of the pool may serve this call."""
    head = call.head
    preferences = head.preferences or NO_PREFERENCES
    forced = forced_provider(call)
    told = b"" if preferences is NO_PREFERENCES else _encode(preferences)
    kind = (
        call.dialect.name,
        head.needs,
        head.modalities,
        head.converts,
        head.capped,
        head.compress,
        told,
        forced,
        () if call.identity is None else call.identity.allowed,
        call.restrictions,
    )
    found = pool.suitable.get(kind)
    if found is None:
        found = _sifted(call, pool, preferences, forced)
        if len(told) + len(forced) <= LONGEST_KIND:
            if len(pool.suitable) >= KEPT_KINDS:
                pool.suitable.clear()
            pool.suitable[kind] = found
    return found if _all_long_enough(head, found) else _without_short(head, found, call.dialect)


_encode = msgspec.json.Encoder().encode


def _sifted(call: Call, pool: Pool, preferences: Preferences, forced: str) -> Suitable:
    """Everything but the length of this one request."""
    found = Suitable([])
    for choice in pool.choices:
        reason = why_not(call, choice, preferences, forced)
        if reason is None:
            found.choices.append(choice)
        else:
            _exclude(found, choice, reason)
    _soften(call.head, found)
    models = [each.endpoint.model for each in found.choices if _bounded(call.head, each.endpoint, call.dialect)]
    for choice in found.choices:
        for key in choice.keys:
            found.by_key.setdefault(key, []).append(id(choice))
    found.shortest = min((each.context_length for each in models), default=0)
    found.smallest = min((each.max_output for each in models if each.max_output), default=0)
    return found


def why_not(call: Call, choice: Choice, preferences: Preferences, forced: str) -> str | None:
    """The first reason against an endpoint, its lengths left aside; None where there is none."""
    endpoint = choice.endpoint
    if choice.candidates[0].credential is NO_CREDENTIAL:
        return "no credential"
    if call.identity is not None and (reason := call.identity.excludes(endpoint)):
        return reason
    for restriction in call.restrictions:
        if (reason := restriction.excludes(endpoint)) is not None:
            return reason
    if forced and not names(endpoint, forced):
        return f"allowed_providers: X-Router-Provider is {forced}"
    reason = _misfit(call.head, endpoint) if call.dialect.through_hub else _cannot(call.dialect, endpoint)
    return reason or (None if preferences is NO_PREFERENCES else _unwanted(call.head, endpoint, preferences))


def _exclude(found: Suitable, choice: Choice, reason: str) -> None:
    found.reasons[choice.endpoint.tag] = reason
    found.filtered.append({"endpoint": choice.name, "reason": reason})


def _soften(head: Head, found: Suitable) -> None:
    """Where some endpoints of a model support what the request uses, only those (soft preference)."""
    used = head.needs & SOFT
    if not used or len(found.choices) == 1:
        return
    fitting = {id(each) for each in found.choices if used <= set(each.endpoint.model.parameters)}
    groups = {each.group for each in found.choices if id(each) in fitting}
    kept: list[Choice] = []
    for each in found.choices:
        if id(each) in fitting or each.group not in groups:
            kept.append(each)
        else:
            lacking = ", ".join(sorted(used - set(each.endpoint.model.parameters)))
            _exclude(found, each, f"require_parameters: others of its model support {lacking}")
    found.choices = kept


# --- length ----------------------------------------------------------------------------------------------------------


def _bounded(head: Head, endpoint: Endpoint, dialect: Dialect) -> bool:
    """Do the model's known lengths count? Not where the client speaks the upstream's own API, which knows of longer ones (betas)."""
    own = head.capped and dialect.name in endpoint.provider.speaks
    return dialect.through_hub and bool(endpoint.model.context_length) and not own and not head.compress


def _all_long_enough(head: Head, found: Suitable) -> bool:
    wanted = 0 if head.capped else head.max_tokens or 0
    return head.prompt_tokens + wanted <= (found.shortest or 1 << 60) and wanted <= (found.smallest or 1 << 60)


def _without_short(head: Head, found: Suitable, dialect: Dialect) -> Suitable:
    kept = Suitable([], list(found.filtered), dict(found.reasons), by_key=found.by_key)
    for choice in found.choices:
        reason = _too_short(head, choice.endpoint) if _bounded(head, choice.endpoint, dialect) else None
        if reason is None:
            kept.choices.append(choice)
        else:
            _exclude(kept, choice, reason)
    return kept


def _too_short(head: Head, endpoint: Endpoint) -> str | None:
    model = endpoint.model
    wanted = 0 if head.capped else head.max_tokens or 0
    if model.context_length < head.prompt_tokens + wanted:
        return f"context_length: {model.context_length}"
    if model.max_output and model.max_output < wanted:
        return f"context_length: at most {model.max_output} tokens of output"
    return None


# --- reasons ---------------------------------------------------------------------------------------------------------


def _misfit(head: Head, endpoint: Endpoint) -> str | None:
    """Why the model cannot chat about this. A model without known facts is given the benefit of the doubt."""
    model = endpoint.model
    if "text" not in model.output_modalities:
        return DOES_NOT_CHAT
    if head.modalities and model.context_length and not head.modalities - head.converts <= set(model.input_modalities):
        return f"modality: it takes {', '.join(model.input_modalities)}"
    return None


def _cannot(dialect: Dialect, endpoint: Endpoint) -> str | None:
    """Why the endpoint cannot serve an operation other than chat. The length of its input is the upstream's to judge: a limit holds for
    each of many inputs. A model that nothing is known of may do anything."""
    model, provider = endpoint.model, endpoint.provider
    if dialect.produces not in model.output_modalities and (
        model.context_length or model.output_modalities != ["text"]
    ):
        return f"{GIVES_OTHERS}{', '.join(model.output_modalities)}, not {dialect.produces}"
    if dialect.name not in provider.passes and dialect.produces not in provider.translates:
        return f"modality: the provider has no API for {dialect.produces}"
    return None


def fits(call: Call, endpoint: Endpoint) -> bool:
    """Could the endpoint serve this call, as far as its model goes?"""
    if not call.dialect.through_hub:
        return _cannot(call.dialect, endpoint) is None
    if _misfit(call.head, endpoint) is not None:
        return False
    return not _bounded(call.head, endpoint, call.dialect) or _too_short(call.head, endpoint) is None


def _unwanted(head: Head, endpoint: Endpoint, preferences: Preferences) -> str | None:
    """Which hard preference of the request excludes the endpoint."""
    if preferences.only is not None and not listed(endpoint, preferences.only):
        return "allowed_providers: provider.only"
    if preferences.ignore is not None and listed(endpoint, preferences.ignore):
        return "allowed_providers: provider.ignore"
    if preferences.order and preferences.allow_fallbacks is False and not listed(endpoint, preferences.order):
        return "allowed_providers: provider.order without fallbacks"
    if preferences.zdr and not endpoint.zdr:
        return "data_policy:zdr"
    if preferences.data_collection == "deny" and endpoint.training:
        return "data_policy:training"
    if preferences.enforce_distillable_text and not endpoint.model.open_weights:
        return "data_policy:distillable"
    if preferences.quantizations and endpoint.quantization not in preferences.quantizations:
        return f"quantization: {endpoint.quantization}"
    if preferences.max_price and (dear := _too_dear(endpoint.price, preferences.max_price)):
        return f"max_price: {dear}"
    if preferences.require_parameters and (lacking := head.needs - set(endpoint.model.parameters)):
        return "require_parameters: " + ", ".join(sorted(lacking))
    return None


def _too_dear(price: Price | None, most: dict[str, float | str]) -> str | None:
    """The class of the price that passes its bound. Bounds are USD per million tokens (prompt, completion) or per piece."""
    if price is None:
        return "its price is not known"
    actual = {
        "prompt": price.prompt / 1e6,
        "completion": price.completion / 1e6,
        "request": price.request / 1e12,
        "image": price.image / 1e12,
        "audio": (price.audio_input or price.prompt) / 1e6,
    }
    return next((name for name, bound in most.items() if name in actual and actual[name] > float(bound)), None)


# --- names -----------------------------------------------------------------------------------------------------------


def forced_provider(call: Call) -> str:
    """`slug` or `slug/variant` that a header insists on, "" where none does."""
    for header in FORCED_HEADERS:
        if value := call.headers.get(header):
            return value
    return ""


def names(endpoint: Endpoint, name: str) -> bool:
    """Does `slug` or `slug/variant` name this endpoint?"""
    return name in (endpoint.provider.slug, endpoint.tag)


def listed(endpoint: Endpoint, wanted: list[str] | None) -> bool:
    """Does one of these name the endpoint?"""
    return wanted is not None and any(names(endpoint, name) for name in wanted)
