"""Encrypting keys of providers: AES-256-GCM by `cryptography` (the extra `byok`), with a key that is made of the operator's secret.

What is encrypted is bound to the id that it belongs to, so that one cannot be put in the place of another.
"""

from __future__ import annotations

import hmac
import os
from importlib.util import find_spec

NONCE_BYTES = 12


class Locked(Exception):
    """It was encrypted with another secret, for another id, or it was changed."""


def available() -> bool:
    """Is the extra installed?"""
    return find_spec("cryptography") is not None


class Vault:
    """Of one secret."""

    def __init__(self, secret: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(hmac.digest(b"onebox-router byok 1", secret.encode(), "sha256"))

    def close(self, plain: str, id: str) -> bytes:
        """Encrypt the key of this id."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain.encode(), id.encode())

    def open(self, sealed: bytes, id: str) -> str:
        """The key of this id. Raises Locked."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], id.encode()).decode()
        except (InvalidTag, ValueError):
            raise Locked from None
