"""AWS's binary event streams: `application/vnd.amazon.eventstream`.

A message is: its length and the length of its headers (four bytes each), a checksum of those eight bytes, headers, payload, a
checksum of everything before. https://smithy.io/2.0/aws/amazon-eventstream.html, seen in November 2026.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

from msgspec import Struct

from router import StreamTruncated, UpstreamUnavailable

#: Bedrock's messages are far below; AWS's own limit is 24 MB
MAX_BYTES = 16 * 1024 * 1024
_PRELUDE = struct.Struct(">III")
_NUMBER = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
#: the sizes of header values that always have the same one, by their type
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class Frame(Struct, frozen=True):
    """One message. `headers` are those whose value is text."""

    headers: dict[str, str]
    payload: bytes


async def frames(pieces: AsyncIterable[bytes]) -> AsyncIterator[Frame]:
    """The messages of a body that comes in any pieces. Raises UpstreamUnavailable where it is broken, StreamTruncated where cut."""
    splitter = Splitter()
    async for piece in pieces:
        for frame in splitter.feed(piece):
            yield frame
    splitter.close()


class Splitter:
    """Cuts bytes into messages, whatever the pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """Take a piece in, give the messages that it completes."""
        self._held += piece
        while len(self._held) >= _PRELUDE.size:
            size, headers, checksum = _PRELUDE.unpack_from(self._held)
            if zlib.crc32(self._held[:8]) != checksum or not _PRELUDE.size + headers + 4 <= size <= MAX_BYTES:
                raise UpstreamUnavailable("the upstream's event stream is broken: a message with a wrong length")
            if len(self._held) < size:
                return
            message = bytes(self._held[:size])
            del self._held[:size]
            yield _frame(message, _PRELUDE.size + headers)

    def close(self) -> None:
        """The end of the body. Raises StreamTruncated in the middle of a message."""
        if self._held:
            raise StreamTruncated("the upstream's event stream ended in the middle of a message")


def _frame(message: bytes, payload_at: int) -> Frame:
    if zlib.crc32(message[:-4]) != _NUMBER.unpack_from(message, len(message) - 4)[0]:
        raise UpstreamUnavailable("the upstream's event stream is broken: a message with a wrong checksum")
    try:
        headers = dict(_headers(message[_PRELUDE.size : payload_at]))
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise UpstreamUnavailable("the upstream's event stream is broken: a header that cannot be read") from error
    return Frame(headers, message[payload_at:-4])


def _headers(block: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(block):
        end = at + 1 + block[at]
        name, kind = block[at + 1 : end].decode(), block[end]
        at = end + 1
        if kind in (_BYTES, _TEXT):
            size = _LENGTH.unpack_from(block, at)[0]
            at += 2
            if at + size > len(block):
                raise IndexError
            if kind == _TEXT:
                yield name, block[at : at + size].decode()
            at += size
        else:
            at += _SIZES[kind]
