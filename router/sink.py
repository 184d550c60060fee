"""The socket end of a call: headers, frames, keep-alives, and the end, whatever it is."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .alarms import Alarm, Alarms
from .call import TRACE_HEADERS, Call, Sink, wants_number_codes
from .errors import ClientGone, RouterError
from .prices import usd_text
from .settings import Settings
from .tasks import spawn

#: X-RateLimit-* where there is no limit (api.md 3): limit, remaining, reset
UNLIMITED = (2147483647, 2147483647, 2147483647)
#: plain bodies beyond this may have to wait for their reader
LARGE_BYTES = 32 * 1024
#: the headers that can carry a key: what is kept for one is not for others
CREDENTIALS = "Authorization, X-Api-Key, X-Goog-Api-Key"


def answer_headers(request_id: str, limit: tuple[int, int, int]) -> dict[str, str]:
    """The headers of every answer."""
    return {
        "X-Request-Id": request_id,
        "x-oneapi-request-id": request_id,
        "X-RateLimit-Limit": str(limit[0]),
        "X-RateLimit-Remaining": str(limit[1]),
        "X-RateLimit-Reset": str(limit[2]),
        "Cache-Control": "no-store",
        "Server": "onebox-router",
    }


def trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's own ids of a request, given back under the names by which they came."""
    told = {
        name: value
        for name in TRACE_HEADERS
        if (value := headers.get(name)) is not None and len(value) <= 256 and value.isprintable()
    }
    if "X-Request-Id" in told:
        told["x-oneapi-request-id"] = told["X-Request-Id"]
    return told


def cors_headers(origin: str) -> dict[str, str]:
    """What a browser wants to see before it shows an answer to a page of this origin."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Headers": "*, Authorization",
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "Vary": f"Origin, {CREDENTIALS}",
    }


class HttpSink(Sink, Alarm):
    """Answers one HTTP request. `response` is what the handler returns in the end."""

    def __init__(self, request: web.Request, call: Call, settings: Settings, alarms: Alarms) -> None:
        self.response: web.StreamResponse | None = None
        self._request = request
        self._call = call
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Future[None] | None = None
        #: the stream's own, once its head is sent: one call less for each frame
        self._writer: AbstractStreamWriter | None = None
        self._last_s = self._loop.time()
        self._writing = False
        #: a frame has been sent, and not only the head
        self._spoken = False
        self._ended = False
        stream = settings.stream
        first_s = min(stream.header_delay_seconds, stream.keepalive_seconds, stream.write_timeout_seconds)
        self.due_s = self._last_s + first_s
        self._alarms = alarms
        alarms.set(self)

    def close(self) -> None:
        """The call is over."""
        self._alarms.drop(self)

    async def write(self, data: bytes) -> None:
        """Frames of a stream. Raises ClientGone where nobody listens any more."""
        self._last_s = self._loop.time()
        self._writing = True
        try:
            if self._writer is None:
                await self._open()
            if self._writer is None:
                raise ConnectionResetError("the keep-alive could not send the head")
            await self._writer.write(data)
        except ConnectionError as error:
            raise ClientGone("the client closed the connection") from error
        self._writing = False
        self._spoken = True
        self._last_s = self._loop.time()

    async def finish(self, data: bytes) -> None:
        """The terminal frames, or the whole plain body."""
        if self._call.head.stream or self.started:
            await self._end(data)
            return
        self.response = web.Response(body=data, headers=self._headers())
        self.response.headers["Content-Type"] = self._call.outcome.media_type
        if len(data) > LARGE_BYTES:
            # Here its reader is watched; what fits into the buffers is sent behind the handler.
            await self._end(b"")

    async def error(self, error: RouterError) -> None:
        """Status and envelope, or an error inside the stream that has begun."""
        call = self._call
        if self._ended:
            # The end is on its way already, to a client that does not take it.
            self._drop()
            return
        if self._opening is not None:
            await self._opening
        if self.started and self.response is not None:
            told = call.dialect.stream_error(call, error)
            if told is None:
                self._drop()
                return
            with contextlib.suppress(ClientGone):
                await self._end(told)
            return
        self._ended = True
        status, body = call.dialect.error(error, call.request_id, number_codes=self._number_codes())
        headers = self._headers()
        if error.retry_after_s is not None and (status == 429 or status >= 500):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        self.response = web.Response(body=body, status=status, content_type="application/json", headers=headers)
        if self._request.can_read_body and not self._request.content.is_eof():
            self.response.force_close()

    async def _end(self, data: bytes) -> None:
        self._ended = self._writing = True
        self._last_s = self._loop.time()
        try:
            stream = self.response or await self._open()
            if not stream.prepared:
                await stream.prepare(self._request)
            await stream.write_eof(data)
        except ConnectionError as error:
            raise ClientGone("the client closed the connection") from error

    async def _open(self) -> web.StreamResponse:
        """Send the head, unless the keep-alive is doing so."""
        if self._opening is None:
            self._opening = self._loop.create_future()
            self.started = True
            stream = web.StreamResponse(headers=self._headers())
            stream.headers["Content-Type"] = self._call.dialect.content_type(self._call)
            stream.headers["Cache-Control"] = "no-cache, no-store"
            stream.headers["X-Accel-Buffering"] = "no"
            try:
                self._writer = await stream.prepare(self._request)
            finally:
                self.response = stream
                self._opening.set_result(None)
        else:
            await self._opening
        assert self.response is not None
        return self.response

    def _headers(self) -> dict[str, str]:
        call = self._call
        limit = call.rate_limit or UNLIMITED
        headers = answer_headers(call.request_id, limit) | call.dialect.answer_headers(call.request_id, limit)
        headers["X-Generation-Id"] = call.id
        if call.candidate is not None:
            headers["X-Router-Provider"] = call.candidate.provider.slug
            headers["X-Router-Model"] = call.model_id
            headers["X-Router-Attempts"] = str(len(call.attempts))
            headers["Server-Timing"] = self._timing()
        if call.charge is not None and not call.head.stream:
            headers["X-Router-Cost"] = usd_text(call.charge)
        headers.update(call.answer_headers)
        headers.update(trace_headers(self._request.headers))
        origins = self._settings.server.cors_origins
        if origins and (origin := self._request.headers.get("Origin")) in origins:
            headers.update(cors_headers(origin))
        return headers

    def _timing(self) -> str:
        """Server-Timing in milliseconds: before the first attempt, until the upstream's first content, the rest."""
        call = self._call
        now = self._loop.time()
        first = call.attempts[0].started_s if call.attempts else now
        content = call.first_content_s or now
        queue, upstream = (first - call.started_s) * 1000, (content - first) * 1000
        return (
            f"queue;dur={queue:.1f}, upstream_ttfb;dur={upstream:.1f}, router;dur={(now - content) * 1000 + queue:.1f}"
        )

    def _number_codes(self) -> bool:
        setting = self._call.compat.get("error_code", "string")
        return wants_number_codes(self._request.headers, setting)

    # --- silence ---

    def ring(self, now_s: float) -> None:
        """Called while the call runs: send the head when it is late, keep the connection alive, drop a stalled client."""
        stream = self._settings.stream
        due_s = now_s + min(stream.keepalive_seconds, stream.write_timeout_seconds)
        if self._writing:
            stalled_s = self._last_s + stream.write_timeout_seconds
            if stalled_s <= now_s:
                self._drop()
                return
            due_s = min(due_s, stalled_s)
        elif self._call.head.stream:
            silent_s = self._last_s + (stream.keepalive_seconds if self.started else stream.header_delay_seconds)
            if silent_s <= now_s:
                spawn("keep-alive", self._keep_alive())
            else:
                due_s = min(due_s, silent_s)
        self.due_s = due_s
        self._alarms.set(self)

    async def _keep_alive(self) -> None:
        if self._ended:
            return
        dialect, stream = self._call.dialect, self._settings.stream
        comment = dialect.keepalive if self._spoken else dialect.keepalive_before_start
        if not stream.comments or "X-Router-No-Comments" in self._request.headers:
            comment = None
        try:
            response = self.response or await self._open()
            if comment is not None and not self._writing and not self._ended:
                self._last_s = self._loop.time()
                await response.write(comment)
        except (ClientGone, ConnectionError):
            return  # the handler is being cancelled for the same reason

    def _drop(self) -> None:
        """Break the connection."""
        if self._request.transport is not None:
            self._request.transport.abort()
