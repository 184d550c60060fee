"""What a line of the log looks like, and what is never in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from router import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the logging of the other tests as it was."""
    root = logging.getLogger()
    handlers, level, names = root.handlers[:], root.level, ("logThreads", "logProcesses", "raiseExceptions", "_srcfile")
    kept = {name: getattr(logging, name) for name in names}
    token = logs.request_id.set("")
    yield
    logs.request_id.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    for name, value in kept.items():
        setattr(logging, name, value)


@pytest.fixture(params=["text", "json"])
def out(request: pytest.FixtureRequest) -> io.StringIO:
    """What is logged, in both forms."""
    stream = io.StringIO()
    logs.set_up(request.param, stream)
    return stream


def test_a_line_has_time_level_logger_and_message(out: io.StringIO) -> None:
    logging.getLogger("router.x").warning("the disk is %s", "full")

    line = out.getvalue()
    if line.startswith("{"):
        read = json.loads(line)
        assert (read["level"], read["logger"], read["message"]) == ("warning", "router.x", "the disk is full")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read["time"])
    else:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING router\.x: the disk is full\n", line)


def test_the_line_of_a_request_names_its_fields_and_its_id(out: io.StringIO) -> None:
    logs.request_id.set("req_1")

    logs.answered(method="POST", status=200, ms=1.5, key=None)

    line = out.getvalue()
    if line.startswith("{"):
        read = json.loads(line)
        assert (read["method"], read["status"], read["ms"], read["request_id"]) == ("POST", 200, 1.5, "req_1")
        assert "key" not in read
    else:
        assert line.endswith("INFO router.access: answered method=POST status=200 ms=1.5 request_id=req_1\n")


def test_nothing_breaks_out_of_its_line(out: io.StringIO) -> None:
    evil = "a\n2026-01-01T00:00:00.000Z INFO router.access: forged\r\x1b[31m\u202e\u2028b"

    logging.getLogger("router.x").info("asked for %s", evil)
    logs.answered(model=evil)

    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_a_traceback_cannot_pass_for_a_line(out: io.StringIO) -> None:
    try:
        raise ValueError("x\n2026-01-01T00:00:00.000Z INFO router.access: forged")
    except ValueError:
        logging.getLogger("router.x").exception("failed")

    first, *rest = out.getvalue().splitlines()
    if first.startswith("{"):
        assert "ValueError: x" in json.loads(first)["exception"]
        assert not rest
    else:
        assert rest
        assert all(line.startswith("  | ") for line in rest)


def test_lines_are_bounded(out: io.StringIO) -> None:
    logging.getLogger("router.x").info("%s", "a" * 1_000_000)
    logs.answered(model="b" * 1_000_000)

    assert len(out.getvalue()) < 5000


@pytest.mark.parametrize(
    "secret",
    [
        "sk-rt-v1-q1W2e3R4t5Y6u7I8o9P0a1S2d3F4g5H6j7K8l9Z0xCv",
        "sk-rt-mgmt-v1-q1W2e3R4t5Y6u7I8o9P0a1S2d3F4g5H6j7K8l9Z0xCv",
        "sk-ant-api03-q1W2e3R4t5Y6u7I8",
        "AIzaSyq1W2e3R4t5Y6u7I8o9P0",
        "gsk_q1W2e3R4t5Y6u7I8o9P0",
        "xai-q1W2e3R4t5Y6u7I8o9P0",
    ],
)
def test_what_looks_like_a_key_is_masked(out: io.StringIO, secret: str) -> None:
    log = logging.getLogger("router.x")

    log.info("the upstream said: wrong key %s!", secret)
    logs.answered(model=secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")

    assert secret not in out.getvalue()
    assert "***" in out.getvalue()


def test_keys_of_a_query_and_a_header_are_masked_whatever_they_look_like(out: io.StringIO) -> None:
    logging.getLogger("router.x").info("GET /models?key=hush1&x=1 Authorization: Bearer hush2")

    assert "hush" not in out.getvalue()
    assert "x=1" in out.getvalue()


def test_the_label_of_a_key_stays_readable(out: io.StringIO) -> None:
    logs.answered(key="sk-rt-v1-q1W...xCv")

    assert "sk-rt-v1-q1W...xCv" in out.getvalue()
