"""The OpenAPI document: valid, complete, and the same for the command line, as JSON and as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

import pytest
import yaml
from openapi_spec_validator import validate

from router.api.openapi import PREFERRED
from router.cli import main
from router.testing import Running

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def standing(start: Start) -> Running:
    return await start(providers={"echo": {"plugin": "echo"}})


async def test_it_is_valid(standing: Running) -> None:
    async with standing.session.get(f"{standing.url}/openapi.json") as answer:
        told = await answer.json()

    assert answer.status == 200
    validate(told)


async def test_yaml_says_the_same(standing: Running) -> None:
    async with standing.session.get(f"{standing.url}/openapi.json") as answer:
        as_json = await answer.json()
    async with standing.session.get(f"{standing.url}/openapi.yaml") as answer:
        as_yaml = yaml.load(await answer.text(), yaml.CSafeLoader)

    assert as_yaml == as_json


async def test_every_path_is_in_it(standing: Running) -> None:
    """Under one of its prefixes."""
    async with standing.session.get(f"{standing.url}/openapi.json") as answer:
        paths = (await answer.json())["paths"]

    for route in standing.server.routes():
        prefix = next(each for each in (*PREFERRED, *route.prefixes) if each in route.prefixes)
        path = prefix + re.sub(r"\{(\w+)(:[^{}]*)?\}", r"{\1}", route.path)
        assert route.method.lower() in paths[path], path
    for dialect in standing.server.dialects:
        for each in dialect.paths:
            assert any(f"{prefix}{each.path}".replace(":.+}", "}") in paths for prefix in dialect.prefixes), each.path


async def test_bodies_and_queries_are_described(standing: Running) -> None:
    async with standing.session.get(f"{standing.url}/openapi.json") as answer:
        told = await answer.json()

    create = told["paths"]["/api/v1/keys"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"]
    assert create["x-scope"] == "keys:manage"
    assert {each["name"] for each in told["paths"]["/api/v1/keys"]["get"]["parameters"]} >= {"offset", "limit"}
    assert told["paths"]["/healthz"]["get"]["security"] == []


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["openapi"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["openapi", "--yaml"]) == 0
    as_yaml = yaml.load(capsys.readouterr().out, yaml.CSafeLoader)

    assert as_yaml == as_json
    assert "/api/v1/presets" in as_json["paths"]
