"""Claude by InvokeModel: Anthropic's own bodies in Amazon's envelope.

For what Converse has no word for: Anthropic's betas, its own tools, citations with all their members. `api = "invoke"` chooses it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from router_anthropic import encode as anthropic

from router import ChatRequest, MessageEvent, Outgoing, UpstreamUnavailable

from . import wire

VERSION = "bedrock-2023-05-31"
#: members of Anthropic's that are in the path here, or that Bedrock refuses
_NOT_HERE = ("model", "stream", "service_tier")

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def outgoing(request: ChatRequest, *, max_output: int, betas: str) -> Outgoing:
    """The request to send. `betas` are those that are configured; they go into the body here."""
    # Bedrock knows few of the betas that Anthropic's clients send by habit, and refuses the whole request for one that it does not.
    out = anthropic.outgoing(replace(request, headers={}), max_output=max_output, betas=betas)
    members: dict[str, Any] = {name: value for name, value in _decode(out.body).items() if name not in _NOT_HERE}
    members["anthropic_version"] = VERSION
    if named := out.headers.pop("anthropic-beta", betas):
        members["anthropic_beta"] = [each.strip() for each in named.split(",") if each.strip()]
    out.body = _encode(members)
    method = "invoke-with-response-stream" if request.stream else "invoke"
    out.path = f"/model/{quote(request.model, safe='')}/{method}"
    return out


def unwrapped(payload: bytes) -> MessageEvent:
    """The event of Anthropic's that a chunk carries."""
    try:
        data = base64.b64decode(wire.decode_chunk(payload).bytes).decode()
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError) as error:
        raise UpstreamUnavailable("bedrock's stream holds a chunk that cannot be read") from error
    return MessageEvent(type="chunk", message="", data=data, origin="", last_event_id="")
