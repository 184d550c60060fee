"""Who we are for AWS: what goes before what, and what needs botocore."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from router_bedrock import Bedrock, BedrockSettings
from router_bedrock.identity import Fetched, Fixed, find, region_of
from router_bedrock.signature import Keys

from router.errors import UpstreamUnauthorized
from router.provider import Timeouts

FROM_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKENV",
    "AWS_SECRET_ACCESS_KEY": "env-secret",
    "AWS_SESSION_TOKEN": "env-token",
}
CREDENTIALS = """
[default]
aws_access_key_id = AKFILE
aws_secret_access_key = file-secret

[work]
aws_access_key_id = AKWORK
aws_secret_access_key = work%secret
aws_session_token = work-token
"""
CONFIG = """
[default]
region = us-west-2

[profile work]
region = eu-west-1

[profile roles]
role_arn = arn:aws:iam::1:role/x
source_profile = default
"""


def settings(**members: Any) -> BedrockSettings:
    return BedrockSettings(plugin="bedrock", **members)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIG)
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }


async def keys(given: BedrockSettings, environ: dict[str, str]) -> Keys:
    found = find(given, environ)
    assert isinstance(found, Fixed)
    assert found.secret == (await found.keys()).secret
    return await found.keys()


async def test_the_configuration_goes_first(files: dict[str, str]) -> None:
    given = settings(access_key_id="AKSET", secret_access_key="s", session_token="t")

    assert await keys(given, FROM_ENVIRONMENT | files) == Keys(id="AKSET", secret="s", token="t")


async def test_then_the_environment(files: dict[str, str]) -> None:
    assert await keys(settings(), FROM_ENVIRONMENT | files) == Keys(id="AKENV", secret="env-secret", token="env-token")


async def test_then_the_files(files: dict[str, str]) -> None:
    work = Keys(id="AKWORK", secret="work%secret", token="work-token")

    assert await keys(settings(), files) == Keys(id="AKFILE", secret="file-secret")
    assert await keys(settings(), files | {"AWS_PROFILE": "work"}) == work
    assert await keys(settings(profile="work"), files | FROM_ENVIRONMENT) == work


def test_regions(files: dict[str, str]) -> None:
    assert region_of(settings(region="eu-north-1"), {"AWS_REGION": "x"}) == "eu-north-1"
    assert region_of(settings(), files | {"AWS_REGION": "ap-south-1"}) == "ap-south-1"
    assert region_of(settings(profile="work"), files) == "eu-west-1"
    assert region_of(settings(), {"AWS_CONFIG_FILE": "/nonexistent"}) == ""


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no [ini \xff")
    environ = {"AWS_CONFIG_FILE": str(tmp_path / "broken"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path)}

    assert region_of(settings(), environ) == ""


def test_a_role_is_botocores_business(files: dict[str, str]) -> None:
    assert isinstance(find(settings(profile="roles"), files), Fetched)


async def test_botocore_finds_what_it_knows(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in files.items():
        monkeypatch.setenv(name, value)

    assert await Fetched("work").keys() == Keys(id="AKWORK", secret="work%secret", token="work-token")
    with pytest.raises(UpstreamUnauthorized, match="ProfileNotFound"):
        await Fetched("missing").keys()


async def test_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(UpstreamUnauthorized, match="no credentials for AWS"):
        async with asyncio.timeout(10):
            await Fetched(None).keys()


def test_an_instance_takes_them(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    for name, value in (files | {"AWS_PROFILE": "work"}).items():
        monkeypatch.setenv(name, value)

    instance = Bedrock("bedrock", settings(), Timeouts())

    assert instance.settings.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert [each.secret for each in instance.credentials] == ["work%secret"]


def test_a_key_of_bedrocks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")

    assert [each.secret for each in Bedrock("b", settings(), Timeouts()).credentials] == ["bedrock-key"]
    assert [each.secret for each in Bedrock("b", settings(api_key="own"), Timeouts()).credentials] == ["own"]


def test_half_of_a_pair() -> None:
    with pytest.raises(msgspec.ValidationError, match="secret_access_key"):
        msgspec.convert({"plugin": "bedrock", "access_key_id": "A"}, BedrockSettings)
