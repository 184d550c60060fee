"""Conversations from end to end: a client on one side, upstreams that do what they are told on the other."""
