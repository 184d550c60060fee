"""Search engines: one question, a list of what was found. The key goes to the configured address and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from router import RouterError

from .settings import WebSettings

#: what is sent is no longer than this: Brave takes no more
LONGEST_CHARS, MOST_WORDS = 380, 50
MAX_BYTES = 4 * 1024 * 1024


class Found(Struct, kw_only=True):
    """One result. `text` is what the engine quotes of it."""

    url: str
    title: str = ""
    text: str = ""


def question_of(text: str) -> str:
    """A message as a question for an engine."""
    words = text.split()[:MOST_WORDS]
    return " ".join(words)[:LONGEST_CHARS].strip()


async def search(session: aiohttp.ClientSession, settings: WebSettings, question: str, count: int) -> list[Found]:
    """Ask the configured engine. Raises RouterError (502), which never holds the key."""
    method, path, sent = _request(settings, question, count)
    timeout = aiohttp.ClientTimeout(total=settings.seconds)
    try:
        async with session.request(
            method, settings.place + path, allow_redirects=False, timeout=timeout, headers=_headers(settings), **sent
        ) as answer:
            if answer.status != 200:
                raise _failed(settings, f"it answered {answer.status}{_hint(settings, answer.status)}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_BYTES:
                    raise _failed(settings, "its answer is too long")
    except TimeoutError:
        raise _failed(settings, f"no answer within {settings.seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failed(settings, type(error).__name__) from error
    return _results(settings, bytes(body))


def _request(settings: WebSettings, question: str, count: int) -> tuple[str, str, dict[str, Any]]:
    """Method, path, and what goes along."""
    match settings.engine:
        case "brave":
            return "GET", "/res/v1/web/search", {"params": {"q": question, "count": str(count), "result_filter": "web"}}
        case "tavily":
            return "POST", "/search", {"json": {"query": question, "max_results": count}}
    return "GET", "/search", {"params": {"q": question, "format": "json"}}


def _headers(settings: WebSettings) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    match settings.engine:
        case "brave":
            headers["X-Subscription-Token"] = settings.api_key
        case "tavily":
            headers["Authorization"] = f"Bearer {settings.api_key}"
        case "searxng" if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"  # for whoever has a proxy in front of it
    return headers


def _results(settings: WebSettings, body: bytes) -> list[Found]:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _failed(settings, "its answer is not JSON") from None
    listed = told.get("web") if isinstance(told, dict) and settings.engine == "brave" else told
    rows = listed.get("results") if isinstance(listed, dict) else None
    text = "description" if settings.engine == "brave" else "content"
    if not isinstance(rows, list):
        return []
    return [_found(row, text) for row in rows if isinstance(row, dict) and _web(row.get("url"))]


def _found(row: Mapping[str, Any], text: str) -> Found:
    return Found(url=row["url"], title=str(row.get("title") or ""), text=str(row.get(text) or ""))


def _web(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("http://", "https://"))


def _hint(settings: WebSettings, status: int) -> str:
    if settings.engine == "searxng" and status == 403:
        return " (is `json` among the formats under `search` in its settings.yml?)"
    return " (is api_key right?)" if status in (401, 403) else ""


def _failed(settings: WebSettings, why: str) -> RouterError:
    return RouterError(f"the search engine {settings.engine} failed: {why}", kind="provider_unavailable")
