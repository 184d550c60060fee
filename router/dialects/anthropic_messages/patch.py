"""The raw lane of a request: the client's own bytes, without what is ours and without what only others thought."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Raw

from ...errors import BadRequest
from ...wire import anthropic as wire
from .common import encode_json
from .marks import MARK, foreign

if TYPE_CHECKING:
    from ...call import Call, Candidate

#: members that are ours to consume
EXTENSIONS = frozenset({"models", "fallbacks", "provider", "preset", "plugins", "session_id", "trace", "route"})
#: how a block may look that Anthropic would refuse: marked by us, or without a signature
_SUSPECTS = (MARK.encode(), b'"signature":""', b'"signature": ""')
_TRUE = Raw(b"true")

BETA_HEADERS = ("anthropic-beta", "x-anthropic-beta")
#: how betas begin that let models write more than they do without
_LONGER = "output-"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}").fullmatch
_BETA = re.compile(r"[A-Za-z0-9._:-]{1,100}").fullmatch


def patch(call: Call, candidate: Candidate) -> bytes:
    """The body for this candidate. Raises BadRequest where it lacks `max_tokens`, which Anthropic's models insist on."""
    head = call.head
    members = dict(head.members)
    if head.max_tokens is None:
        raise BadRequest("max_tokens is required by Anthropic's models", param="max_tokens")
    for name in EXTENSIONS & members.keys():
        if name not in candidate.provider.takes:
            del members[name]
    members["model"] = Raw(encode_json(candidate.endpoint.model.id))
    if head.stream:
        members["stream"] = _TRUE
    warnings = list(head.warnings)
    longest = candidate.endpoint.model.max_output
    if 0 < longest < head.max_tokens and not any(_LONGER in call.headers.get(name, "") for name in BETA_HEADERS):
        # Claude Code asks for 128000 tokens of models that it does not know (2.1.332); Anthropic refuses what is too much.
        members["max_tokens"] = Raw(encode_json(longest))
        warnings.append(f"max_tokens: this model writes at most {longest} tokens")
    messages = memoryview(members["messages"]).tobytes()
    if any(each in messages for each in _SUSPECTS):
        members["messages"] = own_thoughts(members["messages"])
    before = set(members)
    candidate.provider.raw_patch("anthropic.messages", members, candidate)
    call.dropped = sorted(before - members.keys() - {"model"})  # some upstreams have it in the path
    call.warnings = warnings
    return encode_json(members)


def own_thoughts(raw: Raw) -> Raw:
    """The messages without thinking that no Claude has signed. Messages without such blocks stay byte for byte."""
    kept: list[Raw] = []
    for message in wire.decode_raws(raw):
        members = wire.decode_members(message)
        content = members["content"]
        if bytes(memoryview(content)[:1]) != b"[":
            kept.append(message)
            continue
        blocks = wire.decode_raws(content)
        own = [block for block in blocks if not _foreign(block)]
        if len(own) == len(blocks):
            kept.append(message)
        elif own:  # a message of nothing but thinking would be an empty one
            kept.append(Raw(encode_json(members | {"content": own})))
    return Raw(encode_json(kept))


def _foreign(raw: Raw) -> bool:
    block = wire.decode_block(raw)
    if block.type == "thinking":
        return foreign(block.signature or "")
    return block.type == "redacted_thinking" and foreign(block.data or "")


def raw_headers(call: Call) -> dict[str, str]:
    """Version and betas, as far as they have the form of such."""
    told: dict[str, str] = {}
    get = call.headers.get
    if (version := get("anthropic-version")) is not None and _VERSION(version):
        told["anthropic-version"] = version
    betas = [each.strip() for name in BETA_HEADERS if (sent := get(name)) for each in sent.split(",")]
    if wanted := [each for each in betas if _BETA(each)]:
        told["anthropic-beta"] = ",".join(dict.fromkeys(wanted))
    return told
