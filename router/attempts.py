"""The attempt loop: one try after the other until one answers, and never a second one after content has reached the client.

This is the only retry layer there is (api.md 18.6 and 18.7).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .call import Attempt, Call, Candidate, Outcome, Sink
from .errors import NEXT_MODEL_KINDS, UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from .plugins import tell

if TYPE_CHECKING:
    from .health import Health
    from .ledger import Ledger
    from .relay import Relay

#: waits before the same candidate is asked again, in seconds
AGAIN_S = (0.25, 2.0)
LONGEST_RETRY_AFTER_S = 5.0


class Attempts:
    """Runs a call's plan. `rng` gives the jitter."""

    def __init__(
        self,
        hook: Any,
        relay: Relay,
        ledger: Ledger,
        health: Health,
        *,
        max_attempts: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._hook = hook
        self._relay = relay
        self._ledger = ledger
        self._health = health
        self._max_attempts = max_attempts
        self._rng = rng

    async def run(self, call: Call, sink: Sink) -> None:
        """Answer the call from the first candidate that can. Raises what the last one failed with."""
        self._ledger.started(call)
        final = await self._first_answer(call, sink)
        await self._ledger.commit(call)
        await sink.finish(final)

    async def _first_answer(self, call: Call, sink: Sink) -> bytes:
        """Try the candidates in order. Returns the terminal bytes of the first answer."""
        most = self._max_attempts()
        refused_groups: set[int] = set()
        for candidate in call.plan.candidates:
            if candidate.group in refused_groups or len(call.attempts) >= most:
                continue
            again = True
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
                    again = again and _again(call.attempts[-1], error) and len(call.attempts) < most
                    if not again or not await self._pause(error):
                        break
                    again = False
        return self._rest(call, _last(call))

    def _rest(self, call: Call, error: UpstreamError) -> bytes:
        """Nothing is left to try: the last plain answer that came to some text, or else the error, raised."""
        error = _with_history(call, error)
        for attempt in reversed(call.attempts):
            if attempt.error is not None and attempt.error.partial is not None:
                error.partial = attempt.error.partial
                return self._relay.rest(call, attempt.candidate, error)
        raise error

    async def _pause(self, error: UpstreamError) -> bool:
        """Wait before the same candidate is asked again; False where it wants a longer wait than we give."""
        if error.retry_after_s is not None and error.retry_after_s > LONGEST_RETRY_AFTER_S:
            return False
        await asyncio.sleep(error.retry_after_s or self._rng.uniform(*AGAIN_S))
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
                self._health.attempted(attempt)
                tell(self._hook, "router_attempted", call=call, attempt=attempt)

    async def _try(self, call: Call, candidate: Candidate, sink: Sink) -> bytes:
        call.outgoing = await self._relay.outgoing(call, candidate)
        timeouts = candidate.provider.timeouts
        patience = Patience(timeouts.first_token_seconds, timeouts.idle_seconds)
        try:
            async with patience, self._hook.router_attempt(call=call, candidate=candidate) as upstream:
                call.attempts[-1].opened = True
                return await self._relay.answer(call, upstream, sink, patience)
        except TimeoutError as error:
            if not patience.exhausted:
                raise  # somebody else's: the deadline of the whole call
            waited = timeouts.idle_seconds if patience.touched else timeouts.first_token_seconds
            raise UpstreamTimeout(f"nothing came from the upstream for {waited:g} s") from error


class Patience:
    """A timeout that moves with every piece of the answer at the cost of one assignment.

    `first_s` holds until the first `touch`, then `idle_s` between touches; while `hold` is on (the client is slow) it does not run.
    """

    __slots__ = ("_idle_s", "_last", "_limit", "_loop", "_timer", "_wait_s", "exhausted", "now", "touched")

    def __init__(self, first_s: float, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._wait_s = first_s
        self._idle_s = idle_s
        self._last = self.now()
        self._limit = asyncio.timeout(None)
        self.touched = False
        self.exhausted = False

    async def __aenter__(self) -> Patience:
        await self._limit.__aenter__()
        self._timer = self._loop.call_at(self._last + min(self._wait_s, self._idle_s), self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def touch(self) -> None:
        """Something came."""
        self._last = self.now()
        self._wait_s = self._idle_s
        self.touched = True

    def hold(self) -> None:
        """Stop the clock until the next `touch`: it is the client that we wait for."""
        self._last = math.inf

    def _look(self) -> None:
        now = self.now()
        due = min(self._last, now) + self._wait_s
        if due <= now:
            self.exhausted = True
            self._limit.reschedule(now)
        else:
            # A touch does not move the timer, and may have made the wait shorter.
            self._timer = self._loop.call_at(min(due, now + self._idle_s), self._look)


def _again(attempt: Attempt, error: UpstreamError) -> bool:
    """Is the same candidate worth a second try? Where there was no connection, or it had a fault of its own before it answered."""
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
