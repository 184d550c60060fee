"""The two lanes between client and upstream: what is sent, and how the answer comes back.

Raw lane: the client's dialect is one that the provider speaks and no plugin wants the content: bytes, patched. Hub lane: everything
else goes through `model`. Both lanes end with the terminal bytes in hand, unsent: they may leave only when the ledger has its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .call import Call, Candidate, Outcome, Sink
from .errors import UpstreamError, UpstreamUnavailable
from .events import Event, Finish, Fold, Reply, Start
from .model import Reasoning, Refusal, Text, ToolCall
from .prices import Usage
from .provider import Outgoing, Upstream

if TYPE_CHECKING:
    from .attempts import Patience
    from .dialects.base import Flow
    from .fetch import Fetcher
    from .ledger import Ledger
    from .signatures import Signatures


class Relay:
    """Makes requests for upstreams and answers for clients. One per server; everything about a call is in the call."""

    def __init__(self, ledger: Ledger, fetcher: Fetcher, signatures: Signatures) -> None:
        self._ledger = ledger
        self._fetcher = fetcher
        self._signatures = signatures

    def raw(self, call: Call, candidate: Candidate) -> bool:
        """True where this attempt takes the raw lane."""
        return candidate.provider.relays(call.dialect.name, candidate) and not call.content_wanted

    async def outgoing(self, call: Call, candidate: Candidate) -> Outgoing:
        """The request for this candidate. Raises BadRequest where it cannot be expressed."""
        provider = candidate.provider
        if not call.dialect.through_hub:
            return _other(call, candidate)
        if self.raw(call, candidate):
            path = provider.raw_path(call.dialect.name, candidate, call.head.stream)
            return Outgoing(path=path, body=call.dialect.patch(call, candidate), headers=call.dialect.raw_headers(call))
        if call.request is None:
            call.request = call.dialect.decode(call.head)
        call.request = self._signatures.restore(call, call.request)
        model = candidate.endpoint.model
        request = replace(call.request, model=model.id, stream=call.head.stream, headers=call.dialect.raw_headers(call))
        if call.head.capped and request.max_tokens and 0 < model.max_output < request.max_tokens:
            request.max_tokens = model.max_output
        if provider.fetches and not call.dry:
            request = await self._fetcher.inline(request, provider.fetches, provider.reads)
        unsearched = request.web_search is not None and not provider.searches(model.id)
        outgoing = provider.encode(replace(request, web_search=None) if unsearched else request)
        if unsearched:
            outgoing.dropped = [*outgoing.dropped, "web_search"]
        call.dropped, call.warnings = outgoing.dropped, [*call.head.warnings, *outgoing.warnings]
        return outgoing

    async def answer(self, call: Call, upstream: Upstream, sink: Sink, patience: Patience) -> bytes:
        """Relay the answer up to its terminal bytes, which are returned unsent. `call.usage` and `call.cost` are set then."""
        if call.head.stream:
            return await self._stream(call, upstream, sink, patience)
        upstream.touch = patience.touch
        if not call.dialect.through_hub:
            return await self._operation(call, upstream, sink, patience)
        return await self._plain(call, upstream)

    async def recall(self, call: Call, sink: Sink) -> bytes:
        """The terminal bytes of an answer that is there already, its others sent; nothing where there is none."""
        recalled = call.recalled
        if recalled is None:
            return b""
        call.candidate, call.metadata = recalled.candidate, None
        call.outcome = Outcome(finish_reason=recalled.finish_reason, native_finish_reason=recalled.native_finish_reason)
        call.usage, call.charge = Usage(), 0
        if recalled.head:
            call.first_content_s = asyncio.get_running_loop().time()
            await sink.write(recalled.head)
        return recalled.tail

    def rest(self, call: Call, candidate: Candidate, error: UpstreamError) -> bytes:
        """A plain answer of what came before its `error`, where nothing is left to try. The call has failed then and costs nothing."""
        reply: Reply = error.partial
        call.candidate, call.outcome = candidate, Outcome()
        for choice in reply.choices:
            choice.finish = Finish(choice=choice.index, reason="error")
        _count(call.outcome, reply)
        _describe(call.outcome, reply)
        call.fail(error)
        self._ledger.settle(call)
        return call.dialect.reply(call, reply)

    async def _stream(self, call: Call, upstream: Upstream, sink: Sink, patience: Patience) -> bytes:
        candidate = call.candidate
        assert candidate is not None
        if upstream.stream and upstream.events is None and self.raw(call, candidate):
            return await self._flowing(call, upstream.pieces(), call.dialect.tap(call), sink, patience)
        upstream.touch = patience.touch
        events = self._events(call, candidate, upstream)
        return await self._flowing(call, events, call.dialect.encoder(call), sink, patience)

    async def _flowing(
        self, call: Call, items: AsyncIterator[Any], flow: Flow, sink: Sink, patience: Patience
    ) -> bytes:
        held = await _pump(call, items, flow, sink, patience)
        flow.end()
        self._ledger.price(call, call.outcome.usage)
        return held + flow.final()

    async def _operation(self, call: Call, upstream: Upstream, sink: Sink, patience: Patience) -> bytes:
        """An answer that is no chat: whole, or as it comes."""
        call.outcome.media_type = upstream.headers.get("Content-Type", call.outcome.media_type)
        flows = upstream.response is not None and call.dialect.flows(call)
        if flows and not call.filters:
            return await self._flowing(call, upstream.pieces(), call.dialect.tap(call), sink, patience)
        body = await upstream.read()
        body = self._flowed(call, body) if flows else self._whole(call, body)
        for rewrite in call.filters:
            body = rewrite(body)
        return body

    def _flowed(self, call: Call, body: bytes) -> bytes:
        """An answer that would stream, whole."""
        flow = call.dialect.tap(call)
        held = flow.feed(body)
        flow.end()
        self._ledger.price(call, call.outcome.usage)
        return held + flow.final()

    async def _plain(self, call: Call, upstream: Upstream) -> bytes:
        candidate = call.candidate
        assert candidate is not None
        if not upstream.stream and upstream.events is None and self.raw(call, candidate):
            return self._whole(call, await upstream.read())
        reply = await self._fold(call, candidate, upstream)
        self._ledger.price(call, call.outcome.usage)
        return call.dialect.reply(call, reply)

    def _whole(self, call: Call, body: bytes) -> bytes:
        call.dialect.answer(call, body)
        self._ledger.price(call, call.outcome.usage)
        return call.dialect.final_answer(call, body)

    async def _fold(self, call: Call, candidate: Candidate, upstream: Upstream) -> Reply:
        """The whole answer, whatever form it came in. What came before a failure rides on the error as `partial`."""
        fold = Fold()
        try:
            async for event in self._events(call, candidate, upstream):
                fold.add(event)
        except UpstreamError as error:
            if any(choice.text for choice in fold.reply.choices):
                error.partial = fold.reply
            raise
        finally:
            _count(call.outcome, fold.reply)
        if not fold.reply.choices:
            raise UpstreamUnavailable("the upstream's answer is empty")
        _describe(call.outcome, fold.reply)
        return fold.reply

    async def _events(self, call: Call, candidate: Candidate, upstream: Upstream) -> AsyncIterator[Event]:
        """The answer as events, through the filters of this call."""
        provider = candidate.provider
        if upstream.events is not None:
            events = upstream.events
        elif upstream.stream:
            events = provider.events(provider.messages(upstream))
        else:
            reply = provider.decode(await upstream.read())
            call.outcome.usage = reply.usage  # also for a filter that lets nothing through
            events = _replay(reply)
        for each in call.filters:
            events = each(events)
        watch = self._signatures.watch(call)
        async for event in events:
            if watch is not None:
                watch.see(event)
            if type(event) is Start and event.usage is not None:
                call.outcome.usage = _of_the_prompt(event.usage)
            yield event


def _other(call: Call, candidate: Candidate) -> Outgoing:
    """A request that is no chat: relayed, or in the provider's own form."""
    dialect = call.dialect
    path = candidate.provider.pass_path(dialect.name, candidate, call.operation)
    if path is None:
        outgoing = dialect.translate(call, candidate)
        call.dropped, call.warnings = outgoing.dropped, [*call.head.warnings, *outgoing.warnings]
        return outgoing
    return Outgoing(path=path, body=dialect.patch(call, candidate), headers=dialect.raw_headers(call))


async def _pump(call: Call, items: AsyncIterator[Any], flow: Flow, sink: Sink, patience: Patience) -> bytes:
    """Feed a flow and write what it gives, from the first content on. Returns what is still held back."""
    held = b""
    committed = False
    async for item in items:
        data = flow.feed(item)
        if not committed and flow.content:
            committed = True
            call.first_content_s = patience.now()
            data, held = held + data, b""
        if not committed:
            held += data
        elif data:
            patience.hold()
            await sink.write(data)
        patience.touch()
        if flow.done:
            break
    return held


async def _replay(reply: Reply) -> AsyncIterator[Event]:
    for event in reply.events():
        yield event


def _of_the_prompt(said: Usage) -> Usage:
    """What the beginning of an answer says, without what it says of output: that is only a token for the turn."""
    return replace(said, output=0, reasoning=0, audio_output=0, image_output=0, searches=0, images=0, cost=None)


def _describe(outcome: Outcome, reply: Reply) -> None:
    """How a reply ended."""
    finish = reply.choices[0].finish
    outcome.finish_reason, outcome.native_finish_reason = finish.reason, finish.native


def _count(outcome: Outcome, reply: Reply) -> None:
    """What there is of a reply, whole or not."""
    outcome.usage = reply.usage or outcome.usage
    outcome.upstream_id = reply.id
    outcome.service_tier = reply.service_tier
    for choice in reply.choices:
        for part in choice.content:
            if isinstance(part, Text | Refusal | Reasoning):
                outcome.output_chars += len(part.text)
            elif isinstance(part, ToolCall):
                outcome.output_chars += len(part.name) + len(part.arguments)
