"""Answers that no API has a hand in, and how each upstream streams them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as some

from tests.wire.expected import Call, Choice, Reply, Usage

from .talks import ARGUMENTS, TOOLS, WORDS

Body = dict[str, Any]


@dataclass
class Said:
    """An answer: thinking, text in pieces, calls with their arguments as JSON text, counts of tokens."""

    thought: str
    texts: list[str]
    calls: list[tuple[str, str]]
    cut: bool
    prompt: int
    completion: int
    cached: int
    reasoning: int

    @property
    def finish(self) -> str:
        """Why it ended, in OpenAI's words."""
        return "tool_calls" if self.calls else "length" if self.cut else "stop"

    def reply(self, *, thinks: bool, counts: bool, named: bool) -> Reply:
        """What a client is to read. `named`: the upstream gives calls an id; `counts`: it tells what was cached and thought."""
        calls = [
            Call(f"call_{number}" if named else None, name, json.loads(text))
            for number, (name, text) in enumerate(self.calls)
        ]
        choice = Choice("".join(self.texts), self.thought if thinks else "", calls=calls, finish=self.finish)
        cached, reasoning = (self.cached, self.reasoning) if counts else (0, 0)
        return Reply({0: choice}, Usage(self.prompt, self.completion, cached, reasoning=reasoning))


@some.composite
def answers(draw: some.DrawFn) -> Said:
    """An answer as an upstream might give it."""
    calls = draw(some.lists(some.tuples(some.sampled_from(TOOLS), ARGUMENTS.map(json.dumps)), max_size=3))
    prompt, completion = draw(some.integers(2, 1000)), draw(some.integers(2, 1000))
    thought = draw(some.just("") | WORDS)
    return Said(
        thought=thought,
        texts=draw(some.lists(WORDS, min_size=0 if calls else 1, max_size=3)),
        calls=calls,
        cut=draw(some.booleans()) and not calls,
        prompt=prompt,
        completion=completion,
        cached=draw(some.integers(0, prompt - 1)),
        reasoning=draw(some.integers(0, completion - 1)) if thought else 0,
    )


def sse(frames: Iterable[Body], *, named: bool = False, end: str = "") -> bytes:
    """Frames as an event stream."""
    heads = (f"event: {each['type']}\n" if named else "" for each in frames)
    datas = (f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in frames)
    return ("".join(head + data for head, data in zip(heads, datas, strict=True)) + end).encode()


def halves(text: str) -> tuple[str, str]:
    """Arguments come in pieces."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def openai(said: Said) -> bytes:
    """Chunks of OpenAI's chat."""
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": said.thought}] if said.thought else []
    deltas += [{"content": text} for text in said.texts]
    for number, (name, text) in enumerate(said.calls):
        first, second = halves(text)
        head = {"index": number, "id": f"call_{number}", "type": "function"}
        deltas.append({"tool_calls": [head | {"function": {"name": name, "arguments": first}}]})
        deltas.append({"tool_calls": [{"index": number, "function": {"arguments": second}}]})
    choices = [{"index": 0, "delta": each, "finish_reason": None} for each in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": said.finish})
    usage = {
        "prompt_tokens": said.prompt,
        "completion_tokens": said.completion,
        "total_tokens": said.prompt + said.completion,
        "prompt_tokens_details": {"cached_tokens": said.cached},
        "completion_tokens_details": {"reasoning_tokens": said.reasoning},
    }
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames = [*(head | {"choices": [each]} for each in choices), head | {"choices": [], "usage": usage}]
    return sse(frames, end="data: [DONE]\n\n")


def mistral(said: Said) -> bytes:
    """Chunks of Mistral's chat: calls come whole, usage with the last piece."""
    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    if said.thought:
        deltas.append({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": said.thought}]}]})
    deltas += [{"content": text} for text in said.texts]
    if said.calls:
        calls = [
            {"id": f"call_{number}", "index": number, "function": {"name": name, "arguments": text}}
            for number, (name, text) in enumerate(said.calls)
        ]
        deltas.append({"content": "", "tool_calls": calls})
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames = [head | {"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas]
    frames[-1]["choices"][0]["finish_reason"] = said.finish
    counted = {"prompt_tokens": said.prompt, "completion_tokens": said.completion}
    frames[-1]["usage"] = counted | {"total_tokens": said.prompt + said.completion}
    return sse(frames, end="data: [DONE]\n\n")


def anthropic(said: Said) -> bytes:
    """Events of Anthropic's messages."""
    usage = {"input_tokens": said.prompt - said.cached, "cache_read_input_tokens": said.cached, "output_tokens": 1}
    message = {"id": "up-1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    blocks: list[tuple[Body, list[Body]]] = []
    if said.thought:
        deltas = [
            {"type": "thinking_delta", "thinking": said.thought},
            {"type": "signature_delta", "signature": "c2ln"},
        ]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if said.texts:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in said.texts]))
    for number, (name, text) in enumerate(said.calls):
        deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves(text)]
        blocks.append(({"type": "tool_use", "id": f"call_{number}", "name": name, "input": {}}, deltas))
    frames: list[Body] = [{"type": "message_start", "message": message}]
    for index, (block, deltas) in enumerate(blocks):
        frames.append({"type": "content_block_start", "index": index, "content_block": block})
        frames += [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
        frames.append({"type": "content_block_stop", "index": index})
    reason = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[said.finish]
    counted = {"output_tokens": said.completion, "output_tokens_details": {"thinking_tokens": said.reasoning}}
    frames.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": counted})
    return sse([*frames, {"type": "message_stop"}], named=True)


def gemini(said: Said) -> bytes:
    """Answers of Gemini's stream."""
    parts: list[Body] = [{"text": said.thought, "thought": True}] if said.thought else []
    parts += [{"text": text} for text in said.texts]
    parts += [
        {"functionCall": {"id": f"call_{number}", "name": name, "args": json.loads(text)}}
        for number, (name, text) in enumerate(said.calls)
    ]
    frames: list[Body] = [
        {"candidates": [{"content": {"parts": [each], "role": "model"}, "index": 0}], "responseId": "up-1"}
        for each in parts
    ]
    frames[-1]["candidates"][0]["finishReason"] = "MAX_TOKENS" if said.cut else "STOP"
    frames[-1]["usageMetadata"] = {
        "promptTokenCount": said.prompt,
        "candidatesTokenCount": said.completion - said.reasoning,
        "thoughtsTokenCount": said.reasoning,
        "cachedContentTokenCount": said.cached,
        "totalTokenCount": said.prompt + said.completion,
    }
    return sse(frames)


def cohere(said: Said) -> bytes:
    """Events of Cohere's chat. What it thinks before it calls tools is its plan."""
    frames: list[Body] = [{"type": "message-start", "id": "up-1", "delta": {"message": {"role": "assistant"}}}]
    if said.thought:
        thinking = {"message": {"content": {"type": "thinking", "thinking": said.thought}}}
        frames += [{"type": "content-start", "index": 0, "delta": thinking}, {"type": "content-end", "index": 0}]
    if said.texts:
        frames.append(
            {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}}
        )
        frames += [
            {"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": text}}}}
            for text in said.texts
        ]
        frames.append({"type": "content-end", "index": 1})
    for number, (name, text) in enumerate(said.calls):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": ""}}
        frames.append({"type": "tool-call-start", "index": number, "delta": {"message": {"tool_calls": call}}})
        for half in halves(text):
            more = {"message": {"tool_calls": {"function": {"arguments": half}}}}
            frames.append({"type": "tool-call-delta", "index": number, "delta": more})
        frames.append({"type": "tool-call-end", "index": number})
    reason = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}[said.finish]
    tokens = {"input_tokens": said.prompt, "output_tokens": said.completion}
    delta = {"finish_reason": reason, "usage": {"billed_units": tokens, "tokens": tokens}}
    return sse([*frames, {"type": "message-end", "delta": delta}], named=True)


def ollama(said: Said) -> bytes:
    """Lines of Ollama's chat: calls come whole and nameless."""
    messages: list[Body] = [{"content": "", "thinking": said.thought}] if said.thought else []
    messages += [{"content": text} for text in said.texts]
    messages += [
        {"content": "", "tool_calls": [{"function": {"name": name, "arguments": json.loads(text)}}]}
        for name, text in said.calls
    ]
    lines: list[Body] = [{"model": "m", "message": {"role": "assistant", **each}, "done": False} for each in messages]
    end = {"done": True, "done_reason": "length" if said.cut else "stop"}
    counted = {"prompt_eval_count": said.prompt, "eval_count": said.completion}
    lines.append({"model": "m", "message": {"role": "assistant", "content": ""}, **end, **counted})
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines).encode()


def bedrock(said: Said) -> bytes:
    """A whole answer of Converse: its streams are binary, and are read back by the plugin's own tests."""
    content: list[Body] = []
    if said.thought:
        content.append({"reasoningContent": {"reasoningText": {"text": said.thought, "signature": "c2ln"}}})
    content += [{"text": text} for text in said.texts]
    content += [
        {"toolUse": {"toolUseId": f"call_{number}", "name": name, "input": json.loads(text)}}
        for number, (name, text) in enumerate(said.calls)
    ]
    reason = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[said.finish]
    usage = {
        "inputTokens": said.prompt - said.cached,
        "cacheReadInputTokens": said.cached,
        "outputTokens": said.completion,
    }
    message = {"role": "assistant", "content": content}
    return json.dumps({"output": {"message": message}, "stopReason": reason, "usage": usage}).encode()


WRITERS: dict[str, Callable[[Said], bytes]] = {
    "openai": openai,
    "openai-compatible": openai,
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
    "mistral": mistral,
    "cohere": cohere,
    "ollama": ollama,
}
