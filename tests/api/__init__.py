"""The router's own API."""
