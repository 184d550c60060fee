"""The configuration over the wire: read again, and shown without what somebody could use elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from router.redaction import shown
from router.settings import load
from tests.serving import Served, serving

FIRST = """
[limits]
rpm = 600

[providers.echo]
plugin = "echo"

[providers.cloud]
plugin = "openai-compatible"
base_url = "https://someone:passw0rd-canary@models.example/v1?sig=query-canary"
api_keys = ["env:FIRST_CANARY", "file-canary"]
headers = { "x-team" = "header-canary" }
unknown_models = false

[providers.vertex]
plugin = "vertex"
project = "our-project"
access_token = "token-canary"
"""
SECOND = '[providers.other]\nplugin = "echo"\n'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, FIRST, FIRST_CANARY="environment-canary") as served:
        yield served


def ask(served: Served, method: str, path: str, key: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key or served.management}"}
    return httpx2.request(method, served.url + path, headers=headers, timeout=20)


def test_the_configuration_is_shown_without_secrets(served: Served) -> None:
    answer = ask(served, "GET", "/api/v1/admin/config")

    assert answer.status_code == 200
    assert "canary" not in answer.text.lower().replace("env:first_canary", "")
    told = answer.json()["data"]
    assert told["limits"]["rpm"] == 600
    assert told["providers"]["echo"] == {"plugin": "echo"}
    assert told["providers"]["cloud"] == {
        "plugin": "openai-compatible",
        "base_url": "https://***@models.example/v1?***",
        "api_keys": ["env:FIRST_CANARY", "***"],
        "headers": {"x-team": "***"},
        "unknown_models": False,
    }
    assert told["providers"]["vertex"] == {"plugin": "vertex", "project": "our-project", "access_token": "***"}


def test_tables_of_plugins_are_shown_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "hook.txt").write_text("under another name")
    (tmp_path / "config.toml").write_text(
        '[plugins]\ndisabled = ["cache"]\n[plugins.coinbase]\nwebhook_secret = "hush"\nhook = "file:hook.txt"\nnote = "so: hush"'
    )

    told = shown(load(tmp_path / "config.toml", {}), secrets=["hush", ""])

    assert told["plugins"]["disabled"] == ["cache"]
    assert told["plugins"]["coinbase"] == {"webhook_secret": "***", "hook": "file:hook.txt", "note": "so: ***"}
    assert told["providers"] is None


def test_a_reload_takes_a_valid_file_and_a_wrong_one_changes_nothing(served: Served) -> None:
    config = served.folder / "config.toml"
    config.write_text(SECOND)
    answer = ask(served, "POST", "/v1/admin/reload")

    assert (answer.status_code, answer.json()) == (
        200,
        {"data": {"providers": ["other"], "broken": [], "reloaded": True}},
    )
    assert ask(served, "GET", "/v1/models/other/echo", served.key).status_code == 200
    assert ask(served, "GET", "/v1/models/echo/echo", served.key).status_code == 404

    config.write_text('[providers.other]\nplugin = "ecko"\n')
    refused = ask(served, "POST", "/v1/admin/reload")
    config.write_text("[surver]\n")
    misspelt = ask(served, "POST", "/v1/admin/reload")

    assert (refused.status_code, misspelt.status_code) == (400, 400)
    assert "no plugin 'ecko'" in refused.json()["error"]["message"]
    assert "surver: unknown key (did you mean server?)" in misspelt.json()["error"]["message"]
    assert ask(served, "GET", "/v1/models/other/echo", served.key).status_code == 200


def test_an_inference_key_may_neither(served: Served) -> None:
    assert ask(served, "GET", "/api/v1/admin/config", served.key).status_code == 403
    assert ask(served, "POST", "/api/v1/admin/reload", served.key).status_code == 403
