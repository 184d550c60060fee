"""The kit for tests of plugins and of the router itself.

`running(...)` starts the real server on port 0 in this process. `FakeUpstream` answers from handlers, counts what it was asked and
notices when it is left; `ReplayingUpstream` answers from a folder of recordings and checks what it was asked. `StillClock` is a clock
that only the test moves. `ProviderConformance` brings what every provider must do. `pytest_plugins = ["router.testing.fixtures"]` in a
conftest.py brings routers and upstreams as fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clock import StillClock
from .recordings import Recording, read_recordings, write_recording
from .replaying import ReplayingUpstream
from .running import Running, running
from .upstream import Asked, FakeUpstream, completion, json_answer, sse_answer
from .waiting import until

if TYPE_CHECKING:
    from .conformance import ProviderConformance

__all__ = [
    "Asked",
    "FakeUpstream",
    "ProviderConformance",
    "Recording",
    "ReplayingUpstream",
    "Running",
    "StillClock",
    "completion",
    "json_answer",
    "read_recordings",
    "running",
    "sse_answer",
    "until",
    "write_recording",
]


def __getattr__(name: str) -> Any:
    """The conformance tests need pytest, and `router record` comes through here where there is none."""
    if name != "ProviderConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .conformance import ProviderConformance

    return ProviderConformance
