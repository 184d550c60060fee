"""What a request asked and an answer said, read from the bytes of any client API, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...sse import Frames, data_of

_decode = msgspec.json.Decoder().decode


def asked(body: bytes) -> dict[str, Any]:
    """`{messages}` or `{prompt}`. A body that is no JSON (a form) has an empty prompt."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"prompt": ""}
    if not isinstance(request, dict):
        return {"prompt": ""}
    system = request.get("system") or request.get("instructions") or request.get("systemInstruction")
    system = system or request.get("system_instruction")
    first = [{"role": "system", "content": system}] if system else []
    for name in ("messages", "contents"):
        if isinstance(request.get(name), list):
            return {"messages": [*first, *request[name]]}
    for name in ("prompt", "input", "query"):
        value = request.get(name)
        if isinstance(value, str):
            return {"messages": [*first, {"role": "user", "content": value}]} if first else {"prompt": value}
        if isinstance(value, list):
            return {"messages": [*first, *value]}
    return {"prompt": ""}


def told(answer: bytes) -> dict[str, str | None]:
    """`completion` and `reasoning` of the first choice, null where there is none (tool calls, vectors, …)."""
    texts: list[str] = []
    thoughts: list[str] = []
    for event in _events(answer):
        text, thought = _parts(event)
        texts.append(text)
        thoughts.append(thought)
    return {"completion": "".join(texts) or None, "reasoning": "".join(thoughts) or None}


def _events(answer: bytes) -> Iterator[dict[str, Any]]:
    """The objects that an answer consists of: itself, or those of a stream."""
    if answer.lstrip()[:1] in (b"{", b"["):
        pieces = [answer]
    else:
        cutter = Frames()
        pieces = [data_of(frame) for frame in (*cutter.feed(answer), cutter.close())]
    for piece in pieces:
        try:
            found = _decode(piece)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # comments, [DONE], the end of a stream that was cut
        yield from (each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict))


def _parts(event: dict[str, Any]) -> tuple[str, str]:
    """Text and reasoning of an answer or an event."""
    kind = event.get("type")
    if isinstance(event.get("choices"), list):
        return _of_openai(event["choices"])
    if isinstance(event.get("candidates"), list):
        return _of_gemini(event["candidates"])
    if event.get("object") == "response":
        return _of_response(event.get("output"))
    if kind == "message" and isinstance(event.get("content"), list):
        return _of_blocks(event["content"])
    delta = event.get("delta")
    if kind == "content_block_delta" and isinstance(delta, dict):
        return _text(delta.get("text")), _text(delta.get("thinking"))
    if kind == "response.output_text.delta":
        return _text(delta), ""
    if kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
        return "", _text(delta)
    return "", ""


def _of_openai(choices: list[Any]) -> tuple[str, str]:
    text = thought = ""
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            message = choice.get("message") or choice.get("delta") or {}
            content = message.get("content")
            text += _of_blocks(content)[0] if isinstance(content, list) else _text(content) or _text(choice.get("text"))
            thought += _text(message.get("reasoning")) or _text(message.get("reasoning_content"))
    return text, thought


def _of_gemini(candidates: list[Any]) -> tuple[str, str]:
    text = thought = ""
    for candidate in candidates[:1]:
        for part in (candidate.get("content") or {}).get("parts") or ():
            if part.get("thought"):
                thought += _text(part.get("text"))
            else:
                text += _text(part.get("text"))
    return text, thought


def _of_response(output: Any) -> tuple[str, str]:
    text = thought = ""
    for item in output if isinstance(output, list) else ():
        if item.get("type") == "message":
            text += _of_blocks(item.get("content"))[0]
        elif item.get("type") == "reasoning":
            thought += "".join(_of_blocks(item.get(name))[0] for name in ("summary", "content"))
    return text, thought


def _of_blocks(blocks: Any) -> tuple[str, str]:
    found = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return "".join(_text(block.get("text")) for block in found), "".join(
        _text(block.get("thinking")) for block in found
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
