"""What has to be kept, and must not be readable in the database: sealed with a secret that lies in a file of its own beside it.

Sealed is little (the answers that hold a new key, kept for a day), so what Python brings along is enough: SHAKE-256 as a stream of
bytes that nobody can tell without secret and nonce, HMAC over both. Keys of providers are another matter (the extra `byok`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from .errors import StoreError

SECRET_BYTES, NONCE_BYTES, TAG_BYTES = 32, 16, 32


class Seal:
    """Made once per database; the file is made when it is first needed."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".secret")
        self._secret: bytes | None = None

    def derived(self, purpose: str) -> bytes:
        """32 bytes for this purpose, always the same. Raises StoreError."""
        return hmac.digest(self._own(), purpose.encode(), "sha256")

    def close(self, plain: bytes, purpose: str) -> bytes:
        """Seal these bytes. Raises StoreError."""
        nonce = os.urandom(NONCE_BYTES)
        hidden = _mixed(plain, self.derived(f"hide {purpose}") + nonce)
        return nonce + hidden + self._tag(nonce + hidden, purpose)

    def open(self, sealed: bytes, purpose: str) -> bytes | None:
        """What was sealed for this purpose; None where it was sealed with another secret, or changed. Raises StoreError."""
        said, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(said, purpose)):
            return None
        nonce, hidden = said[:NONCE_BYTES], said[NONCE_BYTES:]
        return _mixed(hidden, self.derived(f"hide {purpose}") + nonce)

    def _tag(self, said: bytes, purpose: str) -> bytes:
        return hmac.digest(self.derived(f"prove {purpose}"), said, "sha256")

    def _own(self) -> bytes:
        """The secret, from the file."""
        if self._secret is None:
            try:
                self._secret = self._read() or self._made()
            except OSError as error:
                raise StoreError(f"cannot use {self._path}: {error.strerror or error}") from error
        return self._secret

    def _read(self) -> bytes | None:
        try:
            secret = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if len(secret) != SECRET_BYTES:
            raise StoreError(f"{self._path} holds no secret of {SECRET_BYTES} bytes; restore it, or move it away")
        return secret

    def _made(self) -> bytes:
        secret = secrets.token_bytes(SECRET_BYTES)
        # Written whole under another name: a crash leaves no half of it.
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        return secret


def _mixed(data: bytes, key: bytes) -> bytes:
    stream = hashlib.shake_256(key).digest(len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")
