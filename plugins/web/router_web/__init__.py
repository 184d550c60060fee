"""The plugin `web`: what a question names or needs of the web is read and put in front of it, and the answer says what was read.

A message that names http(s) URLs gets their text; one that names none is searched for by the configured engine. Everything happens
before an upstream is asked, on all surfaces alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from msgspec import Struct, field
from msgspec.structs import replace

from router import (
    BadImage,
    Call,
    ChatRequest,
    Event,
    Message,
    NotImplementedHere,
    PartDone,
    Stop,
    Text,
    TextDelta,
    Usage,
    WebSearch,
    hookimpl,
)

from .engines import Found, question_of, search
from .pages import Unreadable, read
from .settings import Options, WebSettings, options_of
from .sources import Source, allowed, citations, prompt_of, urls_in

if TYPE_CHECKING:
    from router.hookspecs import Filter, Transform
    from router.server import Server

ID = "web"
CHARS_PER_TOKEN = 4
#: asked of an engine where some of what it finds may not be used
MOST_RESULTS = 20


class Visit(Struct, kw_only=True):
    """What one call reads. `pricing`: its price is being asked for."""

    options: Options
    sources: list[Source] = field(default_factory=list)
    searches: int = 0
    pricing: bool = False


class Web:
    """Reads the web for calls that ask for it."""

    def __init__(self) -> None:
        self._app: Server
        self._session: aiohttp.ClientSession

    @property
    def settings(self) -> WebSettings:
        """`[plugins.web]`."""
        return self._app.own_settings(ID, WebSettings)

    # --- once ---

    @hookimpl
    def router_settings(self) -> dict[str, type[Struct]]:
        """Every key has a default."""
        return {ID: WebSettings}

    @hookimpl
    def router_lifespan(self, app: Server) -> AbstractAsyncContextManager[None]:
        """Connections to the engine."""
        return self._running(app)

    @asynccontextmanager
    async def _running(self, app: Server) -> AsyncIterator[None]:
        self._app = app
        async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            yield

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        """Pages can be read without any setting."""
        return (ID,)

    # --- per call ---

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        """Look at what is asked for. Raises BadRequest, NotImplementedHere."""
        entry = next((each for each in call.head.plugins if each["id"] == ID), None)
        if entry is not None and call.within is None and call.operation != "count_tokens":
            call.state[ID] = Visit(options=options_of(entry, self.settings))

    @hookimpl
    def router_transform(self, call: Call) -> Transform | None:
        """Read, and put it in front of the question."""
        visit = call.state.get(ID)
        if visit is None:
            return None

        async def reading(request: ChatRequest) -> ChatRequest:
            return await self._read(call, visit, request)

        return reading

    @hookimpl
    def router_filter(self, call: Call) -> Filter | None:
        """Name the sources in the answer."""
        visit = call.state.get(ID)
        return None if visit is None else lambda events: _cited(events, visit)

    @hookimpl
    def router_price(self, call: Call, usage: Usage) -> int | None:
        """What it costs otherwise, and our own searches."""
        visit = call.state.get(ID)
        if visit is None or not visit.searches or visit.pricing:
            return None
        visit.pricing = True
        charge: int | None = self._app.plugins.hook.router_price(call=call, usage=usage)
        # Only now, and not with the model's usage: its price of a search is what its own provider takes for one.
        usage.searches += visit.searches
        return None if charge is None else charge + visit.searches * self.settings.search_price

    # --- reading ---

    async def _read(self, call: Call, visit: Visit, request: ChatRequest) -> ChatRequest:
        place = next((n for n in range(len(request.messages) - 1, -1, -1) if _asks(request.messages[n])), None)
        if place is None:
            return request
        question = request.messages[place].text
        urls = [] if visit.options.engine == "native" else urls_in(question)
        if not urls and self._leaves(visit):
            return self._left(call, visit, request)
        if call.dry:
            summary = f"{len(urls)} pages would be read" if urls else "a search would be made"
            call.pipeline.append(
                {"type": "plugin", "name": ID, "summary": summary, "data": {"urls": urls, "searches": 0}}
            )
            return request
        if urls:
            visit.sources = await self._named(call, urls)
        else:
            visit.sources = await self._searched(visit, question)
        self._tell(call, visit, named=bool(urls))
        prompt = visit.options.search_prompt or self.settings.search_prompt
        text = prompt_of(visit.sources, prompt, time.strftime("%Y-%m-%d", time.gmtime()))
        call.head.prompt_tokens += len(text) // CHARS_PER_TOKEN
        return replace(request, messages=_with_text(request.messages, place, text))

    def _leaves(self, visit: Visit) -> bool:
        """Is searching the upstream's business? Also where it is nobody else's."""
        asked = visit.options.engine
        return asked == "native" or (asked in (None, "auto") and self.settings.engine in ("", "native"))

    def _left(self, call: Call, visit: Visit, request: ChatRequest) -> ChatRequest:
        """Let the upstream search, and ask only those that can. Raises NotImplementedHere where none can."""
        candidates = call.plan.candidates
        able = [each for each in candidates if each.provider.searches(each.endpoint.model.id)]
        if not able:
            raise NotImplementedHere(
                "the question names no URL, so the web would have to be searched: the providers of this model do not do that "
                "themselves, and no engine for it is set up here; set [plugins.web] engine and base_url, or name the page to read",
                code="not_configured",
                param="plugins",
            )
        call.plan.filtered += [
            {"endpoint": f"{each.endpoint.tag}: {each.endpoint.model_id}", "reason": "web: it does not search"}
            for each in candidates
            if not each.provider.searches(each.endpoint.model.id)
        ]
        call.plan.candidates = able
        call.pipeline.append(
            {
                "type": "plugin",
                "name": ID,
                "summary": "left to the provider",
                "data": {"engine": "native", "searches": 0},
            }
        )
        options = visit.options
        location = {name: value for name, value in (options.user_location or {}).items() if value and name != "type"}
        wanted = WebSearch(
            max_uses=options.max_uses,
            include_domains=options.include_domains,
            exclude_domains=options.exclude_domains,
            user_location=location or None,
        )
        return replace(request, web_search=wanted)

    async def _named(self, call: Call, urls: list[str]) -> list[Source]:
        """The pages that a message names."""
        most = self.settings.max_pages
        if len(urls) > most:
            call.head.warnings.append(f"web: only the first {most} of {len(urls)} pages were read")
        return list(await asyncio.gather(*(self._page(Source(url=url)) for url in urls[:most])))

    async def _searched(self, visit: Visit, question: str) -> list[Source]:
        """What the engine finds; of the first results the pages themselves."""
        settings, options = self.settings, visit.options
        count = min(options.max_results or settings.max_results, MOST_RESULTS)
        filtered = bool(options.include_domains or options.exclude_domains)
        found = await search(self._session, settings, question_of(question), MOST_RESULTS if filtered else count)
        visit.searches += 1
        fitting = [each for each in found if allowed(each.url, options.include_domains, options.exclude_domains)]
        results = list({each.url: each for each in reversed(fitting)}.values())[::-1][:count]
        read, rest = results[: settings.read_results], results[settings.read_results :]
        pages = await asyncio.gather(*(self._page(_quoted(each)) for each in read))
        return [*pages, *map(_quoted, rest)]

    async def _page(self, source: Source) -> Source:
        """The source with the text of its page; as it was, with the reason, where that cannot be read."""
        settings = self.settings
        try:
            kind, content = await self._app.fetcher.fetch(source.url, max_bytes=int(settings.page_mb * 1024 * 1024))
            page = await asyncio.to_thread(read, kind, content)
        except BadImage as error:
            return replace(source, failure=error.message.removeprefix(f"{source.url[:200]} "))
        except Unreadable as error:
            return replace(source, failure=str(error))
        text = page.text[: settings.page_chars]
        return replace(source, title=page.title[:300] or source.title, text=text or source.text)

    def _tell(self, call: Call, visit: Visit, *, named: bool) -> None:
        """What was done, for explanations."""
        read = [each.url for each in visit.sources if each.text]
        engine = "fetch" if named else self.settings.engine
        failed = {each.url: each.failure for each in visit.sources if each.failure}
        call.pipeline.append(
            {
                "type": "plugin",
                "name": ID,
                "summary": f"{len(read)} pages read" if named else f"{len(read)} results of a search",
                "data": {"engine": engine, "searches": visit.searches, "urls": read, "failed": failed},
            }
        )


def _asks(message: Message) -> bool:
    return message.role == "user" and bool(message.text.strip())


def _quoted(found: Found) -> Source:
    return Source(url=found.url, title=" ".join(found.title.split())[:300], text=found.text.strip())


def _with_text(messages: list[Message], place: int, text: str) -> list[Message]:
    """The messages with a text in front of one of them. Results of tools come first in a message, or some upstreams refuse it."""
    content = messages[place].content
    first = next(n for n, part in enumerate(content) if isinstance(part, Text))
    changed = replace(messages[place], content=[*content[:first], Text(text=text), *content[first:]])
    return [*messages[:place], changed, *messages[place + 1 :]]


async def _cited(events: AsyncIterator[Event], visit: Visit) -> AsyncIterator[Event]:
    """The answer, with the sources named at its end."""
    texts: dict[int, list[str]] = {}
    async for event in events:
        if isinstance(event, TextDelta):
            texts.setdefault(event.choice, []).append(event.text)
        elif isinstance(event, Stop):
            for choice, pieces in texts.items():
                for citation in citations(visit.sources, "".join(pieces)):
                    yield PartDone(part=citation, choice=choice)
        yield event


plugin: Any = Web()
