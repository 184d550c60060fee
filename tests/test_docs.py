"""What README, quickstart and the page about clients tell people to type is typed here, against a running router."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.cli import COMMANDS, main

from .serving import NOTICED, Served, serving

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/quickstart.md", "docs/clients.md", "docs/routing.md")
URL, KEY = "http://127.0.0.1:8080", "sk-rt-v1-…"
#: what is typed to get so far: `make run` and `make wheels` are what CI does
SETUP = ("make ", "pip install", ".venv/bin/pip install", "python3 -m venv")
#: the clients themselves, where their variables are what matters: those are looked at below
ELSEWHERE = ("claude", "codex", "gemini", ".venv/bin/router serve", "router serve")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN_S = 25


def blocks(language: str) -> list[pytest.param]:  # type: ignore[valid-type]
    """The examples of all pages in one language."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{page}:{line}"))
    return found


def lines_of(block: str) -> list[str]:
    """The commands of an example, each with its continued lines; without remarks."""
    joined = block.replace("\\\n", " ")
    return [line for each in joined.splitlines() if (line := re.sub(r"(^|\s+)# .*$|\s{2,}#.*$", "", each).strip())]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The configuration is that of the page about routing, which has all that the others need."""
    (tables,) = (str(each.values[0]) for each in blocks("toml") if str(each.id).startswith("docs/routing.md"))
    with serving(tmp_path_factory.mktemp("docs"), tables) as served:
        yield served


def run(command: list[str], served: Served, **variables: str) -> str:
    """Its output, if it ends well."""
    environ = {name: value for name, value in os.environ.items() if not NOTICED.fullmatch(name)}
    environ |= {"ROUTER_KEY": served.key, **variables}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=RUN_S, cwd=served.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("block", [each for each in blocks("python") if not str(each.id).startswith("docs/routing.md")])
def test_python(served: Served, block: str) -> None:
    """As it stands on the page, with another address and a real key."""
    code = block.replace(URL, served.url).replace(KEY, served.key)

    assert run([sys.executable, "-W", "ignore", "-c", code], served).strip()


def test_python_of_the_page_about_routing(served: Served) -> None:
    """Its examples go on from each other; each prints what the remark behind its `print` says."""
    code = "\n".join(str(each.values[0]) for each in blocks("python") if str(each.id).startswith("docs/routing.md"))

    printed = run(
        [sys.executable, "-W", "ignore", "-c", code.replace(URL, served.url).replace(KEY, served.key)], served
    )

    assert printed.split() == " ".join(re.findall(r"^ *print\(.*\)  # (.+)$", code, re.MULTILINE)).split()


CURLS = [
    pytest.param(line, id=f"{each.id}")
    for each in blocks("sh")
    for line in lines_of(str(each.values[0]))
    if line.startswith("curl")
]


@pytest.mark.parametrize("line", CURLS)
def test_curl(served: Served, line: str) -> None:
    answer = run(["sh", "-c", line.replace("curl ", "curl -sS ", 1).replace(URL, served.url)], served)

    assert '"error":{' not in answer
    assert "Hello" in answer


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the router are run, one after the other, with the variables that the page sets; all others are known here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for name in os.environ:
        if NOTICED.fullmatch(name):
            monkeypatch.delenv(name)
    for block in (
        block for language, block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if language == "sh"
    ):
        for line in lines_of(block):
            words = shlex.split(line)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                monkeypatch.setenv(name, value)
            elif line.startswith(ELSEWHERE) or f"{line} ".startswith(SETUP) or words[0] == "curl":
                continue
            else:
                assert words[0] in ("router", ".venv/bin/router"), f"nobody knows whether this works: {line}"
                assert main(words[1:]) == 0, line


def variables(heading: str, served: Served) -> dict[str, str]:
    """What the page about clients says to export below a heading."""
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.split(f" {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = dict(re.findall(r"^export (\w+)=(\S+)$", section, re.MULTILINE))
    return {name: value.replace(URL, served.url).replace("$ROUTER_KEY", served.key) for name, value in found.items()}


#: the SDK that a client is built on, or stands for it: these read the same variables
READERS = {
    "Claude Code": "import anthropic, os; print(anthropic.Anthropic().messages.create(model=os.environ['ANTHROPIC_MODEL'], "
    "max_tokens=9, messages=[{'role': 'user', 'content': 'Hello'}]).content[0].text)",
    "Gemini CLI": "import os; from google import genai; client = genai.Client(); print(client.models.generate_content("
    "model=os.environ['GEMINI_MODEL'], contents='Hello').text)",
    "OpenAI": "import openai; print(openai.OpenAI().responses.create(model='echo/echo', input='Hello').output_text)",
}


@pytest.mark.long
@pytest.mark.parametrize("client", READERS)
def test_the_variables_of_clients(served: Served, client: str) -> None:
    found = variables(client, served)

    assert served.url in "".join(found.values())
    assert "Hello" in run([sys.executable, "-W", "ignore", "-c", READERS[client]], served, **found)


def test_the_configuration_of_codex() -> None:
    (block,) = (str(each.values[0]) for each in blocks("toml") if str(each.id).startswith("docs/clients.md"))
    settings = tomllib.loads(block)

    provider = settings["model_providers"][settings["model_provider"]]
    assert (provider["base_url"], provider["wire_api"], provider["env_key"]) == (f"{URL}/v1", "responses", "ROUTER_KEY")


def test_the_readme_lists_every_plugin() -> None:
    """Whoever adds one writes its line."""
    plugins = {path.parent.name for path in (ROOT / "plugins").glob("*/setup.cfg")}
    rows = set(
        re.findall(r"^\| \[([a-z-]+)\]\(plugins/\1/README\.md\) \| \S", (ROOT / "README.md").read_text(), re.MULTILINE)
    )

    assert plugins - rows == set(), "README.md, Providers: a line for each of these is missing"
    assert rows - plugins == set(), "README.md, Providers: these are not there"


def test_the_readme_lists_every_command() -> None:
    listed = re.findall(r"^router (\w+) {2,}\S", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert set(listed) == set(COMMANDS)
