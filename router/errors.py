"""The one error tree: what an answer other than success is, whatever the surface that prints it.

RouterError
  BadRequest 400              also: ContextTooLong, ContentRefused, BadImage, each a `kind` of its own
  Unauthenticated 401 · InsufficientCredits 402 · Forbidden 403 · NotFound 404 · MethodNotAllowed 405
  ClientTimeout 408 · Conflict 409 · PayloadTooLarge 413 · UnsupportedMediaType 415 · Unprocessable 422
  RateLimited 429 · ClientGone 499 (logged only) · NotImplementedHere 501 · NoEndpoint 503 · Overloaded 503
  DeadlineExceeded 504
  PluginFailed 502            a plugin raised or returned nonsense
  UpstreamError               what a provider plugin raises
    UpstreamRejected          the request is at fault; `kind` says how. No other endpoint of this model is asked
    UpstreamBusy 429          another endpoint may be asked; `retry_after_s` if it was given
    UpstreamOverloaded 503    503 and 529 of an upstream
    UpstreamUnavailable 502   5xx, refused, reset, nonsense
    UpstreamUnauthorized 502  401, 402, 403 of an upstream: our credential is at fault, never the client's
    UpstreamTimeout 504       nothing came in time
    StreamTruncated 502       cut: falls over before the first content, reported inside the stream after it

The kinds and their columns are the table of the contract (api.md 4.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One row of the contract's table: how each surface names this kind of failure."""

    status: int
    type: str
    code: str
    anthropic: str
    gemini: str


_BAD = "invalid_request_error"
_IMAGE = ("invalid_image", "image_too_large", "image_too_small", "unsupported_image_format", "image_download_failed")
_LENGTH = ("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long")

KINDS: dict[str, Kind] = {
    "invalid_request": Kind(400, _BAD, "invalid_request", _BAD, "INVALID_ARGUMENT"),
    "invalid_prompt": Kind(400, _BAD, "invalid_prompt", _BAD, "INVALID_ARGUMENT"),
    **{kind: Kind(400, _BAD, kind, _BAD, "INVALID_ARGUMENT") for kind in (*_LENGTH, *_IMAGE)},
    "content_policy_violation": Kind(400, _BAD, "content_filter", _BAD, "INVALID_ARGUMENT"),
    "refusal": Kind(400, _BAD, "content_filter", _BAD, "INVALID_ARGUMENT"),
    "authentication": Kind(401, "authentication_error", "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "payment_required": Kind(402, "insufficient_quota", "insufficient_credits", "billing_error", "FAILED_PRECONDITION"),
    "permission_denied": Kind(403, "permission_error", "forbidden", "permission_error", "PERMISSION_DENIED"),
    "not_found": Kind(404, "not_found_error", "not_found", "not_found_error", "NOT_FOUND"),
    "image_not_found": Kind(404, "not_found_error", "not_found", "not_found_error", "NOT_FOUND"),
    "method_not_allowed": Kind(405, _BAD, "method_not_allowed", _BAD, "UNIMPLEMENTED"),
    "timeout": Kind(408, "timeout_error", "request_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
    "conflict": Kind(409, "conflict_error", "conflict", _BAD, "ABORTED"),
    "precondition_failed": Kind(412, _BAD, "precondition_failed", _BAD, "FAILED_PRECONDITION"),
    "payload_too_large": Kind(413, "request_too_large", "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "unsupported_media_type": Kind(415, _BAD, "unsupported_media_type", _BAD, "INVALID_ARGUMENT"),
    "unprocessable": Kind(422, _BAD, "unprocessable", _BAD, "INVALID_ARGUMENT"),
    "rate_limit_exceeded": Kind(429, "rate_limit_error", "rate_limited", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "client_closed_request": Kind(499, "client_closed_request", "client_closed_request", "api_error", "CANCELLED"),
    "server": Kind(500, "internal_server_error", "internal_error", "api_error", "INTERNAL"),
    "not_implemented": Kind(501, _BAD, "not_implemented", "api_error", "UNIMPLEMENTED"),
    "provider_unavailable": Kind(502, "upstream_error", "upstream_error", "api_error", "UNAVAILABLE"),
    "provider_overloaded": Kind(503, "service_unavailable", "no_available_provider", "overloaded_error", "UNAVAILABLE"),
    "upstream_timeout": Kind(504, "upstream_timeout", "upstream_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
}


class RouterError(Exception):
    """An answer other than success. Dialects turn it into their own envelope; nobody else builds error bodies.

    `message` says what to do. `param` names the member of the request at fault, `retry_after_s` is in seconds,
    `code` and `status` override the row of the kind, `availability` and `metadata` are added to the envelope as they are.
    """

    default_kind = "server"
    #: what the client asked to know about its call (`Call.metadata`), printed beside the error
    report: dict[str, Any] | None = None
    #: an upstream has done its work: what it produced is charged, though nobody gets it
    spent = False

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        availability: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind or self.default_kind
        row = KINDS[self.kind]
        self.status = status or row.status
        self.code = code or row.code
        self.param = param
        self.retry_after_s = retry_after_s
        self.availability = availability
        self.metadata = metadata or {}

    @property
    def row(self) -> Kind:
        """This error's row of the contract's table."""
        return KINDS[self.kind]


class BadRequest(RouterError):
    """400: the request itself is wrong; `param` says where."""

    default_kind = "invalid_request"


class ContextTooLong(BadRequest):
    """400: prompt and wanted output do not fit the model."""

    default_kind = "context_length_exceeded"


class ContentRefused(BadRequest):
    """400: refused for its content."""

    default_kind = "content_policy_violation"


class BadImage(BadRequest):
    """400: an image, file or other medium cannot be read or fetched. Pass `kind` for the exact reason."""

    default_kind = "invalid_image"


class Unauthenticated(RouterError):
    """401: no key, or not one of ours."""

    default_kind = "authentication"


class InsufficientCredits(RouterError):
    """402: the key's or account's money is used up."""

    default_kind = "payment_required"


class Forbidden(RouterError):
    """403: the key is good but may not do this. `code` names the reason."""

    default_kind = "permission_denied"


class NotFound(RouterError):
    """404."""

    default_kind = "not_found"


class MethodNotAllowed(RouterError):
    """405: the path exists with other methods."""

    default_kind = "method_not_allowed"


class ClientTimeout(RouterError):
    """408: the client did not send its body in time, or its own X-Router-Timeout ran out."""

    default_kind = "timeout"


class Conflict(RouterError):
    """409."""

    default_kind = "conflict"


class PayloadTooLarge(RouterError):
    """413."""

    default_kind = "payload_too_large"


class UnsupportedMediaType(RouterError):
    """415."""

    default_kind = "unsupported_media_type"


class Unprocessable(RouterError):
    """422."""

    default_kind = "unprocessable"


class RateLimited(RouterError):
    """429 of ours: a limit of the key. `retry_after_s` is exact."""

    default_kind = "rate_limit_exceeded"


class ClientGone(RouterError):
    """499: the client left. Never sent, only logged."""

    default_kind = "client_closed_request"


class NotImplementedHere(RouterError):
    """501: part of the contract that needs a plugin or setting which is not there; `code="not_configured"` then."""

    default_kind = "not_implemented"


class NoEndpoint(RouterError):
    """503: endpoints exist, but none can be asked now."""

    default_kind = "provider_overloaded"


class Overloaded(RouterError):
    """503: the router itself cannot take the call now (backlog, disk, drain)."""

    default_kind = "provider_overloaded"


class DeadlineExceeded(RouterError):
    """504: the time for the whole call ran out."""

    default_kind = "upstream_timeout"


class PluginFailed(RouterError):
    """502: a plugin raised or returned nonsense; the message names plugin and hook."""

    default_kind = "provider_unavailable"


class UpstreamError(RouterError):
    """A failure of one attempt. Provider plugins raise the leaves, through `Provider.error` or while reading.

    `upstream_status` is the HTTP status that the upstream gave (0: none), `provider_code` its own error code, and
    `message` its own words, which are cut to 500 characters and cleaned of credentials before anybody sees them.
    """

    default_kind = "provider_unavailable"
    #: another endpoint, or the same one again, may succeed
    falls_over = True
    #: counts against the health of endpoint and credential
    counts = True
    #: the same endpoint is asked once more (api.md 18.6)
    again = False
    #: of an answer that was to be whole: what came of it (`events.Reply`)
    partial: Any = None

    def __init__(
        self, message: str, *, upstream_status: int = 0, provider_code: str | None = None, **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.upstream_status = upstream_status
        self.provider_code = provider_code


class UpstreamRejected(UpstreamError):
    """The upstream says that the request is wrong. `kind` decides whether the next model is asked."""

    default_kind = "invalid_request"
    falls_over = False
    counts = False


class UpstreamBusy(UpstreamError):
    """429."""

    default_kind = "rate_limit_exceeded"


class UpstreamOverloaded(UpstreamError):
    """503, 529."""

    default_kind = "provider_overloaded"
    again = True


class UpstreamUnavailable(UpstreamError):
    """5xx, connection refused or reset, an answer that cannot be read."""

    default_kind = "provider_unavailable"
    again = True


class UpstreamUnauthorized(UpstreamError):
    """401, 402, 403: our credential. The client gets 502, never 401."""

    default_kind = "provider_unavailable"


class UpstreamTimeout(UpstreamError):
    """Connect, first token or idle time ran out."""

    default_kind = "upstream_timeout"


class StreamTruncated(UpstreamError):
    """The stream ended without its terminal event."""

    default_kind = "provider_unavailable"


#: kinds after which the next *model* of the request is asked at once (api.md 18.6)
NEXT_MODEL_KINDS = frozenset({*_LENGTH, "content_policy_violation", "refusal"})
