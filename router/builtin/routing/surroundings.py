"""What routing looks at: a running server has it, and so has a simulation of what it would do under another policy."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...call import Credential, Endpoint
    from ...clock import Clock
    from ...health import Health
    from ...planning import Table
    from ...settings import Settings


class Surroundings(Protocol):
    """The models, the settings, how endpoints do, time and chance. A reload replaces table and settings."""

    settings: Settings
    table: Table
    health: Health
    clock: Clock
    rng: random.Random

    def credentials(self, endpoint: Endpoint) -> Sequence[Credential]:
        """What plugins bring for this endpoint, besides the provider's own."""
