"""Responses that run while nobody waits for them: a call of its own for each, through the lifecycle like any other, into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from ...call import Call, Sink
from ...dialects.openai_responses.history import response_of
from ...dialects.openai_responses.peek import Peeked
from ...errors import BadRequest, Overloaded, RouterError, UpstreamUnavailable
from ...store.responses import KeptResponse
from ...tasks import spawn
from .rows import failed_response, row_of, running_response

if TYPE_CHECKING:
    from ...server import Server
    from . import Responses

#: under this name in `call.state` of a call in the background: its `Run`
RUN = "responses.run"
#: what runs get to write down their ends, when the server stops
LAST_S = 2.0

_encode = msgspec.json.Encoder().encode


class Run:
    """One response under way. `row` is None until the call is admitted: what goes wrong before is the answer to the client."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.written: asyncio.Future[None] | None = None
        self.row: KeptResponse | None = None
        self.ended = self.cancelled = False
        self.task: asyncio.Task[Any] | None = None


class Background:
    """The runs of this process, by the id of their responses."""

    def __init__(self, server: Server, plugin: Responses) -> None:
        self._server = server
        self._plugin = plugin
        self._runs: dict[str, Run] = {}
        #: those whose calls are not admitted yet, too
        self._tasks: set[asyncio.Task[Any]] = set()

    def runs(self, call: Call) -> bool:
        """Does this call run in the background?"""
        return RUN in call.state

    def find(self, id: str, owner: str) -> Run | None:
        """A run of this owner."""
        run = self._runs.get(id)
        return run if run is not None and run.row is not None and run.row.owner == owner else None

    # --- the beginning ---

    def answer(self, call: Call) -> Coroutine[Any, Any, bytes] | None:
        """The answer to a request for the background; None for all others."""
        peeked: Peeked = call.head.decoded
        return self._begin(call) if peeked.values.get("background") and not self.runs(call) else None

    async def _begin(self, call: Call) -> bytes:
        """Start the run and answer as soon as it is admitted and written down. Raises what it is refused with."""
        peeked: Peeked = call.head.decoded
        if peeked.values.get("store") is False:
            raise BadRequest("background needs store: who is to fetch the response if it is not kept?", param="store")
        if call.head.stream:
            raise BadRequest(
                "stream: responses in the background are not streamed here; fetch them by GET /responses/{id}",
                param="stream",
            )
        run = Run(self._second(call))
        run.task = spawn("response in the background", self._run(run, call.body))
        self._tasks.add(run.task)
        run.task.add_done_callback(self._tasks.discard)
        try:
            await run.admitted
        except asyncio.CancelledError:
            run.task.cancel()
            raise
        assert run.row is not None
        assert run.written is not None
        call.id, call.rate_limit = run.call.id, run.call.rate_limit
        await asyncio.wait([run.written])
        return _encode(run.row.response | {"status": "queued"})

    def _second(self, call: Call) -> Call:
        """The call that does the work. The first one ends with its answer, and is neither counted nor booked."""
        made = Call(
            dialect=call.dialect,
            body=call.body,
            headers=call.headers,
            path=call.path,
            presented=None,
            started_s=call.started_s,
            operation=call.operation,
            asked_path=call.asked_path,
        )
        made.server, made.deadline_s, made.preset = call.server, call.deadline_s, call.preset
        made.dry = call.dry
        made.identity, made.compat = call.identity, {**call.compat, "always_stream": False}
        return made

    def admitted(self, call: Call) -> None:
        """The call may run: from now on its response can be fetched."""
        run: Run = call.state[RUN]
        run.row = row_of(call, running_response(call))
        self._runs[run.row.id] = run
        run.written = self._plugin.store.begin(run.row)
        if not run.admitted.done():
            run.admitted.set_result(None)

    # --- the end ---

    async def _run(self, run: Run, body: bytes) -> None:
        async def read() -> bytes:
            return body

        run.call.state[RUN] = run
        try:
            await self._server.lifecycle.execute(run.call, _Memory(run, self), read)
        except asyncio.CancelledError:
            if run.cancelled and run.row is not None:
                self.conclude(run, run.row.response | {"status": "cancelled"})
        finally:
            if run.row is not None:
                self._runs.pop(run.row.id, None)
            if not run.admitted.done():
                run.admitted.set_exception(Overloaded("the response was ended before it began; send it again"))

    def conclude(self, run: Run, response: dict[str, Any]) -> None:
        """Keep how it ended. Only the first end counts."""
        if not run.ended:
            run.ended = True
            self._plugin.keep(run.call, response)

    async def cancel(self, run: Run) -> None:
        """End a run; its upstream is closed when this returns."""
        assert run.task is not None
        run.cancelled = True
        run.task.cancel()
        await asyncio.wait([run.task])

    def forget(self, owner: str) -> None:
        """End all runs of this owner."""
        for run in list(self._runs.values()):
            if run.row is not None and run.row.owner == owner and run.task is not None:
                run.cancelled = True
                run.task.cancel()

    async def end(self) -> None:
        """The server stops. Its calls have been ended already; a run that is not done is found at the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_S)
        for task in self._tasks:
            task.cancel()


class _Memory(Sink):
    """Where the answer of a run goes."""

    def __init__(self, run: Run, background: Background) -> None:
        self._run = run
        self._background = background

    async def finish(self, data: bytes) -> None:
        """The whole response."""
        response = response_of(data)
        if response is None:
            raise UpstreamUnavailable("the answer holds no response")
        self._background.conclude(self._run, response)

    async def error(self, error: RouterError) -> None:
        """Before the call is admitted this is the answer to the client, later it is a failed response."""
        run = self._run
        if run.row is not None:
            self._background.conclude(run, failed_response(run.call, error))
        elif not run.admitted.done():
            run.admitted.set_exception(error)
