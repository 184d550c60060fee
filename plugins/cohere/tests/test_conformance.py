"""What every provider must do."""

from pathlib import Path

from router_cohere import Cohere

from router.testing import ProviderConformance


class TestCohere(ProviderConformance):
    provider = Cohere
    recordings = Path(__file__).parent / "recordings"
    model = "command-a-03-2025"
