"""`router plugins`: what is installed, and what of it is used. `router plugins new NAME`: the beginning of one more."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from . import options
from .configured import path_of, plugins_of, settings_of, sourced_here
from .terminal import CommandError, write_json, write_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)
    parser.add_argument("action", nargs="?", choices=["new"], help="make the folder of a new provider plugin")
    parser.add_argument("name", nargs="?", metavar="NAME", help="with `new`: its name, such as acme or acme-eu")


def run(args: argparse.Namespace) -> int:
    """List the builtins and every installed distribution with an entry point of ours."""
    if args.action == "new":
        return _new(args.name)
    with sourced_here(path_of(args)):
        listed = list(plugins_of(settings_of(args)).listed.values())
    if args.json:
        write_json([msgspec.structs.asdict(each) for each in listed])
        return 0
    write_table(
        ["plugin", "state", "distribution", "version", "hooks"],
        [
            [each.name, each.state, each.distribution, each.version, each.problem or _hooks(each.hooks)]
            for each in listed
        ],
        none="no plugins",
    )
    return 0


def _new(name: str | None) -> int:
    from .new_plugin import make

    if not name:
        raise CommandError("`router plugins new` needs a name, such as `router plugins new acme`")
    folder = make(name, Path.cwd())
    sys.stdout.write(
        f"{folder.name}/ is there. Next:\n"
        f"  pip install -e ./{folder.name}[test]\n"
        f"  pytest {folder.name}\n"
        f"then read {folder.name}/README.md\n"
    )
    return 0


def _hooks(names: list[str]) -> str:
    return " ".join(name.removeprefix("router_") for name in names)
