"""What is kept of a call."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ...call import Call
from ...dialects.openai_responses.history import listed
from ...dialects.openai_responses.peek import Kept, Peeked
from ...dialects.openai_responses.response import failed, response_object
from ...errors import RouterError
from ...identity import Identity
from ...store.responses import KeptResponse

#: under this name in `call.state`: the items of the request itself, where others were put in front of them
OWN = "responses.own"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def kept_of(call: Call) -> Kept | None:
    """Whether and how the response of this call is kept."""
    peeked: Peeked = call.head.decoded
    return peeked.kept


def owner_of(identity: Identity) -> str:
    """Whose responses these are: the key's, whatever its secret."""
    return identity.id or identity.hash


def token_of(call: Call) -> str:
    """What makes the ids of a call's items its own."""
    return call.request_id.removeprefix("req_") + "i"


def row_of(call: Call, response: dict[str, Any]) -> KeptResponse:
    """The row of a response of this call."""
    kept = kept_of(call)
    assert kept is not None
    assert call.identity is not None
    own = call.state.get(OWN)
    if own is None:
        own = listed(call.head.members.get("input", Raw(b"[]")), token_of(call))
    return KeptResponse(
        id=kept.id,
        owner=owner_of(call.identity),
        created_unix=call.created_unix,
        status=str(response.get("status")),
        previous=kept.previous,
        background=kept.background,
        input=own,
        response=response,
    )


def failed_response(call: Call, error: RouterError) -> dict[str, Any]:
    """The response object of a call that failed."""
    return _decode(_encode(response_object(call, "failed", []) | failed(error)))


def running_response(call: Call) -> dict[str, Any]:
    """The response object of a call that is under way."""
    return _decode(_encode(response_object(call, "in_progress", [], ended=False)))
