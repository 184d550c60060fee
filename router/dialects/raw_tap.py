"""What most taps of the raw lane share: pieces of the upstream's stream in, whole frames out, up to its end or an error in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UpstreamError
from ..events import Event
from ..sse import Frames

if TYPE_CHECKING:
    from ..call import Call


class RawTap:
    """A `Flow` that goes through a stream frame by frame; `end` and `final` are the dialect's own."""

    def __init__(self, call: Call) -> None:
        self.content = False
        self.done = False
        self._call = call
        self._frames = Frames()
        #: to be raised at the end
        self._error: UpstreamError | None = None
        #: the beginning of a body that is no event stream at all
        self._stray = b""

    def feed(self, item: bytes | Event) -> bytes:
        """Take a piece of the upstream's stream in, give whole frames."""
        assert isinstance(item, bytes)
        out: list[bytes] = []
        try:
            for each in self._frames.feed(item):
                out.append(self._frame(each))
                if self.done:
                    break
        except UpstreamError as error:
            # what came in front of an error is the client's
            if not self.content:
                raise
            out.append(self._cut_off())
            self._error, self.done = error, True
        return out[0] if len(out) == 1 else b"".join(out)

    def _frame(self, whole: bytes) -> bytes:
        """One frame as the client gets it now."""
        raise NotImplementedError

    def _cut_off(self) -> bytes:
        """What waited when an error came."""
        return b""
