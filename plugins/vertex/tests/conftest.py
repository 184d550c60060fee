"""What the tests of this plugin share: instances, a Google on loopback, and a key file for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from router_vertex import Vertex, VertexSettings

from router.provider import Timeouts
from router.testing import FakeUpstream

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine that runs the tests may be somebody for Google."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def vertex() -> Vertex:
    """An instance that is never sent anywhere."""
    settings = VertexSettings(plugin="vertex", project="p1", location="europe-west4", access_token="token-1")
    return Vertex("vertex", settings, Timeouts())


@pytest.fixture(scope="session")
def private_key() -> str:
    """A key of nobody's, made here and now."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def key_file(private_key: str, upstream: FakeUpstream) -> dict[str, str]:
    """A service account whose tokens come from the upstream."""
    return {
        "type": "service_account",
        "project_id": "p-of-the-file",
        "private_key_id": "k1",
        "private_key": private_key,
        "client_email": "router@p-of-the-file.iam.example.org",
        "token_uri": f"{upstream.url}/token",
    }


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """Reads a recording: its response."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
