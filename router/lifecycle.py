"""The life of a call: from a credential to a row in the ledger. HTTP handlers and the batch runner both come through here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .alarms import Alarms, Timeout
from .attempts import Attempts
from .call import Call, Sink
from .errors import (
    ClientGone,
    ClientTimeout,
    DeadlineExceeded,
    Overloaded,
    PluginFailed,
    RouterError,
    Unauthenticated,
)
from .ledger import Ledger
from .planning import Planner
from .plugins import Plugins, each, resolve
from .tasks import spawn

if TYPE_CHECKING:
    from .generation import Generation
    from .identity import Identity

log = logging.getLogger(__name__)


class Lifecycle:
    """Runs calls. One per server."""

    def __init__(self, plugins: Plugins, planner: Planner, attempts: Attempts, ledger: Ledger, alarms: Alarms) -> None:
        self._plugins = plugins
        self._planner = planner
        self._attempts = attempts
        self._ledger = ledger
        self._alarms = alarms
        #: the deadlines of all calls under way
        self._running: set[Timeout] = set()
        self._ending = False
        self._drained: asyncio.Event | None = None

    async def execute(self, call: Call, sink: Sink, read: Callable[[], Awaitable[bytes]]) -> None:
        """Run one call to its end. `read` gets the client's body, which nobody reads before the credential is known.

        A call that has an identity already (of a client that has left its work to us) is not asked for a credential.
        """
        hook = self._plugins.hook
        deadline: Timeout | None = None
        bare = sink
        try:
            identity = call.identity = call.identity or await recognise(hook, call)
            if identity.compat:
                call.compat = {**call.compat, **identity.compat}
            call.body = await read()
            hook.router_received(call=call)
            call.head = call.dialect.peek(call.body, call.path, call.operation)
            with Timeout(self._alarms, call.deadline_s) as deadline:
                self._begin(deadline)
                if (answer := hook.router_answer(call=call)) is not None:
                    await sink.finish(await answer)
                    return
                await each(hook.router_admit(call=call))
                call.plan = self._planner.choose(call)
                call.recalled = hook.router_recall(call=call)
                if call.recalled is None:
                    await self._planner.prepare(call)
                self._ledger.reserve(call)
                for wrap in hook.router_sink(call=call):
                    sink = wrap(sink)
                await self._attempts.run(call, sink)
        except asyncio.CancelledError:
            call.cancel()
            raise
        except ClientGone:
            call.cancel()
        except Exception as error:
            late = deadline is not None and deadline.rung
            told = call.fail(self._told(call, error, late))
            self._ledger.settle(call)  # who has the error may ask for the record
            await _refuse(sink, bare, told)
        finally:
            if deadline is not None:
                self._end(deadline)
            self._ledger.settle(call)
            if call.settled is not None and self._plugins.hook.implemented("router_settled"):
                call.settled.add_done_callback(lambda _: spawn("settled", self._tell(call)))

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return len(self._running)

    async def drain(self, seconds: float) -> None:
        """Let the calls under way come to their end, for this long at most."""
        self._drained = asyncio.Event()
        if self._running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
        self.end()

    def end(self) -> None:
        """End all calls under way at once, with an error that says why."""
        self._ending = True
        for deadline in self._running:
            deadline.ring(0)

    def _begin(self, deadline: Timeout) -> None:
        if self._ending:
            raise TimeoutError
        self._running.add(deadline)

    def _end(self, deadline: Timeout) -> None:
        self._running.discard(deadline)
        if self._drained is not None and not self._running:
            self._drained.set()

    def _told(self, call: Call, error: Exception, late: bool) -> RouterError:
        """What the client is told. `late`: the deadline of the call has passed, or was put forward."""
        if isinstance(error, RouterError):
            return error
        blamed = self._plugins.blame(error)
        if blamed is not None and self._plugins.listed[blamed[0]].state == "builtin":
            blamed = None
        if isinstance(error, TimeoutError) and (late or blamed is None):
            if self._ending:
                return Overloaded("the router is shutting down; send the request again", retry_after_s=1)
            if "x-router-timeout" in call.headers:
                return ClientTimeout("the time given in X-Router-Timeout ran out")
            return DeadlineExceeded("the time for the whole call ran out (timeouts.total_seconds)")
        if blamed is not None:
            log.error("plugin %s failed in %s", *blamed, exc_info=error)
            return PluginFailed(f"the plugin {blamed[0]} failed in {blamed[1]}")
        log.error("a bug: the call ended with %s", type(error).__name__, exc_info=error)
        return RouterError("internal error; the log of the router has the details")

    async def _tell(self, call: Call) -> None:
        """Tell the plugins of a committed row; what they do with it fails alone."""
        generation: Generation = call.state["generation"]
        for answer in self._plugins.hook.router_settled(generation=generation):
            await _quietly(answer)


async def _refuse(sink: Sink, bare: Sink, error: RouterError) -> None:
    """Tell the client, who would wait for ever if a plugin's sink failed at it: then `bare`, which it stands around, does."""
    try:
        await sink.error(error)
    except Exception:
        if sink is bare:
            raise
        log.exception("a plugin's sink failed at an error")
        await bare.error(error)


async def _quietly(answer: Awaitable[Any]) -> None:
    try:
        await answer
    except Exception:
        log.exception("a plugin failed in router_settled")


async def recognise(hook: Any, call: Call) -> Identity:
    """Who calls. The credential is forgotten at once. Raises Unauthenticated where nobody knows it."""
    identity: Identity | None = await resolve(hook.router_authenticate(call=call))
    call.presented = None
    if identity is None:
        raise Unauthenticated("this key is not known here; `router keys create` makes one")
    return identity
