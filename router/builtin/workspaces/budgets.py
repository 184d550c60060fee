"""Budgets by interval, of workspaces and of guardrails: what is exceeded, and what the client is told of it (api.md 13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ...account import Account, Amount, resets_at
from ...balance import Layer
from ...errors import Forbidden
from ...generation import Generation
from ...identity import Identity
from ...prices import usd_text
from ...store.generations import day_of
from ...store.guardrails import INTERVALS

if TYPE_CHECKING:
    from ...groups import Groups
    from ...store.workspaces import Workspaces


class Exceeded(Struct, kw_only=True):
    """A budget that has too little left. `whose` as the message has it; money in picodollars, `wanted` what the call may cost."""

    whose: str
    interval: str
    limit: int
    left: int
    wanted: int


def exceeded(
    whose: str, limits: Mapping[str, int], account: Account, amount: Amount, at_unix: float, *, include_byok: bool
) -> list[Exceeded]:
    """Which of these budgets have nothing left, or less than `amount`."""
    found, day, wanted = [], day_of(at_unix), amount.counted(include_byok=include_byok)
    held = account.held(include_byok=include_byok)
    for interval, limit in limits.items():
        window = None if interval == "lifetime" else interval
        used = account.charged(window, day) + held + (account.byok(window, day) if include_byok else 0)
        if used >= limit or limit - used < wanted:
            found.append(Exceeded(whose=whose, interval=interval, limit=limit, left=limit - used, wanted=wanted))
    return found


def layers_of(
    limits: Mapping[str, int], account: Account, at_unix: float, *, include_byok: bool, **names: Any
) -> list[Layer]:
    """These budgets as a key is told of them, the broadest first, since that is the one that a refusal tells of."""
    layers, day = [], day_of(at_unix)
    for interval in reversed([each for each in INTERVALS if each in limits]):
        window = None if interval == "lifetime" else interval
        spent = account.charged(window, day) + (account.byok(window, day) if include_byok else 0)
        limit = limits[interval]
        left = limit - spent - account.held(include_byok=include_byok)
        layers.append(Layer(interval=window, limit=limit, spent=spent, left=left, include_byok=include_byok, **names))
    return layers


def refuse(found: list[Exceeded], at_unix: float) -> None:
    """Raises Forbidden that tells of the broadest, where there is any."""
    if not found:
        return
    worst = max(found, key=lambda each: INTERVALS.index(each.interval))
    what = f"the {worst.interval} budget of {worst.whose} (${usd_text(worst.limit)})"
    if worst.left > 0:
        raise Forbidden(
            f"this call may cost up to ${usd_text(worst.wanted)}, and ${usd_text(worst.left)} is left of {what} (limits.strict): "
            "send a smaller max_tokens or raise the budget",
            code="quota_exceeded",
        )
    again = "" if worst.interval == "lifetime" else f" until {resets_at(worst.interval, at_unix):%Y-%m-%dT%H:%MZ}"
    raise Forbidden(
        f"{what} is used up{again}: raise it, or use a key that it does not hold for", code="quota_exceeded"
    )


class WorkspaceBudgets:
    """For the ledger: refuses keys whose workspace has used up a budget. What was spent is counted by `Groups`."""

    def __init__(self, workspaces: Workspaces, groups: Groups) -> None:
        self._workspaces = workspaces
        self._groups = groups

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        """Raises Forbidden."""
        workspace = self._workspaces.get(identity.workspace_id)
        if workspace is None or not workspace.budgets:
            return
        limits = {interval: each.amount for interval, each in workspace.budgets.items()}
        account = self._groups.workspaces.account(identity)
        whose = f"the workspace {workspace.slug!r}"
        found = exceeded(whose, limits, account, amount, at_unix, include_byok=workspace.include_byok)
        refuse(found, at_unix)

    def hold(self, identity: Identity, amount: Amount) -> None:
        """`Groups` does."""

    def book(self, identity: Identity, row: Generation) -> None:
        """`Groups` does."""

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """Those of the key's workspace."""
        workspace = self._workspaces.get(identity.workspace_id)
        if workspace is None:
            return []
        account, byok = self._groups.workspaces.account(identity), workspace.include_byok
        limits = {interval: each.amount for interval, each in workspace.budgets.items()}
        layers = layers_of(limits, account, at_unix, include_byok=byok, scope="workspace")
        for each in layers:
            each.budget_id = workspace.budgets[each.interval or "lifetime"].id
        return layers
