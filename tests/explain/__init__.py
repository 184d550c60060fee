"""What the router says of its own decisions: dry runs, metadata, availability."""
