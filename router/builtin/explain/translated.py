"""The request that an upstream would get: as it would be sent, without credentials and without long data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ...call import Call, Candidate
from ...dialects.openai_chat.common import elided
from ...errors import RouterError

if TYPE_CHECKING:
    from ...provider import Outgoing
    from ...server import Server

_decode = msgspec.json.Decoder().decode


async def translated(server: Server, call: Call, candidate: Candidate) -> dict[str, Any]:
    """Method, path, headers and body for this candidate, or why there is no body for it. Media on the web are not fetched."""
    call.dropped, call.warnings = [], list(call.head.warnings)
    try:
        outgoing = await server.relay.outgoing(call, candidate)
    except RouterError as error:
        return {"error": {"code": error.code, "message": error.message, "param": error.param}}
    masked = candidate.provider.masked
    return {
        "method": outgoing.method,
        "path": masked(outgoing.path),
        "headers": {name: masked(value) for name, value in outgoing.headers.items()},
        "body": _body(outgoing, candidate),
        "dropped_params": call.dropped,
        "warnings": call.warnings,
    }


def _body(outgoing: Outgoing, candidate: Candidate) -> Any:
    """JSON as such, anything else by its size; None for providers without a network."""
    if not outgoing.body:
        return None
    try:
        shown = elided(_decode(outgoing.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"bytes": len(outgoing.body)}
    credentials = (*candidate.provider.credentials, candidate.credential)
    secrets = [each.secret for each in credentials if each.secret]
    return _without(shown, secrets) if secrets else shown


def _without(value: Any, secrets: list[str]) -> Any:
    """The value without our own credentials, which have no business in a body; the client's words stay as they are."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, "***")
        case dict():
            return {name: _without(each, secrets) for name, each in value.items()}
        case list():
            return [_without(each, secrets) for each in value]
    return value
