"""Canaries: keys, prompts and answers go through a router, and nothing of them is in its log, its database or its errors."""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web

from router.cli import main
from router.testing import FakeUpstream, completion, json_answer, sse_answer
from router.testing.upstream import Handler
from tests.serving import Served, serving, upstream_in_a_thread

CHAT = "/v1/chat/completions"
#: what upstreams know us by: one shaped like a key, one like nothing
PROVIDER_KEYS = ("sk-canary-q1W2e3R4t5Y6u7I8o9P0", "canaryofaprovider7d1f")
#: what strangers present
WRONG_KEYS = ("sk-rt-v1-canaryOfAStranger0123456789abcdefghijklmnopq", "canaryofastranger7d1f")
#: what people and models say
WORDS = (
    "canaryofaprompt",
    "canaryofasystem",
    "canaryofatool",
    "canaryofananswer",
    "canaryofathought",
    "canaryofacookie",
)
PICTURE = base64.b64encode(b"canary of a picture" * 20).decode()

ASK: dict[str, Any] = {
    "model": "one/m",
    "messages": [
        {"role": "system", "content": "canaryofasystem"},
        {"role": "user", "content": [{"type": "text", "text": "canaryofaprompt"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "canaryofatool"}}],
}
WHOLE = completion("canaryofananswer", reasoning_content="canaryofathought")
CHUNK = {"id": "1", "choices": [{"index": 0, "delta": {"content": "canaryofananswer"}, "finish_reason": None}]}
LAST = {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def event(value: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def answers(key: str) -> list[Handler]:
    """What an upstream does in turn; all that it knows of us is the key by which it knows us."""
    wrong = {"error": {"message": f"wrong: {key}"}}
    quick = {"retry-after-ms": "5"}
    return [
        json_answer(WHOLE),
        sse_answer([event(CHUNK), event(LAST), b"data: [DONE]\n\n"]),
        sse_answer([event(CHUNK)], cut=True),
        sse_answer([event(CHUNK), event(wrong)]),
        sse_answer([event(CHUNK), b"data: canaryofananswer {\n\n"]),
        json_answer({"error": {"message": f"wrong: {key}", "code": key, "param": key}}, status=400),
        json_answer(wrong, status=401),
        json_answer(wrong, status=500, headers=quick),
        json_answer(f"<html>{key}</html>".encode(), headers=quick),
        json_answer(b"canaryofananswer", headers=quick),
        json_answer({"choices": "canaryofananswer"}, headers=quick),
        hang_up,
    ]


class Story:
    """What happened at one router, and everything that it told anybody."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.errors: list[str] = []

    def happen(self, upstream: FakeUpstream) -> None:
        with httpx2.Client(base_url=self.served.url, timeout=20) as client:
            self._calls(client, upstream)
            self._strangers(client)
            for path in ("/v1/models", "/v1/providers", "/v1/key", "/health", "/metrics"):
                self._told(client.get(path, headers=self._key()))

    def _calls(self, client: httpx2.Client, upstream: FakeUpstream) -> None:
        for provider, key in zip(("one", "two"), PROVIDER_KEYS, strict=True):
            for number, answer in enumerate(answers(key)):
                upstream.will(answer)
                body = ASK | {"model": f"{provider}/m-{number}", "stream": number % 2 == 1 or number in (2, 4)}
                told = client.post(CHAT, json=body, headers=self._key() | {"Cookie": "a=canaryofacookie"})
                if told.status_code != 200:
                    self._told(told)
                else:
                    assert "canaryofananswer" in told.text or "error" in told.text
                    self.errors += [line for line in told.text.splitlines() if '"error"' in line]
        self._told(client.post(CHAT, json=ASK | {"temperature": "canaryofaprompt"}, headers=self._key()))
        self._told(client.post(CHAT, content=b'{"canaryofaprompt"', headers=self._key()))

    def _strangers(self, client: httpx2.Client) -> None:
        for key in WRONG_KEYS:
            for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}, {"Authorization": key}):
                self._told(client.post(CHAT, json=ASK, headers=headers))
            for path in ("/v1/models", "/v1/key", "/nowhere", CHAT):
                self._told(client.get(path, params={"key": key}))
        self._told(client.get("/v1/models", params={"key": self.served.key}))
        self._told(client.get("/nowhere", params={"key": self.served.key}))
        self._told(client.get("/v1/key", params={"key": self.served.management}))

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.served.key}"}

    def _told(self, answer: httpx2.Response) -> None:
        self.errors.append(f"{answer.headers}{answer.text}")


@pytest.fixture(scope="module", params=["text", "json"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("secrets")
    with upstream_in_a_thread() as upstream:
        table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1"}
        providers = {slug: {**table, "api_key": key} for slug, key in zip(("one", "two"), PROVIDER_KEYS, strict=True)}
        with serving(folder, {"providers": providers}, "--log-format", request.param) as served:
            story = Story(served)
            story.happen(upstream)
            assert {asked.headers["Authorization"] for asked in upstream.asked} == {
                f"Bearer {key}" for key in PROVIDER_KEYS
            }
            served.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            _, _, printed = served.stop().partition("-N\n")  # behind the first keys, which are shown once
            story.errors.append(printed)
            yield story


def canaries(story: Story) -> list[str]:
    """All that must be nowhere. Of our own keys a label may be shown, which is their first and their last characters."""
    mine = [key[12:-3] for key in (story.served.key, story.served.management)]
    return [*PROVIDER_KEYS, *WRONG_KEYS, *WORDS, PICTURE, *mine]


def test_the_log_knows_no_secret(story: Story) -> None:
    log = story.served.log.read_text()

    assert log.count("answered") > 30
    assert "key=" not in log.replace("key=sk-rt", "")
    for canary in canaries(story):
        assert canary not in log


def test_the_database_knows_no_secret(story: Story) -> None:
    files = [path for path in story.served.folder.iterdir() if path.name.startswith("router.db")]

    assert files
    for path in files:
        content = path.read_bytes()
        for canary in canaries(story):
            assert canary.encode() not in content, path.name


def test_no_answer_but_that_to_the_call_itself_knows_a_secret(story: Story) -> None:
    assert len(story.errors) > 30
    for text in story.errors:
        for canary in canaries(story):
            assert canary not in text


@pytest.mark.parametrize("command", ["check", "providers", "models", "plugins", "keys list"])
def test_the_command_line_shows_no_secret(
    story: Story, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(story.served.folder)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the command line sets its own

    main(command.split())

    shown = "".join(capsys.readouterr())
    assert shown
    for canary in canaries(story):
        assert canary not in shown
