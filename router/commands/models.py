"""`router models`: what can be asked for, and what it costs."""

from __future__ import annotations

import argparse
import asyncio

from ..errors import UpstreamError
from ..planning import Entry
from . import options
from .configured import Configured, configured
from .terminal import CommandError, write_json, write_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)
    parser.add_argument("--provider", metavar="SLUG", help="only models of this provider")
    parser.add_argument("--search", metavar="TEXT", help="only models with this in their id or name")


def run(args: argparse.Namespace) -> int:
    """List them. Providers with `discover = true` are asked."""
    entries = asyncio.run(_entries(args))
    if args.json:
        from ..api.entries import entry

        write_json([entry(each) for each in entries])
        return 0
    rows = [_row(each) for each in entries]
    write_table(["model", "context", "prompt $/M", "completion $/M", "input", "endpoints"], rows, none="no models")
    return 0


async def _entries(args: argparse.Namespace) -> list[Entry]:
    found = await configured(args)
    if args.provider and args.provider not in found.made.ready:
        raise CommandError(f"no provider {args.provider!r}; `router providers` lists them")
    await _discover(found, args.provider)
    entries = {each.id: each for each in found.table.entries.values() if _fits(each, args.provider, args.search)}
    return [entries[id] for id in sorted(entries)]


async def _discover(found: Configured, only: str | None) -> None:
    """Ask the upstreams that list their own models. One that does not answer has those of its catalogue."""

    async def ask(slug: str) -> None:
        provider = found.made.ready[slug]
        try:
            async with asyncio.timeout(provider.timeouts.connect_seconds):
                found.table.discovered(provider, await provider.models())
        except (UpstreamError, TimeoutError):
            return
        finally:
            await provider.close()

    slugs = [each.slug for each in found.made.ready.values() if each.settings.discover and only in (None, each.slug)]
    await asyncio.gather(*map(ask, slugs))


def _fits(entry: Entry, provider: str | None, search: str | None) -> bool:
    if provider and not any(endpoint.provider.slug == provider for endpoint in entry.endpoints):
        return False
    return search is None or search.lower() in f"{entry.id}\n{entry.model.name}".lower()


def _row(entry: Entry) -> list[object]:
    model, price = entry.model, entry.endpoints[0].price
    return [
        entry.id,
        model.context_length or None,
        _per_million(price.prompt) if price else None,
        _per_million(price.completion) if price else None,
        " ".join(model.input_modalities),
        " ".join(endpoint.provider.slug for endpoint in entry.endpoints),
    ]


def _per_million(picodollars: int) -> str:
    """USD per million tokens."""
    return f"{picodollars / 1_000_000:.10f}".rstrip("0").rstrip(".")
