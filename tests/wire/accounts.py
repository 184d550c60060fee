"""The account of the recordings: which of them ran where, and which are excluded for which reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from . import clouds, lists, modalities, natives, replays
from .recordings import recordings

#: recordings that no test replays, with the reason
EXCLUDED = {**replays.EXCLUDED, **natives.EXCLUDED, **clouds.EXCLUDED, **modalities.EXCLUDED, **lists.EXCLUDED}
#: the clients that got an answer, the requests that were compared with the recorded ones, and what has but one API
COLUMNS = ("chat", "anthropic", "gemini", "responses", "requests", "others")

_NODE = re.compile(r"tests/wire/test_(?!accounts|expected)(?:wire_)?(\w+)\.py::(\w+)\[(.+)\]")
_NAME = re.compile(r"[a-z][a-z-]*-[0-9a-f]{6}(?![0-9a-z])")
_CHAT = ("chat", "natives", "clouds")


def ran(node: str) -> tuple[str, str] | None:
    """The recording that a test's id names, and its column; None for tests of other things."""
    found = _NODE.match(node)
    name = _NAME.search(found[3]) if found else None
    if not found or not name:
        return None
    where, test, named = found[1], found[2], name[0]
    if where == "surfaces":
        surface, _, named = named.removeprefix("x-").partition("-")
        return named, surface
    if "count" in test:
        return named, "others"
    if where == "requests" or "survive" in test or "recorded_request" in test or "are_asked" in test:
        return named, "requests"
    if where in _CHAT:
        return named, "chat"
    return named, where if where in COLUMNS else "others"


def table(nodes: Iterable[str]) -> Iterator[str]:
    """The lines of a table: how many recordings of each dialect ran in each column."""
    dialects = {each.name: each.dialect for each in recordings()}
    counts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, column in filter(None, map(ran, nodes)):
        # text completions are an API of their own, though their tests stand with those of Responses
        column = "others" if dialects.get(name) == "openai-completions" else column
        counts[dialects.get(name, "unknown")][column].add(name)
    if not counts:
        return
    yield f"{'wire: exchanges that ran':28}" + "".join(f"{each:>10}" for each in ("of", *COLUMNS, "excluded"))
    for dialect in sorted({*dialects.values(), *counts}):
        own = {name for name, each in dialects.items() if each == dialect}
        numbers = (len(own), *(len(counts[dialect][each]) for each in COLUMNS), len(own & EXCLUDED.keys()))
        yield f"wire: {dialect:22}" + "".join(f"{each or '-':>10}" for each in numbers)


def exclusions() -> Iterator[str]:
    """A line for each reason."""
    yield "wire: answers of openai-responses and openai-completions reach clients of the same API; all others are served by chat"
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in sorted(EXCLUDED.items()):
        reasons[reason].append(name)
    for reason, names in reasons.items():
        yield f"wire: excluded: {', '.join(names)}: {reason}"
