"""Which recordings are replayed how: the excluded and the reframed ones with the reason, and what is asked."""

from __future__ import annotations

from typing import Any

import aiohttp

from .client import ask
from .expected import Failure, Reply, expected
from .recordings import Recording
from .stage import Stage

#: recordings that cannot be replayed, with the reason
EXCLUDED: dict[str, str] = {}

#: recordings whose JSON array is framed as events, with the reason
REFRAMED = {
    "gemini-b7eba4": "streamGenerateContent without alt=sse answers a JSON array; the router always asks for events",
    "gemini-9b0298": "streamGenerateContent without alt=sse answers a JSON array; the router always asks for events",
}

#: members whose recorded value the contract refuses, with the reason
REFUSED = {"groq-282416": ("service_tier", "`on_demand` is Groq's own word; the contract lists the tiers")}

#: members that mean something to the router itself: a recorded client meant OpenRouter with them
ROUTER_MEMBERS = ("models", "provider", "transforms", "plugins", "route", "preset")


def splits(recording: Recording) -> tuple[str, ...]:
    """How a recording's answer is cut into packets."""
    return ("whole", "pieces", "bytes") if streams(recording) else ("whole",)


def streams(recording: Recording) -> bool:
    """True where the client asks for a stream."""
    return recording.streamed or recording.name in REFRAMED


def question(recording: Recording, instance: str) -> dict[str, Any]:
    """The recorded request where it is OpenAI's, else a plausible one, for the model of this instance."""
    asked = recording.asked if recording.dialect == "openai-chat" else None
    if asked is None:
        return plausible(recording) | {"model": f"{instance}/{recording.model}"}
    refused, _ = REFUSED.get(recording.name, ("", ""))
    body = {name: value for name, value in asked.items() if name not in (*ROUTER_MEMBERS, refused)}
    # a suffix such as ":free" of OpenRouter's ids means something to the router as well
    body["model"] = f"{instance}/{recording.model.split(':')[0]}"
    if streams(recording):
        body["stream"] = True
    return body


def plausible(recording: Recording) -> dict[str, Any]:
    """A question to which the recorded answer could be one: with the tools that it calls."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Please go on."}]}
    answer = expected(recording)
    names = (
        {call.name for choice in answer.choices.values() for call in choice.calls} if isinstance(answer, Reply) else {}
    )
    if names:
        schema = {"type": "object", "properties": {}}
        body["tools"] = [{"type": "function", "function": {"name": n, "parameters": schema}} for n in sorted(names)]
    if streams(recording):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def assert_says(
    recorded: Reply | Failure, body: dict[str, Any], stage: Stage, http: aiohttp.ClientSession
) -> None:
    """Ask, and compare the answer with what was recorded. The upstream gets one request."""
    instance = body["model"].partition("/")[0]
    before = len(stage.upstream.asked.get(instance, []))

    answer = await ask(http, stage.url, stage.key, body)

    assert answer.faults == []
    same_ids(answer.said, recorded)
    if isinstance(recorded, Reply) and isinstance(answer.said, Reply):
        assert (answer.provider, answer.model) == (instance, body["model"])
        assert answer.usage_estimated == (recorded.usage is None)
        recorded.usage = recorded.usage or answer.said.usage
    assert answer.said == recorded
    assert len(stage.upstream.asked[instance]) == before + 1


def same_ids(said: Reply | Failure, recorded: Reply | Failure) -> None:
    """Where a provider gave a call no id the router invents one: check that it did, then compare without it."""
    if isinstance(said, Failure) or isinstance(recorded, Failure):
        return
    for index, choice in recorded.choices.items():
        ours = said.choices[index].calls if index in said.choices else []
        for theirs, call in zip(choice.calls, ours, strict=False):
            if theirs.id is None:
                theirs.id = call.id
