"""All guardrails that hold for a key, taken together: allowlists intersect, blocklists unite, and each budget is checked alone."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from ...account import Account, Amount
from ...balance import Layer
from ...call import Endpoint
from ...generation import Generation
from ...identity import DEFAULT_WORKSPACE, LOCAL_USER, Identity, Restriction
from ...prices import Price
from ...store.guardrails import DEFAULT_PREFIX, Guardrail
from ..workspaces.budgets import exceeded, layers_of, refuse
from .content import Filters, filters_of

if TYPE_CHECKING:
    from ...server import Server

#: whose spending a budget counts
Scope = Literal["account", "workspace", "member", "key"]
#: and what OpenRouter calls that
LAYERS: dict[Scope, str] = {
    "account": "workspace_default_member",
    "workspace": "workspace_default_member",
    "member": "member",
    "key": "api_key",
}
#: what names a family in the id of a model, wherever it is served
NAMES = {
    "anthropic": ("anthropic", "claude"),
    "openai": ("openai/", "gpt-"),
    "google": ("google/", "gemini"),
    "xai": ("x-ai/", "xai/", "grok"),
}


class Combined(Restriction):
    """Guardrails with the scope that each has here."""

    def __init__(self, parts: Sequence[tuple[Scope, Guardrail]]) -> None:
        self.parts = parts
        self.filters: Filters | None = filters_of([each for _, each in parts])

    def excludes(self, endpoint: Endpoint) -> str | None:
        """Why this endpoint may not be used ("guardrail: model"), None where it may."""
        return next((reason for _, each in self.parts if (reason := _excludes(each, endpoint))), None)


def _excludes(guardrail: Guardrail, endpoint: Endpoint) -> str | None:
    rules = guardrail.rules
    if rules.allowed_models is not None and not _models(endpoint, rules.allowed_models):
        return "guardrail: model"
    if rules.ignored_models is not None and _models(endpoint, rules.ignored_models):
        return "guardrail: model"
    if rules.allowed_providers is not None and not _providers(endpoint, rules.allowed_providers):
        return "guardrail: provider"
    if rules.ignored_providers is not None and _providers(endpoint, rules.ignored_providers):
        return "guardrail: provider"
    if rules.zdr and not endpoint.zdr and any(rules.zdr.get(family) for family in families(endpoint)):
        return "guardrail: zdr"
    if endpoint.training:
        free = _free(endpoint.price)
        # Who trains on what is written may publish it as well: more is not known of an endpoint.
        wanted = (rules.free_training, rules.free_publication) if free else (rules.paid_training,)
        if False in wanted:
            return "guardrail: training"
    return None


def _models(endpoint: Endpoint, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(endpoint.model_id, glob) for glob in globs)


def _providers(endpoint: Endpoint, names: Sequence[str]) -> bool:
    return any(name in (endpoint.provider.slug, endpoint.tag) for name in names)


def families(endpoint: Endpoint) -> list[str]:
    """Whose model it is, by its ids: of several where they name several."""
    ids = f"{endpoint.model_id} {endpoint.model.id}".lower()
    return [family for family, names in NAMES.items() if any(name in ids for name in names)] or ["other"]


def _free(price: Price | None) -> bool:
    return price is not None and not (price.prompt or price.completion or price.request)


class Book:
    """Which guardrails hold for which key. What was found out is kept until one of them changes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._version = -1
        self._combined: dict[tuple[str, ...], Combined | None] = {}

    def of(self, identity: Identity) -> Combined | None:
        """All that hold for this key; None where there are none."""
        store = self._server.guardrails
        if store.version != self._version:
            self._version = store.version
            self._combined = {}
        if not store.some:
            return None
        workspace = identity.workspace_id or DEFAULT_WORKSPACE
        member = store.of_member(identity.creator_user_id or LOCAL_USER)
        ids = (workspace, "" if member is None else member.id, identity.guardrail_id or "")
        if ids not in self._combined:
            self._combined[ids] = self._together(*ids)
        return self._combined[ids]

    def _together(self, workspace: str, member: str, key: str) -> Combined | None:
        ids: list[tuple[Scope, str]] = [("account", DEFAULT_PREFIX + DEFAULT_WORKSPACE)]
        if workspace != DEFAULT_WORKSPACE:
            ids.append(("workspace", DEFAULT_PREFIX + workspace))
        ids += [("member", member), ("key", key)]
        find = self._server.guardrails.find
        parts = [(scope, found) for scope, id in ids if (found := find(id)) is not None]
        return Combined(parts) if parts else None


class GuardrailBudgets:
    """For the ledger: refuses keys for which a guardrail holds that has used up a budget. What was spent is counted elsewhere: a
    guardrail's budget is that of each key, member or workspace that it holds for, not one for all of them together."""

    def __init__(self, server: Server, book: Book) -> None:
        self._server = server
        self._book = book

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        """Raises Forbidden."""
        combined = self._book.of(identity)
        if combined is None:
            return
        found = [
            each
            for scope, guardrail in combined.parts
            if guardrail.rules.budgets
            for each in exceeded(
                f"the guardrail {guardrail.name!r}",
                guardrail.rules.budgets,
                self._account(scope, identity),
                amount,
                at_unix,
                include_byok=guardrail.rules.include_byok,
            )
        ]
        refuse(found, at_unix)

    def _account(self, scope: Scope, identity: Identity) -> Account:
        server = self._server
        match scope:
            case "account":
                return server.ledger.balance.total
            case "workspace":
                return server.groups.workspaces.account(identity)
            case "member":
                return server.groups.members.account(identity)
        return server.ledger.account(identity)

    def hold(self, identity: Identity, amount: Amount) -> None:
        """Others do."""

    def book(self, identity: Identity, row: Generation) -> None:
        """Others do."""

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """Those of all guardrails that hold for the key."""
        combined = self._book.of(identity)
        return [
            layer
            for scope, guardrail in (combined.parts if combined is not None else ())
            for layer in layers_of(
                guardrail.rules.budgets,
                self._account(scope, identity),
                at_unix,
                include_byok=guardrail.rules.include_byok,
                scope=LAYERS[scope],
                guardrail_id=guardrail.id,
            )
        ]
