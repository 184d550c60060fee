"""The raw lane of a request: the client's own bytes, without what is ours. The model is in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from .common import encode_json

if TYPE_CHECKING:
    from ...call import Call, Candidate

OURS = ("routerConfig", "router_config")


def patch(call: Call, candidate: Candidate) -> bytes:
    """The body for this candidate: the same bytes wherever nothing of it is ours."""
    head = call.head
    call.dropped, call.warnings = [], list(head.warnings)
    members = dict(head.members)
    for name in OURS:
        members.pop(name, None)
    if "model" in members:
        members["model"] = Raw(encode_json(f"models/{candidate.endpoint.model.id}"))
    elif len(members) == len(head.members):
        return call.body
    return encode_json(members)
