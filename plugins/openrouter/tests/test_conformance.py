"""What every provider must do."""

from pathlib import Path

from router_openrouter import OpenRouter

from router.testing import ProviderConformance


class TestOpenRouter(ProviderConformance):
    provider = OpenRouter
    recordings = Path(__file__).parent / "recordings"
