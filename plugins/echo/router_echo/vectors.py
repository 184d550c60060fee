"""Vectors that only depend on what is embedded: a hash of it, stretched to any length and brought to length one."""

from __future__ import annotations

import hashlib
import math
from array import array

from router import EmbedInput, Text

#: numbers in a vector, unless a request says how many
DIMENSIONS = 256
_HALF = 2**31


def vector(given: EmbedInput, dimensions: int) -> list[float]:
    """The vector of one input, the same for ever on every machine."""
    stretched = hashlib.shake_256(_bytes(given)).digest(4 * dimensions)
    numbers = [
        int.from_bytes(stretched[place : place + 4], "little") / _HALF - 1 for place in range(0, len(stretched), 4)
    ]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    # as 32-bit floats, so that both encodings of an answer say the same
    return array("f", (number / length for number in numbers)).tolist()


def tokens(given: EmbedInput) -> int:
    """Words count as tokens, as in echo's chat; tokens as many as there are."""
    if isinstance(given, str):
        return len(given.split())
    return sum(len(part.text.split()) if isinstance(part, Text) else 1 for part in given)


def _bytes(given: EmbedInput) -> bytes:
    if isinstance(given, str):
        return b"text " + given.encode(errors="surrogatepass")
    pieces = []
    for part in given:
        if isinstance(part, int):
            pieces.append(b"token %d" % part)
        elif isinstance(part, Text):
            pieces.append(_bytes(part.text))
        else:
            pieces.append(b"image " + (part.data or part.url).encode(errors="surrogatepass"))
    return b"\n".join(pieces)
