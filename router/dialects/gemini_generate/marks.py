"""Thinking of other families inside of Google's thought signatures, so that it comes back with the conversation.

Clients of this API keep `thoughtSignature` on the part that it came with and send it back; thoughts themselves many of them drop.
So what another family needs to see again travels, thinking and all, in a signature of ours on the first call of an answer, or behind
its text. Google would refuse such a signature: a conversation that holds one is never relayed as it is.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

from ...model import Reasoning

#: how thinking of Google's own is marked
FORMAT = "google-gemini-v1"
#: its length is a multiple of three, so that base64 always begins in the same way
_MAGIC = b"router.v1:::"
MARK = base64.b64encode(_MAGIC).decode()


class Packed(NamedTuple):
    """Pieces of thinking: those from before the answer's text, and those from behind it."""

    before: list[Reasoning]
    after: list[Reasoning]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Packed).decode
_STANDARD = str.maketrans("-_", "+/")


def pack(before: list[Reasoning], after: list[Reasoning]) -> str:
    """A signature that holds these pieces."""
    return base64.b64encode(_MAGIC + _encode(Packed(before, after))).decode()


def unpack(signature: str) -> Packed | None:
    """The pieces in a signature of ours, None for one of Google's. What somebody has cut short holds none."""
    if not signature.startswith(MARK):
        return None
    try:
        return _decode(base64.b64decode(standard(signature))[len(_MAGIC) :])
    except (binascii.Error, msgspec.DecodeError):
        return Packed([], [])


def standard(text: str) -> str:
    """Base64 in the standard alphabet, padded: Google's SDKs send the one for URLs."""
    if "-" in text or "_" in text:
        text = text.translate(_STANDARD)
    return text + "=" * (-len(text) % 4)
