"""Recorded traffic of providers, replayed through the router over sockets."""
