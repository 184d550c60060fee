"""The kit that plugins are tested with, tested."""
