"""`router explain`, as a person types it: against a running router, and without one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.cli import main
from router.settings import EndpointSettings, ModelSettings, RoutingSettings
from router.testing import Running

Start = Callable[..., Awaitable[Running]]
CONFIG = """
[providers.one]
plugin = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
[providers.two]
plugin = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
zdr = true
[models."acme/chat"]
endpoints = [
  { provider = "one", model = "m", pricing = { prompt = "0.000001", completion = "0.000001" } },
  { provider = "two", model = "n", pricing = { prompt = "0.000002", completion = "0.000002" } },
]
[routing]
deterministic = true
"""
ASK: dict[str, Any] = {"model": "acme/chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}


@pytest.fixture
def body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes the request, beside a configuration. The environment has no keys."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("ROUTER_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config.toml").write_text(CONFIG)

    def body(**members: Any) -> str:
        (tmp_path / "body.json").write_text(json.dumps(ASK | members))
        return "body.json"

    return body


def test_the_configuration_alone_is_enough(
    body: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["explain", body(provider={"zdr": True})]) == 0

    printed = capsys.readouterr().out
    assert "1  two: acme/chat  n" in printed
    assert "one: acme/chat  data_policy:zdr" in printed
    assert "two: acme/chat: POST /chat/completions" in printed
    assert '"model": "n"' in printed
    assert not (tmp_path / "router.db").exists()


def test_as_json_at_another_endpoint(body: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", body(), "--json", "--endpoint", "v1/messages", "--bodies", "all"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["endpoint"] == "/v1/messages"
    assert [each["upstream"]["body"]["model"] for each in told["candidates"]] == ["m", "n"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.json"], "nowhere.json: No such file"),
        (["config.toml"], "config.toml is no JSON object"),
        (["body.json", "--endpoint", "nowhere"], "nothing is asked at 'nowhere'"),
        (["body.json", "--url", "http://127.0.0.1:9"], "no router answers"),
    ],
)
def test_what_goes_wrong_is_one_line(
    body: Callable[..., str], capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    body()

    assert main(["explain", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_refusal_is_said(body: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", body(model="acme/nothing")]) == 1
    assert "it would be refused with 404: no model 'acme/nothing'" in capsys.readouterr().err


async def test_a_running_router_is_asked_with_the_key_of_the_environment(
    start: Start, body: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = EndpointSettings(provider="here", model="echo")
    running = await start(
        providers={"here": {"plugin": "echo"}},
        models={"acme/chat": ModelSettings(endpoints=[endpoint])},
        routing=RoutingSettings(deterministic=True),
    )

    without = await asyncio.to_thread(main, ["explain", body(), "--url", running.url])
    refused = capsys.readouterr().err
    monkeypatch.setenv("ROUTER_KEY", running.key)
    code = await asyncio.to_thread(main, ["explain", body(), "--url", f"{running.url}/v1"])

    assert (without, code) == (1, 0)
    assert "refused with 401" in refused
    assert "ROUTER_KEY" in refused
    assert "here: acme/chat" in capsys.readouterr().out
