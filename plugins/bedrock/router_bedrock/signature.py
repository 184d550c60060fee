"""Signature Version 4: how AWS knows who sent a request, and that nobody changed it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html, seen in November 2026. Why this is ours and not
botocore's: docs/decisions/0009-bedrock-without-botocore.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from msgspec import Struct
from yarl import URL

_ALGORITHM = "AWS4-HMAC-SHA256"


class Keys(Struct, frozen=True, kw_only=True):
    """An identity of AWS. `token` comes with keys that hold for some hours only."""

    id: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Keys({self.id})"


def signed(
    keys: Keys,
    method: str,
    url: URL,
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """The headers to add: the time, the token if there is one, and the signature over all of it.

    `url` is as it goes over the wire. `headers` are signed all, and `host` besides.
    """
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": time}
    if keys.token:
        added["X-Amz-Security-Token"] = keys.token
    values = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added}.items()}
    values["host"] = host_of(url)
    names = sorted(values)
    request = "\n".join(
        (
            method,
            quote(url.raw_path, safe="/~"),  # the path is encoded a second time: AWS wants it so but for S3
            _query(url),
            *(f"{name}:{values[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.new(_key(keys.secret, time[:8], region, service), text.encode(), "sha256").hexdigest()
    added["Authorization"] = (
        f"{_ALGORITHM} Credential={keys.id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return added


def host_of(url: URL) -> str:
    """The `Host` header of a request to this URL."""
    host = url.host_subcomponent or ""
    return host if url.is_default_port() else f"{host}:{url.port}"


def _query(url: URL) -> str:
    pairs = parse_qsl(url.raw_query_string, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, place and service."""
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
