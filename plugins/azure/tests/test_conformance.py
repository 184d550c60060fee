"""What every provider must do."""

from pathlib import Path
from typing import ClassVar

from router_azure import Azure

from router.testing import ProviderConformance


class TestAzure(ProviderConformance):
    provider = Azure
    recordings = Path(__file__).parent / "recordings"
    settings: ClassVar = {"base_url": "https://example.openai.azure.com"}
    model = "gpt-4o"
