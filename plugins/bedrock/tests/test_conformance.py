"""What every provider must do."""

from pathlib import Path
from typing import Any, ClassVar

from router_bedrock import Bedrock

from router.testing import ProviderConformance


class TestBedrock(ProviderConformance):
    provider = Bedrock
    recordings = Path(__file__).parent / "recordings"
    model = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    settings: ClassVar[dict[str, Any]] = {"region": "eu-north-1"}
