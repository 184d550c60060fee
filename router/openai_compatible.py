"""The base class of providers that speak OpenAI's chat completions."""

from __future__ import annotations

from .provider import Provider


class OpenAICompatible(Provider):
    """An upstream with OpenAI's chat API."""
