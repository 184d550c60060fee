"""`router providers`: the configured upstreams."""

from __future__ import annotations

import argparse
import asyncio

from . import options
from .configured import Configured, configured, credentials_of
from .terminal import write, write_json, write_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    options.as_json(parser)


def run(args: argparse.Namespace) -> int:
    """List them, those whose plugin cannot load too."""
    found = asyncio.run(configured(args))
    rows = provider_rows(found)
    if args.json:
        write_json(rows)
        return 0
    write_providers(rows)
    for line in found.made.found:
        write(f"found {line}")
    return 0


def provider_rows(found: Configured) -> list[dict[str, object]]:
    """The providers as plain data, by slug."""
    rows: list[dict[str, object]] = []
    for slug, provider in sorted(found.made.ready.items()):
        entries = found.table.entries.values()
        rows.append(
            {
                "slug": slug,
                "plugin": provider.name,
                "credentials": credentials_of(provider),
                "models": len({each.id for each in entries if any(e.provider is provider for e in each.endpoints)}),
                "base_url": provider.settings.base_url or None,
                "problem": None,
            }
        )
    for slug, problem in sorted(found.made.broken.items()):
        rows.append(
            {"slug": slug, "plugin": None, "credentials": None, "models": 0, "base_url": None, "problem": problem}
        )
    return rows


def write_providers(rows: list[dict[str, object]]) -> None:
    """The same for people."""
    write_table(
        ["provider", "plugin", "credentials", "models", "base URL"],
        [
            [
                row["slug"],
                row["plugin"],
                row["problem"] or row["credentials"],
                row["models"],
                row["base_url"],
            ]
            for row in rows
        ],
        none="no providers: [providers] in the configuration is empty",
    )
