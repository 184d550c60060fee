"""A plain Anthropic client: asks the router and folds what comes, JSON or events, into a `Reply` or `Failure`.

It reads strictly: whatever a stream does against the order of Anthropic's events lands in `faults`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import aiohttp

from .client import Answer
from .expected import Call, Choice, Failure, Reply, Usage, parsed

Body = dict[str, Any]

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}


async def post(http: aiohttp.ClientSession, url: str, key: str, body: Body) -> tuple[int, str, bytes]:
    """POST one message; status, media type and body of the answer."""
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    async with http.post(f"{url}/v1/messages?beta=true", json=body, headers=headers) as response:
        return response.status, response.content_type, await response.read()


async def ask(http: aiohttp.ClientSession, url: str, key: str, body: Body) -> Answer:
    """POST one message and read the answer to its end."""
    status, kind, raw = await post(http, url, key, body)
    if status != 200:
        return Answer(failure(status, json.loads(raw)))
    return fold(raw.decode()) if kind == "text/event-stream" else plain(json.loads(raw))


def failure(status: int, body: Body) -> Failure:
    """An error's envelope."""
    assert body["type"] == "error"
    assert body["request_id"].startswith("req_")
    assert body["error"]["message"]
    assert body["error"]["type"]
    return Failure(503 if status == 529 else status, body["error"]["error_type"])


def plain(body: Body) -> Answer:
    """A whole message."""
    faults = [] if (body["type"], body["role"]) == ("message", "assistant") else [f"no message: {sorted(body)}"]
    choice = Choice(finish=FINISH[body["stop_reason"]])
    for block in body["content"]:
        take(choice, block)
    return Answer(reply(choice, body["usage"]), "estimated" in body["usage"], model=body["model"], faults=faults)


def take(choice: Choice, block: Body) -> None:
    """Add a whole block."""
    match block["type"]:
        case "text":
            choice.text += block["text"]
            choice.cited |= {each["url"] for each in block.get("citations") or [] if each["url"]}
        case "thinking":
            choice.reasoning += block["thinking"]
        case "tool_use":
            given = block["input"]
            choice.calls.append(Call(block["id"], block["name"], given.get("_raw", given)))
        case "image":
            choice.images += 1


def reply(choice: Choice, usage: Body) -> Reply:
    """The answer in the words of the recordings: `input_tokens` leaves out what concerns the cache."""
    read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    thinking = usage["output_tokens_details"]["thinking_tokens"]
    counted = Usage(usage["input_tokens"] + read + written, usage["output_tokens"], read, written, thinking)
    return Reply({0: choice}, counted)


def fold(text: str) -> Answer:
    """A stream."""
    faults: list[str] = []
    events = list(events_of(text, faults))
    if not events or events[0]["type"] != "message_start":
        return Answer(Failure(0, "the stream does not begin with message_start"), faults=faults)
    choice, usage, open_block, index = Choice(), dict[str, Any](), None, 0
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                if open_block is not None or event["index"] != index:
                    faults.append(f"block {event['index']} begins where {index} should")
                open_block = dict(event["content_block"], json="")
            case "content_block_delta":
                if open_block is None or event["index"] != index:
                    faults.append(f"a delta of block {event['index']} while {index} is open")
                else:
                    grow(open_block, event["delta"], faults)
            case "content_block_stop":
                finish(choice, open_block or {"type": "none"})
                open_block, index = None, index + 1
            case "message_delta":
                choice.finish, usage = FINISH[event["delta"]["stop_reason"]], event["usage"]
            case "error":
                error = event["error"]
                return Answer(Failure(0, error["error_type"], streamed={0: choice}), faults=faults)
    if [each["type"] for each in events[-2:]] != ["message_delta", "message_stop"]:
        faults.append(f"the stream ends in {events[-1]['type']}")
    model = events[0]["message"]["model"]
    return Answer(reply(choice, usage), "estimated" in usage, model=model, faults=faults)


def events_of(text: str, faults: list[str]) -> Iterator[Body]:
    """The events, without pings and comments."""
    for frame in text.split("\n\n"):
        if not frame or frame.startswith(":"):
            continue
        name, _, data = frame.partition("\n")
        event: Body = json.loads(data.removeprefix("data: "))
        if name != f"event: {event['type']}":
            faults.append(f"{name} names {event['type']}")
        if event["type"] != "ping":
            yield event


def grow(block: Body, delta: Body, faults: list[str]) -> None:
    """Add a delta to the open block."""
    kind = delta["type"]
    if GROWING.get(kind, block["type"]) != block["type"]:
        faults.append(f"{kind} in a block of type {block['type']}")
    match kind:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
        case "input_json_delta":
            block["json"] += delta["partial_json"]


def finish(choice: Choice, block: Body) -> None:
    """A block is whole."""
    if block["type"] != "tool_use":
        take(choice, block)
        return
    choice.calls.append(Call(block["id"], block["name"], parsed(block["json"])))
