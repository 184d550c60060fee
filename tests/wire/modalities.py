"""Recordings of vectors, orders and judgements: which are replayed, and through which plugin."""

from __future__ import annotations

DIALECTS = ("openai-embeddings", "openai-moderations", "cohere-embed", "cohere-rerank", "gemini-embed", "ollama-embed")
#: recordings that are not replayed, with the reason
EXCLUDED: dict[str, str] = {}
#: providers whose recordings have a plugin of their own; the others go through `openai-compatible`
PLUGINS = {"openai", "azure", "openrouter", "mistral", "cohere", "gemini", "ollama", "vertex", "voyage"}
