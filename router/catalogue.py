"""Catalogue files: what a plugin knows of its models before it has asked anybody."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from .model import Model

_decode_catalogue = msgspec.json.Decoder(list[Model]).decode


def load_catalogue(package: str, name: str = "catalogue.json") -> list[Model]:
    """The catalogue file of a plugin: `Model` objects as JSON, prices in picodollars per token. Read once: all instances share it."""
    return list(_catalogue_file(package, name))


@cache
def _catalogue_file(package: str, name: str) -> list[Model]:
    return _decode_catalogue((files(package) / name).read_bytes())
