"""Recordings of a real upstream: standard exchanges, sent by a configured provider itself, written without what is private.

The request is recorded as the plugin encodes it, before it is signed: no credential is ever in it. Of the answer's headers only those
stay that a plugin may look at. `expected` is what the plugin has understood; whoever commits a recording reads it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import RouterError, UpstreamError, UpstreamUnauthorized
from ..events import Fold, Reply
from ..model import Model, Reasoning, ToolCall
from ..prices import Usage
from ..provider import MAX_BODY_BYTES, Outgoing, Provider, read_body
from .exchanges import Exchange, exchanges
from .recordings import Expected, Recording, Replayed, Response, write_recording
from .scrub import Scrubber

COUNTS = ("input", "output", "reasoning", "cache_read", "cache_write")


class Recorded(Struct, kw_only=True):
    """What became of one exchange. `state`: written, skipped (the upstream did not fail where it should have), or failed."""

    name: str
    state: str = "written"
    status: int | None = None
    bytes: int = 0
    problem: str | None = None


class Recorder:
    """Records one provider. The instance is open already, or opens itself with the first request; the caller closes it."""

    def __init__(self, provider: Provider, model: str, folder: Path) -> None:
        self._provider = provider
        self._model = model
        self._folder = folder
        self._scrubber = Scrubber(provider)

    async def record(
        self, wanted: Mapping[str, Exchange], *, told: Callable[[Recorded], None] = lambda recorded: None
    ) -> list[Recorded]:
        """Make these exchanges, one after the other. Only a key that the upstream does not take ends it before its end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        done = []
        for name, exchange in wanted.items():
            recorded = Recorded(name=name)
            try:
                await self._one(recorded, exchange)
            except RouterError as error:
                recorded.state, recorded.problem = "failed", self._scrubber.text(str(error))
                done.append(recorded)
                told(recorded)
                if isinstance(error, UpstreamUnauthorized):
                    break
                continue
            done.append(recorded)
            told(recorded)
        return done

    async def _one(self, recorded: Recorded, exchange: Exchange) -> None:
        """Ask, read, scrub, understand, write. Raises RouterError."""
        provider = self._provider
        outgoing = provider.encode(exchange.asked(self._model))
        asked = self._asked(outgoing)
        status, headers, body = await self._answer(outgoing)
        recorded.status, recorded.bytes = status, len(body)
        good = 200 <= status < 300
        if good and exchange.fails:
            recorded.state, recorded.problem = "skipped", "the upstream answered this without an error"
            return
        if not good and not exchange.fails:
            raise provider.cleaned(provider.error(status, headers, body))
        recording = Recording(
            name=recorded.name,
            note=f"{exchange.about}; recorded with {self._scrubber.text(self._model)}",
            request=asked,
            response=self._response(status, headers, body),
        )
        try:
            recording.expected = await understood(provider, recording)
        except UpstreamError as error:
            recorded.state = "failed"
            recorded.problem = f"written, but the plugin cannot read it: {self._scrubber.text(str(error))}"
        write_recording(self._folder, recording)

    async def _answer(self, outgoing: Outgoing) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and the whole body. Raises UpstreamError."""
        provider = self._provider
        seconds = provider.timeouts.total_seconds
        try:
            async with asyncio.timeout(seconds):
                async with await provider.request(outgoing, provider.credentials[0]) as response:
                    return response.status, response.headers, await read_body(response, MAX_BODY_BYTES)
        except TimeoutError:
            raise UpstreamError(f"no whole answer within {seconds:g} s (timeouts.total_seconds)") from None
        except UpstreamError as error:
            raise provider.cleaned(error) from None

    def _asked(self, outgoing: Outgoing) -> dict[str, Any]:
        """The request as the plugin encoded it."""
        scrub = self._scrubber.text
        return {
            "method": outgoing.method,
            "path": scrub(outgoing.path),
            "headers": {name.lower(): scrub(value) for name, value in outgoing.headers.items()},
            "body": json.loads(scrub(outgoing.body.decode())),
        }

    def _response(self, status: int, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer in the form that its content has. Raises UpstreamError where it holds something that cannot be taken out."""
        response = Response(status=status, headers=self._scrubber.headers(headers))
        kind = response.headers.get("content-type", "")
        try:
            text = self._scrubber.text(body.decode())
        except UnicodeDecodeError:
            return self._binary(response, body)
        if "eventstream" in kind:
            return self._binary(response, body)
        if "event-stream" in kind:
            response.sse = text
        else:
            try:
                response.body = json.loads(text)
            except ValueError:
                response.text = text
            if response.body is None:
                response.text = text
        return response

    def _binary(self, response: Response, body: bytes) -> Response:
        if not self._scrubber.clean(body):
            raise UpstreamError("the answer is binary and holds something private, which cannot be taken out of it")
        response.body_base64 = base64.b64encode(body).decode()
        return response


def wanted_exchanges(only: Iterable[str], model: Model) -> dict[str, Exchange]:
    """The exchanges of these names; without names those that the model can do."""
    known, names = exchanges(), list(only)
    if names:
        return {name: known[name] for name in names}
    return {name: exchange for name, exchange in known.items() if exchange.possible(model)}


async def understood(provider: Provider, recording: Recording) -> Expected:
    """What the plugin makes of it. Raises UpstreamError where it cannot read an answer of success."""
    response = recording.response
    content = response.content()
    if not 200 <= response.status < 300:
        return Expected(error=type(provider.error(response.status, response.headers, content)).__name__)
    if not recording.streamed:
        return _expected(provider.decode(content))
    fold = Fold()
    async for event in provider.events(provider.messages(Replayed([content]))):
        fold.add(event)
    return _expected(fold.reply)


def _expected(reply: Reply) -> Expected:
    if not reply.choices:
        raise UpstreamError("there is no choice in it")
    choice = reply.choices[0]
    tools = [(each.name, json.loads(each.arguments or "{}")) for each in choice.content if isinstance(each, ToolCall)]
    return Expected(
        text=choice.text,
        reasoning="".join(each.text for each in choice.content if isinstance(each, Reasoning)) or None,
        tools=tools or None,
        finish_reason=choice.finish.reason,
        usage=_counts(reply.usage),
    )


def _counts(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    counts = msgspec.structs.asdict(usage)
    return {name: counts[name] for name in COUNTS if counts[name]}
