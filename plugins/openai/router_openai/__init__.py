"""OpenAI as a provider."""
