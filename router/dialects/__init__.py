"""Dialects: the APIs that clients speak. One module each, pure functions behind the interface in `base`."""
