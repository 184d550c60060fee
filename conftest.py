"""What all tests share, here and in plugins/: the fixtures of the kit, and how property tests run: without time limits of their own,
since a machine may be busy, and repeatably in CI. And whatever a router answers in them is as its OpenAPI document says."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from hypothesis import HealthCheck, settings

from tests import described

#: running routers, and upstreams that do what they are told
pytest_plugins = ["router.testing.fixtures"]

#: of a certificate
END = "-----END CERTIFICATE-----\n"

settings.register_profile(
    "suite",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("suite")


# The SDKs and ten thousand tests are some million objects that stay. Looking through them for garbage takes a second, again and again,
# a tenth of the suite's time: it is not done while they are made, later they are left out, and it is done less often.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one certificate authority instead of all: SDKs read the whole list for each client that is made, and that takes longer
    than most tests. None is needed on loopback."""
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    path.write_text(Path(certifi.where()).read_text().partition(END)[0] + END)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(autouse=True, scope="session")
def undescribed() -> Iterator[list[str]]:
    """Answers that are not as described, of all tests of this process."""
    with described.listening() as breaches:
        yield breaches


@pytest.fixture(autouse=True)
def _as_described(undescribed: list[str]) -> Iterator[None]:
    """Fails the test whose routers answered something else than their document says."""
    undescribed.clear()
    yield
    assert not undescribed, "\n".join(undescribed)
