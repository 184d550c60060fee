"""`litellm` as a client, in the three forms in which it can talk to a router."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar

import litellm
from openai import APIStatusError
from pydantic import BaseModel

from .client import ABOUT, CHAT, GEMINI, MESSAGES, WEATHER, Call, Client, Refused

TOOL = {"type": "function", "function": {"name": "get_weather", "description": ABOUT, "parameters": WEATHER}}


class Weather(BaseModel):
    """What structured answers hold."""

    city: str
    degrees: int


class LiteLLM(Client):
    """`litellm.completion("PROVIDER/…", api_base=…)`."""

    package, raises = "litellm", APIStatusError
    provider: ClassVar[str]
    base: ClassVar[str] = ""
    tells_wait = False

    def say(self, model: str, text: str, **more: Any) -> str:
        return self._ask(model, [{"role": "user", "content": text}], **more).content or ""

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        chunks: Any = litellm.completion(**self._how(model, [{"role": "user", "content": text}]), stream=True)
        try:
            for chunk in chunks:
                if word := chunk.choices[0].delta.content:
                    yield word
        finally:
            chunks.close()

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        history: list[Any] = [{"role": "user", "content": text}]
        if streamed:
            chunks: Any = litellm.completion(**self._how(model, history), tools=[TOOL], stream=True)
            whole: Any = litellm.stream_chunk_builder(list(chunks), messages=history)
            message = whole.choices[0].message
        else:
            message = self._ask(model, history, tools=[TOOL])
        calls = [Call(each.id, each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls]
        history.append(message)
        for call, result in zip(calls, results, strict=True):
            history.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": result})
        return calls, self._ask(model, history, tools=[TOOL]).content

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.say(model, text, response_format=Weather))
        return found

    def see(self, model: str, text: str, png: bytes) -> str:
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return self._ask(model, [{"role": "user", "content": parts}]).content or ""

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        found = litellm.embedding(input=list(texts), **self._reach(model))
        return [each["embedding"] for each in found.data]

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, APIStatusError)
        return Refused(error.status_code, error.message)

    def _ask(self, model: str, messages: list[Any], **more: Any) -> Any:
        answer: Any = litellm.completion(**self._how(model, messages), **more)
        return answer.choices[0].message

    def _how(self, model: str, messages: list[Any]) -> dict[str, Any]:
        return {**self._reach(model), "messages": messages, "num_retries": 0, "max_retries": 0, "timeout": 20}

    def _reach(self, model: str) -> dict[str, Any]:
        return {
            "model": f"{self.provider}/{model}",
            "api_base": self.stage.url + self.base,
            "api_key": self.key,
        }


class AsOpenAI(LiteLLM):
    """`openai/…`."""

    surface, provider, base = CHAT, "openai", "/v1"


class AsAnthropic(LiteLLM):
    """`anthropic/…`."""

    surface, provider = MESSAGES, "anthropic"


class AsGemini(LiteLLM):
    """`gemini/…`."""

    surface, provider, base = GEMINI, "gemini", "/v1beta"


CLIENTS: list[type[Client]] = [AsOpenAI, AsAnthropic, AsGemini]
