"""Google's Gemini API as a provider."""
