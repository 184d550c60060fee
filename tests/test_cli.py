"""The command line as a person uses it: the real program, its output, its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from router.cli import main
from router.store.schema.booking import FIRST
from tests.serving import within

ROOT = Path(__file__).parents[1]
ECHO = '[providers.echo]\nplugin = "echo"\n'
#: seconds; generous, since the machine may be busy
START_S, STOP_S = 20, 15


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Router = Callable[..., Done]


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment without anything that a router would take notice of."""
    noticed = re.compile(r".*_API_KEY|ROUTER_.*|NO_COLOR", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not noticed.fullmatch(name)}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))}


@pytest.fixture
def program(tmp_path: Path, environ: dict[str, str]) -> Router:
    """Run one command as a process, in a folder with a configuration; `fails` is the exit code that is expected."""
    (tmp_path / "config.toml").write_text(ECHO)

    def program(*arguments: str, fails: int = 0, **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "router", *arguments],
            cwd=tmp_path,
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        return checked(Done(done.returncode, done.stdout, done.stderr), fails)

    return program


@pytest.fixture
def router(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Router:
    """The same inside this process, which is ten times faster; `program` is there for what needs a process."""
    (tmp_path / "config.toml").write_text(ECHO)

    def router(*arguments: str, fails: int = 0, **variables: str) -> Done:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(os, "environ", {**environ, **variables})
            patch.setattr(sys, "excepthook", sys.excepthook)
            try:
                code = main(arguments)
            except SystemExit as ended:
                code = int(str(ended.code))
        return checked(Done(code, *capsys.readouterr()), fails)

    return router


def checked(done: Done, fails: int) -> Done:
    """The same, if the exit code is the expected one and a person gets no traceback to see."""
    assert done.returncode == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def key(router: Router) -> str:
    """A key, made by the command line."""
    made: str = json.loads(router("keys", "create", "--name", "first", "--json").stdout)["key"]
    return made


class Served:
    """`router serve` as a process. `url` is set once it listens."""

    url = ""

    def __init__(self, folder: Path, environ: dict[str, str], *arguments: str) -> None:
        self.log = folder / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "router", "serve", "--listen", "127.0.0.1:0", *arguments],
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def wait(self) -> None:
        """Wait until it listens."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line + self.log.read_text()
        self.url = found[1]

    def ask(self, path: str, key: str = "", body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(self.url + path, data, {**headers, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def wait_for(self, path: str, key: str, status: int) -> None:
        """Wait until an answer has this status; a change in the file is noticed within half a second."""
        assert within(5, lambda: self.ask(path, key)[0] == status)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what it printed since."""
        self.process.send_signal(how)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()  # `communicate` would lose what came together with the first line
        return self.process.wait(STOP_S), rest


@pytest.fixture
def serve(tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[..., Served]]:
    """Start servers in the folder of `router`; they end with the test."""
    (tmp_path / "config.toml").write_text(ECHO)
    started: list[Served] = []

    def serve(*arguments: str, **variables: str) -> Served:
        served = Served(tmp_path, {**environ, **variables}, *arguments)
        started.append(served)
        served.wait()
        return served

    yield serve
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


Serve = Callable[..., Served]


def hello(served: Served, key: str) -> str:
    """Ask echo to repeat a word."""
    body = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
    status, answer = served.ask("/v1/chat/completions", key, body)
    assert status == 200, answer
    text: str = answer["choices"][0]["message"]["content"]
    return text


# --- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("keys",),
        ("keys", "create"),
        ("keys", "create", "--name", "a", "--limit", "much"),
        ("keys", "create", "--name", "a", "--limit", "nan"),
        ("keys", "create", "--name", "a", "--expires", "soon"),
        ("keys", "create", "--name", "a", "--reset", "hourly"),
        ("serve", "--workers", "2"),
        ("models", "--qqq"),
    ],
)
def test_wrong_usage_is_2(router: Router, arguments: tuple[str, ...]) -> None:
    done = router(*arguments, fails=2)

    assert done.stdout == ""
    assert "usage: router" in done.stderr


def test_help_lists_the_commands(router: Router) -> None:
    shown = router("--help").stdout

    for name in ("serve", "check", "keys", "models", "providers", "plugins", "doctor"):
        assert re.search(rf"^ +{name}\b", shown, re.MULTILINE)


@pytest.mark.parametrize("name", ["serve", "check", "keys list", "models", "providers", "plugins", "doctor"])
def test_every_command_takes_a_configuration(router: Router, name: str) -> None:
    done = router(*name.split(), "--config", "nope.toml", fails=1)

    assert "nope.toml: cannot be read: No such file or directory" in done.stderr + done.stdout


def test_an_unexpected_error_is_one_line(router: Router) -> None:
    script = "import router.cli as c; c.COMMANDS = None; c.main(['models'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=START_S, cwd=ROOT)

    assert done.returncode == 1
    assert re.fullmatch(r"router: a bug: AttributeError: .+ROUTER_TRACEBACK=1.+\n", done.stderr)


def test_a_reader_that_leaves_is_no_fault(tmp_path: Path, environ: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "router", "plugins"],
            cwd=tmp_path,
            env=environ,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=START_S,
        )
    finally:
        os.close(writer)

    assert done.stderr == b""


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once(program: Router) -> None:
    made = json.loads(program("keys", "create", "--name", "first", "--json").stdout)

    assert made.keys() == {"key", "hash", "name"}
    assert re.fullmatch(r"sk-rt-v1-[\w-]{43}", made["key"])
    assert re.fullmatch(r"[0-9a-f]{64}", made["hash"])
    later = (
        program("keys", "list").stdout
        + program("keys", "list", "--json").stdout
        + program("keys", "show", "first").stdout
    )
    assert made["hash"] in later
    assert made["key"] not in later


def test_what_was_asked_of_a_key_is_kept(router: Router) -> None:
    options = ("--management", "--limit", "0.50", "--reset", "monthly", "--rpm", "7", "--expires", "2999-01-02")
    router("keys", "create", "--name", "boss", *options, "--endpoint", "/models", "--endpoint", "/\x1b[2J*")

    assert "/models, /\\x1b[2J*" in router("keys", "show", "boss").stdout
    shown = json.loads(router("keys", "show", "boss", "--json").stdout)

    assert (shown["key_type"], shown["limit"], shown["limit_reset"]) == ("management", 0.5, "monthly")
    assert (shown["rpm"], shown["expires_at"], shown["state"]) == (7, "2999-01-02T00:00:00.000Z", "live")
    assert shown["allowed_endpoints"] == ["/models", "/\x1b[2J*"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--expires", "2001-01-01"), "must lie in the future"),
        (("--limit", "-1"), "at least 0 USD"),
        (("--name", "x" * 101), "1 to 100 printable characters"),
    ],
)
def test_nonsense_in_a_key_is_refused(router: Router, options: tuple[str, ...], message: str) -> None:
    done = router("keys", "create", "--name", "a", *options, fails=1)

    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_name_is_given_once(router: Router, key: str) -> None:
    done = router("keys", "create", "--name", "first", fails=1)

    assert "there is a key named 'first' already" in done.stderr


def test_keys_are_listed_disabled_rotated_and_deleted(router: Router, key: str) -> None:
    assert re.search(r"^first +sk-rt-v1-\S+ +regular +live ", router("keys", "list").stdout, re.MULTILINE)

    router("keys", "disable", "first")
    assert json.loads(router("keys", "list", "--json").stdout)[0]["state"] == "disabled"

    rotated = json.loads(router("keys", "rotate", "first", "--json").stdout)
    assert rotated["name"] == "first"
    assert rotated["key"] != key

    router("keys", "delete", "first")
    assert json.loads(router("keys", "list", "--json").stdout) == []
    assert "there is no key 'first'" in router("keys", "show", "first", fails=1).stderr


# --- credits and the database ----------------------------------------------------------------------------------------


def test_credits_are_granted_adjusted_and_shown(router: Router) -> None:
    assert json.loads(router("credits", "show", "--json").stdout) == {
        "total_credits": 0,
        "total_usage": 0,
        "credits": 0,
    }

    done = router("credits", "grant", "20", "--note", "for June")
    adjusted = json.loads(router("credits", "adjust", "--json", "--note", "a slip", "--", "-0.50").stdout)

    assert re.fullmatch(r"txn_\w+: \$20 booked; \$20 is left\n", done.stdout)
    assert (adjusted["type"], adjusted["amount"], adjusted["balance_after"]) == ("adjustment", -0.5, 19.5)
    assert router("credits", "show").stdout == "granted   $19.5\nused      $0\nleft      $19.5\n"
    assert "the sums of the ledger agree" in router("check").stdout


@pytest.mark.parametrize("amount", ["0", "-5", "much", "nan", "1e400"])
def test_what_is_no_grant_is_refused(router: Router, amount: str) -> None:
    done = router("credits", "grant", "--", amount, fails=2)
    assert "argument AMOUNT" in done.stderr


def test_more_than_the_ledger_adds_up_is_refused(router: Router) -> None:
    assert "no more than $4,000,000" in router("credits", "grant", "5000000", fails=1).stderr


def test_a_refund_needs_a_charge(router: Router, key: str) -> None:
    assert "no charge was booked for gen-1" in router("credits", "refund", "gen-1", fails=1).stderr


def test_a_call_is_refunded_once(router: Router, key: str, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "router.db")
    connection.execute(
        "INSERT INTO generation (id, created_unix, day, key_hash, status, charge) VALUES ('gen-1', 1, 0, 'k', 'ok', 5000000000)"
    )
    connection.commit()
    connection.close()

    entry = json.loads(router("credits", "refund", "gen-1", "--json").stdout)

    assert (entry["type"], entry["amount"], entry["balance_after"], entry["generation_id"]) == (
        "refund",
        0.005,
        0,
        "gen-1",
    )
    assert "booked before" in router("credits", "refund", "gen-1", fails=1).stderr


def test_a_database_is_copied_and_the_copy_is_whole(router: Router, key: str, tmp_path: Path) -> None:
    router("credits", "grant", "3")
    target = tmp_path / "copies" / "router.db"
    target.parent.mkdir()

    told = json.loads(router("db", "backup", str(target.parent), "--json").stdout)

    assert told["copy"] == str(target)
    assert json.loads(router("credits", "show", "--database", str(target), "--json").stdout)["credits"] == 3
    assert json.loads(router("db", "check", "--database", str(target), "--json").stdout)["faults"] == []
    assert "is there already" in router("db", "backup", str(target), fails=1).stderr
    assert "copied to" in router("db", "backup").stdout


def test_a_damaged_ledger_is_told(router: Router, tmp_path: Path) -> None:
    router("credits", "grant", "3")
    assert "the file is whole" in router("db", "check").stdout
    connection = sqlite3.connect(tmp_path / "router.db")
    connection.execute("DROP TRIGGER entry_stays")
    connection.execute("UPDATE entry SET amount = 7")
    connection.commit()
    connection.close()

    assert "do not lead from the balance before" in router("db", "check", fails=1).stderr
    assert json.loads(router("db", "check", "--json", fails=1).stdout)["ok"] is False
    assert "do not lead from the balance before" in router("check", fails=1).stderr


def test_a_file_that_is_no_database_is_told(router: Router, tmp_path: Path) -> None:
    assert "there is no database" in router("db", "check", fails=1).stderr
    (tmp_path / "router.db").write_text("a letter " * 1000)
    for action in ("check", "migrate", "backup"):
        assert "not a database" in router("db", action, fails=1).stderr
    assert [path.name for path in tmp_path.glob("*.bak")] == []


def test_a_database_of_the_first_version_is_migrated(router: Router, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "router.db")
    for statement in FIRST:
        connection.execute(statement)
    connection.execute("INSERT INTO migration VALUES ('core', 1, 0)")
    connection.commit()
    connection.close()

    steps = json.loads(router("db", "migrate", "--json").stdout)["steps"]

    assert {"core 2", "responses 1"} <= set(steps)
    assert "nothing to do" in router("db", "migrate").stdout
    assert len(list(tmp_path.glob("*.bak"))) == 1


def test_credits_granted_while_the_server_runs_hold_at_once(serve: Serve, program: Router) -> None:
    served = serve()
    boss = json.loads(program("keys", "create", "--name", "boss", "--management", "--json").stdout)["key"]
    served.wait_for("/v1/credits", boss, 200)

    program("credits", "grant", "7")

    assert within(15, lambda: served.ask("/v1/credits", boss)[1]["data"]["credits"] == 7)
    assert "the sums of the ledger agree" in program("db", "check").stdout


def test_without_a_database_there_are_no_keys_and_none_is_made(router: Router, tmp_path: Path) -> None:
    assert json.loads(router("keys", "list", "--json").stdout) == []
    assert "there is no database" in router("keys", "show", "first", fails=1).stderr

    assert not (tmp_path / "router.db").exists()


def test_the_database_of_the_command_line_counts_before_that_of_the_file(router: Router, tmp_path: Path) -> None:
    router("keys", "create", "--name", "a", "--database", "other.db")

    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "router.db").exists()


def test_something_else_than_a_database_is_left_alone(router: Router, tmp_path: Path) -> None:
    (tmp_path / "router.db").write_text("dear diary, " * 100)

    done = router("keys", "list", fails=1)

    assert "is damaged or no database" in done.stderr
    assert (tmp_path / "router.db").read_text().startswith("dear diary")


# --- listings --------------------------------------------------------------------------------------------------------


def test_models_are_listed(router: Router) -> None:
    entries = {entry["id"]: entry for entry in json.loads(router("models", "--json").stdout)}
    shown = router("models").stdout

    assert entries["echo/echo"]["pricing"]["prompt"] == "0"
    assert all(re.search(rf"^{re.escape(id)} ", shown, re.MULTILINE) for id in entries)


def test_models_are_found_by_provider_and_text(router: Router) -> None:
    assert [each["id"] for each in json.loads(router("models", "--search", "SLOW", "--json").stdout)] == ["echo/slow"]
    assert len(json.loads(router("models", "--provider", "echo", "--json").stdout)) > 3
    assert "no provider 'nope'" in router("models", "--provider", "nope", fails=1).stderr


def test_providers_are_listed_with_their_credentials(router: Router, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        f'{ECHO}[providers.one]\nplugin = "anthropic"\napi_key = "env:ONE"\n[providers.two]\nplugin = "anthropic"\n'
        'api_keys = ["a", "b"]\n'
    )

    rows = {row["slug"]: row for row in json.loads(router("providers", "--json").stdout)}

    assert {slug: row["credentials"] for slug, row in rows.items()} == {
        "echo": "not needed",
        "one": "missing",
        "two": "present (2)",
    }
    assert json.loads(router("providers", "--json", ONE="x").stdout)[1]["credentials"] == "present"
    assert re.search(r"^one +anthropic +missing ", router("providers").stdout, re.MULTILINE)


def test_without_a_configuration_providers_come_from_the_environment(router: Router, tmp_path: Path) -> None:
    (tmp_path / "config.toml").unlink()

    rows = {row["slug"]: row for row in json.loads(router("providers", "--json", ANTHROPIC_API_KEY="x").stdout)}

    assert rows["anthropic"]["credentials"] == "present"
    assert rows["echo"]["credentials"] == "not needed"
    assert "openai" not in rows


@pytest.mark.parametrize("document", ["README.md", "docs/configuration.md", "config.toml"])
def test_the_variables_that_the_documents_name_each_bring_a_provider(
    router: Router, tmp_path: Path, document: str
) -> None:
    (tmp_path / "config.toml").unlink()
    text = (ROOT / document).read_text()
    names = set(re.findall(r"\b[A-Z]+_API_KEY\b", text))
    assert "OPENAI_API_KEY" in names

    found = router("providers", **dict.fromkeys(names, "x")).stdout

    for name in names:
        assert f"(key in {name})" in found


def test_plugins_are_listed_used_or_not(router: Router, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'{ECHO}[plugins]\ndisabled = ["metrics", "gemini"]\n')

    rows = {row["name"]: row for row in json.loads(router("plugins", "--json").stdout)}

    states = {name: rows[name]["state"] for name in ("auth", "metrics", "echo", "gemini", "anthropic")}
    assert states == {
        "auth": "builtin",
        "metrics": "disabled",
        "echo": "loaded",
        "gemini": "disabled",
        "anthropic": "available",
    }
    assert rows["echo"]["hooks"] == ["router_providers"]
    assert rows["echo"]["distribution"] == "onebox-router-echo"


def test_a_plugin_may_bring_a_command(program: Router, tmp_path: Path) -> None:
    """An installed distribution is a folder with metadata on the path; this one adds `router greet`."""
    info = tmp_path / "site" / "router_greet-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: router-greet\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[router]\ngreet = router_greet\n")
    (tmp_path / "site" / "router_greet.py").write_text(
        "from router import hookimpl\n\n\n"
        "@hookimpl\ndef router_commands(subparsers):\n"
        "    parser = subparsers.add_parser('greet', help='say hello')\n"
        "    parser.add_argument('name')\n"
        "    parser.add_argument('--version', action='store_true')\n"
        "    parser.set_defaults(run=lambda args: print(f'hello {args.name}') or 3)\n"
    )
    path = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"

    program("greet", "you", fails=2, PYTHONPATH=path)  # installed, but nobody wants it
    (tmp_path / "config.toml").write_text(f'{ECHO}[plugins]\nenabled = ["greet"]\n')
    assert program("greet", "you", fails=3, PYTHONPATH=path).stdout == "hello you\n"
    assert program("greet", "you", "--version", fails=3, PYTHONPATH=path).stdout == "hello you\n"
    assert "greet" in program("--help", PYTHONPATH=path).stdout


# --- check and doctor ------------------------------------------------------------------------------------------------


def test_check_is_content_with_a_good_configuration(program: Router, key: str) -> None:
    shown = program("check").stdout

    assert "configuration: config.toml: ok" in shown
    assert "router.db: ok, the sums of the ledger agree" in shown
    assert re.search(r"^echo +echo +not needed", shown, re.MULTILINE)


WRONG = [
    ("[server]\ndatabase = 1", "config.toml: server.database: expected a string, got a whole number"),
    (
        '[providers.openai]\nplugin = "anthropic"\nbsae_url = "x"',
        "config.toml: providers.openai.bsae_url: unknown key (did you mean base_url?)",
    ),
    (
        '[providers.x]\nplugin = "nope"',
        "config.toml: providers.x.plugin: no plugin 'nope'; is onebox-router-nope installed and not disabled?",
    ),
    ("[plugins.nope]\na = 1", "config.toml: plugins.nope: no plugin of this name is installed"),
]


@pytest.mark.parametrize("command", ["check", "models"])
@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_configuration_stops_a_command(
    router: Router, tmp_path: Path, command: str, text: str, message: str
) -> None:
    (tmp_path / "config.toml").write_text(text)

    done = router(command, fails=1)

    assert done.stderr == f"router: {message}\n"
    assert done.stdout == ""


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_configuration_stops_the_start(program: Router, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(text)

    done = program("serve", "--listen", "127.0.0.1:0", fails=1)

    assert done.stderr.splitlines()[-1] == f"router: {message}"
    assert done.stdout == ""


def test_doctor_says_what_is_right(router: Router, key: str, tmp_path: Path) -> None:
    (tmp_path / "router.db").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    findings = json.loads(router("doctor", "--json", ROUTER__SERVER__LISTEN=f"127.0.0.1:{port}").stdout)

    verdicts = {each["about"]: each["verdict"] for each in findings}
    expected = ("python", "aiohttp", "onebox-router", "clock", "configuration", "plugins", "database", "port")
    assert {name: verdicts.get(name) for name in expected} == dict.fromkeys(expected, "ok")
    assert verdicts["provider echo"] == "ok"


def test_doctor_says_what_is_wrong_and_what_to_do(router: Router, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[server]\ndatabase = "no/such/folder/router.db"\n'
        '[providers.claude]\nplugin = "anthropic"\napi_key = "env:NOT_SET"\n'
        '[providers.here]\nplugin = "anthropic"\napi_key = "x"\nbase_url = "http://127.0.0.1:1"\n'
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        lines = router("doctor", fails=1, ROUTER__SERVER__LISTEN=f"127.0.0.1:{port}").stdout.splitlines()

    def line(about: str) -> str:
        return next(each for each in lines if re.match(rf"\w+ +{re.escape(about)}: ", each))

    assert line("database").startswith("fail")
    assert "set server.database" in line("database")
    assert line("provider claude").startswith("warn")
    assert "providers.claude.api_key" in line("provider claude")
    assert line("server http://127.0.0.1:1").startswith("warn")
    assert line("port").startswith("fail")
    assert "set server.listen" in line("port")


def test_doctor_finds_the_other_router_of_pypi(program: Router, tmp_path: Path) -> None:
    info = tmp_path / "site" / "router-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: router\nVersion: 0.1\n")

    shown = program("doctor", fails=1, PYTHONPATH=f"{tmp_path / 'site'}{os.pathsep}{ROOT}").stdout

    assert "fail  onebox-router: the unrelated distribution `router` 0.1 is installed over it" in shown


def test_a_line_has_no_colour_outside_a_terminal(router: Router) -> None:
    assert "\033" not in router("doctor", "--config", "config.toml", ROUTER__SERVER__LISTEN="127.0.0.1:0").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals here")
@pytest.mark.parametrize(
    ("variables", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)]
)
def test_a_terminal_gets_colour_unless_it_declines(
    tmp_path: Path, environ: dict[str, str], variables: dict[str, str], coloured: bool
) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "router", "plugins"],
            cwd=tmp_path,
            env={**environ, **variables},
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=START_S,
        )
        shown = os.read(ours, 100_000)
    finally:
        os.close(theirs)
        os.close(ours)

    assert done.returncode == 0
    assert (b"\033[" in shown) is coloured


# --- serve -----------------------------------------------------------------------------------------------------------


def test_the_first_start_prints_two_keys_that_work_and_the_second_none(serve: Serve) -> None:
    first = serve()
    code, said = first.stop()
    keys = dict(re.findall(r"^(management|inference) key +(\S+)$", said, re.MULTILINE))
    assert code == 0
    assert "curl " in said
    assert not any(key in first.log.read_text() for key in keys.values())

    second = serve()
    assert hello(second, keys["inference"]) == "hello"
    body = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
    assert second.ask("/v1/chat/completions", keys["management"], body)[0] == 403
    code, said = second.stop(signal.SIGINT)
    assert code == 0
    assert "sk-rt" not in said


def test_the_printed_curl_line_gets_a_streamed_answer(serve: Serve) -> None:
    served = serve()
    assert served.process.stdout is not None
    said = ""
    while '"stream": true' not in said:
        said += served.process.stdout.readline()
    command = said[said.index("curl ") :]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=10)

    assert "chat.completion.chunk" in done.stdout
    assert done.stdout.rstrip().endswith("data: [DONE]")


def test_the_curl_line_of_the_readme_gets_a_streamed_answer(serve: Serve, router: Router, key: str) -> None:
    served = serve()
    command = re.search(r"^curl (?:.*\\\n)*.*", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert command

    done = subprocess.run(
        ["sh", "-c", command[0].replace("http://127.0.0.1:8080", served.url)],
        env={**os.environ, "ROUTER_KEY": key},
        capture_output=True,
        text=True,
        timeout=10,
    )

    assert done.stdout.rstrip().endswith("data: [DONE]")


def test_keys_change_while_the_server_runs(serve: Serve, router: Router) -> None:
    served = serve()
    key = json.loads(router("keys", "create", "--name", "late", "--json").stdout)["key"]

    served.wait_for("/v1/key", key, 200)
    router("keys", "disable", "late")
    served.wait_for("/v1/key", key, 401)


def test_doctor_recognises_a_running_router(serve: Serve, router: Router) -> None:
    served = serve()
    listen = served.url.removeprefix("http://")

    assert f"a router serves on {listen}" in router("doctor", ROUTER__SERVER__LISTEN=listen).stdout


def test_check_works_beside_a_running_router(serve: Serve, router: Router, key: str) -> None:
    served = serve()
    hello(served, key)

    assert "the sums of the ledger agree" in router("check").stdout


def test_a_port_that_is_taken_is_one_line(program: Router) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        done = program("serve", "--listen", listen, fails=1)

    assert done.stderr.splitlines()[-1].startswith(
        f"router: cannot listen on {listen}: something listens there already"
    )


def test_a_second_server_on_the_same_database_is_refused(serve: Serve, program: Router) -> None:
    serve()

    done = program("serve", "--listen", "127.0.0.1:0", fails=1)

    assert "is in use by another router" in done.stderr


def test_a_management_key_of_the_environment_is_accepted_and_not_stored(serve: Serve, tmp_path: Path) -> None:
    key = "m" * 32
    served = serve(ROUTER_MANAGEMENT_KEY=key)

    assert served.ask("/v1/key", key)[0] == 200
    code, said = served.stop()
    assert (code, said) == (0, "")
    assert key.encode() not in b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_a_reload_takes_a_valid_file_and_keeps_out_a_wrong_one(serve: Serve, key: str, tmp_path: Path) -> None:
    served = serve()
    assert served.ask("/v1/models/other/echo", key)[0] == 404

    (tmp_path / "config.toml").write_text('[providers.other]\nplugin = "echo"\n')
    served.process.send_signal(signal.SIGHUP)
    served.wait_for("/v1/models/other/echo", key, 200)

    (tmp_path / "config.toml").write_text("[surver]\n")
    served.process.send_signal(signal.SIGHUP)
    assert within(5, lambda: "surver" in served.log.read_text())
    assert served.ask("/v1/models/other/echo", key)[0] == 200


def test_the_log_can_be_json(serve: Serve, key: str) -> None:
    served = serve("--log-format", "json")
    hello(served, key)
    served.stop()

    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    answered = [line for line in lines if line["logger"] == "router.access"]
    assert [(line["method"], line["status"]) for line in answered] == [("POST", 200)]
    assert answered[0]["request_id"].startswith("req_")
    assert key not in served.log.read_text()


def test_start_to_first_answer_takes_about_a_second(serve: Serve, key: str) -> None:
    """The aim is one second; the bound is wide because the machine may be busy with other tests."""
    began = time.monotonic()
    served = serve()
    hello(served, key)

    assert time.monotonic() - began < 4
