"""The row of the ledger that a call leaves, and how it is made: what others sent is bounded and made storable."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct, field

from .call import TRACE_HEADERS, Attempt, Call
from .prices import Cost, Usage

LONGEST_TEXT = 256
TITLES = ("X-Title", "X-OpenRouter-Title", "X-AnyRouter-Title", "X-Router-Title")
TAGS = 16
LONGEST_TAG = 64
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Generation(Struct, kw_only=True, omit_defaults=True):
    """One row of the ledger: a call that had an identity, ended. Never updated.

    `cost` is what is charged, None where the model has no price (`priced` False); `list_cost` what the price list says.
    `status`: ok, error, cancelled, interrupted. Tokens as in `Usage`. `response_cache_source_id`: whose answer was given again.
    """

    id: str
    created_unix: float
    key_hash: str
    request_id: str = ""
    api_type: str = ""
    model: str = ""
    requested_model: str = ""
    provider: str = ""
    status: str = "ok"
    http_status: int = 200
    error_code: str | None = None
    streamed: bool = False
    cancelled: bool = False
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    upstream_id: str = ""
    cost: int | None = None
    list_cost: int | None = None
    prompt_cost: int = 0
    completion_cost: int = 0
    cache_discount: int = 0
    priced: bool = True
    is_byok: bool = False
    usage: Usage = field(default_factory=Usage)
    latency_ms: int = 0
    generation_ms: int = 0
    moderation_ms: int | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    session_id: str | None = None
    trace_id: str | None = None
    user: str | None = None
    tags: list[str] = field(default_factory=list)
    app_title: str | None = None
    http_referer: str | None = None
    user_agent: str | None = None
    preset_id: str | None = None
    service_tier: str | None = None
    response_cache_source_id: str | None = None


def generation_of(call: Call, now_s: float) -> Generation:
    """The row of a call that ends now, whose usage and charge are set."""
    identity, candidate, outcome, headers = call.identity, call.candidate, call.outcome, call.headers
    assert identity is not None
    cost = call.cost or Cost()
    failed = call.error is not None
    return Generation(
        id=call.id,
        created_unix=call.created_unix,
        key_hash=identity.hash,
        request_id=call.request_id,
        api_type=call.dialect.api_type,
        model=call.model_id,
        requested_model=call.head.model,
        provider=candidate.provider.slug if candidate is not None else "",
        status="cancelled" if call.cancelled else "error" if failed else "ok",
        http_status=call.error.status if call.error is not None else 200,
        error_code=call.error.code if call.error is not None else None,
        streamed=call.head.stream or outcome.streamed,
        cancelled=call.cancelled,
        finish_reason=outcome.finish_reason,
        native_finish_reason=_text(outcome.native_finish_reason),
        upstream_id=_clean(outcome.upstream_id),
        cost=call.charge,
        list_cost=call.cost.total if call.cost is not None else None,
        is_byok=call.is_byok,
        prompt_cost=cost.prompt,
        completion_cost=cost.completion,
        cache_discount=cost.cache_discount,
        priced=call.charge is not None,
        usage=call.usage or Usage(),
        latency_ms=_milliseconds((call.first_content_s or now_s) - call.started_s),
        generation_ms=_milliseconds(now_s - (call.first_content_s or now_s)),
        moderation_ms=None if call.moderation_s is None else _milliseconds(call.moderation_s),
        attempts=[_attempt(attempt) for attempt in call.attempts],
        session_id=_text(call.head.session_id or headers.get("x-session-id")),
        trace_id=_first_of(headers, TRACE_HEADERS) or _text(call.head.trace.get("trace_id")),
        user=_text(call.head.user),
        tags=_tags(call),
        app_title=_first_of(headers, TITLES),
        http_referer=_text(headers.get("HTTP-Referer") or headers.get("Referer")),
        user_agent=_text(headers.get("User-Agent")),
        preset_id=call.preset,
        service_tier=_text(outcome.service_tier),
        response_cache_source_id=call.recalled.source_id if call.recalled is not None else None,
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    endpoint = attempt.candidate.endpoint
    tried: dict[str, Any] = {
        "provider": endpoint.provider.slug,
        "model": endpoint.model_id,
        "status": attempt.status,
        "latency_ms": _milliseconds(attempt.latency_s),
    }
    if attempt.error is not None:
        tried["error"] = attempt.error.code
    return tried


def _tags(call: Call) -> list[str]:
    """The tags of key, header and body, without repetition. The key's go first: whoever pays counts on them, whatever its user adds."""
    sent = call.headers.get("X-Router-Tags") or call.headers.get("X-OpenRouter-Tags")
    identity = call.identity
    own = identity.tags if identity is not None else []
    if not sent and not call.head.tags and not own:
        return []
    tags = [*own, *(sent.split(",") if sent else ()), *call.head.tags]
    cleaned = (_clean(tag.strip(), LONGEST_TAG) for tag in tags)
    return list(dict.fromkeys(tag for tag in cleaned if tag))[:TAGS]


def _first_of(headers: Any, names: tuple[str, ...]) -> str | None:
    for name in names:
        if (value := headers.get(name)) is not None:
            return _text(value)
    return None


def _text(value: str | None) -> str | None:
    return None if value is None else _clean(value)


def _clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """Foreign text made storable: bounded, no control characters, no lone surrogates (headers may bring them)."""
    text = text[:longest]
    return text if text.isprintable() else UNSTORABLE.sub("?", text)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
