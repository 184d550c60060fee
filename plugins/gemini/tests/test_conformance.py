"""What every provider must do."""

from pathlib import Path

from router_gemini import Gemini

from router.testing import ProviderConformance


class TestGemini(ProviderConformance):
    provider = Gemini
    recordings = Path(__file__).parent / "recordings"
    model = "gemini-2.5-flash"
