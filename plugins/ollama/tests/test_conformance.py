"""What every provider must do."""

from pathlib import Path

from router_ollama import Ollama

from router.testing import ProviderConformance


class TestOllama(ProviderConformance):
    provider = Ollama
    recordings = Path(__file__).parent / "recordings"
    model = "qwen3:8b"
