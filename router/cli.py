"""The command `router`: reads the command line, runs one command, turns failures into one line and an exit code.

0 done, 1 it failed, 2 wrong usage. The commands are in `router/commands`; plugins add theirs by the hook `router_commands`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import __version__
from .commands import options
from .commands.terminal import CommandError
from .errors import RouterError
from .settings import SettingsError
from .store.errors import StoreError

#: name -> what `router --help` says; the module of the same name in `router/commands` does it
COMMANDS = {
    "serve": "run the server",
    "check": "validate configuration, plugins and database, list the providers",
    "keys": "make, list and change keys",
    "credits": "show and book credits",
    "models": "list the models that can be asked for",
    "explain": "say where a request would go, and why",
    "providers": "list the configured upstreams",
    "plugins": "list the plugins that are installed",
    "usage": "show what was used",
    "tail": "follow the calls and changes of a running router",
    "openapi": "print the description of the API",
    "simulate": "price the logged calls again under another policy",
    "record": "record an upstream for a plugin's tests",
    "db": "migrate, copy and check the database",
    "doctor": "look for what could be wrong on this machine",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of this command line and return its exit code."""
    sys.excepthook = _one_line
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(argv).parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (CommandError, SettingsError, StoreError, RouterError) as error:
        return _failed(str(error))
    except BrokenPipeError:
        # The reader of `router models | head` has left; what Python would still flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 1


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with all that this command line needs: the options of one command, or the names of all."""
    parser = argparse.ArgumentParser(
        prog="router",
        description="One box between any LLM client and any LLM provider.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=20),
    )
    parser.add_argument("--version", action="version", version=f"onebox-router {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    wanted = next((each for each in argv if not each.startswith("-")), None)
    for name, about in COMMANDS.items():
        command = subparsers.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name == wanted:
            _declare(command, name)
    if wanted not in COMMANDS and argv != ["--version"]:
        _add_commands_of_plugins(subparsers, argv)
    return parser


def _declare(parser: argparse.ArgumentParser, name: str) -> None:
    module = importlib.import_module(f".commands.{name}", __package__)
    module.arguments(parser)
    parser.set_defaults(run=module.run)


def _add_commands_of_plugins(subparsers: Any, argv: Sequence[str]) -> None:
    """Ask the plugins for theirs. Where the configuration is wrong there are none, and only a command says so."""
    from .commands.configured import plugins_of, settings_of

    before = argparse.ArgumentParser(add_help=False)
    options.config(before)
    args, _ = before.parse_known_args(argv)
    with contextlib.suppress(SettingsError):
        plugins_of(settings_of(args)).hook.router_commands(subparsers=subparsers)


def _failed(message: str) -> int:
    print(f"router: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What is printed of an exception that nobody expected; `ROUTER_TRACEBACK=1` prints all of it."""
    if os.environ.get("ROUTER_TRACEBACK"):
        sys.__excepthook__(kind, error, trace)
    else:
        _failed(f"a bug: {kind.__name__}: {error} (with ROUTER_TRACEBACK=1 set it says where)")
