"""Cutting a stream into stretches of whole frames, for patching many of them at once."""

from __future__ import annotations

from ...errors import UpstreamUnavailable
from ...sse import MAX_LINE_BYTES


class Stretches:
    """Stretches of whole frames, with LF for whatever ends its lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._carriage = False
        #: a part of a frame waits for the rest
        self.waiting = False

    def feed(self, piece: bytes) -> bytes:
        """Take a piece in, give all the frames that it completes. Raises UpstreamUnavailable where one is too long."""
        whole = self._whole(piece)
        self.waiting = bool(self._parts) or self._carriage
        return whole

    def _whole(self, piece: bytes) -> bytes:
        if self._carriage or b"\r" in piece:
            piece = self._line_feeds(piece)
        if self._parts:
            if b"\n" not in piece:
                self._keep(piece)
                return b""
            piece = b"".join((*self._parts, piece))
            self._parts.clear()
            self._size = 0
        if piece.endswith(b"\n\n"):
            return piece
        end = piece.rfind(b"\n\n") + 2
        if end == 1:
            self._keep(piece)
            return b""
        self._keep(piece[end:])
        return piece[:end]

    def close(self) -> bytes:
        """What came behind the last blank line."""
        rest = b"".join(self._parts)
        self._parts.clear()
        return rest

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > MAX_LINE_BYTES:
                raise UpstreamUnavailable("an event of the upstream's stream is longer than 16 MB")

    def _line_feeds(self, piece: bytes) -> bytes:
        """CRLF and CR as LF. A CR at the end waits: an LF may belong to it."""
        if self._carriage:
            piece = b"\r" + piece
        self._carriage = piece.endswith(b"\r")
        if self._carriage:
            piece = piece[:-1]
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
