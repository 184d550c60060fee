"""OpenAI's Responses as an upstream: what its own models are asked when a client speaks Responses too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from router.testing import Asked

from .families import CACHED, CREATED, INPUT, OUTPUT, THOUGHT, Answer, OpenAI, Sent, ToolCall

USAGE = {
    "input_tokens": INPUT,
    "input_tokens_details": {"cached_tokens": CACHED},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"reasoning_tokens": THOUGHT},
    "total_tokens": INPUT + OUTPUT,
}


class Responses(OpenAI):
    """The same models by the other API. A message is the first item, calls are those behind it."""

    def body(self, answer: Answer) -> Any:
        return self._response("completed", self._items(answer))

    def frames(self, answer: Answer) -> list[bytes]:
        events = [
            {"type": "response.created", "response": self._response("in_progress", [])},
            {"type": "response.in_progress", "response": self._response("in_progress", [])},
            *(event for number, item in enumerate(self._items(answer)) for event in self._told(number, item, answer)),
            {"type": "response.completed", "response": self.body(answer)},
        ]
        return [
            b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event | {"sequence_number": at}).encode())
            for at, event in enumerate(events)
        ]

    def failing(self, message: str) -> bytes:
        error = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 9}
        return b"event: error\ndata: %b\n\n" % json.dumps(error).encode()

    def sent(self, asked: Asked) -> Sent:
        given = asked.body["input"]
        items = [{"content": given}] if isinstance(given, str) else given
        parts = [part for item in items for part in _parts(item.get("content"))]
        return Sent(
            model=asked.body["model"],
            key=asked.headers["Authorization"].removeprefix("Bearer "),
            texts=[part["text"] for part in parts if "text" in part],
            tools=[tool["name"] for tool in asked.body.get("tools") or () if "name" in tool],
            forced="",
            results=[(item["call_id"], item["output"]) for item in items if item.get("type") == "function_call_output"],
            images=[part["image_url"] for part in parts if part["type"] == "input_image"],
            schema=asked.body.get("text", {}).get("format", {}).get("schema"),
            thinks=False,
        )

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": f"{self.upstream_model}-2026-01-01",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": USAGE if status == "completed" else None,
        }

    def _items(self, answer: Answer) -> list[dict[str, Any]]:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        messages = [message | {"content": [part]}] if answer.words else []
        return [*messages, *(self._call_item(call) for call in answer.calls)]

    def _call_item(self, call: ToolCall) -> dict[str, Any]:
        called = {"name": call.name, "arguments": json.dumps(call.arguments), "call_id": call.id}
        return {"id": f"fc_{call.id}", "type": "function_call", "status": "completed", **called}

    def _told(self, number: int, item: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
        """The events of one item."""
        place = {"item_id": item["id"], "output_index": number}
        message = item["type"] == "message"
        opened = {**item, "status": "in_progress"} | ({"content": []} if message else {"arguments": ""})
        yield {"type": "response.output_item.added", "output_index": number, "item": opened}
        if message:
            yield from _text(place | {"content_index": 0}, item["content"][0], answer)
        else:
            text = item["arguments"]
            for start in range(0, len(text), 5):
                delta = {"delta": text[start : start + 5]}
                yield {"type": "response.function_call_arguments.delta", **place, **delta}
            done = {"arguments": text, "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **place, **done}
        yield {"type": "response.output_item.done", "output_index": number, "item": item}


def _text(place: dict[str, Any], part: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"type": "response.content_part.added", **place, "part": part | {"text": ""}}
    for word in answer.words:
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": answer.text, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content or []
