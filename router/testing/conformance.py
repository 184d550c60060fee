"""What every provider must do, as tests to inherit. A few lines bring them all:

    class TestMine(ProviderConformance):
        provider = Mine
        recordings = Path(__file__).parent / "recordings"

They need pytest and pytest-asyncio (`asyncio_mode = auto`). Recordings: see `router.testing.recordings`; at least one stream and one
plain answer.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from ..call import Call, Candidate, Endpoint
from ..dialects.openai_chat import OpenAIChat
from ..errors import (
    RouterError,
    UpstreamBusy,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from ..events import Event, Fold, Reply, Start, Stop
from ..model import ChatRequest, Model, Reasoning, ToolCall
from ..prices import MAX_TOKENS
from ..provider import KEY_SHAPED, Outgoing, Provider
from ..settings import Timeouts, convert
from .exchanges import conversations
from .recordings import Recording, Replayed, read_recordings
from .upstream import FakeUpstream

KEY = "conformance-key-0123456789"
SPLITS = 5
MODEL = "model-of-the-kit"
HTML = b"<html><body><h1>Bad gateway</h1></body></html>"

#: status -> what `error` must make of it
LEAVES: list[tuple[int, tuple[type[UpstreamError], ...]]] = [
    (400, (UpstreamRejected,)),
    (401, (UpstreamUnauthorized,)),
    (404, (UpstreamRejected, UpstreamUnavailable)),
    (413, (UpstreamRejected,)),
    (429, (UpstreamBusy,)),
    (500, (UpstreamUnavailable, UpstreamOverloaded)),
    (503, (UpstreamOverloaded, UpstreamUnavailable)),
    (529, (UpstreamOverloaded, UpstreamUnavailable)),
]


class ProviderConformance:
    """Inherit, name the provider and the recordings. `settings` are further keys of `[providers.<slug>]`."""

    provider: ClassVar[type[Provider]]
    recordings: ClassVar[Path]
    settings: ClassVar[dict[str, Any]] = {}
    #: a model id that the provider knows how to talk to
    model: ClassVar[str] = MODEL

    # --- what the tests stand on ---

    def made(self, **settings: Any) -> Provider:
        """An instance, as the configuration would make one."""
        table = {"plugin": self.provider.name, "api_key": KEY, **self.settings, **settings}
        own = convert(table, self.provider.Settings, "providers.conformance")
        return self.provider("conformance", own, Timeouts())

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One case per recording, conversation or status."""
        if "stream" in metafunc.fixturenames or "plain" in metafunc.fixturenames or "failed" in metafunc.fixturenames:
            name = next(each for each in ("stream", "plain", "failed") if each in metafunc.fixturenames)
            wanted = [each for each in read_recordings(cls.recordings) if _kind(each) == name]
            metafunc.parametrize(name, wanted, ids=[each.name for each in wanted])
        if "conversation" in metafunc.fixturenames:
            known = conversations()
            metafunc.parametrize("conversation", known.values(), ids=known)

    async def read(self, pieces: Iterable[bytes]) -> list[Event]:
        """The events of a stream that comes in these pieces."""
        provider = self.made()
        events = provider.events(provider.messages(Replayed(pieces)))
        return [event async for event in events]

    # --- streams ---

    async def test_grammar(self, stream: Recording) -> None:
        """One Start, any deltas, exactly one Stop, which is the last."""
        events = await self.read([stream.response.content()])
        assert isinstance(events[0], Start)
        assert isinstance(events[-1], Stop)
        assert not [each for each in events[1:-1] if isinstance(each, Start | Stop)]
        assert events[-1].finishes, "a Stop says how each choice ended"

    async def test_any_split_gives_the_same_events(self, stream: Recording) -> None:
        """Packets may end anywhere, inside of a character too."""
        content = stream.response.content()
        whole = await self.read([content])
        if len(content) < 20_000:
            assert await self.read(content[at : at + 1] for at in range(len(content))) == whole
        for seed in range(SPLITS):
            assert await self.read(_split(content, seed)) == whole

    async def test_any_line_end_gives_the_same_events(self, stream: Recording) -> None:
        """LF, CRLF and CR end a line of an event stream."""
        if stream.response.sse is None:
            pytest.skip("no event stream")
        text = stream.response.sse.replace("\r\n", "\n")
        whole = await self.read([text.encode()])
        for end in ("\r\n", "\r"):
            assert await self.read([text.replace("\n", end).encode()]) == whole

    async def test_unknown_events_and_members_change_nothing(self, stream: Recording) -> None:
        """Upstreams add some without notice."""
        if stream.response.sse is None:
            pytest.skip("no event stream")
        frames = re_frames(stream.response.sse)
        whole = await self.read([stream.response.content()])
        strange = 'event: not_known_yet\ndata: {"type": "not_known_yet", "index": 99}\n\n'
        changed = (
            ": a comment\n\n" + "".join(_with_member(frame) + ": another\n\n" for frame in frames[:-1]) + frames[-1]
        )
        assert await self.read([changed.encode()]) == whole
        if any(frame.startswith("event:") for frame in frames):
            assert await self.read([(frames[0] + strange + "".join(frames[1:])).encode()]) == whole

    async def test_a_cut_is_an_error(self, stream: Recording) -> None:
        """A stream without its terminal event raises, wherever between two events it was cut; it never says that it ended well."""
        if stream.response.sse is None:
            pytest.skip("no event stream")
        frames = re_frames(stream.response.sse)
        last = await self._frames_needed(frames)
        for kept in range(min(last, 40)):
            with pytest.raises(UpstreamError):
                await self.read(["".join(frames[:kept]).encode()])

    async def test_stream_says_what_was_recorded(self, stream: Recording) -> None:
        """Against `expected`, and in general: usage is sane, tool calls have names and JSON arguments."""
        fold = Fold()
        for event in await self.read([stream.response.content()]):
            fold.add(event)
        assert_sane(fold.reply)
        assert_says(fold.reply, stream)

    # --- whole answers ---

    def test_plain_says_what_was_recorded(self, plain: Recording) -> None:
        """The same of a whole answer."""
        reply = self.made().decode(plain.response.content())
        assert_sane(reply)
        assert_says(reply, plain)

    async def test_plain_and_stream_agree(self, plain: Recording) -> None:
        """A whole answer told as events folds to the same answer."""
        reply = self.made().decode(plain.response.content())
        again = await Reply.from_events(_told(reply))
        assert _essence(again) == _essence(reply)

    def test_plain_garbage_is_an_error_of_the_upstream(self) -> None:
        """Neither HTML, nor nothing, nor half a document is an answer."""
        for body in (HTML, b"", b"{", b"null", b"[]"):
            with pytest.raises(UpstreamError):
                self.made().decode(body)

    # --- errors ---

    @pytest.mark.parametrize(("status", "leaves"), LEAVES, ids=[str(status) for status, _ in LEAVES])
    @pytest.mark.parametrize(
        "body", [b'{"error":{"message":"no"}}', HTML, b"", b"[1]"], ids=["json", "html", "empty", "odd"]
    )
    def test_error_table(self, status: int, leaves: tuple[type[UpstreamError], ...], body: bytes) -> None:
        """Each status becomes its leaf, whatever the body; no markup reaches anybody."""
        error = self.made().error(status, {"retry-after": "7"}, body)
        assert isinstance(error, leaves)
        assert error.upstream_status == status
        assert "<" not in error.message
        if status == 429:
            assert error.retry_after_s == 7

    async def test_failures_are_raised(self, failed: Recording) -> None:
        """What was recorded as a failure is one: by its status, or inside of a 200."""
        provider, response = self.made(), failed.response
        if not 200 <= response.status < 300:
            error: RouterError = provider.error(response.status, response.headers, response.content())
        else:
            with pytest.raises(UpstreamError) as caught:
                if failed.streamed:
                    await self.read([response.content()])
                else:
                    provider.decode(response.content())
            error = caught.value
        if failed.expected and failed.expected.error:
            assert type(error).__name__ == failed.expected.error
        assert error.message

    # --- requests ---

    def test_encode(self, conversation: ChatRequest) -> None:
        """Every provider can express these, purely: the same twice, the request unchanged, no key in it."""
        request = msgspec.structs.replace(conversation, model=self.model)
        before = repr(request)
        for streamed in (False, True):
            request.stream = streamed
            first, second = self.made().encode(request), self.made().encode(request)
            assert (first.path, first.body, first.headers) == (second.path, second.body, second.headers)
            assert first.path.startswith("/")
            assert isinstance(json.loads(first.body), dict)
            assert KEY not in first.path
            assert KEY.encode() not in first.body
            assert b"c2lnbmF0dXJl" not in first.body, "a signature of another family was sent"
        request.stream = conversation.stream
        assert repr(request) == before

    async def test_the_key_goes_into_headers(self) -> None:
        """Only there, and no header is needed to know it."""
        outgoing = await self.made().sign(Outgoing(path="/x", body=b"{}"), KEY)
        assert KEY not in outgoing.path
        assert KEY.encode() not in outgoing.body

    def test_nothing_is_opened_before_the_first_call(self) -> None:
        """Making an instance, or importing the plugin, sends and opens nothing."""
        assert self.made()._session is None

    def test_catalogue(self) -> None:
        """Ids are unique, prices are not negative."""
        models: list[Model] = self.made().catalogue()
        ids = [model.id for model in models]
        assert len(ids) == len(set(ids))
        for model in models:
            if model.price is not None:
                assert min(model.price.prompt, model.price.completion) >= 0

    # --- over a socket ---

    async def test_over_a_socket(self, stream: Recording) -> None:
        """Through `send` the events are those of the bytes, and the upstream is asked once."""
        async with FakeUpstream().listening() as upstream:
            upstream.will(replayed(stream))
            provider = self.made(**self.pointed(upstream.url))
            call, candidate = self.call_of(provider, conversations()["text"])
            try:
                async with provider.send(call, candidate) as answer:
                    events = [event async for event in provider.events(provider.messages(answer))]
            finally:
                await provider.close()
        assert events == await self.read([stream.response.content()])
        assert len(upstream.asked) == 1

    async def test_leaving_early_closes_the_connection(self, stream: Recording) -> None:
        """Whoever stops reading frees the upstream within a second."""
        async with FakeUpstream().listening() as upstream:
            upstream.will(replayed(stream, endless=True))
            provider = self.made(**self.pointed(upstream.url))
            call, candidate = self.call_of(provider, conversations()["text"])
            try:
                with pytest.raises(KeyError):
                    async with provider.send(call, candidate):
                        raise KeyError
                await asyncio.wait_for(upstream.gone.wait(), 1)
            finally:
                await provider.close()

    def pointed(self, url: str) -> dict[str, Any]:
        """Settings that make the provider talk to this address. Override where that is not `base_url`."""
        return {"base_url": url}

    def call_of(self, provider: Provider, request: ChatRequest) -> tuple[Call, Candidate]:
        """A call for this request, as the attempt loop would hand it to `send`."""
        model = Model(id=self.model)
        endpoint = Endpoint(provider=provider, model_id=f"{provider.slug}/{self.model}", model=model)
        candidate = Candidate(endpoint=endpoint, credential=provider.credentials[0])
        call = Call(dialect=OpenAIChat(), body=b"", headers={}, path={}, presented=None, started_s=0.0)
        call.head.stream = True
        call.request = msgspec.structs.replace(request, model=self.model, stream=True)
        call.outgoing = provider.encode(call.request)
        return call, candidate

    # --- the recordings themselves ---

    def test_recordings(self) -> None:
        """There are some of both kinds, and no keys in them."""
        kinds = {_kind(each) for each in read_recordings(self.recordings)}
        assert {"stream", "plain"} <= kinds, "record at least one stream and one plain answer"
        for path in self.recordings.glob("*.json"):
            text = path.read_text(encoding="utf-8")
            assert not KEY_SHAPED.search(text), f"{path.name} holds something shaped like a key"

    async def _frames_needed(self, frames: list[str]) -> int:
        """How many frames are enough for a stream to have ended well."""
        for kept in range(len(frames), 0, -1):
            try:
                await self.read(["".join(frames[: kept - 1]).encode()])
            except UpstreamError:
                return kept
        return 0


def assert_sane(reply: Reply) -> None:
    """What holds for every good answer."""
    assert reply.choices, "an answer has a choice"
    usage = reply.usage
    if usage is not None:
        counts = [getattr(usage, name) for name in ("input", "output", "reasoning", "cache_read", "cache_write")]
        assert all(0 <= count <= MAX_TOKENS for count in counts)
        assert usage.reasoning <= usage.output, "output includes reasoning"
        assert usage.cache_read + usage.cache_write <= usage.input, "input includes what was cached"
    for choice in reply.choices:
        calls = [part for part in choice.content if isinstance(part, ToolCall)]
        for call in calls:
            assert call.id
            assert call.name
            json.loads(call.arguments or "{}")
        if calls and choice.finish.reason not in ("length", "content_filter", "error"):
            assert choice.finish.reason == "tool_calls"


def assert_says(reply: Reply, recording: Recording) -> None:
    """What `expected` names."""
    expected = recording.expected
    if expected is None:
        return
    choice = reply.choices[0]
    thought = "".join(part.text for part in choice.content if isinstance(part, Reasoning))
    calls = [(part.name, json.loads(part.arguments or "{}")) for part in choice.content if isinstance(part, ToolCall)]
    if expected.text is not None:
        assert choice.text == expected.text
    if expected.reasoning is not None:
        assert thought == expected.reasoning
    if expected.tools is not None:
        assert calls == [tuple(each) for each in expected.tools]
    if expected.finish_reason is not None:
        assert choice.finish.reason == expected.finish_reason
    for name, count in (expected.usage or {}).items():
        assert getattr(reply.usage, name) == count


def replayed(recording: Recording, *, endless: bool = False) -> Any:
    """A handler that answers with the recording; `endless` keeps the stream open behind it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": recording.response.headers.get("content-type", "text/event-stream")}
        response = web.StreamResponse(status=recording.response.status, headers=headers)
        await response.prepare(request)
        await response.write(recording.response.content())
        if endless:
            await asyncio.sleep(30)
        return response

    return answer


def re_frames(text: str) -> list[str]:
    """The events of a stream as texts, each with its blank line."""
    return [frame + "\n\n" for frame in text.replace("\r\n", "\n").strip("\n").split("\n\n")]


def _kind(recording: Recording) -> str:
    if not recording.ok:
        return "failed"
    return "stream" if recording.streamed else "plain"


def _split(content: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    places = sorted(chance.randrange(len(content) + 1) for _ in range(1 + len(content) // 40))
    edges = [0, *places, len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


def _with_member(frame: str) -> str:
    """The frame with one more member in its JSON object."""
    lines = []
    for line in frame.split("\n"):
        name, _, value = line.partition(": ")
        if name == "data" and value.startswith("{") and value.rstrip().endswith("}"):
            object_ = json.loads(value)
            line = "data: " + json.dumps({"not_known_yet": [{"a": 1}], **object_}, ensure_ascii=False)
        lines.append(line)
    return "\n".join(lines)


async def _told(reply: Reply) -> AsyncIterator[Event]:
    for event in reply.events():
        yield event


def _essence(reply: Reply) -> Any:
    """What folding may not change: everything but how text was cut into parts."""
    return [
        (choice.text, [part for part in choice.content if isinstance(part, ToolCall)], choice.finish)
        for choice in reply.choices
    ], reply.usage


__all__ = ["ProviderConformance", "assert_sane", "assert_says", "conversations", "replayed"]
