"""`router plugins`: what is installed, and what of it is used."""

from __future__ import annotations

import argparse

import msgspec

from . import options
from .configured import path_of, plugins_of, settings_of, sourced_here
from .terminal import write_json, write_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the builtins and every installed distribution with an entry point of ours."""
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


def _hooks(names: list[str]) -> str:
    return " ".join(name.removeprefix("router_") for name in names)
