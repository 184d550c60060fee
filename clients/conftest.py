"""One stage for all tests, every client of this environment on every family, and what was found on record."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from clients.client import CHAT, GEMINI, Client, Stage

ROOT = Path(__file__).resolve().parents[1]
SDKS = ("openai_sdk", "anthropic_sdk", "google_genai_sdk")
#: the modules of each environment
SUITES = {
    "current": SDKS,
    "year-old": SDKS,
    "older": SDKS,
    "third-party": ("langchain_classes", "litellm_sdk", "llm_tool"),
}
FAMILIES = ("openai", "anthropic", "gemini")
STOP_S = 15
CELLS = pytest.StashKey[list[dict[str, str]]]()

# As their documents say: nothing is told to their makers, no list of models or prices is fetched.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false", NO_PROXY="127.0.0.1"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite", choices=sorted(SUITES), required=True, help="what is installed in this environment")
    parser.addoption("--router-python", default=str(ROOT / ".venv/bin/python"), help="the Python that has the router")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CELLS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "client" not in metafunc.fixturenames:
        return
    feature = feature_of(metafunc.definition)
    sdks = metafunc.definition.get_closest_marker("sdks") is not None
    chosen = [
        pytest.param((kind, family), id=f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}-{family}")
        for module in SUITES[metafunc.config.getoption("suite")]
        if module in SDKS or not sdks
        for kind in importlib.import_module(f"clients.{module}").CLIENTS
        for family in (FAMILIES if feature else FAMILIES[:1])
        if feature != "embeddings" or (kind.surface in (CHAT, GEMINI) and family != "anthropic")
    ]
    metafunc.parametrize("chosen", chosen)


def feature_of(item: Any) -> str:
    """What the test shows, or nothing."""
    mark = item.get_closest_marker("feature")
    name: str = mark.args[0] if mark is not None else ""
    return name


@pytest.fixture(scope="session")
def stage(pytestconfig: pytest.Config) -> Iterator[Stage]:
    """The router and its upstreams. They end when their standard input does, whatever becomes of this process."""
    command = [pytestconfig.getoption("router_python"), "-m", "tests.clients.stage"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = process.stdout.readline()
        assert told, "the stage did not start"
        yield Stage(**json.loads(told))
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
        process.stdout.close()


@pytest.fixture
def client(chosen: tuple[type[Client], str], request: pytest.FixtureRequest, stage: Stage) -> Client:
    """A client, as a program would make it."""
    kind, _ = chosen
    if reason := kind.lacks.get(feature_of(request.node)):
        pytest.skip(reason)
    return made(kind, stage)


@cache
def made(kind: type[Client], stage: Stage) -> Client:
    """Once for all tests: reading certificates takes an SDK longer than a call."""
    return kind(stage)


@pytest.fixture
def family(chosen: tuple[type[Client], str]) -> str:
    """The family of models."""
    return chosen[1]


@pytest.fixture
def model(chosen: tuple[type[Client], str], stage: Stage) -> str:
    """A model of the family."""
    return stage.models[chosen[1]]


# --- on record -------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that passed is a cell that says yes; several make one cell when the page is written."""
    report = yield
    callspec = getattr(item, "callspec", None)
    if callspec is not None and feature_of(item) and (report.when == "call" or not report.passed):
        kind, family = callspec.params["chosen"]
        outcome = {"passed": "yes", "failed": "no", "skipped": "not in this client"}[report.outcome]
        cell = {"client": kind.package, "version": version(kind.package), "surface": kind.surface, "family": family}
        cell |= {"feature": feature_of(item), "outcome": outcome}
        if reason := kind.lacks.get(cell["feature"]):
            cell["reason"] = reason
        item.config.stash[CELLS].append(cell)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was found, when all was asked."""
    name, cells = session.config.getoption("suite"), session.config.stash[CELLS]
    if cells and not session.config.option.keyword:
        folder = ROOT / ".compatibility"
        folder.mkdir(exist_ok=True)
        lines = [json.dumps(cell) for cell in cells]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
