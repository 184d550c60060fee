"""Plugins by strangers: the folder that the command line makes, the tutorial's, and one in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from router.commands.new_plugin import RECORDINGS, make
from router.commands.terminal import CommandError
from router.testing import FakeUpstream, json_answer, sse_answer

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_tests(folder: Path) -> None:
    """Run the tests of a plugin's folder as its author would."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d{2} passed", done.stdout), done.stdout


@pytest.mark.long
def test_the_folder_that_is_made_passes_its_tests(tmp_path: Path) -> None:
    run_tests(make("acme-eu", tmp_path))


@pytest.mark.parametrize("name", ["Acme", "1st", "a--b", "class", "../up", ""])
def test_a_name_that_will_not_do_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError):
        make(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    make("acme", tmp_path)
    with pytest.raises(CommandError, match="there already"):
        make("acme", tmp_path)


@pytest.fixture
def parrot(tmp_path: Path) -> Path:
    """The tutorial followed to its end."""
    folder = make("parrot", tmp_path)
    for name in RECORDINGS:
        (folder / "tests" / "recordings" / name).unlink()
    for path, text in BLOCK.findall((ROOT / "docs" / "plugin-tutorial.md").read_text()):
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.long
def test_the_tutorial_passes_its_tests(parrot: Path) -> None:
    run_tests(parrot)


@pytest.fixture
def elsewhere(parrot: Path, tmp_path: Path) -> Path:
    """An environment with the router and, from a wheel, the tutorial's plugin. What the router needs is lent by this one."""
    wheels, home = tmp_path / "wheels", tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(parrot)], check=True, timeout=60
    )
    venv.create(home, with_pip=False)
    packages = next((home / "lib").glob("python*/site-packages"))
    wheel = next(wheels.glob("*.whl"))
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(packages), str(wheel)], check=True, timeout=60
    )
    # The core as it is in this checkout, its entry point included, and its dependencies.
    (packages / "lent.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    return home


@pytest.mark.long
async def test_it_works_from_a_wheel_in_an_environment_of_its_own(
    elsewhere: Path, parrot: Path, tmp_path: Path
) -> None:
    live = msgspec.json.decode((parrot / "tests" / "recordings" / "live.json").read_bytes())["response"]["sse"]
    async with FakeUpstream().listening() as upstream:
        upstream.will(
            sse_answer([live.encode()]), json_answer({"said": "Polly", "why": "finished", "heard": 1, "spoken": 1})
        )
        config = (parrot / "config.toml").read_text().replace("http://127.0.0.1:9000", upstream.url)
        (tmp_path / "config.toml").write_text(config)
        command = [str(elsewhere / "bin" / "python"), "-m", "router", "serve", "--listen", "127.0.0.1:0"]
        environ = {**os.environ, "PARROT_KEY": "cracker", "ROUTER__AUTH__MODE": "open"}
        with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                streamed, plain = await ask_both_ways(server.stdout.readline().split()[-1])
            finally:
                server.terminate()
                server.wait(20)

    assert " matey" in streamed
    assert plain["choices"][0]["message"]["content"] == "Polly"
    assert plain["usage"]["cost"] == 3e-9
    assert upstream.asked[0].headers["x-seed"] == "cracker"


async def ask_both_ways(url: str) -> tuple[str, dict[str, Any]]:
    """The stream as text, and the plain answer."""
    ask = {"model": "parrot/grey-1", "messages": [{"role": "user", "content": "Hello"}]}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(f"{url}/v1/chat/completions", json={**ask, "stream": True}) as answer:
            streamed = await answer.text()
        async with session.post(f"{url}/v1/chat/completions", json=ask) as answer:
            return streamed, await answer.json()
