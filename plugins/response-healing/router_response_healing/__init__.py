"""Answers that should be JSON, and nearly are, become JSON (`plugins: [{"id": "response-healing"}]`).

Only plain answers: the beginning of a stream has left before anybody knows how it ends.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from router import Call, Citation, Confined, Event, OutOfBounds, PartDone, Start, TextDelta, ToolDelta, hookimpl

ID = "response-healing"
FORMATS = ("json_object", "json_schema")
MEGABYTES = 512

_confined = Confined(Path(__file__).with_name("repair.py"), megabytes=MEGABYTES)


class Settings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.response-healing]`: how long one answer may take, and how long it may be."""

    seconds: float = 10
    max_kb: int = 1024


@hookimpl
def router_settings() -> dict[str, type[Struct]]:
    """All of them have defaults."""
    return {ID: Settings}


@hookimpl
def router_request_plugins() -> Sequence[str]:
    """It needs no setting."""
    return (ID,)


@hookimpl
def router_filter(call: Call) -> Any:
    """Only where it is asked for, and JSON is."""
    if "response_format" not in call.head.needs or all(each["id"] != ID for each in call.head.plugins):
        return None
    if call.head.stream:
        _tell(call, "streams are not healed", {})
        return None

    async def healing(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        held: list[Event] = []
        try:
            async for event in events:
                if isinstance(event, Start):
                    yield event
                else:
                    held.append(event)
        except Exception:
            # What came before a failure is the caller's to judge.
            for event in held:
                yield event
            raise
        for event in await _healed(call, held):
            yield event

    return healing


async def _healed(call: Call, events: list[Event]) -> list[Event]:
    """The same answer, its texts healed where they are no JSON and can be made some."""
    wanted = call.request.response_format if call.request is not None else None
    if wanted is None or wanted.type not in FORMATS:
        return events
    texts: dict[int, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            texts[event.choice] = texts.get(event.choice, "") + event.text
    for event in events:
        if isinstance(event, ToolDelta):
            texts.pop(event.choice, None)  # what stands beside a call of a tool is talk
    schema = bytes(wanted.schema).decode() if wanted.type == "json_schema" and wanted.schema is not None else None
    for choice, text in texts.items():
        if text.strip() and not is_json(text):
            healed, summary = await _repaired(call, text, schema)
            _tell(call, f"choice {choice}: {summary}", {"choice": choice, "healed": healed is not None})
            if healed is not None:
                events = _with_text(events, choice, healed)
    return events


def is_json(text: str) -> bool:
    """Is it JSON as RFC 8259 has it?"""
    try:
        # Numbers stay text: Python has a limit of its own for their length.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def _repaired(call: Call, text: str, schema: str | None) -> tuple[str | None, str]:
    """The healed text, None where there is none, and what to say about it."""
    settings = call.server.own_settings(ID, Settings)
    if len(text) > settings.max_kb * 1024:
        return None, f"left as it was: longer than {settings.max_kb} kB"
    asked = json.dumps({"text": text, "schema": schema}).encode()
    try:
        healed = json.loads(await _confined.run(asked, seconds=settings.seconds))["text"]
    except OutOfBounds as error:
        return None, f"left as it was: {error}"
    if healed is None:
        return None, "left as it was: no JSON" + (" that fits the schema" if schema else "") + " could be made of it"
    return healed, "healed"


def _with_text(events: list[Event], choice: int, text: str) -> list[Event]:
    """The events with this text in place of a choice's own. Citations keep their sources only: their places are gone."""
    changed: list[Event] = []
    for event in events:
        match event:
            case TextDelta() if event.choice == choice:
                event, text = replace(event, text=text), ""
            case PartDone(part=Citation() as citation) if event.choice == choice:
                event = replace(event, part=replace(citation, start_index=0, end_index=0))
        changed.append(event)
    return changed


def _tell(call: Call, summary: str, data: dict[str, Any]) -> None:
    call.pipeline.append({"type": "plugin", "name": ID, "summary": summary, "data": data})
