"""The kit for tests of plugins and of the router itself: a running router, and upstreams that do what they are told.

`running(...)` starts the real server on port 0 in this process; `FakeUpstream` answers from handlers, counts what it was asked and
notices when it is left.
"""

from __future__ import annotations

from .conformance import ProviderConformance
from .recordings import Recording, read_recordings
from .running import Running, running
from .upstream import Asked, FakeUpstream, json_answer, sse_answer

__all__ = [
    "Asked",
    "FakeUpstream",
    "ProviderConformance",
    "Recording",
    "Running",
    "json_answer",
    "read_recordings",
    "running",
    "sse_answer",
]
