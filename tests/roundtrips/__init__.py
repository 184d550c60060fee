"""Conversations and answers on their way through every client API and every upstream's."""
