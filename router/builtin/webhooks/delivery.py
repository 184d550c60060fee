"""The way to an endpoint: one signed POST, to public addresses only unless `fetch.allow_private`, without redirects."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from ...api.moments import moment
from ...call import encode_json
from ...errors import RouterError
from ...fetch import Public, refuse_private
from ...prices import usd
from ...store.generations import Generations

SECONDS = 10.0
#: connections to all endpoints together
CONNECTIONS = 20
SIGNATURE = "X-Router-Signature"


class Undelivered(Exception):
    """The endpoint has not taken it. `status` is what it answered, None where it did not."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Delivery:
    """A session of its own: what endpoints do to it touches no call. `allow_private` is asked each time, so that a reload counts."""

    def __init__(self, allow_private: Callable[[], bool]) -> None:
        self._allow_private = allow_private
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=Public(self._allow_private), use_dns_cache=False, limit=CONNECTIONS, force_close=True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "onebox-router", "Content-Type": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, url: str, body: bytes, type: str, id: str, secret: str | None) -> int:
        """The status by which it was taken. Raises Undelivered."""
        headers = {"X-Router-Event": type, "X-Router-Delivery": id}
        if secret is not None:
            headers[SIGNATURE] = signature(secret, body, int(time.time()))
        try:
            refuse_private(URL(url), allow_private=self._allow_private())
            async with (
                asyncio.timeout(SECONDS),
                self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise Undelivered(f"no answer within {SECONDS:g} s") from None
        except RouterError as error:
            raise Undelivered(error.message[-200:]) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Undelivered(str(error)[:200] or type_of(error)) from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answered {status}", status)
        return status


def type_of(error: Exception) -> str:
    """For errors without words."""
    return type(error).__name__


def signature(secret: str, body: bytes, at_unix: int) -> str:
    """HMAC-SHA256 over the time, a dot and the body: `t=…,v1=…`."""
    made = hmac.digest(secret.encode(), b"%d." % at_unix + body, "sha256").hex()
    return f"t={at_unix},v1={made}"


def event_body(id: str, type: str, created_unix: float, data: dict[str, Any]) -> bytes:
    """What an endpoint is told."""
    return encode_json({"id": id, "type": type, "created_at": moment(created_unix), "data": data})


async def of_generation(generations: Generations, id: str) -> dict[str, Any] | None:
    """What is told of a call: never what was said in it."""
    row = await generations.one(id)
    if row is None:
        return None
    return {
        "id": row.id,
        "request_id": row.request_id,
        "created_at": moment(row.created_unix),
        "api_type": row.api_type,
        "model": row.model,
        "provider": row.provider or None,
        "status": row.status,
        "http_status": row.http_status,
        "error_code": row.error_code,
        "finish_reason": row.finish_reason,
        "streamed": row.streamed,
        "usage": {
            "prompt_tokens": row.usage.input,
            "completion_tokens": row.usage.output,
            "total_tokens": row.usage.input + row.usage.output,
        },
        "cost": None if row.cost is None else usd(row.cost),
        "is_byok": row.is_byok,
        "latency_ms": row.latency_ms,
        "generation_ms": row.generation_ms,
        "key_hash": row.key_hash,
        "user": row.user,
        "session_id": row.session_id,
        "trace_id": row.trace_id,
        "tags": row.tags,
    }
