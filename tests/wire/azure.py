"""The recordings of OpenAI on Azure: the two forms of its addresses, and the settings that lead there."""

from __future__ import annotations

import re
from typing import Any

from .recordings import Recording

_DATED = re.compile(r"/openai/deployments/(?P<deployment>[^/]+)/(?P<rest>[^?]+)\?api-version=(?P<version>.+)")


def settings(recording: Recording, base: str) -> dict[str, Any]:
    """What `[providers.<slug>]` says, besides the key. What was recorded under other addresses goes to `/openai/v1`."""
    table: dict[str, Any] = {"plugin": "azure", "base_url": base}
    if found := _dated(recording):
        table |= {"api_version": found["version"], "deployments": {recording.model: found["deployment"]}}
    return table


def address(recording: Recording, operation: str) -> tuple[str, dict[str, str]]:
    """Path and query that the router must ask for."""
    if found := _dated(recording):
        return f"/openai/deployments/{found['deployment']}{operation}", {"api-version": found["version"]}
    return f"/openai/v1{operation}", {}


def deployment(recording: Recording) -> str:
    """What stands in the body as the model."""
    found = _dated(recording)
    return found["deployment"] if found else recording.model


def _dated(recording: Recording) -> re.Match[str] | None:
    return _DATED.search(recording.exchange["request"]["path"] or "")
