"""The `openai` SDK, with chat completions and with Responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import openai
from pydantic import BaseModel

from .client import ABOUT, CHAT, RESPONSES, WEATHER, Call, Client, Refused, Stage


class Weather(BaseModel):
    """What structured answers hold."""

    city: str
    degrees: int


class Chat(Client):
    """`client.chat.completions` and `client.embeddings`."""

    package, surface, raises = "openai", CHAT, openai.APIStatusError
    tool: ClassVar[Any] = {
        "type": "function",
        "function": {"name": "get_weather", "description": ABOUT, "parameters": WEATHER},
    }

    def __init__(self, stage: Stage, key: str | None = None) -> None:
        super().__init__(stage, key)
        self.sdk = openai.OpenAI(base_url=f"{stage.url}/v1", api_key=self.key, max_retries=0, timeout=20)

    def say(self, model: str, text: str, **more: Any) -> str:
        return self._ask(model, [{"role": "user", "content": text}], **more).content or ""

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        asked: Any = [{"role": "user", "content": text}]
        with self.sdk.chat.completions.create(model=model, messages=asked, stream=True) as chunks:
            for chunk in chunks:
                if word := chunk.choices[0].delta.content:
                    yield word

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        history: list[Any] = [{"role": "user", "content": text}]
        if streamed:
            with self.sdk.beta.chat.completions.stream(model=model, messages=history, tools=[self.tool]) as stream:
                message: Any = stream.get_final_completion().choices[0].message
        else:
            message = self._ask(model, history, tools=[self.tool])
        calls = [Call(each.id, each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls]
        history.append(message.model_dump(exclude_none=True, exclude={"parsed": True}))
        for call, result in zip(calls, results, strict=True):
            history.append({"role": "tool", "tool_call_id": call.id, "content": result})
        return calls, self._ask(model, history, tools=[self.tool]).content

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        asked: Any = [{"role": "user", "content": text}]
        parsed = self.sdk.beta.chat.completions.parse(model=model, messages=asked, response_format=Weather)
        found = parsed.choices[0].message.parsed
        assert isinstance(found, Weather)
        return found.model_dump()

    def see(self, model: str, text: str, png: bytes) -> str:
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return self._ask(model, [{"role": "user", "content": parts}]).content or ""

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        found = [each.embedding for each in self.sdk.embeddings.create(model=model, input=list(texts)).data]
        plain = self.sdk.embeddings.create(model=model, input=list(texts), encoding_format="float")
        assert [each.embedding for each in plain.data] == found
        return found

    def models(self, page: int) -> Iterator[str]:
        yield from (model.id for model in self.sdk.models.list())

    def refused(self, error: Exception) -> Refused:
        assert isinstance(error, openai.APIStatusError)
        return Refused(error.status_code, error.message, error.response.headers.get("retry-after"))

    def _ask(self, model: str, messages: list[Any], **more: Any) -> Any:
        return self.sdk.chat.completions.create(model=model, messages=messages, **more).choices[0].message


class Responses(Chat):
    """`client.responses`."""

    surface = RESPONSES
    tool: ClassVar[Any] = {
        "type": "function",
        "name": "get_weather",
        "description": ABOUT,
        "parameters": WEATHER,
        "strict": True,
    }

    def say(self, model: str, text: str, **more: Any) -> str:
        return self.sdk.responses.create(model=model, input=text, **more).output_text

    def stream(self, model: str, text: str) -> Generator[str, None, None]:
        with self.sdk.responses.create(model=model, input=text, stream=True) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    yield event.delta

    def tools(self, model: str, text: str, results: Sequence[str], *, streamed: bool) -> tuple[list[Call], str]:
        history: list[Any] = [{"role": "user", "content": text}]
        ask: Any = {"model": model, "input": history, "tools": [self.tool], "store": False}
        if streamed:
            with self.sdk.responses.stream(**ask) as events:
                output: Any = events.get_final_response().output
        else:
            output = self.sdk.responses.create(**ask).output
        made = [item for item in output if item.type == "function_call"]
        calls = [Call(item.call_id, item.name, json.loads(item.arguments)) for item in made]
        history += [item.model_dump(exclude_none=True, exclude={"parsed_arguments": True}) for item in output]
        for call, result in zip(calls, results, strict=True):
            history.append({"type": "function_call_output", "call_id": call.id, "output": result})
        return calls, self.sdk.responses.create(**ask).output_text

    def structured(self, model: str, text: str) -> Mapping[str, Any]:
        found = self.sdk.responses.parse(model=model, input=text, text_format=Weather).output_parsed
        assert isinstance(found, Weather)
        return found.model_dump()

    def see(self, model: str, text: str, png: bytes) -> str:
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        parts = [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": url, "detail": "auto"}]
        return self.sdk.responses.create(model=model, input=[{"role": "user", "content": parts}]).output_text  # type: ignore[arg-type,list-item,misc]


CLIENTS: list[type[Client]] = [Chat, *([Responses] if hasattr(openai, "responses") else [])]
