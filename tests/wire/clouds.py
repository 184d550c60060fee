"""The recordings of Amazon Bedrock and Google Vertex AI: which plugin gets them, what they say, and what was asked.

What Bedrock says is read with botocore here, so that our own reader of its binary streams has a judge.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from botocore.eventstream import EventStreamBuffer

from .as_chat import Body, NoForm, data_url, function, json_schema, tool_call
from .expected import Call, Choice, Failure, Reply, Usage, anthropic_messages, closed, expected, failure
from .recordings import Recording, recordings

CONVERSE = ("bedrock-converse", "bedrock-converse-stream")
INVOKE = ("bedrock-invoke", "bedrock-invoke-stream")
COUNTS = ("bedrock-count-tokens", "gemini-count-tokens")
ON_VERTEX = ("anthropic-messages", "gemini-generate")

#: recordings that are not replayed through these plugins, with the reason
EXCLUDED = {
    "bedrock-9e46b8": "InvokeModel with a body of AI21's: Converse is the way to all models but Claude",
    "bedrock-6c554d": "InvokeModel with a body of Nova's: Converse is the way to all models but Claude",
    "bedrock-1447ea": "InvokeModel with a body of Nova's: Converse is the way to all models but Claude",
    "bedrock-5dd018": "InvokeModel with Anthropic's older API of prompts and completions",
    "bedrock-7406ca": "InvokeModel with a body of Cohere's: Converse is the way to all models but Claude",
    "bedrock-8e7195": "InvokeModel with a body of Nova's: Converse is the way to all models but Claude",
}

CONVERSE_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def chats() -> tuple[Recording, ...]:
    """The recordings that answer a chat."""
    return tuple(
        each
        for each in recordings()
        if (each.dialect in (*CONVERSE, *INVOKE) or (each.provider == "vertex" and each.dialect in ON_VERTEX))
        and each.name not in EXCLUDED
    )


def counts() -> tuple[Recording, ...]:
    """The recordings that count tokens."""
    return tuple(each for each in recordings() if each.dialect in COUNTS and each.provider in ("bedrock", "vertex"))


def model_of(recording: Recording) -> str:
    """The model that was asked for."""
    path = recording.exchange["request"]["path"] or ""
    if recording.provider == "vertex":
        return recording.model
    return unquote(path.split("/model/")[1].split("/")[0]) if "/model/" in path else "anthropic.claude-haiku-4-5"


def config(upstream: str, instances: Mapping[str, Recording]) -> str:
    """A configuration with a provider per instance, whose base URL leads to its recording."""
    parts = ["[server]\ndrain_seconds = 1\n"]
    for instance, recording in instances.items():
        lines = {"plugin": recording.provider, "base_url": f"{upstream}/x/{instance}"}
        if recording.provider == "vertex":
            lines |= {"project": "test-project", "location": "us-east5", "access_token": "test-token"}
        else:
            lines |= {"region": "eu-north-1", "access_key_id": "AKIDTEST", "secret_access_key": "test-secret-of-aws"}
            lines |= {"api": "invoke"} if recording.dialect in INVOKE else {}
        parts.append(f"[providers.{instance}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()))
    return "\n".join(parts)


# --- what they say ---------------------------------------------------------------------------------------------------


def said_by(recording: Recording) -> Reply | Failure:
    """What a client must get when the upstream answers with this recording."""
    if recording.provider == "vertex":
        return expected(recording)
    if recording.status != 200:
        if "model identifier is invalid" in json.dumps(recording.body):
            return Failure(404, "not_found")
        return failure(recording.status, recording.body, recording.headers)
    if recording.dialect in INVOKE:
        return invoked(recording)
    return converse_stream(recording) if recording.streamed else converse(recording.body)


def binary_events(recording: Recording) -> list[tuple[str, Any]]:
    """Kind and payload of each event."""
    buffer = EventStreamBuffer()
    buffer.add_data(recording.raw)
    return [(str(event.headers[":event-type"]), json.loads(event.payload)) for event in buffer]


def converse(body: Body) -> Reply:
    choice = Choice(finish=CONVERSE_FINISH[body["stopReason"]])
    for block in body["output"]["message"]["content"]:
        match block:
            case {"text": text}:
                choice.text += text
            case {"toolUse": {"type": "server_tool_use"}} | {"toolResult": _}:
                pass
            case {"toolUse": call}:
                choice.calls.append(Call(call["toolUseId"], call["name"], call["input"]))
            case {"reasoningContent": {"reasoningText": {"text": text}}}:
                choice.reasoning += text
            case {"citationsContent": {"content": content, "citations": citations}}:
                choice.text += "".join(each["text"] for each in content)
                choice.cited |= {each["source"] for each in citations if "source" in each}
    return Reply({0: closed(choice)}, converse_usage(body["usage"]))


def converse_stream(recording: Recording) -> Reply:
    choice, usage = Choice(), None
    open_call: Call | None = None
    for kind, payload in binary_events(recording):
        delta = payload.get("delta", {})
        match kind:
            case "contentBlockStart":
                call = payload["start"].get("toolUse")
                open_call = None
                if call and call.get("type") != "server_tool_use":
                    open_call = Call(call["toolUseId"], call["name"], "")
                    choice.calls.append(open_call)
            case "contentBlockDelta":
                choice.text += delta.get("text", "")
                choice.cited |= web_page(delta.get("citation", {}))
                choice.reasoning += delta.get("reasoningContent", {}).get("text", "")
                if open_call is not None:
                    open_call.arguments += delta.get("toolUse", {}).get("input", "")
            case "messageStop":
                choice.finish = CONVERSE_FINISH[payload["stopReason"]]
            case "metadata":
                usage = converse_usage(payload["usage"])
    return Reply({0: closed(choice)}, usage)


def web_page(citation: Body) -> set[str]:
    """The address of a cited page; a document of the request has none."""
    return {citation["location"]["web"]["url"]} if "web" in citation.get("location", {}) else set()


def converse_usage(counted: Body) -> Usage:
    """`inputTokens` leaves out what was read from or written to the cache."""
    read, written = counted.get("cacheReadInputTokens", 0), counted.get("cacheWriteInputTokens", 0)
    return Usage(counted["inputTokens"] + read + written, counted["outputTokens"], read, written)


def invoked(recording: Recording) -> Reply | Failure:
    """Anthropic's own words in Amazon's envelope: put into Anthropic's, and read as such."""
    if not recording.streamed:
        return anthropic_messages(recording)
    sse = "".join(f"data: {base64.b64decode(chunk['bytes']).decode()}\n\n" for _, chunk in binary_events(recording))
    plain = Recording(**{name: getattr(recording, name) for name in recording.__dataclass_fields__})
    plain.__dict__["exchange"] = {
        **recording.exchange,
        "response": {"sse": sse, "headers": {"content-type": "text/event-stream"}},
    }
    return anthropic_messages(plain)


# --- what was asked --------------------------------------------------------------------------------------------------

_CACHED = {"cache_control": {"type": "ephemeral"}}


def converse_as_chat(body: Body) -> Body:
    """The chat request for a request of Converse. Raises NoForm where it has none."""
    chat: Body = {"messages": []}
    if body.keys() - {
        "messages",
        "system",
        "inferenceConfig",
        "toolConfig",
        "additionalModelRequestFields",
        "guardrailConfig",
        "outputConfig",
    }:
        raise NoForm(sorted(body))
    if body.get("system"):
        chat["messages"].append({"role": "system", "content": marked(body["system"], plain_part)})
    for message in body["messages"]:
        if message["role"] == "assistant":
            chat["messages"].append(assistant_message(message["content"]))
        else:
            chat["messages"] += user_messages(message["content"])
    names = {"temperature": "temperature", "topP": "top_p", "maxTokens": "max_tokens", "stopSequences": "stop"}
    chat |= {names[name]: value for name, value in body.get("inferenceConfig", {}).items() if value != []}
    tools = body.get("toolConfig", {})
    if tools:
        chat["tools"] = [chat_tool(each) for each in tools["tools"]]
    if choice := tools.get("toolChoice"):
        name = choice.get("tool", {}).get("name")
        named = {"type": "function", "function": {"name": name}}
        chat["tool_choice"] = {"auto": "auto", "any": "required", "tool": named}[next(iter(choice))]
    fields = dict(body.get("additionalModelRequestFields", {}))
    thinking = fields.pop("thinking", None)
    if thinking and thinking["type"] == "enabled":
        chat["reasoning"] = {"max_tokens": thinking["budget_tokens"]}
    elif thinking:
        chat["reasoning"] = {"enabled": True}
    if fields:
        chat["additionalModelRequestFields"] = fields
    if "outputConfig" in body:
        form = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        chat["response_format"] = json_schema(json.loads(form["schema"]))
    if "guardrailConfig" in body:
        chat["guardrailConfig"] = body["guardrailConfig"]
    return chat


def marked(blocks: list[Body], read: Any) -> list[Body]:
    """Blocks as parts; a mark of the cache belongs to the part in front of it."""
    parts: list[Body] = []
    for each in blocks:
        if "cachePoint" in each:
            parts[-1] = parts[-1] | _CACHED
        else:
            parts.append(read(each))
    return parts


def plain_part(block: Body) -> Body:
    match block:
        case {"text": text}:
            return {"type": "text", "text": text}
        case {"image": {"format": kind, "source": {"bytes": data}}}:
            return {"type": "image_url", "image_url": {"url": data_url(f"image/{kind}", data)}}
        case {"document": {"name": name, "format": "txt", "source": {"bytes": data}}}:
            return {"type": "file", "file": {"filename": name, "file_data": data_url("text/plain", data)}}
    raise NoForm(block)


def user_messages(blocks: list[Body]) -> list[Body]:
    results, rest = [], []
    for each in blocks:
        if "toolResult" in each:
            result = each["toolResult"]
            content = [
                {"type": "text", "text": json.dumps(c["json"])} if "json" in c else plain_part(c)
                for c in result["content"]
            ]
            results.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": content})
        else:
            rest.append(each)
    parts = marked(rest, plain_part)
    return results + ([{"role": "user", "content": parts}] if parts else [])


def assistant_message(blocks: list[Body]) -> Body:
    message: Body = {"role": "assistant", "content": None}
    for each in blocks:
        match each:
            case {"text": text}:
                message["content"] = (message["content"] or "") + text
            case {"toolUse": {"toolUseId": id, "name": name, "input": arguments, **rest}} if not rest:
                message.setdefault("tool_calls", []).append(tool_call(id, name, arguments))
            case {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}:
                detail = {
                    "type": "reasoning.text",
                    "text": text,
                    "signature": signature,
                    "format": "anthropic-claude-v1",
                }
                message.setdefault("reasoning_details", []).append(detail)
            case {"reasoningContent": {"redactedContent": data}}:
                inner = base64.b64decode(data).decode()
                detail = {"type": "reasoning.encrypted", "data": inner, "format": "anthropic-claude-v1"}
                message.setdefault("reasoning_details", []).append(detail)
            case _:
                raise NoForm(each)
    return message


def chat_tool(tool: Body) -> Body:
    if "systemTool" in tool:
        return {"type": tool["systemTool"]["name"]}
    spec = tool["toolSpec"]
    return function(spec["name"], spec["inputSchema"]["json"], spec)


def converse_normal(body: Body) -> Body:
    """A request without defaults: empty lists and objects, the success of a result."""
    normal = {name: value for name, value in body.items() if value not in ([], {}, None)}
    inference = {name: value for name, value in normal.pop("inferenceConfig", {}).items() if value != []}
    if inference:
        normal["inferenceConfig"] = inference
    normal["messages"] = [
        {"role": each["role"], "content": [block_normal(block) for block in each["content"]]}
        for each in joined(body["messages"])
    ]
    return normal


def joined(messages: list[Body]) -> list[Body]:
    """Turns of one role that follow each other are one turn."""
    turns: list[Body] = []
    for each in messages:
        if turns and turns[-1]["role"] == each["role"]:
            turns[-1]["content"] = turns[-1]["content"] + each["content"]
        else:
            turns.append({"role": each["role"], "content": each["content"]})
    return turns


def block_normal(block: Body) -> Body:
    normal = dict(block)
    if result := normal.get("toolResult"):
        content = [{"text": json.dumps(each["json"])} if "json" in each else each for each in result["content"]]
        kept = {name: value for name, value in result.items() if (name, value) != ("status", "success")}
        normal["toolResult"] = kept | {"content": content}
    if document := normal.get("document"):
        # Text may stand there in words or in base64.
        source = document["source"]
        if document["format"] == "txt" and "bytes" in source:
            source = {"text": base64.b64decode(source["bytes"]).decode()}
        normal["document"] = {**document, "name": "", "source": source}
    return normal
