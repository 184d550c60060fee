"""The fast way to patch chunks: by a rule that was learned from one that was taken apart.

A rule never decodes anything. It is sure of a frame because all of it but one string is known, byte for byte.
"""

from __future__ import annotations

from ...wire import openai as wire

_OBFUSCATION = b'"obfuscation":"'


class Rule:
    """How chunks are patched that differ from a known one in one string only (and in OpenAI's `obfuscation` at their end).

    A frame of theirs is the string between the pieces of `theirs`, a frame of ours the same string between the pieces of
    `ours`. Obfuscated, a varying value and `closing` follow in both. Empty strings are another matter: they say nothing.
    """

    __slots__ = (
        *("_between", "_closing", "_fixed", "_ours", "_runs", "_start", "_theirs", "_times"),
        *("chars", "longest", "patched", "tried", "used"),
    )

    def __init__(self, theirs: list[bytes], ours: list[bytes], closing: bytes = b"") -> None:
        self._theirs = theirs
        self._ours = ours
        self._closing = closing
        self._start = len(theirs[0])
        self._times = len(theirs) - 1
        self._fixed = sum(map(len, theirs))
        #: pieces of this length may be a single frame: shorter than two of them
        self.longest = 2 * self._fixed
        #: what stands between the strings of two frames in one piece, theirs and ours
        self._between = (theirs[-1] + theirs[0], ours[-1] + ours[0])
        self._runs = len(theirs) == len(ours) == 2 and not closing
        #: what was made of the last match, and how many characters its strings have together
        self.patched = b""
        self.chars = 0
        #: it has matched
        self.used = False
        #: the last run began as one and was none
        self.tried = False

    @classmethod
    def learn(cls, frame: bytes, patched: bytes, said: str) -> Rule | None:
        """The rule behind a frame and what was made of it; `said` is the string in it. None where there is none."""
        quoted = wire.encode(said)
        theirs, ours = frame.split(quoted), patched.split(quoted)
        rest = b"".join(theirs)
        if not said or len(theirs) < 2 or len(ours) < 2 or not rest.isascii() or b"\\" in rest or b"\r" in rest:
            return None
        theirs, ours = _with_quotes(theirs), _with_quotes(ours)
        if _OBFUSCATION not in rest:
            return cls(theirs, ours)
        tail, _, noise = theirs[-1].partition(_OBFUSCATION)
        last, _, same = ours[-1].partition(_OBFUSCATION)
        # it has to be the last member, and the only one that varies besides the string
        if len(theirs) != 2 or noise != same or noise.count(b'"') != 1:
            return None
        return cls([theirs[0], tail + _OBFUSCATION], [*ours[:-1], last + _OBFUSCATION], noise[noise.index(b'"') :])

    def run(self, data: bytes, start: int) -> int:
        """Patch the run of such frames that begins at `start`, into `patched`. Gives its end, 0 where there is none."""
        self.tried = False
        if not self._runs or not data.startswith(self._theirs[0], start):
            return 0
        between, our_between = self._between
        strings = data[start + self._start :].split(between)
        strings[-1], found, rest = strings[-1].partition(self._theirs[1])
        self.chars = _characters(b"\n".join(strings), len(strings) - 1)
        if not found or self.chars < 0 or b"" in strings:
            self.tried = True
            return 0
        self.used = True
        self.patched = b"%b%b%b" % (self._ours[0], our_between.join(strings), self._ours[1])
        return len(data) - len(rest)

    def one(self, frame: bytes) -> bool:
        """Patch one frame, into `patched`. False where it is not such a one."""
        if self._closing:
            return self._obfuscated(frame)
        size, odd = divmod(len(frame) - self._fixed, self._times)
        string = frame[self._start : self._start + size]
        if odd or size <= 0 or string.join(self._theirs) != frame:
            return False
        self.chars = _characters(string)
        if self.chars < 0:
            return False
        self.used = True
        self.patched = string.join(self._ours)
        return True

    def _obfuscated(self, frame: bytes) -> bool:
        head, tail = self._theirs
        end = frame.find(tail, self._start)
        if end < 0 or not frame.startswith(head) or not frame.endswith(self._closing):
            return False
        string, noise = frame[self._start : end], frame[end + len(tail) : -len(self._closing)]
        self.chars = _characters(string)
        if self.chars <= 0 or not noise.isalnum():
            return False
        self.used = True
        self.patched = b"%b%b%b" % (string.join(self._ours), noise, self._closing)
        return True


def _with_quotes(parts: list[bytes]) -> list[bytes]:
    """What `split` has left of a frame, with the quotes of the string that was taken out."""
    return [parts[0] + b'"', *(b'"%b"' % part for part in parts[1:-1]), b'"' + parts[-1]]


def _characters(inner: bytes, breaks: int = 0) -> int:
    """How many characters the insides of JSON strings hold, `breaks` newlines between them not counted; -1 where that is not
    easy to tell, or they are none."""
    escapes = quotes = 0
    if b"\\" in inner:
        single = inner.replace(b"\\\\", b"")
        if b"\\u" in single or b"\\\n" in single or single.endswith(b"\\"):
            return -1
        quotes = single.count(b'\\"')
        escapes = single.count(b"\\") + (len(inner) - len(single)) // 2
    if inner.count(b'"') != quotes or inner.count(b"\n") != breaks:
        return -1
    if inner.isascii():
        return len(inner) - breaks - escapes
    try:
        return len(inner.decode()) - breaks - escapes
    except UnicodeDecodeError:
        return -1
