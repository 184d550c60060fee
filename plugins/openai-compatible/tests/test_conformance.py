"""What every provider must do."""

from pathlib import Path
from typing import ClassVar

from router_openai_compatible import Compatible

from router.testing import ProviderConformance


class TestCompatible(ProviderConformance):
    provider = Compatible
    recordings = Path(__file__).parent / "recordings"
    settings: ClassVar = {"base_url": "http://127.0.0.1:1/v1", "preset": "groq"}
    model = "some-model"
