"""Errors in the shapes of the other surfaces (api.md 4), which their dialects print as well as the paths that have no route.

The shape of OpenAI's clients is in `openai_chat.common`, next to the errors inside of its streams.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import RouterError, UpstreamError

_encode_text = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """JSON of an error, which may repeat a header or a path whose bytes are no text."""
    try:
        return _encode_text(value)
    except UnicodeEncodeError:
        return _encode_text(_readable(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, list) else value


def message_of(error: RouterError) -> str:
    """What a client may read of an error: nothing of a bug of ours, and only so much of what an upstream says."""
    if error.kind == "server":
        return "The router failed on this request; its log says why under the request id."
    return error.message[:500] if isinstance(error, UpstreamError) else error.message


def anthropic(error: RouterError, request_id: str) -> tuple[int, bytes]:
    """HTTP status and body as Anthropic's clients expect them: being overloaded has a status of its own."""
    status = 529 if error.status == 503 else error.status
    body: dict[str, Any] = {"type": error.row.anthropic, "message": message_of(error), "error_type": error.kind}
    _add_availability(body, error)
    told = {"type": "error", "error": body, "request_id": request_id}
    return status, encode(told | report_of(error))


def gemini(error: RouterError) -> tuple[int, bytes]:
    """HTTP status and body as Google's clients expect them."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.kind, "metadata": {}}
    body: dict[str, Any] = {
        "code": error.status,
        "message": message_of(error),
        "status": error.row.gemini,
        "details": [info],
    }
    _add_availability(body, error)
    return error.status, encode({"error": body} | report_of(error))


def report_of(error: RouterError) -> dict[str, Any]:
    """What stands beside the error for clients that asked for metadata (api.md 18.9)."""
    return {} if error.report is None else {"openrouter_metadata": error.report}


def _add_availability(body: dict[str, Any], error: RouterError) -> None:
    if error.availability is not None:
        body["availability"] = error.availability
