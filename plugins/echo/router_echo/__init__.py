"""Echo: a provider without a key, a network or a price, whose answers can be foretold."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import chain, cycle, islice
from typing import NamedTuple

import msgspec

from router import (
    Automatic,
    BadRequest,
    Call,
    Candidate,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Event,
    Finish,
    Model,
    Outgoing,
    Price,
    Provider,
    ProviderSettings,
    ReasoningDelta,
    Start,
    Stop,
    StreamTruncated,
    TextDelta,
    ToolDelta,
    Upstream,
    Usage,
    hookimpl,
    load_catalogue,
)

from . import vectors
from .answers import Answer, answer, prompt_tokens, words

#: request members without a meaning here
UNUSED = ("logprobs", "top_logprobs", "logit_bias")
#: characters of a tool call's arguments in one event
FRAGMENT = 12
#: numbers in all the vectors of one answer
MOST_NUMBERS = 1_000_000
#: pieces between two looks at what else the server has to do
PIECES_AT_ONCE = 50


_decode_embedded = msgspec.json.Decoder(Embedded).decode


class Manner(NamedTuple):
    """How to answer: what a model id says. `number` is milliseconds, words or a status, None where the id has none."""

    kind: str
    number: int | None = None


class Echo(Provider):
    """Models: echo, slow, long, cut, error-429, error-500; see README.md for the numbers that an id may carry."""

    name = "echo"
    automatic = (Automatic(slug="echo"),)
    needs_key = False
    translates = frozenset({"embeddings"})

    class Settings(ProviderSettings):
        """`delay_seconds` before each word of `slow`; `long_words` of `long`; `retry_after_seconds` that a 429 or 503 asks for."""

        delay_seconds: float = 0.2
        long_words: int = 2000
        retry_after_seconds: float = 1

    settings: Settings

    def catalogue(self) -> list[Model]:
        """The six models, all free."""
        return load_catalogue("router_echo")

    def unknown(self, id: str) -> Model:
        """A model with a number in its id, as free as the others."""
        known = {model.id: model for model in self.catalogue()}
        return msgspec.structs.replace(known["echo"], id=id, name=id, price=Price())

    def encode(self, request: ChatRequest) -> Outgoing:
        """Nothing is sent; `dropped` tells what has no meaning here."""
        return Outgoing(path="", dropped=[name for name in UNUSED if getattr(request, name) is not None])

    def send(self, call: Call, candidate: Candidate) -> AbstractAsyncContextManager[Upstream]:
        """Answer from the request itself."""
        if not call.dialect.through_hub:
            assert call.outgoing is not None
            return self._embedding(call.outgoing.body, candidate.endpoint.model.id)
        if call.request is None:
            call.request = call.dialect.decode(call.head)
        return self.answering(call.request, candidate.endpoint.model.id)

    @asynccontextmanager
    async def _embedding(self, body: bytes, model: str) -> AsyncIterator[Upstream]:
        """The vectors of one request as an upstream's. Raises the error that the model stands for."""
        manner = self._manner(model)
        if manner.kind == "error":
            raise self._failure(manner.number or 500)
        if manner.kind == "slow":
            await asyncio.sleep(self.settings.delay_seconds if manner.number is None else manner.number / 1000)
        yield Upstream(body=body)

    def embed(self, request: EmbedRequest) -> Outgoing:
        """Nothing is sent; the body is the answer already. Raises BadRequest where it would be too long."""
        if (request.dimensions or vectors.DIMENSIONS) * len(request.inputs) > MOST_NUMBERS:
            raise BadRequest(f"echo gives at most {MOST_NUMBERS} numbers at once; send fewer inputs or dimensions")
        made = Embedded(
            vectors=[vectors.vector(each, request.dimensions or vectors.DIMENSIONS) for each in request.inputs],
            usage=Usage(input=sum(vectors.tokens(each) for each in request.inputs)),
        )
        dropped = request.unused("input_type", "titles", "user")
        return Outgoing(path="", body=msgspec.json.encode(made), dropped=dropped)

    def embedded(self, body: bytes) -> Embedded:
        """The vectors that `embed` made."""
        return _decode_embedded(body)

    @asynccontextmanager
    async def answering(self, request: ChatRequest, model: str) -> AsyncIterator[Upstream]:
        """The answer of one model as an upstream's. Raises the error that the model stands for."""
        manner = self._manner(model)
        if manner.kind == "error":
            raise self._failure(manner.number or 500)
        async with aclosing(self._stream(request, model, manner, answer(request))) as events:
            yield Upstream(events=events, stream=request.stream)

    def _manner(self, model: str) -> Manner:
        found = re.fullmatch(r"(echo|slow|long|cut|error)(?:-(\d{1,6}))?", model)
        manner = Manner(found[1], int(found[2]) if found[2] else None) if found else Manner("error", 404)
        if manner.kind == "error" and not 400 <= (manner.number or 0) <= 599:
            return Manner("error", 404)
        return manner

    def _failure(self, status: int) -> Exception:
        """What an upstream with this status would have been."""
        message = (
            "there is no such model; /v1/models lists echo's"
            if status == 404
            else f"echo fails with {status}, as asked"
        )
        headers = {"retry-after": f"{self.settings.retry_after_seconds:g}"} if status in (429, 503) else {}
        return self.error(
            status, headers, msgspec.json.encode({"error": {"message": message, "code": f"echo_{status}"}})
        )

    async def _stream(
        self, request: ChatRequest, model: str, manner: Manner, made: Answer
    ) -> AsyncGenerator[Event, None]:
        """The events: word by word, one choice after the other."""
        delay_s = (
            (self.settings.delay_seconds if manner.number is None else manner.number / 1000)
            if manner.kind == "slow"
            else 0
        )
        finishes: list[Finish] = []
        usage = Usage(input=prompt_tokens(request))
        yield Start(id=made.id, model=model)
        for choice in range(request.n):
            pieces, finish = self._choice(request, manner, made, choice, usage)
            for number, event in enumerate(pieces):
                if delay_s or number % PIECES_AT_ONCE == 0:
                    await asyncio.sleep(delay_s)
                yield event
            finishes.append(finish)
        if manner.kind == "cut":
            raise StreamTruncated("echo/cut ends in the middle of its answer")
        yield Stop(finishes=finishes, usage=usage)

    def _choice(
        self, request: ChatRequest, manner: Manner, made: Answer, choice: int, usage: Usage
    ) -> tuple[Iterator[Event], Finish]:
        """One choice: its events and how it ends. Adds what it will have used."""
        most = request.max_tokens
        thinking = request.reasoning
        thought = words(made.reasoning)[: thinking.max_tokens if thinking and thinking.max_tokens else None][:most]
        spoken = list(self._spoken(manner, made.text))
        kept = spoken if most is None else spoken[: max(most - len(thought), 0)]
        fragments = list(_fragments(made, choice))
        usage.reasoning += len(thought)
        usage.output += len(thought) + len(kept) + len(fragments)
        finish = Finish(choice=choice, reason="stop", native="stop", stop_sequence=made.stop_sequence)
        if made.calls:
            finish = Finish(choice=choice, reason="tool_calls", native="tool_calls")
        elif len(kept) < len(spoken):
            finish = Finish(choice=choice, reason="length", native="length")
        shown = [] if thinking is not None and thinking.exclude else thought
        events: Iterator[Event] = chain(
            (ReasoningDelta(text=word, choice=choice) for word in shown),
            (TextDelta(text=word, choice=choice) for word in kept),
            fragments,
        )
        if manner.kind == "cut":
            count = len(shown) + len(kept) + len(fragments)
            events = islice(events, count // 2 if manner.number is None else manner.number)
        return events, finish

    def _spoken(self, manner: Manner, text: str) -> Iterator[str]:
        pieces = words(text)
        if manner.kind != "long" or not pieces:
            return iter(pieces)
        again = [f"\n{pieces[0]}", *pieces[1:]]
        count = self.settings.long_words if manner.number is None else manner.number
        return islice(chain(pieces, cycle(again)), count)


def _fragments(made: Answer, choice: int) -> Iterator[ToolDelta]:
    """Tool calls as upstreams stream them: id and name first, then the arguments bit by bit."""
    for index, call in enumerate(made.calls):
        id = call.id if choice == 0 else f"{call.id[:-2]}{choice:02}"
        yield ToolDelta(index=index, id=id, name=call.name, choice=choice)
        for start in range(0, len(call.arguments), FRAGMENT):
            yield ToolDelta(index=index, arguments=call.arguments[start : start + FRAGMENT], choice=choice)


@hookimpl
def router_providers() -> list[type[Provider]]:
    """Echo."""
    return [Echo]
