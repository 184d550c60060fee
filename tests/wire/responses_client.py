"""A plain client of Responses and of text completions: asks the router and folds what comes into a `Reply` or `Failure`.

It reads strictly: whatever a stream does against the order of its events lands in `faults`.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from .client import Answer
from .expected import Call, Choice, Failure, Reply, Usage, parsed

Body = dict[str, Any]

ENDS = ("response.completed", "response.incomplete", "response.failed")


async def post(
    http: aiohttp.ClientSession, url: str, key: str, path: str, body: Body
) -> tuple[int, str, bytes, str | None]:
    """POST; status, media type, body and retry-after of the answer."""
    headers = {"authorization": f"Bearer {key}"}
    async with http.post(f"{url}/v1{path}", json=body, headers=headers) as response:
        return response.status, response.content_type, await response.read(), response.headers.get("retry-after")


async def ask(http: aiohttp.ClientSession, url: str, key: str, body: Body) -> Answer:
    """Ask for a response and read the answer to its end."""
    status, kind, raw, retry_after = await post(http, url, key, "/responses", body)
    if status != 200:
        return Answer(failure(status, json.loads(raw), retry_after))
    if kind == "text/event-stream":
        return fold(raw.decode())
    told = json.loads(raw)
    return ended(told, told["output"], [])


def failure(status: int, body: Body, retry_after: str | None = None) -> Failure:
    """An error's envelope."""
    assert body["error"]["message"]
    assert body["error"]["metadata"]["http_status"] == status
    return Failure(status, body["error"]["metadata"]["error_type"], retry_after)


def fold(text: str) -> Answer:
    """A stream: its items as the events spell them, then its last event."""
    faults: list[str] = []
    items: list[Body] = []
    grown: dict[tuple[Any, ...], str] = {}
    events = [read(frame, number, faults) for number, frame in enumerate(text.split("\n\n")[:-1])]
    if [event["type"] for event in events[:2]] != ["response.created", "response.in_progress"]:
        faults.append("the stream begins in another way")
    for event in events[2:-1]:
        kind, index = event["type"], event.get("output_index")
        place = (kind.rpartition(".")[0], index, event.get("content_index"), event.get("summary_index"))
        if kind == "response.output_item.added":
            items.append(event["item"])
            if index != len(items) - 1:
                faults.append(f"item {index} is number {len(items) - 1}")
        elif kind == "response.output_item.done":
            items[event["output_index"]] = event["item"]
        elif kind.endswith(".delta"):
            grown[place] = grown.get(place, "") + event["delta"]
        elif kind in ENDS:
            faults.append(f"{kind} is not the last event")
        elif place in grown:
            whole = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
            if grown[place] != whole:
                faults.append(f"{kind} says {whole!r} after {grown[place]!r}")
    last = events[-1]
    if last["type"] not in ENDS or last["type"] != f"response.{last['response']['status']}":
        faults.append(f"the last event is {last['type']}")
    if last["response"]["output"] != items:
        faults.append("the items of the end are not those of the stream")
    return ended(last["response"], items, faults)


def read(frame: str, number: int, faults: list[str]) -> Body:
    """One event."""
    lines = frame.split("\n")
    event: Body = json.loads(lines[1].removeprefix("data: "))
    if len(lines) != 2 or lines[0] != f"event: {event['type']}" or event["sequence_number"] != number:
        faults.append(f"odd event number {number}: {frame[:80]!r}")
    return event


def ended(told: Body, items: list[Body], faults: list[str]) -> Answer:
    """The answer that a response object tells."""
    choice = Choice()
    for item in items:
        take(choice, item)
    if told["object"] != "response" or told["output_text"] != choice.text:
        faults.append(f"odd response: {sorted(told)}")
    if told["status"] == "failed":
        return Answer(Failure(0, told["error_type"], streamed={0: choice}), faults=faults)
    reason = (told["incomplete_details"] or {}).get("reason")
    choice.finish = {None: "stop", "max_output_tokens": "length"}.get(reason, reason)
    if choice.calls:
        choice.finish = "tool_calls"
    used = told["usage"]
    ins = used["input_tokens_details"]
    usage = Usage(
        used["input_tokens"],
        used["output_tokens"],
        ins["cached_tokens"],
        ins["cache_write_tokens"],
        used["output_tokens_details"]["reasoning_tokens"],
    )
    assert used["total_tokens"] == usage.prompt + usage.completion
    return Answer(Reply({0: choice}, usage), "estimated" in used, model=told["model"], faults=faults)


def take(choice: Choice, item: Body) -> None:
    """Add an item."""
    match item["type"]:
        case "message":
            for part in item["content"]:
                choice.text += part.get("text", "")
                choice.refusal += part.get("refusal", "")
                choice.cited |= {note["url"] for note in part.get("annotations", []) if note["url"]}
        case "reasoning":
            choice.reasoning += "".join(part["text"] for part in (*item["summary"], *item.get("content", ())))
        case "function_call":
            choice.calls.append(Call(item["call_id"], item["name"], parsed(item["arguments"])))
        case "image_generation_call":
            choice.images += 1
