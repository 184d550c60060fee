"""What every provider must do."""

from pathlib import Path

from router_anthropic import Anthropic

from router.testing import ProviderConformance


class TestAnthropic(ProviderConformance):
    provider = Anthropic
    recordings = Path(__file__).parent / "recordings"
    model = "claude-sonnet-4-5"
