"""The configuration as it may be shown: everything but what somebody could use elsewhere.

The router's own sections hold no secret but that of `[byok]`. Tables of providers and plugins do, under names of their makers'
choice: of these a string is shown unless its name, or one above it, is telling; where it came by a reference, the reference is
shown and not what it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from .settings import Settings
from .tables import Referenced

HIDDEN = "***"
#: sections that may hold secrets
RAW = ("providers", "plugins", "byok")
#: names under which secrets stand
TELLING = re.compile(r"key|token|secret|pass|credential|auth|cookie|private|signature|header|dsn", re.IGNORECASE)


def shown(settings: Settings, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """The whole tree, as the file has it. `secrets` are hidden wherever they stand."""
    known = [each for each in secrets if each]
    plugins = settings.plugins
    tree = {
        name: msgspec.to_builtins(getattr(settings, name)) for name in settings.__struct_fields__ if name not in RAW
    }
    tree["providers"] = _shown(settings.providers, known)
    tree["byok"] = _shown({"key": settings.byok.key}, known)
    tree["plugins"] = {
        "enabled": plugins.enabled,
        "disabled": plugins.disabled,
        **_shown(plugins.tables, known),
    }
    return tree


def _shown(value: Any, secrets: list[str], *, hidden: bool = False) -> Any:
    match value:
        case Mapping():
            return {
                str(name): _shown(inner, secrets, hidden=hidden or TELLING.search(name) is not None)
                for name, inner in value.items()
            }
        case list():
            return [_shown(inner, secrets, hidden=hidden) for inner in value]
        case Referenced():
            return value.reference
        case str():
            return HIDDEN if hidden and value else _without(_open(str(value)), secrets)
    return value


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _open(text: str) -> str:
    """An address without its user, password and query."""
    if "://" not in text:
        return text
    try:
        url = urlsplit(text)
    except ValueError:
        return HIDDEN
    host = f"{HIDDEN}@{url.netloc.rpartition('@')[2]}" if "@" in url.netloc else url.netloc
    return urlunsplit((url.scheme, host, url.path, HIDDEN if url.query else "", ""))
