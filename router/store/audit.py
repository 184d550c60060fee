"""The record of what was changed by hand: keys, credits, guardrails, configuration (api.md 13, `GET /logs?kind=admin`).

A row is written in the transaction of the change that it tells of: there is none without the other. It never holds a secret.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from msgspec import Struct, field

from .writer import Statement

#: who changes something on the command line has no key
COMMAND_LINE = "command line"


class Change(Struct, kw_only=True):
    """One change. `actor` is the hash of the key that asked for it, or COMMAND_LINE; `action` what was done, as `key.create`; `target`
    to what: an id or a hash; `detail` the members that were set, without secrets; `claim` belongs to an idempotency key."""

    action: str
    target: str
    actor: str = COMMAND_LINE
    request_id: str = ""
    trace_id: str | None = None
    claim: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    created_unix: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: f"log_{secrets.token_hex(12)}")


def recorded(change: Change) -> Statement:
    """The statement that writes this row, for the same `Database.write` as the change itself."""
    row = (
        change.id,
        change.created_unix,
        change.actor,
        change.action,
        change.target,
        change.request_id,
        change.trace_id,
        change.claim,
        msgspec.json.encode(change.detail).decode(),
    )
    return _INSERT, row


_INSERT = """
    INSERT INTO audit (id, created_unix, actor, action, target, request_id, trace_id, claim, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
