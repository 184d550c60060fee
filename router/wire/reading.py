"""Reading what upstreams answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from ..errors import UpstreamUnavailable

Answer = TypeVar("Answer", bound=Struct)


def reader(form: type[Answer], content: str) -> Callable[[bytes], Answer]:
    """Reads bodies of this form. Raises UpstreamUnavailable, saying that there is no such content, where one has another."""
    decode = msgspec.json.Decoder(form).decode

    def read(body: bytes) -> Answer:
        try:
            return decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamUnavailable(f"the upstream's answer holds no {content}") from error

    return read
