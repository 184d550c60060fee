"""Files as text, for models that take none: PDF, HTML, plain text (`plugins: [{"id": "file-parser"}]`, or by itself).

A model that reads files itself gets them as they are, unless the request names an engine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from router import CONTENT_EVENTS, BadRequest, Call, Candidate, Event, Note, PartDone, Stop, hookimpl

from .files import Parsed, Reader
from .settings import ID, Settings, Wish

#: OpenRouter's name for its own local engine, and the one that it has now in its place
LOCAL = frozenset({"pdf-text", "cloudflare-ai"})
TAKEN = "modality: it takes no files, and the model that is asked first reads them itself"


@hookimpl
def router_settings() -> dict[str, type[Struct]]:
    """All of them have defaults."""
    return {ID: Settings}


@hookimpl
def router_request_plugins() -> Sequence[str]:
    """It needs no setting."""
    return (ID,)


@hookimpl
async def router_admit(call: Call) -> None:
    """Let routing choose models that take no files. Raises BadRequest for options that there are not."""
    wish = _wish(call)
    if wish is not None and wish.engine != "native" and "file" in call.head.modalities:
        call.state[ID] = wish
        call.head.converts |= {"file"}


def _wish(call: Call) -> Wish | None:
    """What the request wants; None where it switches the plugin off."""
    entry = next((each for each in call.head.plugins if each["id"] == ID), None)
    settings = call.server.own_settings(ID, Settings)
    if entry is None:
        return None if _switched_off(call) else Wish(settings=settings, files=settings.max_files)
    pdf, files = entry.get("pdf") or {}, entry.get("max_files", settings.max_files)
    if not isinstance(pdf, dict):
        raise BadRequest(f"plugins: pdf of {ID} must be an object with engine", param="plugins")
    if type(files) is not int or files < 1:
        raise BadRequest(f"plugins: max_files of {ID} must be a whole number above 0", param="plugins")
    engine = pdf.get("engine")
    if engine in LOCAL:
        engine = "pdf-text"
    if engine not in (None, "native", "pdf-text"):
        raise BadRequest(
            f"plugins: pdf.engine of {ID} is one of pdf-text (read here) and native (by the model); {str(engine)[:80]!r} is not here",
            param="plugins",
        )
    return Wish(settings=settings, engine=engine, files=min(files, settings.max_files))


def _switched_off(call: Call) -> bool:
    """Entries with `enabled: false` are not in the head any more."""
    if "file" not in call.head.modalities or "plugins" not in call.head.members:
        return False
    given = msgspec.json.decode(call.head.members["plugins"])
    return any(each.get("id") == ID and each.get("enabled") is False for each in given or ())


@hookimpl
def router_filter(call: Call) -> Any:
    """What was read goes back as `annotations`, so that a client can send it along and nothing is read again."""
    reader = _reader(call)
    if reader is None or call.dialect.name != "openai.chat":
        return None

    async def noting(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        content = False
        async for event in events:
            if isinstance(event, Stop) and content:
                for parsed in reader.read:
                    yield PartDone(part=_note(parsed))
            content = content or isinstance(event, CONTENT_EVENTS)
            yield event

    return noting


def _note(parsed: Parsed) -> Note:
    content = [{"type": "text", "text": parsed.text}]
    told = {"type": "file", "file": {"hash": parsed.hash, "name": parsed.name, "content": content}}
    return Note(raw=Raw(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")))


@hookimpl
def router_transform(call: Call) -> Any:
    """Where the model that is asked first takes no files, or an engine is named."""
    reader = _reader(call)
    return reader.transform if reader is not None else None


def _reader(call: Call) -> Reader | None:
    """Who reads the files of this call, None where the models do. Decided once: those that cannot are not asked then."""
    wish = call.state.get(ID)
    if not isinstance(wish, Wish):
        return wish  # decided before
    reader = None
    candidates = call.plan.candidates
    if wish.engine is not None or not _takes_files(candidates[0]):
        reader = Reader(call, wish)
    elif not all(map(_takes_files, candidates)):
        call.plan.candidates = [each for each in candidates if _takes_files(each)]
        call.plan.filtered += [
            {"endpoint": f"{each.endpoint.tag}: {each.endpoint.model_id}", "reason": TAKEN}
            for each in candidates
            if not _takes_files(each)
        ]
    call.state[ID] = reader
    return reader


def _takes_files(candidate: Candidate) -> bool:
    """A model that nothing is known of may."""
    model = candidate.endpoint.model
    return not model.context_length or "file" in model.input_modalities
