"""AWS's binary streams: any split gives the same, and what is broken is said to be."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from router_bedrock.eventstream import MAX_BYTES, Frame, Splitter, frames

from router.errors import StreamTruncated, UpstreamUnavailable

from .conftest import frame, header, raw_frame

Written = Callable[[Iterable[list[Any]]], bytes]


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    marks = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


def read(pieces: Iterable[bytes]) -> list[Frame]:
    splitter = Splitter()
    found = [each for piece in pieces for each in splitter.feed(piece)]
    splitter.close()
    return found


TEXTS = st.lists(st.tuples(st.text("abcXYZ:-", min_size=1, max_size=20), st.text(max_size=30)), max_size=4)


@given(st.lists(st.tuples(TEXTS, st.binary(max_size=60)), max_size=4), st.data())
def test_any_split_gives_what_was_written(
    messages: list[tuple[list[tuple[str, str]], bytes]], data: st.DataObject
) -> None:
    written = b"".join(raw_frame(b"".join(header(*pair) for pair in pairs), payload) for pairs, payload in messages)
    places = data.draw(st.lists(st.integers(0, len(written)), max_size=10))

    found = read(cut(written, places))

    assert found == [Frame(dict(pairs), payload) for pairs, payload in messages]


def test_the_same_as_botocore() -> None:
    written = frame("contentBlockDelta", {"delta": {"text": "Ås 🌍"}}) + frame(
        "throttlingException", {"message": "x"}, "exception"
    )
    theirs = EventStreamBuffer()
    theirs.add_data(written)

    assert read([written]) == [Frame(each.headers, each.payload) for each in theirs]


def test_headers_of_every_kind_are_passed_over() -> None:
    others = [b"\x00", b"\x01", b"\x02\x07", b"\x03\x00\x07", b"\x04" + bytes(4), b"\x05" + bytes(8)]
    others += [b"\x06\x00\x03abc", b"\x08" + bytes(8), b"\x09" + bytes(16)]
    headers = b"".join(b"\x01a" + each for each in others) + header(":event-type", "x")

    assert read([raw_frame(headers, b"{}")]) == [Frame({":event-type": "x"}, b"{}")]


@pytest.mark.parametrize("at", range(40))
def test_a_changed_bit_is_noticed(at: int) -> None:
    written = bytearray(raw_frame(header("a", "b"), b"payload: 19 bytes.."))
    written[at] ^= 1

    with pytest.raises((UpstreamUnavailable, StreamTruncated)):
        read([bytes(written)])


@pytest.mark.parametrize(
    "headers", [b"\x05a", b"\x01a\x07\x00\xff", b"\x01a\x63", b"\x01\xff\x07\x00\x00", b"\x01a\x07\x00\x01\xff"]
)
def test_headers_that_make_no_sense(headers: bytes) -> None:
    with pytest.raises(UpstreamUnavailable, match="header"):
        read([raw_frame(headers, b"")])


def test_a_length_beyond_all_measure_is_not_waited_for() -> None:
    prelude = struct.pack(">II", MAX_BYTES + 1, 0)

    with pytest.raises(UpstreamUnavailable, match="length"):
        read([prelude + struct.pack(">I", zlib.crc32(prelude))])


async def test_a_body_that_ends_early() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield frame("messageStart", {})[:-1]

    with pytest.raises(StreamTruncated):
        _ = [each async for each in frames(pieces())]
