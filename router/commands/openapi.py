"""`router openapi`: the OpenAPI document of the router's own API and of the client APIs' paths."""

from __future__ import annotations

import argparse
import os
import sys

from . import options
from .configured import settings_of
from .terminal import write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    options.config(parser)
    parser.add_argument("--yaml", action="store_true", help="as YAML; JSON otherwise")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from ..api.openapi import document, yaml
    from ..server import Server

    server = Server(settings_of(args), os.environ)
    server.load_plugins()
    told = document(server.routes(), server.dialects)
    if args.yaml:
        sys.stdout.write(yaml(told))
    else:
        write_json(told)
    return 0
