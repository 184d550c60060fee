"""What filters make of an answer: its events, with each text in it filtered across the pieces in which it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from msgspec.structs import replace

from ...call import Call
from ...errors import Forbidden
from ...events import Event, PartDone, ReasoningDelta, RefusalDelta, Stop, TextDelta, ToolDelta
from ...model import Citation
from .content import ANSWER, BUDGET_S, Filter, Findings, Stream, filtered, too_slow
from .deadline import Deadline, TooSlow


class Answer:
    """The answer of one call. A choice has one text under way: when another begins, the one before it is whole."""

    def __init__(self, call: Call, filters: list[Filter]) -> None:
        self._call = call
        self._filters = filters
        self._deadline = Deadline(BUDGET_S)
        self._findings = Findings(ANSWER)
        #: characters that came and did not go on
        self._kept = 0
        #: by choice: which text is under way, and its last piece
        self._open: dict[int, tuple[Any, Stream, Any]] = {}

    async def events(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """The events as they go on. Raises Forbidden."""
        try:
            async for event in events:
                for each in self._one(event):
                    yield each
        except Forbidden:
            self._count()
            raise
        except TooSlow:
            self._count()
            raise too_slow(ANSWER) from None
        finally:
            if (entry := self._findings.entry()) is not None:
                self._call.pipeline.append(entry)

    def _count(self) -> None:
        """What was kept back is paid for; an upstream that has not come to its end has not said how much it is."""
        outcome = self._call.outcome
        if outcome.usage is None or not outcome.usage.output:
            outcome.output_chars += self._kept

    def _one(self, event: Event) -> Iterator[Event]:
        match event:
            case TextDelta() | RefusalDelta():
                yield from self._text(event, type(event), event.text)
            case ReasoningDelta():
                yield from self._text(event, (ReasoningDelta, event.index), event.text)
            case ToolDelta():
                yield from self._text(event, (ToolDelta, event.index), event.arguments)
            case Stop():
                for choice in list(self._open):
                    yield from self._close(choice)
                yield event
            case PartDone(part=Citation() as cited):
                title, content = self._whole(cited.title), self._whole(cited.content)
                yield replace(event, part=replace(cited, title=title, content=content))
            case _:
                yield event

    def _whole(self, text: str) -> str:
        """A text that does not come in pieces. Raises TooSlow, Forbidden."""
        with self._deadline:
            text = filtered(text, self._filters, self._deadline, self._findings)
        self._findings.refuse()
        return text

    def _text(self, event: Any, key: Any, text: str) -> Iterator[Event]:
        found = self._open.get(event.choice)
        if found is not None and found[0] != key:
            yield from self._close(event.choice)
            found = None
        stream = (
            found[1]
            if found
            else Stream(self._filters, self._deadline, self._findings, quoted=type(event) is ToolDelta)
        )
        self._open[event.choice] = (key, stream, event)
        self._kept += len(text)
        out = stream.feed(text)
        if type(event) is ReasoningDelta and (event.signature or event.data):
            # The piece ends with its signature, which fits the text as it was.
            out += stream.end()
        self._kept = max(0, self._kept - len(out))
        if type(event) is ReasoningDelta and (event.signature or event.data):
            yield replace(event, text=out, signature=None if stream.changed else event.signature)
        elif type(event) is TextDelta:
            if out:
                yield TextDelta(text=out, choice=event.choice)  # log probabilities would spell out what is redacted
        elif type(event) is ToolDelta:
            if out or event.id or event.name:
                yield replace(event, arguments=out)
        elif out:
            yield replace(event, text=out)

    def _close(self, choice: int) -> Iterator[Event]:
        """The rest of the text that is under way."""
        _, stream, last = self._open.pop(choice)
        rest = stream.end()
        self._kept = max(0, self._kept - len(rest))
        if not rest:
            return
        match last:
            case TextDelta():
                yield TextDelta(text=rest, choice=choice)
            case ToolDelta():
                yield ToolDelta(index=last.index, arguments=rest, choice=choice)
            case RefusalDelta():
                yield RefusalDelta(text=rest, choice=choice)
            case ReasoningDelta():
                yield replace(last, text=rest, signature=None, data="")
