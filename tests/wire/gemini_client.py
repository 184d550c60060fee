"""A plain Gemini client: asks the router and folds what comes, a whole answer, events or a growing array, into a `Reply` or `Failure`.

It reads strictly: comments, end marks and answers without what Google always sends land in `faults`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import aiohttp

from .client import Answer
from .expected import (
    GEMINI_FAILED,
    GEMINI_FILTERED,
    Call,
    Choice,
    Failure,
    Reply,
    Usage,
)

Body = dict[str, Any]

METHODS = {"": "generateContent", "sse": "streamGenerateContent?alt=sse", "json": "streamGenerateContent"}


async def post(
    http: aiohttp.ClientSession, url: str, key: str, model: str, body: Body, form: str
) -> tuple[int, str, bytes]:
    """POST one request for a whole answer (""), for events ("sse") or for an array ("json"); status, media type and body."""
    address = f"{url}/v1beta/models/{model}:{METHODS[form]}"
    async with http.post(address, json=body, headers={"x-goog-api-key": key}) as response:
        return response.status, response.content_type, await response.read()


async def ask(http: aiohttp.ClientSession, url: str, key: str, model: str, body: Body, form: str) -> Answer:
    """POST one request and read the answer to its end."""
    status, kind, raw = await post(http, url, key, model, body, form)
    if status != 200:
        return Answer(failure(status, json.loads(raw)))
    faults: list[str] = []
    answers: list[Body] = (
        events_of(raw, faults) if form == "sse" else json.loads(f"[{raw.decode()}]" if not form else raw)
    )
    if kind != ("text/event-stream" if form == "sse" else "application/json"):
        faults.append(f"the media type is {kind}")
    return fold(answers, faults)


def events_of(raw: bytes, faults: list[str]) -> list[Body]:
    """The answers of an event stream: nothing but data."""
    *frames, rest = raw.replace(b"\r\n", b"\n").split(b"\n\n")
    faults += [f"no data: {frame!r}" for frame in frames if not frame.startswith(b"data: {") or b"\n" in frame]
    faults += [f"behind the last event: {rest!r}"] if rest else []
    return [json.loads(frame[6:]) for frame in frames]


def failure(status: int, body: Body) -> Failure:
    """An error's envelope."""
    error = body["error"]
    assert error["code"] == status
    assert error["message"]
    assert error["status"].isupper()
    return Failure(status, error["details"][0]["reason"])


def fold(answers: Iterable[Body], faults: list[str]) -> Answer:
    """One answer, or those of a stream."""
    choices: dict[int, Choice] = {}
    usage: Body = {}
    models: set[str] = set()
    for answer in answers:
        if "error" in answer:
            error = answer["error"]
            return Answer(Failure(error["code"], error["details"][0]["reason"], streamed=choices), faults=faults)
        if not {"candidates", "modelVersion", "responseId"} <= answer.keys():
            faults.append(f"incomplete answer: {sorted(answer)}")
        models.add(answer["modelVersion"])
        usage |= answer.get("usageMetadata", {})
        for candidate in answer["candidates"]:
            choice = choices.setdefault(candidate["index"], Choice())
            take(choice, candidate, faults)
    for choice in choices.values():
        choice.finish = finish(choice.finish or "none", called=bool(choice.calls))
    if usage["totalTokenCount"] != usage["promptTokenCount"] + usage["candidatesTokenCount"] + thoughts(usage):
        faults.append(f"the total is not the sum: {usage}")
    return Answer(Reply(choices, counted(usage)), "estimated" in usage, model="".join(models), faults=faults)


def take(choice: Choice, candidate: Body, faults: list[str]) -> None:
    """Add what an answer says of a candidate."""
    if choice.finish:
        faults.append("more came behind the finish reason")
    if candidate["content"]["role"] != "model" or not candidate["content"]["parts"]:
        faults.append(f"no content of a model: {candidate['content']}")
    choice.finish = candidate.get("finishReason")
    pages = (candidate.get("groundingMetadata") or {}).get("groundingChunks") or []
    choice.cited |= {each["web"]["uri"] for each in pages if each["web"]["uri"]}
    for part in candidate["content"]["parts"]:
        match part:
            case {"thought": True, "text": text}:
                choice.reasoning += text
            case {"text": text}:
                choice.text += text
            case {"functionCall": {"id": id, "name": name, "args": arguments}}:
                choice.calls.append(Call(id, name, arguments.get("_raw", arguments)))
            case {"inlineData": _} | {"fileData": _}:
                choice.images += 1


def finish(reason: str, *, called: bool) -> str:
    """A finish reason in the words of the recordings."""
    if reason in GEMINI_FILTERED:
        return "content_filter"
    if reason in GEMINI_FAILED:
        return "error"
    return {"STOP": "tool_calls" if called else "stop", "MAX_TOKENS": "length"}[reason]


def thoughts(usage: Body) -> int:
    return int(usage.get("thoughtsTokenCount", 0))


def counted(usage: Body) -> Usage:
    """Usage in the words of the recordings; Google has no word for what is written to a cache."""
    return Usage(
        prompt=usage["promptTokenCount"],
        completion=usage["candidatesTokenCount"] + thoughts(usage),
        cached=usage.get("cachedContentTokenCount", 0),
        reasoning=thoughts(usage),
    )
