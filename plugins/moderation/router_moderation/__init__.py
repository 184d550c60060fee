"""The plugin `moderation`: a moderation model looks at what clients send before an upstream gets it, and at answers if it is told to.

It is asked by a call of the router's own (`app.ask`), so any provider with a moderation model serves, with its fallbacks and its row in
the ledger. Where it cannot be asked, nothing passes, unless the operator says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from router import (
    Call,
    ContentRefused,
    Event,
    Finish,
    Overloaded,
    ReasoningDelta,
    RefusalDelta,
    RouterError,
    Start,
    Stop,
    TextDelta,
    ToolDelta,
    hookimpl,
)

from .content import Content, content_of
from .settings import ModerationSettings
from .verdicts import Verdict, judge

if TYPE_CHECKING:
    from router.hookspecs import Filter
    from router.server import Server

log = logging.getLogger(__name__)
ID = "moderation"
#: questions about one call that are asked at the same time
AT_ONCE = 8


class Moderation:
    """Judges calls."""

    def __init__(self) -> None:
        self._app: Server

    @property
    def settings(self) -> ModerationSettings:
        """`[plugins.moderation]`."""
        return self._app.own_settings(ID, ModerationSettings)

    # --- once ---

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """Every key has a default."""
        return {ID: ModerationSettings}

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Nothing runs in the background."""
        return self._running(app)

    @asynccontextmanager
    async def _running(self, app: Server) -> AsyncIterator[None]:
        self._app = app
        yield

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        """It needs a model."""
        return (ID,) if self.settings.model else ()

    # --- per call ---

    @hookimpl(trylast=True)
    async def router_admit(self, call: Call) -> None:
        """Look at the input, when the limits of the key have let it pass. Raises ContentRefused (403), Overloaded."""
        settings = self.settings
        if not self._wanted(call) or settings.scan == "output":
            return
        if call.dry:
            summary = f"{settings.model} would look at the input"
            call.pipeline.append({"type": "guardrail", "name": ID, "summary": summary, "data": {"asked": False}})
            return
        started_s = asyncio.get_running_loop().time()
        verdict = await self._verdict(call, content_of(call), "input")
        call.moderation_s = asyncio.get_running_loop().time() - started_s
        if verdict.reasons and settings.action == "block":
            raise ContentRefused(
                f"the input was flagged by moderation: {', '.join(verdict.reasons)}; change it and send it again",
                status=403,
                metadata={
                    "reasons": verdict.reasons,
                    "flagged_input": verdict.quote,
                    "provider_name": verdict.provider,
                    "model_slug": call.head.model,
                },
            )

    @hookimpl
    def router_filter(self, call: Call) -> Filter | None:
        """Look at the answer."""
        if not self._wanted(call) or self.settings.scan == "input":
            return None
        return lambda events: self._watched(call, events)

    def _wanted(self, call: Call) -> bool:
        settings = self.settings
        if not settings.model or call.within is not None or call.dialect.produces == ID:
            return False
        return settings.always or any(each["id"] == ID for each in call.head.plugins)

    # --- the answer ---

    async def _watched(self, call: Call, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """The answer, judged before its end. What may have to be withheld is held back until then."""
        block = self.settings.action == "block"
        held: list[Event] = []
        said: list[str] = []
        async for event in events:
            match event:
                case TextDelta(text=text) | RefusalDelta(text=text) | ReasoningDelta(text=text):
                    said.append(text)
                case ToolDelta(arguments=text):
                    said.append(text)
            if isinstance(event, Stop):
                verdict = await self._verdict(call, Content(texts=["".join(said)]), "output")
                if block and verdict.reasons:
                    for withheld in _withheld(event, verdict):
                        yield withheld
                    return
                for each in held:
                    yield each
                held.clear()
            if block and not isinstance(event, Start | Stop):
                held.append(event)
            else:
                yield event

    # --- asking ---

    async def _verdict(self, call: Call, content: Content, what: str) -> Verdict:
        """What the model says, told to explanations too. Raises Overloaded where it cannot be asked."""
        settings = self.settings
        if not settings.images or not self._sees():
            content.images.clear()
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(asked: list[Any]) -> Verdict:
            async with turn:
                return await self._ask(call, asked)

        # All come to their end, whatever one of them does: none is left running when the call goes on.
        answers = await asyncio.gather(*map(one, content.questions()), return_exceptions=True)
        verdict = Verdict()
        for answer in answers:
            if isinstance(answer, Verdict):
                verdict.provider = verdict.provider or answer.provider
                if answer.reasons:
                    verdict.reasons += [each for each in answer.reasons if each not in verdict.reasons]
                    verdict.quote = verdict.quote or answer.quote
        failure = next((each for each in answers if isinstance(each, BaseException)), None)
        if failure is not None and not verdict.reasons:
            self._failed(failure, what)
        self._tell(call, verdict, what, failure)
        return verdict

    async def _ask(self, call: Call, asked: list[Any]) -> Verdict:
        settings = self.settings
        body = {"model": settings.model, "input": asked}
        charged = settings.charge == "client"
        answer = await self._app.ask("openai.moderations", body, within=call, charged=charged, seconds=settings.seconds)
        candidate = answer.call.candidate
        return judge(answer.body, asked, settings.thresholds, candidate.provider.slug if candidate is not None else "")

    def _sees(self) -> bool:
        """Does the moderation model take images?"""
        found = self._app.table.find(self.settings.model)
        return any("image" in named.entry.model.input_modalities for named in found)

    def _failed(self, failure: BaseException, what: str) -> None:
        """Raises Overloaded, unless the operator wants calls to pass."""
        if not isinstance(failure, RouterError | ValueError):
            raise failure
        # Who only flags would not have stopped it.
        allow = self.settings.on_error == "allow" or self.settings.action == "flag"
        passed = "it passes" if allow else "the call is refused"
        log.warning("moderation: %s could not be judged by %s, %s: %s", what, self.settings.model, passed, failure)
        if not allow:
            raise Overloaded(
                f"the {what} cannot be checked by moderation now, and without that no call is taken; try again later",
                retry_after_s=getattr(failure, "retry_after_s", None) or 1,
            ) from failure

    def _tell(self, call: Call, verdict: Verdict, what: str, failure: BaseException | None) -> None:
        flagged = bool(verdict.reasons)
        found = f"flagged: {', '.join(verdict.reasons)}" if flagged else "not judged" if failure else "not flagged"
        call.pipeline.append(
            {
                "type": "plugin",
                "name": ID,
                "summary": f"{what} {found}",
                "data": {
                    "scan": what,
                    "model": self.settings.model,
                    "flagged": flagged,
                    "reasons": verdict.reasons,
                    "action": self.settings.action,
                },
            }
        )


def _withheld(stop: Stop, verdict: Verdict) -> list[Event]:
    """An answer in place of one that is not handed on. Its tokens were used all the same."""
    told = f"The answer was withheld: moderation flagged it ({', '.join(verdict.reasons)})."
    finishes = [Finish(choice=each.choice, reason="content_filter", native=ID) for each in stop.finishes]
    refusals: list[Event] = [RefusalDelta(text=told, choice=each.choice) for each in finishes]
    return [*refusals, Stop(finishes=finishes, usage=stop.usage)]


plugin: Any = Moderation()
