"""See architecture."""
