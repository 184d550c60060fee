"""A plain OpenAI chat client: asks the router and folds what comes, JSON or events, into a `Reply` or `Failure`.

It reads strictly: whatever a stream does against the contract's form (api.md, streaming) lands in `faults`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from .expected import Call, Choice, Failure, Reply, Usage, json_text, parsed, searched


@dataclass
class Answer:
    """What a client got. `usage_estimated` is what the answer itself says. `faults` are breaches of form, in words."""

    said: Reply | Failure
    usage_estimated: bool = False
    provider: str | None = None
    model: str | None = None
    faults: list[str] = field(default_factory=list)


async def ask(http: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any]) -> Answer:
    """POST one chat request and read the answer to its end."""
    headers = {"authorization": f"Bearer {key}"}
    async with http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        raw = await response.read()
        if response.status != 200:
            return plain_error(response.status, response.headers.get("retry-after"), json.loads(raw))
        if response.content_type == "text/event-stream":
            options = body.get("stream_options") or {}
            return fold(raw.decode(), usage_apart=bool(options.get("include_usage")))
        return plain_reply(json.loads(raw))


def plain_error(status: int, retry_after: str | None, body: dict[str, Any]) -> Answer:
    """An error answer. The envelope's members that are always there are looked up, not asked for."""
    error = body["error"]
    answer = Answer(Failure(status, error["metadata"]["error_type"], retry_after))
    if error["metadata"]["http_status"] != status:
        answer.faults.append(f"http_status {error['metadata']['http_status']} in an answer with status {status}")
    if not error["message"] or not error["type"] or error["code"] != error["metadata"]["error_code"]:
        answer.faults.append(f"incomplete error {error}")
    return answer


def plain_reply(body: dict[str, Any]) -> Answer:
    """A whole answer."""
    choices, faults = {}, list[str]()
    for each in body["choices"]:
        message = each["message"]
        choice = choices[each["index"]] = Choice(
            text=as_text(message["content"]),
            reasoning=reasoning(message),
            refusal=message.get("refusal") or "",
            calls=calls(message),
            images=len(message.get("images") or []),
            cited=cited(message),
            finish=each["finish_reason"],
        )
        if message["role"] != "assistant":
            faults.append(f"role {message['role']}")
        if choice.finish == "error":
            return Answer(in_band(each["error"], {0: choice}), faults=faults)
    if body["object"] != "chat.completion" or not body["id"] or "system_fingerprint" not in body:
        faults.append(f"incomplete answer: {sorted(body)}")
    return Answer(
        Reply(choices, usage(body["usage"])),
        bool(body["usage"].get("estimated")),
        body["provider"],
        body["model"],
        faults,
    )


def fold(text: str, *, usage_apart: bool) -> Answer:
    """A stream. `usage_apart`: usage was asked for as a last chunk of its own."""
    datas, faults = datas_of(text)
    chunks = [json.loads(data) for data in datas[:-1]]
    if not datas or datas[-1] != "[DONE]":
        return Answer(Failure(0, "the stream does not end in [DONE]"), faults=faults)
    choices: dict[int, Choice] = {}
    fragments: dict[tuple[int, int], Call] = {}
    failed: dict[str, Any] | None = None
    finishes: list[int] = []
    for chunk in chunks:
        for each in chunk["choices"]:
            choice, delta = choices.setdefault(each["index"], Choice()), each["delta"]
            choice.text += as_text(delta.get("content"))
            choice.reasoning += reasoning(delta)
            choice.refusal += delta.get("refusal") or ""
            choice.images += len(delta.get("images") or [])
            choice.cited |= cited(delta)
            for part in delta.get("tool_calls") or []:
                fold_call(fragments, choice, (each["index"], part["index"]), part, faults)
            if legacy := delta.get("function_call"):
                part = {"function": legacy, "id": "legacy" if legacy.get("name") else None}
                fold_call(fragments, choice, (each["index"], -1), part, faults)
            if each["finish_reason"]:
                finishes.append(each["index"])
                choice.finish = each["finish_reason"]
        failed = chunk.get("error") or failed
    if sorted(finishes) != sorted(choices):
        faults.append(f"finish reasons came for choices {finishes} of {sorted(choices)}")
    faults += list(form_faults(chunks, usage_apart and not failed))
    for choice in choices.values():
        for call in choice.calls:
            call.arguments = parsed(call.arguments)
    if failed:
        return Answer(in_band(failed, choices), faults=faults)
    counted = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    if len(counted) != 1:
        faults.append(f"{len(counted)} chunks with usage")
    counted = counted or [{"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -2}]
    last = chunks[-1]
    return Answer(
        Reply(choices, usage(counted[-1])),
        bool(counted[-1].get("estimated")),
        last.get("provider"),
        last.get("model"),
        faults,
    )


def datas_of(text: str) -> tuple[list[str], list[str]]:
    """The data of each event. Comments are allowed, `id:`, `event:` and several data lines are not."""
    datas, faults = [], list[str]()
    if not text.endswith("\n\n"):
        faults.append("the stream ends within an event")
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if len(lines) > 1 or (lines and not lines[0].startswith("data: ")):
            faults.append(f"odd event {block[:80]!r}")
        datas += [line[6:] for line in lines]
    return datas, faults


def fold_call(
    fragments: dict[tuple[int, int], Call],
    choice: Choice,
    key: tuple[int, int],
    part: dict[str, Any],
    faults: list[str],
) -> None:
    function = part.get("function") or {}
    if key not in fragments:
        if not part.get("id") or not function.get("name"):
            faults.append(f"the first fragment of a call lacks id or name: {part}")
        fragments[key] = Call(part.get("id"), str(function.get("name")), "")
        choice.calls.append(fragments[key])
    elif part.get("id") or function.get("name"):
        faults.append(f"a later fragment of a call repeats id or name: {part}")
    fragments[key].arguments += function.get("arguments") or ""


def form_faults(chunks: list[dict[str, Any]], usage_apart: bool) -> Iterable[str]:
    """What the contract asks of every chunk and of the first and last one."""
    for name in ("id", "created", "model", "provider", "object"):
        values = {chunk.get(name) for chunk in chunks}
        if len(values) != 1 or values & {None, ""}:
            yield f"{name} is not one and the same: {values}"
    if any(chunk["object"] != "chat.completion.chunk" for chunk in chunks):
        yield "a chunk that is none by its `object`"
    if any("system_fingerprint" in chunk and chunk["system_fingerprint"] is None for chunk in chunks):
        yield "system_fingerprint is null in a chunk"
    if any("finish_reason" not in each for chunk in chunks for each in chunk["choices"]):
        yield "a choice without finish_reason"
    first = chunks[0]["choices"][0]["delta"] if chunks and chunks[0]["choices"] else None
    if not first or first.get("role") != "assistant" or first.get("content") != "":
        yield f"the first chunk's delta is {first}"
    if any(not chunk["choices"] for chunk in chunks[:-1]):
        yield "a chunk without choices before the last"
    if usage_apart == bool(chunks[-1]["choices"]):
        yield f"usage apart was {'' if usage_apart else 'not '}asked for, and the last chunk is {chunks[-1]}"


def calls(message: dict[str, Any]) -> list[Call]:
    """Calls of a whole message, those in the legacy form too."""
    found = []
    for part in message.get("tool_calls") or []:
        custom, function = part.get("custom") or {}, part.get("function") or {}
        arguments = custom["input"] if custom.get("name") else function.get("arguments")
        found.append(Call(part["id"], custom.get("name") or str(function.get("name")), parsed(arguments or "")))
    if (legacy := message.get("function_call")) and legacy.get("name"):
        found.append(Call(None, legacy["name"], parsed(legacy["arguments"])))
    return found


def cited(message: dict[str, Any]) -> set[str]:
    """The addresses of the annotations; a document of the request has none. Groq's own words are relayed as they came."""
    found = [note["url_citation"]["url"] for note in message.get("annotations") or []]
    return {url for url in found if url} | searched(message)


def reasoning(message: dict[str, Any]) -> str:
    """Plain reasoning, else the readable pieces of `reasoning_details`."""
    plain = message.get("reasoning") or message.get("reasoning_content")
    if plain:
        return str(plain)
    return "".join(piece.get("text") or piece.get("summary") or "" for piece in message.get("reasoning_details") or [])


def as_text(content: Any) -> str:
    """Content as text: one upstream answers a JSON schema with an object instead of text."""
    return content if isinstance(content, str) else json_text(content) if content else ""


def usage(counted: dict[str, Any]) -> Usage:
    """The counts that are compared."""
    ins, outs = counted.get("prompt_tokens_details") or {}, counted.get("completion_tokens_details") or {}
    prompt, completion = counted["prompt_tokens"], counted["completion_tokens"]
    assert counted["total_tokens"] == prompt + completion, f"the total is not the sum: {counted}"
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=ins.get("cached_tokens") or 0,
        cache_write=ins.get("cache_write_tokens") or 0,
        reasoning=outs.get("reasoning_tokens") or 0,
    )


def in_band(error: dict[str, Any], choices: dict[int, Choice]) -> Failure:
    """An error after content."""
    finishes = {choice.finish for choice in choices.values()}
    assert finishes == {"error"}, f"after an error the finish reasons are {finishes}"
    return Failure(error["metadata"]["http_status"], error["metadata"]["error_type"], None, choices)
