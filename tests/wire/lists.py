"""Recordings that are no generations: lists of models and counts of tokens are replayed, the rest is excluded by name."""

from __future__ import annotations

DIALECTS = ("openai-models", "gemini-models", "gemini-count-tokens")
#: recordings that are not replayed, with the reason
EXCLUDED = {
    "openai-9754f4": "one model of OpenAI's, asked for by its id: the router asks for lists",
    "openai-5a7e14": "a response that OpenAI keeps is fetched: the router gives out those that it keeps itself",
    "openai-1b1f81": "/responses/compact: the router has no such path",
    "openai-3395fa": "/responses/input_tokens: the router has no such path",
    "anthropic-9e6b49": "batches: the router has none",
    "anthropic-0937f6": "batches: the router has none",
    "openai-3579e7": "batches: the router has none",
    "openai-e14eb4": "batches: the router has none",
}
