"""What every provider must do."""

from pathlib import Path

from router_openai import OpenAI

from router.testing import ProviderConformance


class TestOpenAI(ProviderConformance):
    provider = OpenAI
    recordings = Path(__file__).parent / "recordings"
    model = "gpt-4o-mini"
