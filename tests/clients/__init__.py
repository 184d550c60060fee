"""Clients as people use them, against `router serve` as a process, whose upstreams answer as each family of providers does."""
