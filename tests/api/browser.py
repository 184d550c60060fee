"""A browser as the pages see it: it keeps cookies, follows no redirect by itself and reads forms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar

from router.testing import Running


class Form(HTMLParser):
    """The one form of a page. `action` is where it goes, `fields` what it says as it stands, `text` what people read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = ""
        self.method = ""
        self.fields: dict[str, str] = {}
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms and fields."""
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "form":
            self.action, self.method = given["action"] or "", given["method"] or ""
        if tag in ("input", "select"):
            self.fields[given["name"] or ""] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        """Note what is read."""
        self.text += data


class Browser:
    """One person's browser on the pages of a router."""

    def __init__(self, router: Running, session: ClientSession) -> None:
        self.router = router
        self.session = session

    async def get(self, path: str, **headers: str) -> ClientResponse:
        """A page."""
        async with self.session.get(self.router.url + path, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer

    async def post(self, path: str, fields: Any, **headers: str) -> ClientResponse:
        """Send a form."""
        url = self.router.url + path
        async with self.session.post(url, data=fields, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer

    async def send(self, page: ClientResponse, **fields: str) -> ClientResponse:
        """Send the form of a page, with these fields typed over."""
        form = Form(await page.text())
        return await self.post(form.action, form.fields | fields)

    async def log_in(self, path: str, key: str | None = None) -> ClientResponse:
        """Go to a page that wants a login, and log in: the page then."""
        answer = await self.send(await self.get(path), key=key or self.router.management)
        assert answer.status == 303, await answer.text()
        return await self.get(answer.headers["Location"])


@asynccontextmanager
async def browsing(router: Running) -> AsyncIterator[Browser]:
    """A browser without cookies."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield Browser(router, session)
