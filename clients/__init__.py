"""Clients that others wrote, each in an environment that knows nothing of this router: `make clients`.

One suite, `test_clients.py`, runs once in each environment against `tests.clients.stage`. What it found is written to
`.compatibility/`, from which `make compatibility` makes docs/compatibility.md.
"""
