"""An upstream that answers from recordings, and only what was asked when they were made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from .recordings import Recording, read_recordings
from .upstream import FakeUpstream


class ReplayingUpstream(FakeUpstream):
    """Finds the recording of each request by its path and its body, and answers as it says.

    The path's beginning may differ (a base URL of another shape), the body may not: it is compared as JSON. A request that was not
    recorded is answered with 599 and a text that says what differs, and fails the test when it leaves the block.
    """

    def __init__(self, recordings: Path | Iterable[Recording]) -> None:
        super().__init__()
        found = read_recordings(recordings) if isinstance(recordings, Path) else recordings
        #: those that know what was asked
        self.recordings = [each for each in found if each.request is not None]
        if not self.recordings:
            raise ValueError("none of the recordings says what was asked; `router record` makes such")
        #: what was asked and is not recorded, in words
        self.missed: list[str] = []
        #: the names of what was answered, in order
        self.replayed: list[str] = []
        self.answers = [self._replay]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ReplayingUpstream]:
        """The server runs inside the block. Raises AssertionError behind it where something was asked that is not recorded."""
        async with super().listening():
            yield self
        assert not self.missed, "\n".join(self.missed)

    async def _replay(self, request: web.Request) -> web.StreamResponse:
        body = self.asked[-1].body
        recording = next((each for each in self.recordings if _asks(each, request) and _body(each) == body), None)
        if recording is None:
            self.missed.append(self._missed(request, body))
            return web.Response(text=self.missed[-1], status=599)
        self.replayed.append(recording.name)
        response = web.StreamResponse(status=recording.response.status)
        for name, value in recording.response.headers.items():
            response.headers[name] = value
        await response.prepare(request)
        await response.write(recording.response.content())
        return response

    def _missed(self, request: web.Request, body: Any) -> str:
        """What is the matter with a request that was not recorded."""
        near = [each for each in self.recordings if _asks(each, request)]
        asked = f"{request.method} {request.path}"
        if not near:
            paths = sorted(
                {f"{each.request['method']} …{each.request['path']}" for each in self.recordings if each.request}
            )
            return f"{asked} is not recorded; these are: {', '.join(paths)}"
        differing = {each.name: _differing(_body(each), body) for each in near}
        name = min(differing, key=lambda each: len(differing[each]))
        return (
            f"{asked} was recorded with another body; nearest is {name}, which differs in: {', '.join(differing[name])}"
        )


def _asks(recording: Recording, request: web.Request) -> bool:
    asked = recording.request or {}
    return request.method == asked.get("method", "POST") and request.path_qs.endswith(asked.get("path", ""))


def _body(recording: Recording) -> Any:
    return (recording.request or {}).get("body")


def _differing(recorded: Any, asked: Any) -> list[str]:
    """The top members that are not the same."""
    if not isinstance(recorded, dict) or not isinstance(asked, dict):
        return ["the whole body"]
    names = sorted(recorded.keys() | asked.keys())
    return [
        f"{name} (recorded {_short(recorded.get(name))}, asked {_short(asked.get(name))})"
        for name in names
        if recorded.get(name, msgspec.UNSET) != asked.get(name, msgspec.UNSET)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"
