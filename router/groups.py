"""What keys have spent together: those of a workspace, and those of a member. Budgets of guardrails and workspaces look here.

A key that moves takes what it has spent along, from its next call on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .account import Account, Amount
from .balance import Layer, byok_of
from .generation import Generation
from .identity import DEFAULT_WORKSPACE, LOCAL_USER, Identity
from .store.generations import day_of

if TYPE_CHECKING:
    from .ledger import Ledger


class Group:
    """Accounts of keys, taken together by a name that each has. Nothing here waits, so that concurrent calls cannot overspend."""

    def __init__(self, ledger: Ledger, name: Callable[[Identity], str]) -> None:
        self._ledger = ledger
        self._name = name
        #: which group a key's account counts for
        self._of: dict[str, str] = {}
        self._accounts: dict[str, Account] = {}

    def load(self, names: Iterable[tuple[str, str]], default: str) -> None:
        """Take all accounts together as they are now; `names` are the groups of keys by id."""
        self._of = dict(names)
        for id, account in self._ledger.accounts.items():
            self._account(self._of.setdefault(id, default)).include(account)

    def account(self, identity: Identity) -> Account:
        """The counters of the group that this key is in."""
        id, name = identity.id or identity.hash, self._name(identity)
        known = self._of.setdefault(id, name)
        if known != name:
            _move(self._ledger.account(identity), self._account(known), self._account(name))
            self._of[id] = name
        return self._account(name)

    def hold(self, identity: Identity, amount: Amount) -> None:
        """Hold this much back for a call of the key, or give it back."""
        self._account(self._name(identity)).hold(amount)

    def book(self, identity: Identity, row: Generation) -> None:
        """Count a call of the key where its account counts now."""
        name = self._of.setdefault(identity.id or identity.hash, self._name(identity))
        self._account(name).add(day_of(row.created_unix), row.cost or 0, byok_of(row), 1)

    def _account(self, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        return account


class Groups:
    """All groups; for the ledger a budget that refuses nobody."""

    def __init__(self, ledger: Ledger) -> None:
        self.workspaces = Group(ledger, lambda identity: identity.workspace_id or DEFAULT_WORKSPACE)
        self.members = Group(ledger, lambda identity: identity.creator_user_id or LOCAL_USER)

    def load(self, keys: Iterable[tuple[str, str | None, str | None]]) -> None:
        """Take all accounts together. `keys`: id, workspace and member of all there have ever been."""
        keys = list(keys)
        self.workspaces.load(((id, workspace or DEFAULT_WORKSPACE) for id, workspace, _ in keys), DEFAULT_WORKSPACE)
        self.members.load(((id, member or LOCAL_USER) for id, _, member in keys), LOCAL_USER)

    def check(self, identity: Identity, amount: Amount, at_unix: float) -> None:
        """Nothing is limited here."""

    def hold(self, identity: Identity, amount: Amount) -> None:
        """In both groups of the key."""
        self.workspaces.hold(identity, amount)
        self.members.hold(identity, amount)

    def book(self, identity: Identity, row: Generation) -> None:
        """In both groups of the key."""
        self.workspaces.book(identity, row)
        self.members.book(identity, row)

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """Nothing is limited here."""
        return []


def _move(account: Account, source: Account, target: Account) -> None:
    """What was charged to a key counts elsewhere. What is held back for its calls is given back where it was taken."""
    target.include(account)
    for day, requests in account.requests_by_day.items():
        source.add(day, -account.charged_by_day[day], -account.byok_by_day[day], -requests)
    charged, byok = sum(account.charged_by_day.values()), sum(account.byok_by_day.values())
    source.add(-1, charged - account.charged_total, byok - account.byok_total, 0)
