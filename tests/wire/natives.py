"""The recordings of Mistral, Cohere and Ollama: what they say, and what was asked, read from the recorded bytes alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .as_chat import Body, NoForm, data_url, tool_call
from .expected import Call, Choice, Failure, Reply, Usage, closed, failure
from .recordings import Recording, recordings

DIALECTS = ("mistral-chat", "cohere-chat", "ollama-chat")

#: recordings that are not replayed, with the reason
EXCLUDED = {
    "cohere-dd2775": "version 1 of Cohere's chat: other requests, answers and streams, for models that are gone",
    "cohere-a1eb96": "version 1 of Cohere's chat: other requests, answers and streams, for models that are gone",
    "ollama-375ade": "/api/generate: the router asks /api/chat, which has messages and tools",
    "ollama-552093": "/api/generate: the router asks /api/chat, which has messages and tools",
}
#: recordings whose request has no form in OpenAI's chat, with the reason
WITHOUT_FORM = {"cohere-01f5fe": "a document with fields of its own as a tool's result"}


def replayed() -> tuple[Recording, ...]:
    """The recordings that answer a chat in one of these dialects."""
    return tuple(each for each in recordings() if each.dialect in DIALECTS and each.name not in EXCLUDED)


def model_of(recording: Recording) -> str:
    """The model that was asked for; Cohere's answers do not name it."""
    return "command-a-03-2025" if recording.provider == "cohere" and recording.asked is None else recording.model


def config(upstream: str, instances: Mapping[str, Recording]) -> str:
    """A configuration with a provider per instance, whose base URL leads to its recording."""
    parts = ["[server]\ndrain_seconds = 1\n"]
    for instance, recording in instances.items():
        base = f"{upstream}/x/{instance}" + ("/v1" if recording.provider == "mistral" else "")
        lines = {"plugin": recording.provider, "base_url": base}
        lines |= {} if recording.provider == "ollama" else {"api_key": "test-key"}
        more = "discover = false\n"
        parts.append(f"[providers.{instance}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()) + more)
    return "\n".join(parts)


def said_by(recording: Recording) -> Reply | Failure:
    """What a client must get when the upstream answers with this recording."""
    if recording.status != 200:
        return failure(recording.status, recording.body, recording.headers)
    return {"mistral": mistral, "cohere": cohere, "ollama": ollama}[recording.provider](recording)


# --- Mistral ---------------------------------------------------------------------------------------------------------


def mistral(recording: Recording) -> Reply:
    """Content is text, or chunks of text and thinking. Calls come whole, with or without an index."""
    choice, usage = Choice(), None
    for frame in recording.frames:
        (given,) = frame["choices"]
        said = given.get("message") or given["delta"]
        content = said.get("content") or []
        for chunk in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if chunk["type"] == "thinking":
                choice.reasoning += "".join(each["text"] for each in chunk["thinking"])
            else:
                choice.text += chunk["text"]
        for call in said.get("tool_calls") or []:
            choice.calls.append(Call(call["id"], call["function"]["name"], call["function"]["arguments"]))
        choice.finish = given["finish_reason"]
        if "usage" in frame:
            usage = mistral_usage(frame["usage"])
    return Reply({0: closed(choice)}, usage)


def mistral_usage(counted: Body) -> Usage:
    """What the completion is not of the total is the prompt: it may hold audio, which `prompt_tokens` does not count."""
    details = counted.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or counted.get("num_cached_tokens") or 0
    return Usage(counted["total_tokens"] - counted["completion_tokens"], counted["completion_tokens"], cached)


# --- Cohere ----------------------------------------------------------------------------------------------------------

COHERE_FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def cohere(recording: Recording) -> Reply:
    """The plan before tool calls is thinking."""
    choice = Choice()
    if not recording.streamed:
        message = recording.body["message"]
        choice.reasoning = message.get("tool_plan") or ""
        for block in message.get("content") or []:
            cohere_block(choice, block)
        for call in message.get("tool_calls") or []:
            choice.calls.append(Call(call["id"], call["function"]["name"], call["function"]["arguments"]))
        end = recording.body
    else:
        for frame in recording.frames:
            said = (frame.get("delta") or {}).get("message") or {}
            match frame["type"]:
                case "content-start" | "content-delta":
                    cohere_block(choice, said["content"])
                case "tool-plan-delta":
                    choice.reasoning += said["tool_plan"]
                case "tool-call-start":
                    call = said["tool_calls"]
                    choice.calls.append(Call(call["id"], call["function"]["name"], call["function"]["arguments"]))
                case "tool-call-delta":
                    choice.calls[frame["index"]].arguments += said["tool_calls"]["function"]["arguments"]
        end = recording.frames[-1]["delta"]
    choice.cited = {each["url"] for each in cohere_citations(recording)}
    choice.finish = COHERE_FINISH[end["finish_reason"]]
    tokens = end["usage"]["tokens"]
    cached, thought = end["usage"].get("cached_tokens") or 0, tokens.get("reasoning_tokens") or 0
    return Reply({0: closed(choice)}, Usage(tokens["input_tokens"], tokens["output_tokens"], cached, reasoning=thought))


def cohere_block(choice: Choice, block: Body) -> None:
    choice.reasoning += block.get("thinking") or ""
    choice.text += block.get("text") or ""


def cohere_citations(recording: Recording) -> list[Body]:
    """The citations of a recording as OpenAI's annotations: one for each source, with the offsets of the text."""
    if recording.streamed:
        frames = [frame for frame in recording.frames if frame["type"] == "citation-start"]
        given = [frame["delta"]["message"]["citations"] for frame in frames]
    else:
        given = recording.body["message"].get("citations") or []
    found = []
    for citation in given:
        assert citation["type"] == "TEXT_CONTENT"
        for source in citation["sources"]:
            about = source.get("document") or source.get("tool_output")
            found.append((about.get("url") or source["id"], citation["start"], citation["end"], citation["text"]))
    return [{"url": url, "start_index": start, "end_index": end, "text": text} for url, start, end, text in found]


# --- Ollama ----------------------------------------------------------------------------------------------------------


def ollama(recording: Recording) -> Reply:
    """Lines; the last of them counts. Where the prompt is not counted the router estimates."""
    choice, last = Choice(), recording.frames[-1]
    for frame in recording.frames:
        choice.text += frame["message"]["content"]
        choice.reasoning += frame["message"].get("thinking") or ""
        for call in frame["message"].get("tool_calls") or []:
            choice.calls.append(Call(None, call["function"]["name"], call["function"]["arguments"]))
    assert last["done"]
    choice.finish = last["done_reason"]
    counted = last.get("prompt_eval_count")
    return Reply({0: closed(choice)}, Usage(counted, last["eval_count"]) if counted else None)


# --- what was asked, as a chat ---------------------------------------------------------------------------------------

#: members that OpenAI's chat calls otherwise
RENAMED = {"random_seed": "seed", "stop_sequences": "stop", "p": "top_p", "k": "top_k"}
SAME = (
    *("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "reasoning_effort", "n"),
    *("tools", "response_format", "documents"),
)


def as_chat(recording: Recording) -> Body:
    """The chat request for a recorded one. `model` and `stream` are the caller's business."""
    asked = recording.asked or {}
    chat: Body = {name: asked[name] for name in SAME if asked.get(name) not in (None, "", [])}
    chat |= {ours: asked[name] for name, ours in RENAMED.items() if name in asked}
    calls = iter(range(1000))
    open_calls: list[str] = []
    chat["messages"] = []
    for message in asked["messages"]:
        turn: Body = {"role": message["role"], "content": said(message.get("content", ""))}
        if thought := thinking(message.get("content")):
            turn["reasoning_content"] = thought
        if message.get("tool_calls"):
            turn["tool_calls"] = []
            for call in message["tool_calls"]:
                id, arguments = call.get("id") or f"call_{next(calls)}", call["function"]["arguments"]
                arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
                turn["tool_calls"].append(tool_call(id, call["function"]["name"], arguments))
                open_calls.append(id)
        if message["role"] == "tool":
            turn["tool_call_id"] = message.get("tool_call_id") or open_calls.pop(0)
        chat["messages"].append(turn)
    if (choice := asked.get("tool_choice", "auto")) != "auto":
        chat["tool_choice"] = {"any": "required"}.get(choice, choice.lower())
    form = asked.get("response_format") or {}
    if recording.provider == "cohere" and "json_schema" in form:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": form["json_schema"]}}
    if "thinking" in asked:
        chat["reasoning"] = {"enabled": asked["thinking"]["type"] == "enabled"}
    return chat


def said(content: Any) -> Any:
    """Text as it is, chunks as parts."""
    if not isinstance(content, list):
        return content
    return [part(each) for each in content if each["type"] != "thinking"]


def part(chunk: Body) -> Body:
    match chunk:
        case {"type": "text"} | {"type": "image_url"} | {"type": "input_audio"}:
            return chunk
        case {"type": "document_url", "document_url": str(url)} if url.startswith("data:"):
            kind, _, data = url.removeprefix("data:").partition(";base64,")
            return {"type": "file", "file": {"filename": "a.pdf", "file_data": data_url(kind, data)}}
    raise NoForm(chunk)


def thinking(content: Any) -> str:
    chunks = [each for each in content if each["type"] == "thinking"] if isinstance(content, list) else []
    return "".join(inner["text"] for chunk in chunks for inner in chunk["thinking"])


# --- one form for requests that mean the same ------------------------------------------------------------------------

DEFAULTS: Body = {"n": 1, "tool_choice": "auto", "stream": False}


def normal(body: Body) -> Body:
    """A request without defaults and the empty members that some clients send."""
    kept = {
        name: value
        for name, value in body.items()
        if value not in (None, "", [], {}) and DEFAULTS.get(name, body) != value
    }
    if "tools" in kept:
        kept["tools"] = [tool["function"] for tool in kept["tools"]]
    return kept | {"messages": [message_normal(each) for each in body["messages"]]}


def message_normal(message: Body) -> Body:
    normal = {name: value for name, value in message.items() if value not in (None, "", [], False)}
    content = normal.pop("content", "")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    content = [without_names(each) for each in content if each.get("text") != ""]
    calls = [
        {name: value for name, value in call.items() if name not in ("index", "type")}
        | {"function": function_normal(call)}
        for call in normal.pop("tool_calls", [])
    ]
    return normal | {"content": content, "tool_calls": calls}


def without_names(chunk: Body) -> Body:
    """A document's name is ours."""
    return {name: value for name, value in chunk.items() if name != "document_name"}


def function_normal(call: Body) -> Body:
    arguments = call["function"]["arguments"]
    return call["function"] | {"arguments": json.loads(arguments) if isinstance(arguments, str) else arguments}
