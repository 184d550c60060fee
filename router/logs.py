"""Logs: lines on standard error, as text or JSON, without line breaks, secrets or bodies in them.

Modules use `logging.getLogger(__name__)`. The request that a line belongs to comes from `request_id`, a context variable
that is set once per request.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar
from typing import IO, Any, Literal

import msgspec

request_id: ContextVar[str] = ContextVar("request_id", default="")

access = logging.getLogger("router.access")

#: how long a line may wait for company, in seconds, and how many lines at most
HELD_S, MOST_HELD = 0.1, 500
#: characters of a message, of one field, of a traceback (its end)
LONGEST, LONGEST_FIELD, LONGEST_TRACE = 2000, 200, 8000
#: text shaped like a key of ours or of a provider. A label (first 12 characters, dots, last 3) is shorter and stays
_SECRET = re.compile(
    r"\b(?:[spr]k-|[spr]k_|gsk_|xai-|AIza|hf_|nvapi-)[-_A-Za-z0-9]{14,}|(?<=[?&]key=)[^&\s]+|(?<=earer )\S+"
)
#: one of these is in every text that the pattern fits: looking for them costs a tenth
_HINTS = ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "xai-", "AIza", "hf_", "nvapi-", "?key=", "&key=", "earer ")

_encode = msgspec.json.Encoder().encode


def set_up(form: Literal["text", "json"], stream: IO[str] | None = None) -> None:
    """Send the log to standard error in this form. Called once, by `router serve`."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # documented under "Optimization": nobody prints the line of the call, which costs 5 µs
    logging.raiseExceptions = False  # a closed standard error must not fail a request
    handler = Buffered(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # It logs every event of a stream at DEBUG, prompts and all.
    logging.getLogger("aiohttp_sse_client").setLevel(logging.WARNING)


def flush() -> None:
    """Write the lines that still wait, before something else is printed behind them."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class Buffered(logging.StreamHandler[IO[str]]):
    """Collects records while an event loop runs and writes them together, at most `HELD_S` late: a system call for each line would
    cost more than the line, and many lines in a row are formatted in half the time. Warnings and worse are written at once, and
    so is everything at the end."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._held: list[str | logging.LogRecord] = []
        self._timer: asyncio.TimerHandle | None = None
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, and see to it that it is written soon."""
        record.request_id = request_id.get()
        # What a record refers to may change until it is written.
        self._held.append(self.format(record) if record.args or record.exc_info else record)
        if record.levelno >= logging.WARNING or len(self._held) >= MOST_HELD:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(HELD_S, self.flush)
            except RuntimeError:  # no loop runs here
                self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, []
        if held:
            lines = [each if isinstance(each, str) else self.format(each) for each in held]
            with contextlib.suppress(OSError, ValueError):  # a closed standard error must not fail a request
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()


def answered(**fields: str | int | float | None) -> None:
    """The one line per request. Names are printed as they are given; None is left out."""
    if access.isEnabledFor(logging.INFO):
        access.info("answered", extra={"fields": fields})


class TextLines(logging.Formatter):
    """`2026-11-21T10:00:00.123Z INFO router.access: answered method=GET … request_id=req_…`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and behind it a traceback where there is one, each of its lines marked by a bar."""
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record))
        line = f"{_time(record)} {record.levelname} {record.name}: {clean(record.getMessage(), LONGEST)}{fields}"
        if record.exc_info:
            trace = (clean(part, LONGEST) for part in _trace(record).splitlines())
            line = "\n  | ".join([line, *trace])
        return line


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage(), LONGEST),
        }
        for name, value in _fields(record):
            line[name] = _shown(value)
        if record.exc_info:
            line["exception"] = "\n".join(clean(part, LONGEST) for part in _trace(record).splitlines())
        return _encode(line).decode()


def clean(text: str, longest: int) -> str:
    """The text on one line: control characters escaped, what looks like a key masked, cut to `longest` characters."""
    if len(text) > longest:
        text = f"{text[:longest]}…"
    text = escaped(text)
    for hint in _HINTS:
        if hint in text:
            return _SECRET.sub("***", text)
    return text


def escaped(text: str) -> str:
    """The text with line breaks, control characters and whatever else a terminal might obey written as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _shown(value: str | int | float) -> str | int | float:
    return _shown_text(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=1024)
def _shown_text(value: str) -> str:
    """Methods, routes, labels and models come again and again."""
    return clean(value, LONGEST_FIELD)


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@functools.lru_cache(maxsize=2)
def _second(unix: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix))


def _fields(record: logging.LogRecord) -> list[tuple[str, Any]]:
    fields = [(name, value) for name, value in getattr(record, "fields", {}).items() if value is not None]
    if current := getattr(record, "request_id", "") or request_id.get():
        fields.append(("request_id", current))
    return fields


def _trace(record: logging.LogRecord) -> str:
    assert record.exc_info is not None
    return "".join(traceback.format_exception(*record.exc_info))[-LONGEST_TRACE:]
