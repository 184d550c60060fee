"""`router record`: what it asks, what it writes, and above all what it does not write."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec import Struct

from router.cli import main
from router.testing import FakeUpstream, Recording, completion, read_recordings
from router.testing.exchanges import UNKNOWN_MODEL, exchanges
from router.testing.upstream import json_answer
from tests.serving import toml, upstream_in_a_thread

ROOT = Path(__file__).resolve().parents[2]
#: nothing of these may be found in a recording, however it is written
KEY = "sk-canary-Zx81QmTr5550"
ORGANIZATION, PROJECT = "org-CanaryCanary42", "proj_Canary4242abc"
STRANGER = "sk-proj-another-canary-77aa88bb"
PERSON, ACCOUNT = "canary.person@corp.example.net", "canary-account-9911"
COOKIE, SIGNATURE = "canary-cookie-5512", "c0ffee" * 11
CANARIES = (KEY, ORGANIZATION, PROJECT, STRANGER, PERSON, ACCOUNT, COOKIE, SIGNATURE)
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


@pytest.fixture
def fake() -> Iterator[FakeUpstream]:
    with upstream_in_a_thread() as fake:
        fake.will(openai)
        yield fake


async def openai(request: web.Request) -> web.StreamResponse:
    """An upstream of OpenAI's form that tells everything it knows about who asks."""
    body = await request.json()
    headers = {"Set-Cookie": f"session={COOKIE}", "openai-organization": ORGANIZATION, "x-ratelimit-limit": "60"}
    told = {"user_email": PERSON, "email": PERSON, "organization": ACCOUNT, "account_id": ACCOUNT}
    if body["model"] == UNKNOWN_MODEL:
        url = f"https://{request.host}/o/{ORGANIZATION}?X-Amz-Signature={SIGNATURE}&x=1"
        message = f"{PERSON} of {PROJECT} has no such model; key {KEY} ({base64.b64encode(KEY.encode()).decode()}), {STRANGER}, {url}"
        return web.json_response(
            {"error": {"message": message, "code": "model_not_found"}, **told}, status=404, headers=headers
        )
    if body.get("temperature", 0) > 2:
        return web.json_response({"error": {"message": "too hot"}}, status=400, headers=headers)
    asks_for_tool = "tools" in body and body["messages"][-1]["role"] == "user"
    said: dict[str, Any] = (
        {"content": None, "tool_calls": [CALL]} if asks_for_tool else {"content": f"Hello, I am {PROJECT}."}
    )
    finish = (
        "tool_calls"
        if asks_for_tool
        else "length"
        if 16 in (body.get("max_tokens"), body.get("max_completion_tokens"))
        else "stop"
    )
    common = {"id": "chatcmpl-1", "created": 1767225600, "model": body["model"], **told}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish}
        return web.json_response(
            {**common, "object": "chat.completion", "choices": [choice], "usage": USAGE}, headers=headers
        )
    if asks_for_tool:
        said = {"tool_calls": [{"index": 0, **CALL}]}
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", **said}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": USAGE},
    ]
    frames = [json.dumps({**common, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
    text = "".join(f"data: {frame}\n\n" for frame in [*frames, "[DONE]"])
    return web.Response(text=text, headers={"Content-Type": "text/event-stream", **headers})


class Recorder(Struct, kw_only=True):
    """The command line in a folder with a configuration."""

    folder: Path
    run: Callable[..., int]

    @property
    def out(self) -> Path:
        """Where recordings go."""
        return self.folder / "recordings"

    def recordings(self) -> dict[str, Recording]:
        """What is there."""
        return {each.name: each for each in read_recordings(self.out)}


@pytest.fixture
def recorder(fake: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    providers: dict[str, Any] = {
        "mine": {
            "plugin": "openai",
            "base_url": f"{fake.url}/v1",
            "api_key": KEY,
            "organization": ORGANIZATION,
            "project": PROJECT,
        },
        "without": {"plugin": "openai"},
        "echo": {"plugin": "echo"},
        "unlisted": {"plugin": "openai-compatible", "base_url": f"{fake.url}/v1", "api_key": KEY},
    }
    (tmp_path / "config.toml").write_text(toml({"providers": providers}))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        return main(["record", "--out", "recordings", *arguments])

    return Recorder(folder=tmp_path, run=run)


def conforms(provider: str, model: str, folder: Path, **settings: str) -> None:
    """Run the kit over the recordings of a folder, as their author would."""
    package, _, name = provider.partition(".")
    (folder / "test_it.py").write_text(
        "from pathlib import Path\n"
        f"from {package} import {name}\n"
        "from router.testing import ProviderConformance\n\n\n"
        f"class TestIt(ProviderConformance):\n    provider = {name}\n    model = {model!r}\n"
        f"    settings = {settings!r}\n    recordings = Path(__file__).parent / 'recordings'\n"
    )
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d{2} passed", done.stdout), done.stdout


def test_a_recording_just_made_passes_the_kit(recorder: Recorder) -> None:
    assert recorder.run("--provider", "mine", "--model", "gpt-4o-mini") == 0

    conforms("router_openai.OpenAI", "gpt-4o-mini", recorder.folder)
    assert {
        "text",
        "text_stream",
        "tools",
        "tools_stream",
        "result_stream",
        "error_model",
    } <= recorder.recordings().keys()


def test_what_is_recorded(recorder: Recorder) -> None:
    assert recorder.run("--provider", "mine", "--model", "gpt-4o-mini") == 0

    found = recorder.recordings()
    text, tools, error = found["text_stream"], found["tools"], found["error_model"]
    assert text.request is not None
    assert (text.request["method"], text.request["path"]) == ("POST", "/chat/completions")
    assert text.request["body"]["model"] == "gpt-4o-mini"
    assert text.response.headers == {"content-type": "text/event-stream; charset=utf-8", "x-ratelimit-limit": "60"}
    assert text.expected is not None
    assert (text.expected.finish_reason, text.expected.usage) == ("stop", {"input": 9, "output": 5})
    assert tools.expected is not None
    assert tools.expected.tools == [("get_weather", {"city": "Oslo"})]
    assert found["length_stream"].expected.finish_reason == "length"  # type: ignore[union-attr]
    assert (error.response.status, error.expected.error) == (404, "UpstreamRejected")  # type: ignore[union-attr]
    assert "no such model" in error.response.body["error"]["message"]


def test_nothing_private_is_written(recorder: Recorder, fake: FakeUpstream, capsys: pytest.CaptureFixture[str]) -> None:
    assert recorder.run("--provider", "mine") == 0

    written = "".join(path.read_text() for path in recorder.out.glob("*.json")) + "".join(capsys.readouterr())
    for canary in CANARIES:
        assert canary not in written
        assert base64.b64encode(canary.encode()).decode() not in written
    assert fake.url.removeprefix("http://") not in written
    assert "127.0.0.1" not in written
    assert "SCRUBBED" in written
    assert any(KEY in asked.headers["Authorization"] for asked in fake.asked), "the upstream was asked with the key"


def test_it_asks_the_cheapest_model_for_what_that_can_do(recorder: Recorder, fake: FakeUpstream) -> None:
    assert recorder.run("--provider", "mine") == 0

    models = {asked.body["model"] for asked in fake.asked}
    assert len(models) == 2
    assert UNKNOWN_MODEL in models


def test_only_what_is_named(recorder: Recorder, fake: FakeUpstream) -> None:
    assert recorder.run("--provider", "unlisted", "--model", "small", "--only", "text", "tools_stream") == 0

    assert recorder.recordings().keys() == {"text", "tools_stream"}
    assert len(fake.asked) == 2


def test_nothing_is_overwritten_unless_it_is_forced(recorder: Recorder, fake: FakeUpstream, capsys: Any) -> None:
    ask = ("--provider", "unlisted", "--model", "small", "--only", "text_stream", "text")
    recorder.out.mkdir()
    (recorder.out / "text.json").write_text("mine")

    assert recorder.run(*ask) == 1
    assert "text.json is there already" in capsys.readouterr().err
    assert not fake.asked
    assert not (recorder.out / "text_stream.json").exists()

    assert recorder.run(*ask, "--force") == 0
    assert recorder.recordings().keys() == {"text", "text_stream"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provider", "nobody"], "there are: echo, mine, unlisted, without"),
        (["--provider", "without"], "has no credentials; set api_key in [providers.without]"),
        (["--provider", "echo"], "has no upstream that could be recorded"),
        (["--provider", "unlisted"], "name a model by --model"),
    ],
)
def test_what_cannot_be_recorded(recorder: Recorder, capsys: Any, arguments: list[str], message: str) -> None:
    assert recorder.run(*arguments) == 1

    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--provider", "mine", "--only", "nothing"]])
def test_wrong_usage(recorder: Recorder, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        recorder.run(*arguments)

    assert ended.value.code == 2


def test_a_wrong_key_ends_it_at_once(recorder: Recorder, fake: FakeUpstream, capsys: Any) -> None:
    fake.will(json_answer({"error": {"message": f"wrong key {KEY} of {PERSON}"}}, status=401))

    assert recorder.run("--provider", "unlisted", "--model", "small") == 1

    told = "".join(capsys.readouterr())
    assert f"1 of {len(exchanges())} exchanges failed, text: wrong key" in told
    assert KEY not in told
    assert PERSON not in told
    assert len(fake.asked) == 1
    assert not recorder.recordings()


def test_what_the_plugin_cannot_read_is_written_all_the_same(
    recorder: Recorder, fake: FakeUpstream, capsys: Any
) -> None:
    """That is what its author needs to look at."""
    fake.will(json_answer({"something": "else"}))

    assert recorder.run("--provider", "unlisted", "--model", "small", "--only", "text", "--json") == 1

    output = capsys.readouterr()
    (told,) = json.loads(output.out)
    assert (told["name"], told["state"], told["status"]) == ("text", "failed", 200)
    assert "the plugin cannot read it" in output.err
    written = recorder.recordings()["text"]
    assert written.response.body == {"something": "else"}
    assert written.expected is None


def test_an_upstream_that_takes_any_model_is_no_failure(recorder: Recorder, fake: FakeUpstream, capsys: Any) -> None:
    fake.will(json_answer(completion()))

    assert recorder.run("--provider", "unlisted", "--model", "small", "--only", "error_model") == 0

    assert "without an error" in capsys.readouterr().out
    assert not recorder.recordings()


# --- binary event streams, signed requests ---------------------------------------------------------------------------

AWS = {
    "plugin": "bedrock",
    "region": "eu-north-1",
    "access_key_id": "AKIACANARYCANARY42AB",
    "secret_access_key": "canary/secret/access+key/0123456789abcdef",
    "session_token": "canary-session-token-0123456789",
}


@pytest.fixture
def bedrock(fake: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The recordings of the plugin are its upstream here."""
    folder = ROOT / "plugins" / "bedrock" / "tests" / "recordings"
    known = {each.name: each.response for each in read_recordings(folder)}

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = request.path.endswith("-stream")
        name = "error_gone" if UNKNOWN_MODEL in request.path else "stream_text" if stream else "plain_tools"
        headers = known[name].headers | {"x-amzn-requestid": "1", "Set-Cookie": COOKIE}
        return web.Response(body=known[name].content(), status=known[name].status, headers=headers)

    fake.will(answer)
    table = {**AWS, "base_url": fake.url}
    (tmp_path / "config.toml").write_text(toml({"providers": {"aws": table}}))
    monkeypatch.chdir(tmp_path)
    return Recorder(folder=tmp_path, run=lambda *arguments: main(["record", "--out", "recordings", *arguments]))


def test_a_binary_stream_is_recorded_as_it_is(bedrock: Recorder, fake: FakeUpstream) -> None:
    model = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    only = ("--only", "tools", "text_stream", "error_model")

    assert bedrock.run("--provider", "aws", "--model", model, *only) == 0

    assert "AWS4-HMAC-SHA256" in fake.asked[0].headers["Authorization"]
    stream = bedrock.recordings()["text_stream"]
    assert stream.response.body_base64 is not None
    assert stream.streamed
    written = "".join(path.read_text() for path in bedrock.out.glob("*.json"))
    for name in ("access_key_id", "secret_access_key", "session_token"):
        assert AWS[name] not in written
    assert "AWS4" not in written
    conforms("router_bedrock.Bedrock", model, bedrock.folder, region="eu-north-1")


def test_a_binary_answer_that_names_somebody_is_refused(bedrock: Recorder, fake: FakeUpstream, capsys: Any) -> None:
    """Its lengths and checksums allow no change."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = b"\x00\x00\x00\xff" + PERSON.encode()
        return web.Response(body=body, content_type="application/vnd.amazon.eventstream")

    fake.will(answer)

    assert bedrock.run("--provider", "aws", "--model", "m", "--only", "text_stream") == 1

    assert "binary and holds something private" in capsys.readouterr().err
    assert not bedrock.recordings()


def test_it_needs_no_pytest() -> None:
    """Who installs the router has none."""
    code = "import sys; sys.modules['pytest'] = None; from router.cli import main; main(['record', '--help'])"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30)

    assert done.returncode == 0, done.stderr
    assert "text_stream" in done.stdout
