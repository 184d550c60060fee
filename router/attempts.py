"""The attempt loop: one try after the other until one answers, and never a second one after content has reached the client.

This is the only retry layer there is (api.md 18.6 and 18.7).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .alarms import Alarms, Timeout
from .availability import availability
from .call import Attempt, Call, Candidate, Outcome, Sink
from .errors import (
    NEXT_MODEL_KINDS,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from .plugins import tell

if TYPE_CHECKING:
    from .health import Health
    from .ledger import Ledger
    from .relay import Relay

#: waits before the same candidate is asked again, in seconds
AGAIN_S = (0.25, 2.0)
LONGEST_RETRY_AFTER_S = 5.0
#: what kinds of failure say about the availability of a model (api.md 4.2)
UNAVAILABLE = {
    "rate_limit_exceeded": "capacity_exhausted",
    **dict.fromkeys(("provider_overloaded", "provider_unavailable", "upstream_timeout"), "temporarily_unavailable"),
    "not_found": "model_unavailable_upstream",
}


class Attempts:
    """Runs a call's plan. `rng` gives the jitter."""

    def __init__(
        self,
        hook: Any,
        relay: Relay,
        ledger: Ledger,
        health: Health,
        alarms: Alarms,
        *,
        max_attempts: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._hook = hook
        self._relay = relay
        self._ledger = ledger
        self._health = health
        self._alarms = alarms
        self._max_attempts = max_attempts
        self._rng = rng

    async def run(self, call: Call, sink: Sink) -> None:
        """Answer the call from the first candidate that can, if anybody has to be asked. Raises what the last one failed with."""
        self._ledger.started(call)
        final = await self._relay.recall(call, sink) or await self._first_answer(call, sink)
        await self._ledger.commit(call)
        await sink.finish(final)

    async def _first_answer(self, call: Call, sink: Sink) -> bytes:
        """Try the candidates in order. Returns the terminal bytes of the first answer."""
        most = self._max_attempts()
        refused_groups: set[int] = set()
        last = len(call.plan.candidates) - 1
        for number, candidate in enumerate(call.plan.candidates):
            if candidate.group in refused_groups or len(call.attempts) >= most:
                continue
            if number < last and not self._health.available(candidate):
                continue  # since the plan was made somebody else has found it ill, or is looking
            again = False
            while True:
                try:
                    return await self._attempt(call, candidate, sink)
                except UpstreamError as error:
                    if call.first_content_s:
                        raise _with_history(call, error) from error
                    if error.kind in NEXT_MODEL_KINDS:
                        refused_groups.add(candidate.group)
                    elif not error.falls_over:
                        return self._rest(call, error)
                    if again or len(call.attempts) >= most or not await self._once_more(call.attempts[-1], error):
                        break
                    again = True
        return self._rest(call, _last(call))

    def _rest(self, call: Call, error: UpstreamError) -> bytes:
        """Nothing is left to try: the last plain answer that came to some text, or else the error, raised."""
        error = _with_history(call, error)
        for attempt in reversed(call.attempts):
            if attempt.error is not None and attempt.error.partial is not None:
                error.partial = attempt.error.partial
                return self._relay.rest(call, attempt.candidate, error)
        raise error

    async def _once_more(self, attempt: Attempt, error: UpstreamError) -> bool:
        """Is the same candidate worth a second try? Waits before it; False where the upstream wants a longer wait than we give, or its
        provider has had its share of repetitions."""
        wait_s = error.retry_after_s or self._rng.uniform(*AGAIN_S)
        if (
            not _repeatable(attempt, error)
            or wait_s > LONGEST_RETRY_AFTER_S
            or not self._health.repeat(attempt.candidate)
        ):
            return False
        await asyncio.sleep(wait_s)
        return True

    async def _attempt(self, call: Call, candidate: Candidate, sink: Sink) -> bytes:
        loop = asyncio.get_running_loop()
        attempt = Attempt(candidate=candidate, started_s=loop.time())
        call.candidate, call.outcome = candidate, Outcome()
        call.attempts.append(attempt)
        self._health.starting(candidate)
        try:
            return await self._try(call, candidate, sink)
        except UpstreamError as error:
            attempt.error = error
            attempt.status = error.upstream_status
            raise
        except BaseException:
            self._health.abandoned(candidate)
            attempt.status = -1
            raise
        finally:
            now = loop.time()
            attempt.duration_s = now - attempt.started_s
            attempt.latency_s = (call.first_content_s or now) - attempt.started_s
            if attempt.status >= 0:
                attempt.output_tokens = call.usage.output if call.usage is not None else 0
                attempt.status = attempt.status or (0 if attempt.error else 200)
                if "tools" in call.head.needs:
                    attempt.called_tool = call.outcome.finish_reason == "tool_calls"
                self._health.attempted(attempt)
                tell(self._hook, "router_attempted", call=call, attempt=attempt)

    async def _try(self, call: Call, candidate: Candidate, sink: Sink) -> bytes:
        call.outgoing = await self._relay.outgoing(call, candidate)
        timeouts = candidate.provider.timeouts
        patience = Patience(self._alarms, timeouts.first_token_seconds, timeouts.idle_seconds)
        try:
            with patience:
                async with self._hook.router_attempt(call=call, candidate=candidate) as upstream:
                    attempt = call.attempts[-1]
                    attempt.opened, attempt.exhausted_s = True, candidate.provider.exhausted(upstream.headers)
                    return await self._relay.answer(call, upstream, sink, patience)
        except TimeoutError as error:
            if not patience.rung:
                raise  # somebody else's: the deadline of the whole call
            waited = timeouts.idle_seconds if patience.touched else timeouts.first_token_seconds
            raise UpstreamTimeout(f"nothing came from the upstream for {waited:g} s") from error


class Patience(Timeout):
    """A timeout that moves with every piece of the answer at the cost of one assignment.

    `first_s` holds until the first `touch`, then `idle_s` between touches; while `hold` is on (the client is slow) it does not run.
    """

    __slots__ = ("_idle_s", "_last", "_wait_s", "now", "touched")

    def __init__(self, alarms: Alarms, first_s: float, idle_s: float) -> None:
        self.now = asyncio.get_running_loop().time
        self._wait_s = first_s
        self._idle_s = idle_s
        self._last = self.now()
        self.touched = False
        # A touch does not move the alarm, and may make the wait shorter.
        super().__init__(alarms, self._last + min(first_s, idle_s))

    def touch(self) -> None:
        """Something came."""
        self._last = self.now()
        self._wait_s = self._idle_s
        self.touched = True

    def hold(self) -> None:
        """Stop the clock until the next `touch`: it is the client that we wait for."""
        self._last = math.inf

    def ring(self, now_s: float) -> None:
        """Look how long it has been silent."""
        due_s = min(self._last, now_s) + self._wait_s
        if due_s <= now_s:
            super().ring(now_s)
        else:
            self.due_s = min(due_s, now_s + self._idle_s)
            self._alarms.set(self)


def _repeatable(attempt: Attempt, error: UpstreamError) -> bool:
    """There was no connection, or the upstream had a fault of its own before it answered."""
    return error.again and not attempt.opened and not 400 <= error.upstream_status < 500


def _history(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "provider": attempt.candidate.provider.slug,
            "model": attempt.candidate.endpoint.model_id,
            "code": attempt.error.provider_code or attempt.error.code,
            "status": attempt.error.upstream_status or attempt.error.status,
        }
        for attempt in call.attempts
        if attempt.error is not None
    ]


def _with_history(call: Call, error: UpstreamError) -> UpstreamError:
    """The error with the provider's name and what failed before it."""
    if call.candidate is not None:
        error.metadata.setdefault("provider_name", call.candidate.provider.slug)
    if error.provider_code:
        error.metadata.setdefault("provider_code", error.provider_code)
    earlier = _history(call)[:-1]
    if earlier:
        error.metadata.setdefault("previous_errors", earlier)
    if error.availability is None and (code := UNAVAILABLE.get(error.kind)):
        error.availability = availability(
            code,
            (call.head.model, *call.head.models),
            providers=(attempt.candidate.provider.slug for attempt in call.attempts),
            nearest=call.plan.nearest(call.head.model) if call.plan.nearest is not None else (),
            retry_after_s=error.retry_after_s,
            retryable=False if isinstance(error, UpstreamUnauthorized) else None,
        )
    return error


def _last(call: Call) -> UpstreamError:
    """What the client is told when everything failed: the last error where all are of its kind, else that none is available."""
    errors = [attempt.error for attempt in call.attempts if attempt.error is not None]
    if not errors:
        return UpstreamUnavailable("no endpoint could be asked")
    last = errors[-1]
    if all(error.kind == last.kind for error in errors) or last.kind in NEXT_MODEL_KINDS:
        return _with_history(call, last)
    waits = [error.retry_after_s for error in errors if isinstance(error, UpstreamBusy) and error.retry_after_s]
    told = UpstreamUnavailable(
        f"all {len(errors)} attempts failed; the last one said: {last.message}",
        retry_after_s=last.retry_after_s or (min(waits) if waits else None),
        metadata={"previous_errors": _history(call)},
    )
    return _with_history(call, told)
