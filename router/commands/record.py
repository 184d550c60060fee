"""`router record`: recordings for a plugin's tests, from a real upstream with the author's own key."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..model import Model
from ..provider import Provider
from ..testing.exchanges import Exchange, exchanges
from ..testing.recorder import Recorded, Recorder, wanted_exchanges
from . import options
from .configured import configured
from .terminal import CommandError, write_json, write_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)
    parser.description = (
        "Record scrubbed exchanges with a configured upstream. It is asked for real, which costs what it costs."
    )
    parser.add_argument("--provider", required=True, metavar="P", help="whose name in the configuration")
    parser.add_argument("--model", metavar="M", help="the upstream's id (default: the cheapest of the catalogue)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("tests/recordings"),
        metavar="FOLDER",
        help="where to (default: tests/recordings)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(exchanges()),
        default=[],
        metavar="NAME",
        help=f"which of them (default: those that the model can do): {', '.join(exchanges())}",
    )
    parser.add_argument("--force", action="store_true", help="overwrite recordings that are there")


def run(args: argparse.Namespace) -> int:
    """Record, one exchange after the other, and say what became of each."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    provider = await _provider(args)
    try:
        model = await _model(provider, args.model)
        wanted = wanted_exchanges(args.only, model)
        _refuse_overwriting(args, wanted)
        recorder = Recorder(provider, model.id, args.out)
        progress = Progress(wanted)
        done = await recorder.record(wanted, told=progress.told)
        progress.end()
    finally:
        await provider.close()
    if args.json:
        write_json([msgspec.to_builtins(each) for each in done])
    else:
        write_table(
            ["exchange", "state", "status", "bytes", "problem"],
            [[each.name, each.state, each.status, each.bytes, each.problem] for each in done],
            none="nothing was recorded",
        )
    failed = [each for each in done if each.state == "failed"]
    if failed:
        raise CommandError(f"{len(failed)} of {len(wanted)} exchanges failed, {failed[0].name}: {failed[0].problem}")
    return 0


async def _provider(args: argparse.Namespace) -> Provider:
    """The configured instance. Raises CommandError where there is none that could be asked."""
    found = await configured(args)
    if args.provider in found.made.broken:
        raise CommandError(f"providers.{args.provider}: {found.made.broken[args.provider]}")
    provider = found.made.ready.get(args.provider)
    if provider is None:
        names = ", ".join(sorted(found.made.ready)) or "none"
        raise CommandError(f"no provider {args.provider!r} is configured; there are: {names}")
    if provider.url("/").scheme not in ("http", "https"):
        raise CommandError(f"{args.provider} has no upstream that could be recorded")
    if not provider.credentials:
        raise CommandError(f"{args.provider} has no credentials; set api_key in [providers.{args.provider}]")
    return provider


async def _model(provider: Provider, id: str | None) -> Model:
    """The model to ask: the one named, or the cheapest of the catalogue that can do most."""
    known = provider.catalogue() or (await provider.models() if provider.settings.discover else [])
    if id is not None:
        return next((each for each in known if id == each.id or id in each.aliases), None) or provider.unknown(id)
    chatting = [each for each in known if "text" in each.output_modalities and not each.deprecated]
    if not chatting:
        raise CommandError("this provider has no catalogue to choose from; name a model by --model")
    return min(chatting, key=_worth)


def _worth(model: Model) -> tuple[bool, float]:
    price = model.price.prompt + model.price.completion if model.price else float("inf")
    return bool(model.parameters) and "tools" not in model.parameters, price


def _refuse_overwriting(args: argparse.Namespace, wanted: Mapping[str, Exchange]) -> None:
    there = [name for name in wanted if (args.out / f"{name}.json").exists()]
    if there and not args.force:
        raise CommandError(f"{args.out / there[0]}.json is there already; nothing was asked. --force overwrites it")


class Progress:
    """One line on standard error that tells how far it is, where that is a terminal."""

    def __init__(self, wanted: Mapping[str, Exchange]) -> None:
        self._left = list(wanted)
        self._all = len(wanted)
        self._show()

    def told(self, recorded: Recorded) -> None:
        """One more is done."""
        self._left.remove(recorded.name)
        self._show()

    def end(self) -> None:
        """Take the line away."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")

    def _show(self) -> None:
        if self._left and sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{self._all - len(self._left) + 1}/{self._all} {self._left[0]} …")
            sys.stderr.flush()
