"""What the tests of this plugin share: an instance, the recordings, and a writer of binary event streams."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from router_bedrock import Bedrock, BedrockSettings, message
from router_bedrock.eventstream import frames

from router.events import Event
from router.provider import Timeouts

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine that runs the tests may be somebody for AWS."""
    for name in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture
def bedrock() -> Bedrock:
    """An instance that is never sent anywhere."""
    return Bedrock("bedrock", BedrockSettings(plugin="bedrock", api_key="key-1", region="eu-north-1"), Timeouts())


@pytest.fixture
def recording() -> Callable[[str], dict[str, Any]]:
    """Reads a recording: its response, and what is expected of it."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def written() -> Callable[[Iterable[list[Any]]], bytes]:
    """A recording's events as AWS sends them. Each is [kind, payload], or [kind, payload, "exception"]."""
    return lambda events: b"".join(frame(*event) for event in events)


def frame(kind: str, payload: Any, what: str = "event") -> bytes:
    """One message with the headers that Bedrock gives it."""
    content = payload.encode() if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False).encode()
    pairs = {f":{what}-type": kind, ":content-type": "application/json", ":message-type": what}
    return raw_frame(b"".join(header(name, value) for name, value in pairs.items()), content)


def header(name: str, value: str) -> bytes:
    """A header whose value is text."""
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()


def raw_frame(headers: bytes, payload: bytes) -> bytes:
    """A message of these bytes, with its lengths and checksums."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


@pytest.fixture
def events_of(bedrock: Bedrock) -> Callable[[list[bytes]], AsyncIterator[Event]]:
    """The events of a body that comes in these pieces."""

    async def pieces(cut: list[bytes]) -> AsyncIterator[bytes]:
        for piece in cut:
            yield piece

    async def messages(cut: list[bytes]) -> AsyncIterator[Any]:
        async for each in frames(pieces(cut)):
            yield message(each)

    return lambda cut: bedrock.events(messages(cut))
