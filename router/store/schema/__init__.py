"""Core's schema: the statements of its steps by what their tables are for, and here the steps in their order.

A step that has been released is never edited: the next one changes what it made. Money is integer picodollars, `*_unix` are seconds,
days are UTC days since 1970-01-01.
"""

from __future__ import annotations

from ..migrations import Migration, runs
from .booking import FIRST, LEDGER, SETTLING
from .managing import (
    AUDIT,
    BYOK,
    CHARGES,
    CLAIMS,
    FORGOTTEN,
    GUARDRAILS,
    IDEMPOTENCY,
    KEYS,
    WEBHOOKS,
    WEBHOOKS_OF_KEYS,
    WORKSPACES,
)

CORE = [
    Migration("core", number, runs(statements))
    for number, statements in enumerate(
        (
            *(FIRST, AUDIT, KEYS, LEDGER, IDEMPOTENCY, GUARDRAILS, BYOK, WEBHOOKS, CHARGES, FORGOTTEN, CLAIMS),
            *(WEBHOOKS_OF_KEYS, SETTLING, WORKSPACES),
        ),
        1,
    )
]
