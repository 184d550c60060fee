"""Options that several commands share."""

from __future__ import annotations

import argparse


def config(parser: argparse.ArgumentParser) -> None:
    """`--config`, which every command takes."""
    parser.add_argument("--config", metavar="FILE", help="the configuration (default: ./config.toml if there is one)")


def database(parser: argparse.ArgumentParser) -> None:
    """`--database`, over `server.database`."""
    parser.add_argument("--database", metavar="FILE", help="the database (default: server.database)")


def as_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, which every listing takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
