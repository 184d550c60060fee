"""Recorded requests of Responses, for a model that is asked by chat: nothing that a chat can say is lost, and OpenAI's description of a
chat request allows what goes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from router_openai import OpenAI

from router.dialects.openai_responses import OpenAIResponses
from router.errors import BadRequest
from router.provider import Timeouts

from .as_chat import Body
from .recordings import MISSING, Recording, recordings
from .schemas import breaches

pytestmark = pytest.mark.wire

DIALECT = OpenAIResponses()
PROVIDER = OpenAI("openai", OpenAI.Settings(plugin="openai", api_key="k"), Timeouts())
#: what only OpenAI itself can answer
REFUSED = {"openai-7bf8dc": "a prompt that OpenAI keeps", "openai-b7ae04": "a prompt that OpenAI keeps"}
ASKED = [
    pytest.param(each, id=each.name)
    for each in recordings()
    if each.dialect == "openai-responses" and each.asked is not None
] or [pytest.param(None, marks=pytest.mark.skip(reason=MISSING))]
SAME = {"temperature": "temperature", "top_p": "top_p", "parallel_tool_calls": "parallel_tool_calls", "user": "user"}


@pytest.mark.parametrize("recording", ASKED)
def test_a_request_survives_the_hub(recording: Recording) -> None:
    asked = recording.asked or {}
    body = json.dumps({**asked, "model": "openai/gpt-4o-mini"}).encode()
    if recording.name in REFUSED:
        with pytest.raises(BadRequest, match="prompt"):
            DIALECT.decode(DIALECT.peek(body, {}, "chat"))
        return

    request = DIALECT.decode(DIALECT.peek(body, {}, "chat"))
    sent = json.loads(PROVIDER.encode(replace(request, model="gpt-4o-mini")).body)

    assert breaches("openai-chat", sent) == []
    assert "".join(texts_sent(sent)) == "".join(texts_asked(asked))
    assert calls_sent(sent) == calls_asked(asked)
    functions = [each["name"] for each in asked.get("tools", []) if each["type"] == "function"]
    assert [each["function"]["name"] for each in sent.get("tools", []) if each["type"] == "function"] == functions
    assert {name: sent.get(theirs) for name, theirs in SAME.items()} == {name: asked.get(name) for name in SAME}


def items(asked: Body) -> list[Body]:
    """The input as a list."""
    given = asked.get("input", [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def texts_asked(asked: Body) -> list[str]:
    """All that was said, in order."""
    found = [asked["instructions"]] if asked.get("instructions") else []
    for item in items(asked):
        if item.get("type", "message") == "message":
            content = item["content"]
            parts = [{"text": content}] if isinstance(content, str) else content
            found += [part["text"] for part in parts if "text" in part]
    return found


def calls_asked(asked: Body) -> list[Any]:
    """Calls of functions and what they gave, in order."""
    found: list[Any] = []
    for item in items(asked):
        match item:
            case {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}:
                # a tool of a namespace is called by both names
                whole = f"{item['namespace']}__{name}" if "namespace" in item else name
                found.append((id, whole, json.loads(arguments)))
            case {"type": "function_call_output", "call_id": id, "output": output}:
                parts = [{"text": output}] if isinstance(output, str) else output
                found.append((id, "".join(part.get("text", "") for part in parts) or "[no text]"))
    return found


def texts_sent(sent: Body) -> list[str]:
    """All that goes out as text, in order."""
    return [text for message in sent["messages"] if message["role"] != "tool" for text in texts(message["content"])]


def texts(content: Any) -> list[str]:
    parts = [{"text": content}] if isinstance(content, str) else content or []
    return [part["text"] for part in parts if "text" in part]


def calls_sent(sent: Body) -> list[Any]:
    """Calls and results that go out, in order."""
    found: list[Any] = []
    for message in sent["messages"]:
        calls = [(each["id"], each["function"]) for each in message.get("tool_calls") or []]
        found += [(id, function["name"], json.loads(function["arguments"])) for id, function in calls]
        if message["role"] == "tool":
            found.append((message["tool_call_id"], "".join(texts(message["content"]))))
    return found
