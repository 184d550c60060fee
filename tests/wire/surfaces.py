"""The client surfaces besides chat: a plausible question on each, what a recorded answer is in its words, and how both are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from . import anthropic_client, gemini_client, responses_client
from .client import Answer
from .expected import Choice, Failure, Reply
from .replays import same_ids
from .stage import Stage

SURFACES = ("anthropic", "gemini", "responses")


@dataclass(frozen=True)
class Question:
    """Something to which the recorded answer could be one: `tools` are those that it calls."""

    model: str
    tools: tuple[str, ...]
    stream: bool


async def ask(surface: str, question: Question, stage: Stage, http: aiohttp.ClientSession) -> Answer:
    """Ask on this surface and read the answer to its end."""
    body, address = BODIES[surface](question), (http, stage.url, stage.key)
    if surface == "gemini":
        return await gemini_client.ask(*address, question.model, body, "sse" if question.stream else "")
    return await (anthropic_client if surface == "anthropic" else responses_client).ask(*address, body)


async def post(surface: str, question: Question, stage: Stage, http: aiohttp.ClientSession) -> tuple[int, bytes]:
    """Ask in Anthropic's or Google's words; status and body of the answer, unread."""
    body, address = BODIES[surface](question), (http, stage.url, stage.key)
    if surface == "gemini":
        form = "sse" if question.stream else ""
        status, _, raw = await gemini_client.post(*address, question.model, body, form)
    else:
        status, _, raw = await anthropic_client.post(*address, body)
    return status, raw


def _anthropic(question: Question) -> dict[str, Any]:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in question.tools]
    body = {"max_tokens": 4096, "messages": [{"role": "user", "content": "Please go on."}], "stream": question.stream}
    return body | {"model": question.model} | ({"tools": tools} if tools else {})


def _gemini(question: Question) -> dict[str, Any]:
    declared = [{"name": name, "parameters": {"type": "OBJECT"}} for name in question.tools]
    shown = {"thinkingConfig": {"includeThoughts": True}}
    body: dict[str, Any] = {"contents": [{"parts": [{"text": "Please go on."}]}], "generationConfig": shown}
    return body | ({"tools": [{"functionDeclarations": declared}]} if declared else {})


def _responses(question: Question) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    tools = [{"type": "function", "name": name, "parameters": schema} for name in question.tools]
    body = {"model": question.model, "input": "Please go on.", "stream": question.stream}
    return body | ({"tools": tools} if tools else {})


BODIES = {"anthropic": _anthropic, "gemini": _gemini, "responses": _responses}


def in_words_of(surface: str, recorded: Reply | Failure, *, streamed: bool) -> Reply | Failure:
    """What a client of this surface is to be told."""
    if surface == "gemini":
        return in_googles_words(recorded, streamed=streamed)
    return in_anthropics_words(recorded) if surface == "anthropic" else in_responses_words(recorded)


def assert_tells(answer: Answer, recorded: Reply | Failure, model: str) -> None:
    """The answer is what was recorded, in the words of its surface. Where nobody counted, the router says that it estimates."""
    assert answer.faults == []
    if isinstance(recorded, Failure):
        assert isinstance(answer.said, Failure)
        assert answer.said.kind == recorded.kind
        return
    same_ids(answer.said, recorded)
    assert isinstance(answer.said, Reply)
    assert answer.model == model
    assert answer.usage_estimated == (recorded.usage is None)
    recorded.usage = recorded.usage or answer.said.usage
    assert answer.said == recorded


def in_anthropics_words(recorded: Reply | Failure) -> Reply | Failure:
    """There is one answer, a refusal is text with a reason of its own, and an answer that ended in an error is none."""
    if isinstance(recorded, Failure):
        return recorded
    choice: Choice = recorded.choices[0]
    if choice.finish == "error":
        return Failure(502, "provider_unavailable")
    if choice.refusal:
        choice.text, choice.refusal = choice.text + choice.refusal, ""
        choice.finish = "content_filter" if choice.finish == "stop" else choice.finish
    return Reply({0: choice}, recorded.usage)


def in_googles_words(recorded: Reply | Failure, *, streamed: bool) -> Reply | Failure:
    """A refusal is text, and nobody counts what is written to a cache. What broke off is told as far as it came where nobody waits for
    events."""
    if isinstance(recorded, Failure):
        said = recorded.streamed or {}
        if streamed or not any(choice.text for choice in said.values()):
            return recorded
        recorded = Reply(said, None)
        for choice in said.values():
            choice.finish = "error"
    for choice in recorded.choices.values():
        choice.text, choice.refusal = choice.text + choice.refusal, ""
    if recorded.usage is not None:
        recorded.usage.cache_write = 0
    return recorded


def in_responses_words(recorded: Reply | Failure) -> Reply | Failure:
    """There is one answer, and one that ended in an error failed."""
    if isinstance(recorded, Failure):
        return recorded
    if recorded.choices[0].finish == "error":
        return Failure(502, "provider_unavailable")
    return Reply({0: recorded.choices[0]}, recorded.usage)
