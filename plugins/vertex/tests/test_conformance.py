"""What every provider must do."""

from pathlib import Path
from typing import Any, ClassVar

from router_vertex import Vertex

from router.testing import ProviderConformance


class TestVertex(ProviderConformance):
    provider = Vertex
    recordings = Path(__file__).parent / "recordings"
    model = "gemini-2.5-flash"
    settings: ClassVar[dict[str, Any]] = {"project": "p1"}


class TestClaude(TestVertex):
    model = "claude-sonnet-4-5@20250929"
