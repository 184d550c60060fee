"""Tests of clients that need Node. `make node` gets it, and what they are made of."""
