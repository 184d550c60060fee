"""What every error must look like, on each surface: the contract's table, written down a second time."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiohttp import ClientResponse


class Row(NamedTuple):
    """How the surfaces name one kind of failure: HTTP status, OpenAI's type and code, Anthropic's type, Google's status."""

    status: int
    type: str
    code: str
    anthropic: str
    google: str


BAD = "invalid_request_error"
TABLE = {
    "invalid_request": Row(400, BAD, "invalid_request", BAD, "INVALID_ARGUMENT"),
    "invalid_prompt": Row(400, BAD, "invalid_prompt", BAD, "INVALID_ARGUMENT"),
    "context_length_exceeded": Row(400, BAD, "context_length_exceeded", BAD, "INVALID_ARGUMENT"),
    "max_tokens_exceeded": Row(400, BAD, "max_tokens_exceeded", BAD, "INVALID_ARGUMENT"),
    "token_limit_exceeded": Row(400, BAD, "token_limit_exceeded", BAD, "INVALID_ARGUMENT"),
    "string_too_long": Row(400, BAD, "string_too_long", BAD, "INVALID_ARGUMENT"),
    "content_policy_violation": Row(400, BAD, "content_filter", BAD, "INVALID_ARGUMENT"),
    "refusal": Row(400, BAD, "content_filter", BAD, "INVALID_ARGUMENT"),
    "invalid_image": Row(400, BAD, "invalid_image", BAD, "INVALID_ARGUMENT"),
    "image_too_large": Row(400, BAD, "image_too_large", BAD, "INVALID_ARGUMENT"),
    "image_too_small": Row(400, BAD, "image_too_small", BAD, "INVALID_ARGUMENT"),
    "unsupported_image_format": Row(400, BAD, "unsupported_image_format", BAD, "INVALID_ARGUMENT"),
    "image_download_failed": Row(400, BAD, "image_download_failed", BAD, "INVALID_ARGUMENT"),
    "authentication": Row(401, "authentication_error", "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "payment_required": Row(402, "insufficient_quota", "insufficient_credits", "billing_error", "FAILED_PRECONDITION"),
    "permission_denied": Row(403, "permission_error", "forbidden", "permission_error", "PERMISSION_DENIED"),
    "not_found": Row(404, "not_found_error", "not_found", "not_found_error", "NOT_FOUND"),
    "image_not_found": Row(404, "not_found_error", "not_found", "not_found_error", "NOT_FOUND"),
    "method_not_allowed": Row(405, BAD, "method_not_allowed", BAD, "UNIMPLEMENTED"),
    "timeout": Row(408, "timeout_error", "request_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
    "conflict": Row(409, "conflict_error", "conflict", BAD, "ABORTED"),
    "precondition_failed": Row(412, BAD, "precondition_failed", BAD, "FAILED_PRECONDITION"),
    "payload_too_large": Row(413, "request_too_large", "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "unsupported_media_type": Row(415, BAD, "unsupported_media_type", BAD, "INVALID_ARGUMENT"),
    "unprocessable": Row(422, BAD, "unprocessable", BAD, "INVALID_ARGUMENT"),
    "rate_limit_exceeded": Row(429, "rate_limit_error", "rate_limited", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "client_closed_request": Row(499, "client_closed_request", "client_closed_request", "api_error", "CANCELLED"),
    "server": Row(500, "internal_server_error", "internal_error", "api_error", "INTERNAL"),
    "not_implemented": Row(501, BAD, "not_implemented", "api_error", "UNIMPLEMENTED"),
    "provider_unavailable": Row(502, "upstream_error", "upstream_error", "api_error", "UNAVAILABLE"),
    "provider_overloaded": Row(503, "service_unavailable", "no_available_provider", "overloaded_error", "UNAVAILABLE"),
    "upstream_timeout": Row(504, "upstream_timeout", "upstream_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
}
#: codes that say more than the kind does, and HTTP statuses that differ from the kind's
CODES = {
    "permission_denied": {"quota_exceeded", "guardrail_blocked", "model_not_allowed", "provider_not_allowed"},
    "not_found": {"model_not_found", "no_endpoints"},
    "not_implemented": {"not_configured"},
}
STATUSES = {"content_policy_violation": {403}}


async def openai_error(answer: ClientResponse, kind: str) -> dict[str, Any]:
    """The error of an answer, which must be one of this kind, complete, in the shape of OpenAI's clients."""
    body = await answer.json()
    return checked(answer.status, answer.content_type, body, kind)


def checked(status: int, content_type: str, body: Any, kind: str | None = None) -> dict[str, Any]:
    """The same for what has been read already; `kind` None is any kind."""
    assert content_type == "application/json"
    assert body.keys() == {"error", "code", "request_id"}
    error: dict[str, Any] = body["error"]
    assert error.keys() - {"availability"} == {"message", "type", "code", "param", "metadata"}
    metadata = error["metadata"]
    assert kind in (None, metadata["error_type"]), error
    row = TABLE[metadata["error_type"]]
    assert status in {row.status, *STATUSES.get(metadata["error_type"], ())}
    assert metadata["http_status"] == status
    assert error["type"] == row.type
    assert error["code"] == body["code"] == metadata["error_code"]
    assert error["code"] in {row.code, *CODES.get(metadata["error_type"], ())}
    assert isinstance(error["message"], str)
    assert 1 < len(error["message"]) < 1000
    assert error["param"] is None or isinstance(error["param"], str)
    assert body["request_id"].startswith("req_")
    return error


async def anthropic_error(answer: ClientResponse, kind: str) -> str:
    """The message of an error in the shape of Anthropic's clients, who call 503 by a number of their own."""
    body = await answer.json()
    row = TABLE[kind]
    assert answer.content_type == "application/json"
    assert answer.status == (529 if row.status == 503 else row.status)
    assert body.keys() == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"], body["error"]["error_type"]) == ("error", row.anthropic, kind)
    assert answer.headers["request-id"] == body["request_id"]
    message: str = body["error"]["message"]
    return message


async def google_error(answer: ClientResponse, kind: str) -> str:
    """The message of an error in the shape of Google's clients."""
    body = await answer.json()
    row = TABLE[kind]
    assert answer.content_type == "application/json"
    assert body.keys() == {"error"}
    assert (answer.status, body["error"]["code"], body["error"]["status"]) == (row.status, row.status, row.google)
    (info,) = body["error"]["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["reason"] == kind
    message: str = body["error"]["message"]
    return message
