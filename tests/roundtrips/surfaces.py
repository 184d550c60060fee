"""A conversation in the words of each client API, as its documentation has them."""

from __future__ import annotations

import json
from typing import Any

from .talks import SCHEMA, TOOLS, Call, Part, Talk, Turn

Body = dict[str, Any]
CLAUDE = "anthropic-claude-v1"
MIME = {"image": "image/png", "file": "application/pdf"}


def some_of(**members: Any) -> Body:
    """The members that say something."""
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


# --- OpenAI chat -----------------------------------------------------------------------------------------------------


def chat(talk: Talk) -> Body:
    """`POST /v1/chat/completions`."""
    messages: list[Body] = [{"role": "system", "content": talk.system}] if talk.system else []
    for turn in talk.turns:
        messages.append({"role": "user", "content": [_chat_part(each) for each in turn.asked]})
        if turn.said or turn.calls:
            messages.append(_chat_answer(turn))
        for call in turn.calls:
            content = [_chat_part(each) for each in call.result]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    function = {"parameters": SCHEMA}
    return {"model": "acme/chat", "messages": messages} | some_of(
        tools=[{"type": "function", "function": {"name": name, **function}} for name in TOOLS if talk.tools],
        tool_choice=_chat_choice(talk.forced),
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
        if talk.schema
        else None,
        stop=talk.stop,
        temperature=talk.temperature,
        top_p=talk.top_p,
        max_tokens=talk.max_tokens,
    )


def _chat_choice(forced: str) -> Any:
    return {"type": "function", "function": {"name": forced}} if forced in TOOLS else forced


def _chat_part(part: Part) -> Body:
    if part.kind == "text":
        return {"type": "text", "text": part.data}
    url = f"data:{MIME[part.kind]};base64,{part.data}"
    if part.kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}


def _chat_answer(turn: Turn) -> Body:
    calls = [
        {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": json.dumps(each.arguments)}}
        for each in turn.calls
    ]
    thought = [
        {"type": "reasoning.text", "text": text, "signature": signature, "format": CLAUDE, "index": 0}
        for text, signature in [turn.thought or ("", "")]
        if text
    ]
    return {"role": "assistant", "content": turn.said or None} | some_of(tool_calls=calls, reasoning_details=thought)


# --- Anthropic -------------------------------------------------------------------------------------------------------


def anthropic(talk: Talk) -> Body:
    """`POST /v1/messages`."""
    messages: list[Body] = []
    for turn in talk.turns:
        messages.append({"role": "user", "content": [_anthropic_part(each) for each in turn.asked]})
        if turn.said or turn.calls:
            messages.append({"role": "assistant", "content": _anthropic_answer(turn)})
        if turn.calls:
            messages.append({"role": "user", "content": [_anthropic_result(each) for each in turn.calls]})
    kind = {"type": "tool", "name": talk.forced} if talk.forced in TOOLS else {"type": "any"}
    return {"model": "acme/chat", "messages": messages, "max_tokens": talk.max_tokens or 1000} | some_of(
        system=talk.system,
        tools=[{"name": name, "input_schema": SCHEMA} for name in TOOLS if talk.tools],
        tool_choice=kind if talk.forced else None,
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}} if talk.schema else None,
        stop_sequences=talk.stop,
        temperature=talk.temperature,
        top_p=talk.top_p,
    )


def _anthropic_part(part: Part) -> Body:
    if part.kind == "text":
        return {"type": "text", "text": part.data}
    source = {"type": "base64", "media_type": MIME[part.kind], "data": part.data}
    return {"type": "image" if part.kind == "image" else "document", "source": source}


def _anthropic_answer(turn: Turn) -> list[Body]:
    blocks: list[Body] = []
    if turn.thought:
        blocks.append({"type": "thinking", "thinking": turn.thought[0], "signature": turn.thought[1]})
    if turn.said:
        blocks.append({"type": "text", "text": turn.said})
    return blocks + [
        {"type": "tool_use", "id": each.id, "name": each.name, "input": each.arguments} for each in turn.calls
    ]


def _anthropic_result(call: Call) -> Body:
    content = [_anthropic_part(each) for each in call.result]
    return {"type": "tool_result", "tool_use_id": call.id, "content": content, "is_error": call.failed}


# --- Gemini ----------------------------------------------------------------------------------------------------------


def gemini(talk: Talk) -> Body:
    """`POST /v1beta/models/{model}:generateContent`."""
    contents: list[Body] = []
    for turn in talk.turns:
        contents.append({"role": "user", "parts": [_gemini_part(each) for each in turn.asked]})
        if turn.said or turn.calls:
            calls = [
                {"functionCall": {"id": each.id, "name": each.name, "args": each.arguments}} for each in turn.calls
            ]
            contents.append({"role": "model", "parts": [*([{"text": turn.said}] if turn.said else []), *calls]})
        if turn.calls:
            contents.append({"role": "user", "parts": [_gemini_result(each) for each in turn.calls]})
    declared = [{"name": name, "parametersJsonSchema": SCHEMA} for name in TOOLS if talk.tools]
    calling = {"mode": "ANY"} | ({"allowedFunctionNames": [talk.forced]} if talk.forced in TOOLS else {})
    form = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA} if talk.schema else {}
    config = some_of(
        stopSequences=talk.stop, temperature=talk.temperature, topP=talk.top_p, maxOutputTokens=talk.max_tokens, **form
    )
    return {"contents": contents} | some_of(
        systemInstruction={"parts": [{"text": talk.system}]} if talk.system else None,
        tools=[{"functionDeclarations": declared}] if declared else None,
        toolConfig={"functionCallingConfig": calling} if talk.forced else None,
        generationConfig=config,
    )


def _gemini_part(part: Part) -> Body:
    if part.kind == "text":
        return {"text": part.data}
    return {"inlineData": {"mimeType": MIME[part.kind], "data": part.data}}


def _gemini_result(call: Call) -> Body:
    text = next(each.data for each in call.result if each.kind == "text")
    images = [_gemini_part(each) for each in call.result if each.kind == "image"]
    result = {"id": call.id, "name": call.name, "response": {"error" if call.failed else "output": text}}
    return {"functionResponse": result | ({"parts": images} if images else {})}


# --- Responses -------------------------------------------------------------------------------------------------------


def responses(talk: Talk) -> Body:
    """`POST /v1/responses`."""
    items: list[Body] = []
    for turn in talk.turns:
        items.append({"role": "user", "content": [_responses_part(each) for each in turn.asked]})
        if turn.said:
            said = {"type": "output_text", "text": turn.said, "annotations": []}
            items.append({"type": "message", "role": "assistant", "content": [said]})
        items += [
            {"type": "function_call", "call_id": each.id, "name": each.name, "arguments": json.dumps(each.arguments)}
            for each in turn.calls
        ]
        items += [
            {"type": "function_call_output", "call_id": each.id, "output": [_responses_part(p) for p in each.result]}
            for each in turn.calls
        ]
    choice = {"type": "function", "name": talk.forced} if talk.forced in TOOLS else talk.forced
    form = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
    return {"model": "acme/chat", "input": items} | some_of(
        instructions=talk.system,
        tools=[{"type": "function", "name": name, "parameters": SCHEMA} for name in TOOLS if talk.tools],
        tool_choice=choice,
        text={"format": form} if talk.schema else None,
        temperature=talk.temperature,
        top_p=talk.top_p,
        max_output_tokens=talk.max_tokens,
    )


def _responses_part(part: Part) -> Body:
    if part.kind == "text":
        return {"type": "input_text", "text": part.data}
    url = f"data:{MIME[part.kind]};base64,{part.data}"
    if part.kind == "image":
        return {"type": "input_image", "image_url": url}
    return {"type": "input_file", "filename": "a.pdf", "file_data": url}


SURFACES = {"chat": chat, "anthropic": anthropic, "gemini": gemini, "responses": responses}
