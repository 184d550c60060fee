"""What all tests share, here and in plugins/: the fixtures of the kit, and how property tests run: without time limits of their own,
since a machine may be busy, and repeatably in CI."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: running routers, and upstreams that do what they are told
pytest_plugins = ["router.testing.fixtures"]

settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("suite")
