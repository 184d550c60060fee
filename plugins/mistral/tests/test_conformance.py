"""What every provider must do."""

from pathlib import Path

from router_mistral import Mistral

from router.testing import ProviderConformance


class TestMistral(ProviderConformance):
    provider = Mistral
    recordings = Path(__file__).parent / "recordings"
    model = "mistral-small-latest"
