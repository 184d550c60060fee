"""Routing: which endpoint is asked, when, and why."""
