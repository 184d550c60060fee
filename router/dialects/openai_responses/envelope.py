"""What other families need to accept their thinking back, in the one member that this API has for such things.

A reasoning item carries `encrypted_content`: OpenAI's own, which is relayed as it is, or ours, which holds signatures and encrypted
pieces of another family. Ours begins with `PREFIX`; it goes back to its own family only, and never to an upstream of OpenAI's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from ...model import Reasoning
from ...wire import openai
from ...wire import responses as wire

FORMAT = "openai-responses-v1"
PREFIX = "rt1."
_MARK = b'"' + PREFIX.encode()


class _Piece(Struct, array_like=True):
    """A piece of thinking without its text, which stands in the item for the client to read."""

    kind: str
    format: str
    signature: str | None = None
    data: str = ""
    id: str | None = None
    has_text: bool = False


_decode = msgspec.json.Decoder(list[_Piece]).decode
_encode = msgspec.json.Encoder().encode


def sealed(pieces: Iterable[Reasoning]) -> str | None:
    """The `encrypted_content` of an item with these pieces, None where none of them has anything to keep."""
    pieces = list(pieces)
    own = [each for each in pieces if each.format == FORMAT and each.kind == "encrypted"]
    if own:
        return own[-1].data
    if not any(each.signature or each.data for each in pieces):
        return None
    kept = [
        _Piece(each.kind, each.format, each.signature, each.data, each.id, has_text=bool(each.text)) for each in pieces
    ]
    return PREFIX + base64.urlsafe_b64encode(_encode(kept)).decode()


def opened(item: wire.Item) -> list[Reasoning]:
    """The pieces of thinking in a reasoning item."""
    texts = [("summary", each.text) for each in item.summary or ()]
    if isinstance(item.content, list):
        texts += [("text", each.text or "") for each in item.content]
    secret = item.encrypted_content
    if secret is not None and secret.startswith(PREFIX):
        return _unsealed(secret, [text for _, text in texts])
    format = FORMAT if secret else "unknown"
    pieces = [
        Reasoning(kind=kind, text=text, format=format, id=item.id)  # type: ignore[arg-type]  # one of the two
        for kind, text in texts
        if text
    ]
    if secret:
        pieces.append(Reasoning(kind="encrypted", data=secret, format=FORMAT, id=item.id))
    return pieces


def _unsealed(secret: str, texts: list[str]) -> list[Reasoning]:
    """The pieces with their texts. A client that left texts out or changed their number gets none of those with a text back:
    their signatures would not fit."""
    try:
        kept = _decode(base64.urlsafe_b64decode(secret[len(PREFIX) :]))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return []
    rest = iter(texts)
    whole = sum(each.has_text for each in kept) == len(texts)
    return [
        Reasoning(
            kind=each.kind,  # type: ignore[arg-type]  # as it was sealed
            text=next(rest) if each.has_text else "",
            signature=each.signature,
            data=each.data,
            format=each.format,
            id=each.id,
        )
        for each in kept
        if whole or not each.has_text
    ]


def without_foreign(raw: Raw) -> Raw:
    """An `input` for upstreams of OpenAI's, without reasoning items of other families. The same bytes where there are none."""
    data = bytes(raw)
    if _MARK not in data:
        return raw
    items = openai.decode_list(raw)
    kept = [item for item in items if not bytes(item.get("encrypted_content", b"")).startswith(_MARK)]
    return Raw(_encode(kept))
