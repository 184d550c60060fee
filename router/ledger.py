"""The ledger: what a call may cost, what it did cost, and that it is booked exactly once.

`reserve`, `started`, `price` and `settle` are synchronous and never wait, so no cancellation can split them and concurrent calls
cannot overspend; counters (`account`) live in memory, read from the day roll-ups at start. Money is integer picodollars.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .account import NOTHING, Account, Amount, accounts, resets_at
from .balance import Balance, Budget, Layer, byok_of
from .call import Call, Candidate
from .errors import InsufficientCredits, Overloaded
from .generation import generation_of
from .identity import Identity
from .prices import PICODOLLARS, Price, Usage, usd_text
from .store.generations import day_of

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger(__name__)

#: tokens that an answer is taken to have at most, where the request does not say and the model's maximum is not smaller
DEFAULT_OUTPUT_TOKENS = 8192
TEXT_ONLY = ["text"]
#: more than this for one call is not believed
MOST_CHARGE = 10_000 * PICODOLLARS
CHARS_PER_TOKEN = 4
UNLIMITED = (2147483647, 2147483647, 2147483647)


class Ledger:
    """Books calls. One per server; `load` before the first call."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._generations = server.generations
        self._hook = server.plugins.hook
        self._clock = server.clock
        self._accounts: dict[str, Account] = {}
        self.balance = Balance(server.entries, Account(), lambda: server.settings.limits.enforce_balance)
        #: what is asked after the limit of the key, in this order: guardrails, workspaces, the balance last
        self.budgets: list[Budget] = [self.balance]

    async def load(self) -> None:
        """Record what a crash left under way, then read the counters."""
        interrupted = await self._generations.interrupt()
        if interrupted:
            log.warning("%s calls were under way when the router last ended; none of them is charged", interrupted)
        self._accounts = await accounts(self._generations, self._clock.wall())
        for account in self._accounts.values():
            self.balance.total.include(account)
        await self.balance.load()

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The counters of all keys that have ever made a call, by id."""
        return self._accounts

    def account(self, identity: Identity) -> Account:
        """The counters of this key."""
        return self._account(identity.id or identity.hash)

    def rate_limit(self, identity: Identity) -> tuple[int, int, int]:
        """Limit, remaining and reset (unix seconds) of the key's tightest request window."""
        told: tuple[int, int, int] | None = self._hook.router_rate_limit(identity=identity)
        return told or UNLIMITED

    # --- before ---

    def admit(self, identity: Identity, at_unix: float, amount: Amount = NOTHING) -> None:
        """Refuse who has nothing left, or less than `amount`, and everybody while no records can be written.

        First the limit of the key, then the budgets in their order. Raises InsufficientCredits, Forbidden, Overloaded.
        """
        if self._generations.refusing:
            raise Overloaded(
                "the router cannot write its records now, so no calls are taken; try again", retry_after_s=1
            )
        if identity.limit is not None:
            account = self.account(identity)
            left, wanted = account.left(identity, at_unix), amount.counted(include_byok=identity.include_byok_in_limit)
            if left is not None and (left <= 0 or left < wanted):
                raise _used_up(identity, at_unix, account) if left <= 0 else _too_dear(identity, left, wanted)
        for budget in self.budgets:
            budget.check(identity, amount, at_unix)

    def layers(self, identity: Identity, at_unix: float) -> list[Layer]:
        """All that this key may use up, in the order in which `admit` asks: its own limit, and the budgets that hold for it."""
        layers = [layer for budget in self.budgets for layer in budget.layers(identity, at_unix)]
        account = self.account(identity)
        left = account.left(identity, at_unix)
        if identity.limit is not None and left is not None:
            reset = identity.limit_reset
            own = Layer(
                scope="key_limit",
                interval=reset,
                limit=identity.limit,
                spent=identity.limit - left - account.held(include_byok=identity.include_byok_in_limit),
                left=left,
                include_byok=identity.include_byok_in_limit,
            )
            layers.insert(0, own)
        return layers

    def reserve(self, call: Call) -> None:
        """Hold back the most that the call's plan may cost. Raises what `admit` raises."""
        identity = call.identity
        if identity is None or call.account is not None:
            return
        amount = self.affordable(call, identity)
        call.account, (call.reserved, call.reserved_byok) = self.account(identity), amount
        call.account.hold(amount)
        for budget in self.budgets:
            budget.hold(identity, amount)

    def affordable(self, call: Call, identity: Identity) -> Amount:
        """The most that the call's plan may cost. Raises what `admit` raises where it may not be spent."""
        amount = worst_case(call)
        self.admit(identity, call.created_unix, amount if self._server.settings.limits.strict else NOTHING)
        return amount

    def started(self, call: Call) -> None:
        """The first attempt begins: from now on a crash leaves a trace of this call."""
        identity, candidates = call.identity, call.plan.candidates
        if identity is None or call.account is None:
            return
        self._generations.reserve(
            (
                call.id,
                call.created_unix,
                day_of(call.created_unix),
                identity.hash,
                candidates[0].endpoint.model_id if candidates else call.head.model,
                call.head.model,
                call.dialect.api_type,
                call.head.stream,
                call.request_id,
                call.reserved,
            )
        )

    # --- after ---

    def price(self, call: Call, usage: Usage | None) -> None:
        """Set what the call consumed and costs: `usage` of the upstream, or an estimate where it gave none. Once per call."""
        if call.usage is not None:
            return
        call.usage = usage.clamped() if usage is not None else estimate(call)
        candidate = call.candidate
        if candidate is None or call.outcome.uncounted:
            return
        if candidate.price is not None:
            call.cost = candidate.price.cost(call.usage, call.created_unix)
        # Should a plugin raise now, the list price stands.
        call.charge = call.cost.total if call.cost is not None else None
        if _came_to_nothing(call):
            call.charge = 0
            return
        call.charge = self._believed(self._hook.router_price(call=call, usage=call.usage), call)

    def settle(self, call: Call) -> None:
        """Book the call, however it ended, and give back what it held. Only the first time counts."""
        releases, call.releases = call.releases, []
        try:
            if call.account is not None:
                self._book(call)
        finally:
            for release in releases:
                try:
                    release(call)
                except Exception:  # somebody else's place must not stay taken for it
                    log.exception("a plugin failed to give back what %s had taken", call.id)

    async def commit(self, call: Call) -> None:
        """Settle, and wait until the row is on disk: what comes after may be the last byte of the answer."""
        self.settle(call)
        if call.settled is None:
            return
        try:
            await call.settled
        except asyncio.CancelledError:
            # Only the wait can be cancelled, the row is written in any case. (`asyncio.shield` costs each call 5 microseconds.)
            if call.settled.cancelled():
                call.settled = self._generations.add(call.state["generation"])
            raise

    # --- helpers ---

    def _account(self, id: str) -> Account:
        account = self._accounts.get(id)
        if account is None:
            account = self._accounts[id] = Account()
        return account

    def _book(self, call: Call) -> None:
        account, call.account = call.account, None
        identity = call.identity
        assert identity is not None
        try:
            self._conclude(call)
        finally:
            row = call.state["generation"] = generation_of(call, self._clock.monotonic())
            given_back = -Amount(call.reserved, call.reserved_byok)
            account.hold(given_back)
            account.add(day_of(row.created_unix), row.cost or 0, byok_of(row), 1)
            account.last_unix = max(account.last_unix, row.created_unix)
            for budget in self.budgets:
                budget.hold(identity, given_back)
                budget.book(identity, row)
            call.settled = self._generations.add(row)

    def _conclude(self, call: Call) -> None:
        """Usage and charge by the end that the call came to."""
        if call.cancelled or (call.error is not None and call.error.spent):
            self._charge_what_was_produced(call)
        elif call.error is not None or call.candidate is None:
            call.usage = call.usage or _produced(call) or Usage()
            call.charge, call.cost = 0, None
        else:
            self.price(call, call.outcome.usage)

    def _charge_what_was_produced(self, call: Call) -> None:
        """The client left, or is not given the answer."""
        failed = not call.attempts or call.attempts[-1].error is not None
        produced = None if failed else _produced(call)
        if produced is None:
            call.usage = call.usage or Usage()
            call.charge = None if call.first_content_s and call.outcome.uncounted else 0
            return
        self.price(call, produced)

    def _believed(self, charge: Any, call: Call) -> int | None:
        """The price hook's answer made sane."""
        if charge is None:
            return None
        if not isinstance(charge, int) or isinstance(charge, bool) or charge < 0:
            log.error("router_price gave %r for %s; the list price is taken", charge, call.id)
            return call.charge
        if charge > MOST_CHARGE:
            log.error("%s would cost $%s; $%s is charged", call.id, usd_text(charge), usd_text(MOST_CHARGE))
            return MOST_CHARGE
        return charge


# --- refusals --------------------------------------------------------------------------------------------------------


def _too_dear(identity: Identity, left: int, amount: int) -> InsufficientCredits:
    return InsufficientCredits(
        f"this call may cost up to ${usd_text(amount)}, and ${usd_text(left)} is left of the limit of key "
        f"{identity.name!r} (limits.strict): send a smaller max_tokens or raise the limit"
    )


def _used_up(identity: Identity, at_unix: float, account: Account) -> InsufficientCredits:
    assert identity.limit is not None
    name, limit, reset = identity.name or identity.label, usd_text(identity.limit), identity.limit_reset
    reserved = account.held(include_byok=identity.include_byok_in_limit)
    held = f" (${usd_text(reserved)} of it is held for calls under way)" if reserved else ""
    if reset is None:
        return InsufficientCredits(
            f"key {name!r} has used up its limit of ${limit}{held}: raise its limit or use another key"
        )
    again = resets_at(reset, at_unix)
    return InsufficientCredits(
        f"key {name!r} has used up its {reset} limit of ${limit}{held}: "
        f"it starts anew at {again:%Y-%m-%dT%H:%MZ}; until then raise its limit or use another key"
    )


# --- amounts ---------------------------------------------------------------------------------------------------------


def worst_case(call: Call) -> Amount:
    """The most that the plan may cost: the estimated prompt and the longest answer, at its dearest candidate."""
    if call.recalled is not None:
        return NOTHING
    charge = byok = 0
    for candidate in call.plan.candidates:
        price = candidate.price
        if price is None:
            continue
        listed = _worst_at(call, candidate, price)
        if candidate.credential.byok:
            byok = max(byok, listed)
        if candidate.credential.byok or candidate.endpoint.local:
            # Nobody charges us, but there may be a fee.
            listed = ceil(listed * candidate.provider.settings.fee_percent / 100)
        charge = max(charge, listed)
    return Amount(charge, byok)


def _worst_at(call: Call, candidate: Candidate, price: Price) -> int:
    """At list price."""
    head = call.head
    longest = candidate.endpoint.model.max_output
    wanted = DEFAULT_OUTPUT_TOKENS if head.max_tokens is None else head.max_tokens
    output = (min(wanted, longest) if longest else wanted) * head.n
    # A hidden class of tokens may be dearer than the plain one, and sound and pictures often are.
    written = max(price.prompt, price.input_cache_write or 0, price.input_cache_write_1h or 0)
    thought = max(price.completion, price.internal_reasoning or 0)
    if head.modalities:
        written = max(written, price.audio_input or 0, price.image_input or 0)
    if candidate.endpoint.model.output_modalities != TEXT_ONLY:
        thought = max(thought, price.audio_output or 0, price.image_output or 0)
    amount = head.prompt_tokens * written + output * thought + price.request
    if price.overrides:
        amount = max(amount, price.cost(Usage(input=head.prompt_tokens, output=output), call.created_unix).total)
    return min(amount, MOST_CHARGE)


def estimate(call: Call) -> Usage:
    """What the call consumed, where the upstream has not said: the prompt as estimated, a token for every four characters."""
    output = -(-call.outcome.output_chars // CHARS_PER_TOKEN)
    return Usage(input=call.head.prompt_tokens, output=output, source="estimated").clamped()


def _produced(call: Call) -> Usage | None:
    """What an answer has used that did not come to its end. What the upstream has said so far may be only the beginning: what was
    relayed counts at least."""
    said = call.outcome.usage
    if said is None:
        return estimate(call) if call.outcome.output_chars else None
    counted, said = estimate(call), replace(said)
    said.input = said.input or counted.input
    if said.output < counted.output:
        said.output, said.source = counted.output, "estimated"
    return said.clamped()


def _came_to_nothing(call: Call) -> bool:
    """Zero-completion insurance: no output and no good end costs nothing."""
    assert call.usage is not None
    return call.usage.output == 0 and call.outcome.finish_reason in (None, "", "error")
